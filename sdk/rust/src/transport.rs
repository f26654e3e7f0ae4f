//! The ways to a server.

use std::time::Duration;

use reqwest::Url;

use crate::answer::Answer;
use crate::client::Events;
use crate::credentials::Credentials;
use crate::error::Error;
#[cfg(feature = "grpc")]
use crate::grpc::Grpc;
use crate::health::Health;
use crate::http::Http;
use crate::query::Query;

/// The time a connection may take to come about.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// A way to one server. Where nothing *remaining* is said, it is waited for as long as it takes.
#[derive(Debug)]
pub(crate) enum Transport {
    Http(Http),
    #[cfg(feature = "grpc")]
    Grpc(Box<Grpc>),
}

impl Transport {
    pub(crate) fn new(url: &str, credentials: Option<Credentials>) -> Result<Self, Error> {
        let wanted = || Error::invalid("url", &format!("expected http(s)://host:port{GRPC}, got '{url}'"));
        let parsed = Url::parse(url).map_err(|error| wanted().because(error))?;
        if parsed.host_str().is_none_or(str::is_empty) || !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(wanted());
        }
        match parsed.scheme() {
            "http" | "https" => Ok(Self::Http(Http::new(&parsed, credentials)?)),
            #[cfg(feature = "grpc")]
            "grpc" | "grpcs" => Ok(Self::Grpc(Box::new(Grpc::new(&parsed, credentials)?))),
            _ => Err(wanted()),
        }
    }

    pub(crate) async fn infer(&self, query: &Query, remaining: Option<Duration>) -> Result<Answer, Error> {
        match self {
            Self::Http(http) => http.infer(query, remaining).await,
            #[cfg(feature = "grpc")]
            Self::Grpc(grpc) => grpc.infer(query, remaining).await,
        }
    }

    pub(crate) fn stream(&self, query: &Query, remaining: Option<Duration>) -> Events {
        match self {
            Self::Http(http) => http.stream(query, remaining),
            #[cfg(feature = "grpc")]
            Self::Grpc(grpc) => grpc.stream(query, remaining),
        }
    }

    pub(crate) async fn health(&self) -> Result<Health, Error> {
        match self {
            Self::Http(http) => http.health().await,
            #[cfg(feature = "grpc")]
            Self::Grpc(grpc) => grpc.health().await,
        }
    }

    pub(crate) async fn feedback(&self, request_id: &str, good: bool) -> Result<bool, Error> {
        match self {
            Self::Http(http) => http.feedback(request_id, good).await,
            #[cfg(feature = "grpc")]
            Self::Grpc(grpc) => grpc.feedback(request_id, good).await,
        }
    }
}

#[cfg(feature = "grpc")]
const GRPC: &str = " or grpc(s)://host:port";
#[cfg(not(feature = "grpc"))]
const GRPC: &str = "";
