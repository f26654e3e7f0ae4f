//! What comes back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::query::Strategy;

/// An answer, and how it came about. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Answer {
    /// The query's id, which [`Client::feedback`](crate::Client::feedback) takes.
    pub request_id: String,
    /// The task that was asked for.
    pub task: String,
    /// The text; the JSON alone where the task asks for JSON.
    pub content: String,
    /// The same, parsed; null for free text.
    pub json: Value,
    /// The provider whose answer it is.
    pub winner: String,
    /// Its model.
    pub winner_model: String,
    /// The strategy that decided.
    pub strategy_used: Strategy,
    /// From the server's admission to this answer.
    pub duration_ms: f64,
    /// Whether it was kept from an earlier request.
    pub from_cache: bool,
    /// Since a cached answer was made.
    pub age_ms: Option<f64>,
    /// A promise was bent: quorum lost, last resort, deadline.
    pub degraded: bool,
    /// Why the answer ends; after `length` and `repetition` it is not whole.
    pub finish: Finish,
    /// What the model wants called before it answers.
    pub tool_calls: Vec<ToolCall>,
    /// Tokens of all models asked.
    pub usage: Usage,
    /// How it was chosen.
    pub decision: Decision,
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finish {
    /// The model's own end.
    Stop,
    /// The limit of tokens, or of time.
    Length,
    /// The backend broke off a model that repeated itself.
    Repetition,
    /// Tools are to be called.
    ToolCalls,
    /// One that this version does not know.
    #[serde(other)]
    Other,
}

/// Tokens as the backends counted them; `None` where they do not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Read.
    pub prompt_tokens: Option<u64>,
    /// Written.
    pub completion_tokens: Option<u64>,
}

/// A model's wish that a tool be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The turn with its result names it.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The JSON of an object, as text.
    pub arguments: String,
}

/// How an answer was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decision {
    /// The strategy that was asked for.
    pub strategy_asked: Strategy,
    /// The one that decided; a fallback differs.
    pub strategy_used: Strategy,
    /// The provider whose answer it is.
    pub winner: String,
    /// One sentence.
    pub reason: String,
    /// The models that were asked.
    pub models_queried: Vec<String>,
    /// By provider; comparable within one decision only.
    pub scores: BTreeMap<String, f64>,
    /// Share of all who were asked that say the same as the winner, in [0, 1].
    pub agreement: Option<f64>,
    /// Log odds by which the trusted votes for the winner lead; negative where a fallback chose a rival.
    pub margin: Option<f64>,
    /// Share right of the labelled answers that were at least as sure, in [0, 1].
    pub confidence: Option<f64>,
    /// Who said the same.
    pub clusters: Vec<Cluster>,
    /// What else a careful reader wants to know.
    pub notes: Vec<String>,
    /// Calls that early stopping made unnecessary.
    pub saved_calls: u32,
    /// Whether a promise was bent.
    pub degraded: bool,
    /// Which one.
    pub degraded_reason: String,
    /// Who did not answer.
    pub missing: Vec<String>,
    /// The judge's evidence, where there was one.
    pub judge: Option<Map<String, Value>>,
    /// Every call, told to its end.
    pub attempts: Vec<Attempt>,
}

/// Providers whose answers count as the same, and the weight behind them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Their names.
    pub providers: Vec<String>,
    /// The weight.
    pub score: f64,
    /// What they say.
    pub label: String,
}

/// One call to one provider. Times are milliseconds, from the request's beginning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attempt {
    /// Who was asked.
    pub provider: String,
    /// Its model.
    pub model: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What started it: `primary`, `hedge`, `failover`, `vote`, `judge`, `last_resort`.
    pub why: String,
    /// When it began.
    pub started_ms: f64,
    /// In the server's own queue before its machine; the next two include it.
    pub queued_ms: f64,
    /// To the first token.
    pub ttft_ms: Option<f64>,
    /// To its end.
    pub duration_ms: f64,
    /// Tokens read.
    pub prompt_tokens: Option<u64>,
    /// Tokens written.
    pub completion_tokens: Option<u64>,
    /// How its JSON was read; `strict` needed no repair.
    pub repaired_by: Option<String>,
    /// One sentence, where it failed.
    pub error: Option<String>,
    /// A short stable word for it.
    pub error_kind: Option<String>,
    /// Why its answer ends; `None` where it did not come to an end.
    pub finish: Option<Finish>,
    /// What the model thought; never a part of the answer.
    pub reasoning: Option<String>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// A valid answer.
    Ok,
    /// An answer that is not what the task asks for.
    Invalid,
    /// No answer.
    Failed,
    /// No answer in time.
    TimedOut,
    /// It lost the race.
    Cancelled,
    /// It was not sent.
    Refused,
    /// One that this version does not know.
    #[serde(other)]
    Other,
}
