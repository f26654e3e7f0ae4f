//! A daemon over HTTP.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::try_unfold;
use futures_util::{StreamExt as _, TryFutureExt as _};
use reqwest::{Response, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::client::Events;
use crate::credentials::Credentials;
use crate::deadline::{self, GRACE};
use crate::error::{Code, Error};
use crate::event::Event;
use crate::health::Health;
use crate::query::Query;
use crate::signing::Unsigned;
use crate::sse::{Decoder, ServerEvent};
use crate::transport::CONNECT;

/// Characters of somebody else's words in a sentence of ours.
const SHOWN: usize = 120;
const NO_ANSWER: &str = "an error that llm-pool sends";

/// One server.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    /// Without a slash at its end.
    url: String,
    /// The path before ours.
    prefix: String,
    credentials: Option<Credentials>,
    client: reqwest::Client,
}

impl Http {
    pub(crate) fn new(url: &Url, credentials: Option<Credentials>) -> Result<Self, Error> {
        let prefix = url.path().trim_end_matches('/').to_owned();
        let url = url.as_str().trim_end_matches('/').to_owned();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(
                tls(url.starts_with("https")).map_err(|error| Error::invalid("url", "no TLS for it").because(error))?,
            )
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Error::invalid("url", "no client for it").because(error))?;
        Ok(Self { url, prefix, credentials, client })
    }

    pub(crate) async fn infer(&self, query: &Query, remaining: Option<Duration>) -> Result<Answer, Error> {
        let reply = self.send("POST", "/v1/infer", encoded(query, false)?, remaining).await?;
        reply.read("an answer", &[StatusCode::OK]).await
    }

    /// The events of one attempt.
    pub(crate) fn stream(&self, query: &Query, remaining: Option<Duration>) -> Events {
        let (http, body) = (self.clone(), encoded(query, true));
        let opened = async move {
            let reply = http.send("POST", "/v1/infer", body?, remaining).await?;
            let reading =
                Reading { reply: reply.with_events().await?, decoder: Decoder::default(), ready: VecDeque::new() };
            Ok(try_unfold(Some(reading), |reading| async move {
                let Some(mut reading) = reading else { return Ok(None) };
                let event = reading.next().await?;
                let goes_on = !matches!(event, Event::Answer(_));
                Ok(Some((event, goes_on.then_some(reading))))
            }))
        };
        opened.try_flatten_stream().boxed()
    }

    pub(crate) async fn health(&self) -> Result<Health, Error> {
        let reply = self.send("GET", "/health", Vec::new(), Some(CONNECT)).await?;
        reply.read("its health", &[StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE]).await
    }

    pub(crate) async fn feedback(&self, request_id: &str, good: bool) -> Result<bool, Error> {
        let body = json!({"request_id": request_id, "good": good}).to_string().into_bytes();
        let reply = self.send("POST", "/v1/feedback", body, None).await?;
        let said: Learned = reply.read("what was learned", &[StatusCode::OK]).await?;
        Ok(said.learned)
    }

    async fn send(&self, method: &str, path: &str, body: Vec<u8>, remaining: Option<Duration>) -> Result<Reply, Error> {
        let mut headers = Vec::new();
        if !body.is_empty() {
            headers.push(("content-type", "application/json".to_owned()));
        }
        if let Some(remaining) = remaining {
            headers.push(("x-deadline-ms", deadline::header(remaining)));
        }
        if let Some(credentials) = &self.credentials {
            let sent: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let path = format!("{}{path}", self.prefix);
            headers.extend(credentials.headers(Unsigned {
                method,
                path: &path,
                query: "",
                headers: &sent,
                body: &body,
            })?);
        }
        let url = format!("{}{path}", self.url);
        let mut request = if method == "GET" { self.client.get(url) } else { self.client.post(url) }.body(body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(remaining) = remaining {
            request = request.timeout(remaining.saturating_add(GRACE));
        }
        let response = request.send().await.map_err(|error| failure(&self.url, remaining, error))?;
        Ok(Reply { url: self.url.clone(), remaining, response })
    }
}

#[derive(serde::Deserialize)]
struct Learned {
    learned: bool,
}

/// What a server replied, and how it is read.
struct Reply {
    url: String,
    remaining: Option<Duration>,
    response: Response,
}

impl Reply {
    /// The JSON of the body, which is *expected* in words; the error that it tells of instead.
    async fn read<T: DeserializeOwned>(self, expected: &str, statuses: &[StatusCode]) -> Result<T, Error> {
        let (is_good, foreign, url, remaining) =
            (statuses.contains(&self.response.status()), self.foreign(expected), self.url, self.remaining);
        let is_error = !self.response.status().is_success();
        let body = self.response.bytes().await.map_err(|error| failure(&url, remaining, error))?;
        let told: Value = serde_json::from_slice(&body).unwrap_or_default();
        let error = if is_error { Error::in_body(&told).unwrap_or(foreign) } else { foreign };
        if is_good { serde_json::from_value(told).map_err(|_| error) } else { Err(error) }
    }

    /// *self*, if its body is a stream of events; the error that it tells of instead.
    async fn with_events(self) -> Result<Self, Error> {
        if self.response.status() == StatusCode::OK && content_type(&self.response).starts_with("text/event-stream") {
            return Ok(self);
        }
        match self.read::<Value>("events", &[]).await {
            Ok(_) => unreachable!("no status is good"),
            Err(error) => Err(error),
        }
    }

    /// The error where something that is no llm-pool answered: a proxy in front of it, a captive portal, another program.
    fn foreign(&self, expected: &str) -> Error {
        let status = self.response.status();
        let place = self.response.url().origin().ascii_serialization();
        if status.is_redirection() {
            let target = header(&self.response, "location");
            let target = if target.is_empty() { "another address" } else { target };
            let error = Error::new(Code::Unreachable, format!("{place} redirects to {}", shown(target)));
            return error.with("hint", "give the client that address");
        }
        let expected = if status.is_success() { expected } else { NO_ANSWER };
        let kind = match content_type(&self.response).split(';').next() {
            None | Some("") => "no content type",
            Some(kind) => shown(kind),
        };
        let message = format!("{place} answered {} ({kind}) instead of {expected}", status.as_u16());
        let hint = "something else answers there, perhaps a proxy in front of llm-pool serve";
        Error::new(Code::Unreachable, message).with("hint", hint)
    }
}

/// A stream of events, in the middle of it.
struct Reading {
    reply: Reply,
    decoder: Decoder,
    ready: VecDeque<ServerEvent>,
}

impl Reading {
    /// The next event that this version knows.
    async fn next(&mut self) -> Result<Event, Error> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                if let Some(event) = parsed(&event, &self.reply)? {
                    return Ok(event);
                }
            }
            let Reply { url, remaining, response } = &mut self.reply;
            let piece = response.chunk().await.map_err(|error| failure(url, *remaining, error))?;
            let Some(piece) = piece else {
                return Err(Error::unreachable(url, "it closed the connection in the middle of an answer"));
            };
            self.ready = self.decoder.feed(&piece).map_err(|_| self.reply.foreign("an event"))?.into();
        }
    }
}

/// The event that *told* is, `None` where a later version brought its type.
fn parsed(told: &ServerEvent, reply: &Reply) -> Result<Option<Event>, Error> {
    let mut body: Value = serde_json::from_str(&told.data).map_err(|_| reply.foreign("an event"))?;
    if told.name == "error" {
        return Err(Error::in_body(&body).unwrap_or_else(|| reply.foreign("an event")));
    }
    if !Event::TYPES.contains(&told.name.as_str()) {
        return Ok(None);
    }
    if let Some(fields) = body.as_object_mut() {
        fields.insert("type".to_owned(), told.name.as_str().into());
    }
    serde_json::from_value(body).map(Some).map_err(|_| reply.foreign("an event"))
}

/// *query* as `/v1/infer` takes it.
fn encoded(query: &Query, stream: bool) -> Result<Vec<u8>, Error> {
    let mut body =
        serde_json::to_value(query).map_err(|error| Error::invalid("query", "it is no JSON").because(error))?;
    if stream {
        body["stream"] = true.into();
    }
    Ok(body.to_string().into_bytes())
}

/// What became of a request that got no whole reply; *remaining* was left when it was sent.
fn failure(url: &str, remaining: Option<Duration>, error: reqwest::Error) -> Error {
    match remaining {
        Some(remaining) if error.is_timeout() && !error.is_connect() => Error::late(remaining),
        _ if error.is_timeout() => Error::unreachable(url, "it takes too long to connect").because(error),
        _ => Error::unreachable(url, &reason(&error)).because(error),
    }
}

/// The innermost of what went wrong: the others say where.
fn reason(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), reason)
}

fn content_type(response: &Response) -> &str {
    header(response, "content-type")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The beginning of somebody else's *words*, which are ASCII.
fn shown(words: &str) -> &str {
    words.get(..SHOWN).unwrap_or(words)
}

/// Certificates as the system judges them; none over plain HTTP, so that a machine without authorities may ask. The
/// provider of cryptography is ours alone, and no process's default.
fn tls(is_secure: bool) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = if is_secure {
        config.with_platform_verifier()?
    } else {
        config.with_root_certificates(RootCertStore::empty())
    };
    Ok(config.with_no_client_auth())
}
