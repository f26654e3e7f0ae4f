//! Who we are.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::Error;
use crate::signing::{Key, Unsigned, random_id};

/// Proves requests.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credentials {
    /// A key that signs each request.
    Hmac(Key),
    /// A bearer key or a JSON Web Token, sent as it is.
    Bearer(String),
}

impl Credentials {
    /// A key that signs, for a server whose `security.audience` is `llm-pool`, as it is unless configured.
    #[must_use]
    pub fn hmac(key: impl Into<String>, secret: impl Into<String>) -> Self {
        Self::Hmac(Key { key: key.into(), secret: secret.into(), audience: "llm-pool".to_owned() })
    }

    /// A bearer key or a JSON Web Token.
    #[must_use]
    pub fn bearer(token: impl Into<String>) -> Self {
        Self::Bearer(token.into())
    }

    /// The headers that prove *request*, now.
    pub(crate) fn headers(&self, request: Unsigned<'_>) -> Result<Vec<(&'static str, String)>, Error> {
        match self {
            Self::Hmac(key) => {
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                key.sign(request, wall.as_secs_f64(), &random_id()?)
            }
            Self::Bearer(token) => Ok(vec![("authorization", format!("Bearer {token}"))]),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hmac(key) => key.fmt(formatter),
            Self::Bearer(_) => formatter.write_str("Bearer"),
        }
    }
}
