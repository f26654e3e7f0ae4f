//! A conversation as a query.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::query::{Query, Role, Turn};

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it: system, user or assistant.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// What the models are told before everything.
    #[must_use]
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// What the person says.
    #[must_use]
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// What the model said.
    #[must_use]
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

impl Query {
    /// *self*, asking the last of *messages*, the user's, in the light of the others.
    ///
    /// # Errors
    ///
    /// [`Code::InvalidRequest`](crate::Code::InvalidRequest): the user asks nothing at their end.
    pub fn about(self, messages: &[Message]) -> Result<Self, Error> {
        let Some((last, before)) = messages.split_last().filter(|(last, _)| last.role == Role::User) else {
            let error = Error::invalid("messages", "the user asks nothing at their end");
            return Err(error.with("hint", "end with a message of role user"));
        };
        let turns = before.iter().map(|message| Turn {
            role: message.role,
            text: message.content.clone(),
            tool_calls: Vec::new(),
            tool_call_id: None,
            images: Vec::new(),
        });
        Ok(Self { prompt: last.content.as_str().into(), turns: turns.collect(), ..self })
    }
}
