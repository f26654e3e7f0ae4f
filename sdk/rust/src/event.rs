//! What happens while a query is answered.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::{Answer, Attempt, ToolCall};

/// One event of a stream; the last one is the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A model is asked.
    Start {
        /// Who.
        provider: String,
        /// Its model.
        model: String,
        /// What started it, as in [`Attempt::why`].
        why: String,
        /// Milliseconds since the request began.
        after_ms: f64,
    },
    /// The request queues for a slot on a machine.
    Waiting {
        /// For whom.
        provider: String,
        /// The machine.
        group: String,
        /// Requests before it.
        ahead: u32,
    },
    /// The request waits for a model to be loaded.
    Loading {
        /// Whose.
        provider: String,
        /// Which.
        model: String,
    },
    /// A piece of what a model thinks; never a part of the answer.
    Reasoning {
        /// Whose.
        provider: String,
        /// The piece.
        text: String,
    },
    /// A piece of text.
    Delta {
        /// Whose.
        provider: String,
        /// The piece.
        text: String,
        /// Whether it is the answer's own; else a candidate's, that may yet lose.
        #[serde(rename = "final")]
        is_final: bool,
    },
    /// A piece of a call of a tool; `id` and `name` come with the first piece of each.
    ToolCall {
        /// Whose.
        provider: String,
        /// Which of the answer's calls.
        index: u32,
        /// The call's id.
        id: String,
        /// The tool.
        name: String,
        /// To be added to the text of its arguments.
        arguments: String,
        /// As of a delta.
        #[serde(rename = "final")]
        is_final: bool,
    },
    /// A whole valid answer of one model.
    Candidate {
        /// Whose.
        provider: String,
        /// Its model.
        model: String,
        /// The text.
        content: String,
        /// The same, parsed; null for free text.
        json: Value,
        /// What it wants called.
        tool_calls: Vec<ToolCall>,
        /// Whether it would win, as things stand.
        leading: bool,
    },
    /// A call to a model is over.
    Attempt(Attempt),
    /// The answer.
    Answer(Box<Answer>),
}

impl Event {
    /// The types that this version knows; events of a later one are passed over.
    pub(crate) const TYPES: [&'static str; 9] =
        ["start", "waiting", "loading", "reasoning", "delta", "tool_call", "candidate", "attempt", "answer"];
}
