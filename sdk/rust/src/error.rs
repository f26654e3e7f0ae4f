//! Why there is no answer.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no answer: what the server said, or [`Code::Unreachable`] where no llm-pool answered.
#[derive(Debug)]
pub struct Error {
    code: Code,
    message: String,
    details: Map<String, Value>,
    source: Option<Source>,
}

macro_rules! codes {
    ($($name:ident = $text:literal: $meaning:literal,)*) => {
        /// What kind of error it is, as the server names it.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $meaning] $name,)*
            /// One that this version does not know.
            Other(String),
        }

        impl Code {
            /// As it goes over the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other(text) => text,
                }
            }
        }

        impl From<&str> for Code {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$name,)*
                    _ => Self::Other(text.to_owned()),
                }
            }
        }
    };
}

codes! {
    InvalidRequest = "invalid_request": "The request cannot be served as it stands; [`Error::field`] says why.",
    UnknownModel = "unknown_model": "No model has that name.",
    ContextLengthExceeded = "context_length_exceeded": "The prompt fits no model's context.",
    RequestIdReused = "request_id_reused": "The id was used for another request.",
    Unauthenticated = "unauthenticated": "Nobody the server knows sent this.",
    PermissionDenied = "permission_denied": "The sender may not ask for this.",
    RateLimited = "rate_limited": "The sender's rate is spent.",
    Overloaded = "overloaded": "The server's queue is full.",
    Stopping = "stopping": "The server takes no new work.",
    Cancelled = "cancelled": "Somebody entitled to it ended the request.",
    DeadlineExceeded = "deadline_exceeded": "No usable answer came in time.",
    NoConsensus = "no_consensus": "The panel did not agree as far as the strict rule demands.",
    AllProvidersFailed = "all_providers_failed": "Nobody could answer.",
    AllProvidersUnavailable = "all_providers_unavailable": "Every provider asks to be left alone for now.",
    Unreachable = "unreachable": "No llm-pool answered: nobody did, or something else.",
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Map::new(), source: None }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn because(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(crate) fn invalid(field: &str, reason: &str) -> Self {
        Self::new(Code::InvalidRequest, format!("{field}: {reason}")).with("field", field)
    }

    pub(crate) fn unreachable(url: &str, reason: &str) -> Self {
        let hint = "llm-pool serve  starts a daemon";
        Self::new(Code::Unreachable, format!("no answer from {url}: {reason}")).with("hint", hint)
    }

    pub(crate) fn late(asked: Duration) -> Self {
        Self::new(Code::DeadlineExceeded, format!("no answer within {} ms", asked.as_millis()))
    }

    /// The error in a body of the server's; `None` where it has none.
    pub(crate) fn in_body(body: &Value) -> Option<Self> {
        let details = body.get("error")?.as_object()?.clone();
        let code = Code::from(details.get("code")?.as_str()?);
        let message = details.get("message")?.as_str()?.to_owned();
        Some(Self { code, message, details, source: None })
    }

    /// What kind of error it is.
    #[must_use]
    pub fn code(&self) -> &Code {
        &self.code
    }

    /// The way out, where there is one; else empty.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.details.get("hint").and_then(Value::as_str).unwrap_or_default()
    }

    /// The field that is wrong, of a [`Code::InvalidRequest`].
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.details.get("field").and_then(Value::as_str)
    }

    /// When to try again, where the server says it.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.details.get("retry_after_ms").and_then(Value::as_f64)? / 1000.0;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// Everything that the server said; `attempts` and `decision` of some codes are among it.
    #[must_use]
    pub fn details(&self) -> &Map<String, Value> {
        &self.details
    }

    /// Whether the server did not take what it was asked, so that another attempt may fare better.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.code, Code::Overloaded | Code::Stopping | Code::RateLimited | Code::Unreachable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}
