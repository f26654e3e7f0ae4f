//! What is asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::ToolCall;

/// A question to the pool; a text is one too. Times are milliseconds.
///
/// ```
/// use llm_pool::{Query, Strategy};
///
/// let query = Query { strategy: Some(Strategy::Voting), deadline_ms: Some(1500.0), ..Query::new("Is 17 prime?") };
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Query {
    /// The question: text, or the JSON that the task takes.
    pub prompt: Value,
    /// A task's name; left out, it is a plain question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Your own id: the same id again gives the same answer and asks no model twice. Left out, the client makes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Who asks. Where clients authenticate, the key says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// What for; it appears in logs and metrics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// Tokens at most; 0 is the default, -1 no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<i64>,
    /// An answer by then, or none; retries included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<f64>,
    /// Left out, the task's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Words of your own that travel along.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// Neither use nor fill the cache.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_cache: bool,
    /// Whether the models think first; left out, as task and provider say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub think: Option<Think>,
    /// What was said before the prompt, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<Turn>,
    /// JSON Schema of the answer, for a task without one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// Left out, the task's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The same seed again asks for the same answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// Texts before which the answer ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// The only ones that may be asked; left out, the task's panel.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    /// What the models may call instead of answering.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    /// `auto`, `none`, `required`, or the name of the tool to call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<String>,
    /// Whether one answer may hold several calls; left out, it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    /// Pictures that the prompt is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
}

impl Query {
    /// A question, everything else as configured.
    #[must_use]
    pub fn new(prompt: impl Into<Value>) -> Self {
        Self { prompt: prompt.into(), ..Self::default() }
    }
}

impl From<&str> for Query {
    fn from(prompt: &str) -> Self {
        Self::new(prompt)
    }
}

impl From<String> for Query {
    fn from(prompt: String) -> Self {
        Self::new(prompt)
    }
}

/// How an ensemble comes to one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum Strategy {
    /// The first valid answer.
    Fastest,
    /// What most say.
    Voting,
    /// What is most likely right, by learned trust.
    Weighted,
    /// What enough of all say.
    Consensus,
    /// The best candidate, as a model picks it.
    Judge,
}

/// Whether a model may think before it answers, or how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Think {
    /// Whether at all.
    Switch(bool),
    /// How long: `low`, `medium` or `high`.
    Level(String),
}

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// What the models are told before everything.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a call.
    Tool,
}

/// One thing said earlier in a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who said it.
    pub role: Role,
    /// What was said.
    #[serde(default)]
    pub text: String,
    /// Of an assistant's turn: what it wanted called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Of a tool's turn: the call whose result the text is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    /// Of a user's turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
}

/// A function that the models may call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, for the models to read.
    #[serde(default)]
    pub description: String,
    /// JSON Schema of its arguments, an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// `image/png`, `image/jpeg`, `image/webp` or `image/gif`.
    pub media_type: String,
    /// Its bytes in base64.
    pub data: String,
}
