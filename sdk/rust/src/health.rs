//! How a server is.

use serde::{Deserialize, Serialize};

/// How a server's providers are; *healthy* when one of them can answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// Whether somebody can answer.
    pub healthy: bool,
    /// Each provider.
    pub providers: Vec<ProviderState>,
    /// The server's version.
    pub version: String,
}

/// What a provider's backend says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProviderState {
    /// Its name.
    pub name: String,
    /// Its model.
    pub model: String,
    /// `healthy`, `warming`, `unreachable`, `model_missing` or `failing`.
    pub state: String,
    /// One clause for a person.
    pub detail: String,
    /// The next command to type; empty when healthy.
    pub hint: String,
    /// Models that the backend holds in memory.
    pub loaded: Vec<String>,
}
