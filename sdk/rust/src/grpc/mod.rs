//! A daemon over gRPC.

mod codec;
mod messages;
#[allow(clippy::large_enum_variant, clippy::pedantic, missing_docs, reason = "prost writes it: tools/rust_stubs.py")]
mod pb {
    include!("llmpool.v1.rs");
}

use std::time::Duration;

use futures_util::stream::try_unfold;
use futures_util::{StreamExt as _, TryFutureExt as _};
use http::uri::PathAndQuery;
use prost::Message;
use reqwest::Url;
use serde_json::{Value, json};
use tonic::client::Grpc as Caller;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code as Status, Request, Streaming};

use crate::answer::Answer;
use crate::client::Events;
use crate::credentials::Credentials;
use crate::deadline::GRACE;
use crate::error::{Code, Error};
use crate::event::Event;
use crate::health::Health;
use crate::query::Query;
use crate::signing::Unsigned;
use crate::transport::CONNECT;
use codec::Bytes;

/// Bytes of one message at most.
const MAX_MESSAGE: usize = 64 << 20;

/// One server.
#[derive(Debug, Clone)]
pub(crate) struct Grpc {
    url: String,
    credentials: Option<Credentials>,
    endpoint: Endpoint,
    /// Opened at the first call, by the runtime that makes it.
    channel: std::sync::Arc<std::sync::OnceLock<Channel>>,
}

impl Grpc {
    pub(crate) fn new(url: &Url, credentials: Option<Credentials>) -> Result<Self, Error> {
        let refused = |error: tonic::transport::Error| Error::invalid("url", "no client for it").because(error);
        let address = url.as_str().replacen("grpc", "http", 1);
        let mut endpoint = Endpoint::from_shared(address).map_err(refused)?.connect_timeout(CONNECT);
        if url.scheme() == "grpcs" {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).map_err(refused)?;
        }
        let url = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { url, credentials, endpoint, channel: std::sync::Arc::default() })
    }

    pub(crate) async fn infer(&self, query: &Query, remaining: Option<Duration>) -> Result<Answer, Error> {
        let answer: pb::Answer = self.ask("Infer", &messages::query(query)?, remaining).await?;
        messages::answer(answer).ok_or_else(|| self.foreign("an answer"))
    }

    /// The events of one attempt.
    pub(crate) fn stream(&self, query: &Query, remaining: Option<Duration>) -> Events {
        let (grpc, message) = (self.clone(), messages::query(query));
        let opened = async move {
            let (mut caller, request, path) = grpc.call("InferStream", &message?, remaining).await?;
            let reply = caller.server_streaming(request, path, Bytes).await;
            let chunks = reply.map_err(|status| grpc.failure(&status, remaining))?.into_inner();
            Ok(try_unfold(Some((grpc, chunks)), move |reading| async move {
                let Some((grpc, mut chunks)) = reading else { return Ok(None) };
                let event = grpc.next(&mut chunks, remaining).await?;
                let goes_on = !matches!(event, Event::Answer(_));
                Ok(Some((event, goes_on.then_some((grpc, chunks)))))
            }))
        };
        opened.try_flatten_stream().boxed()
    }

    pub(crate) async fn health(&self) -> Result<Health, Error> {
        let health: pb::HealthResponse = self.ask("Health", &pb::HealthRequest {}, Some(CONNECT)).await?;
        Ok(messages::health(health))
    }

    pub(crate) async fn feedback(&self, request_id: &str, good: bool) -> Result<bool, Error> {
        let request = pb::FeedbackRequest { request_id: request_id.to_owned(), good };
        let said: pb::FeedbackResponse = self.ask("Feedback", &request, None).await?;
        Ok(said.learned)
    }

    async fn ask<M: Message + Default>(
        &self,
        name: &str,
        message: &impl Message,
        remaining: Option<Duration>,
    ) -> Result<M, Error> {
        let (mut caller, request, path) = self.call(name, message, remaining).await?;
        let reply = caller.unary(request, path, Bytes).await.map_err(|status| self.failure(&status, remaining))?;
        M::decode(reply.into_inner().as_slice()).map_err(|error| self.foreign(name).because(error))
    }

    /// What a call needs: the bytes that are signed are those that are sent.
    async fn call(
        &self,
        name: &str,
        message: &impl Message,
        remaining: Option<Duration>,
    ) -> Result<(Caller<Channel>, Request<Vec<u8>>, PathAndQuery), Error> {
        let (path, body) = (format!("/llmpool.v1.LLMPool/{name}"), message.encode_to_vec());
        let proof = match &self.credentials {
            None => Vec::new(),
            Some(credentials) => {
                let headers = [("content-type", "application/grpc")];
                credentials.headers(Unsigned {
                    method: "GRPC",
                    path: &path,
                    query: "",
                    headers: &headers,
                    body: &body,
                })?
            }
        };
        let mut request = Request::new(body);
        for (header, value) in proof {
            let value = MetadataValue::try_from(value);
            let value = value.map_err(|error| Error::invalid(header, "it cannot be sent").because(error))?;
            request.metadata_mut().insert(header, value);
        }
        if let Some(remaining) = remaining {
            request.set_timeout(remaining);
        }
        let path = PathAndQuery::try_from(path).map_err(|error| Error::invalid("path", "it is none").because(error))?;
        let channel = self.channel.get_or_init(|| self.endpoint.connect_lazy()).clone();
        let mut caller = Caller::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let ready = caller.ready();
        let ready = tokio::time::timeout(remaining.map_or(CONNECT, |remaining| remaining.saturating_add(GRACE)), ready);
        let ready = ready.await.map_err(|_| Error::unreachable(&self.url, "it takes too long to connect"))?;
        ready.map_err(|error| Error::unreachable(&self.url, &error.to_string()).because(error))?;
        Ok((caller, request, path))
    }

    /// The next event that this version knows.
    async fn next(&self, chunks: &mut Streaming<Vec<u8>>, remaining: Option<Duration>) -> Result<Event, Error> {
        loop {
            let chunk = chunks.message().await.map_err(|status| self.failure(&status, remaining))?;
            let Some(chunk) = chunk else {
                return Err(Error::unreachable(&self.url, "it closed the connection in the middle of an answer"));
            };
            let chunk = pb::AnswerChunk::decode(chunk.as_slice());
            let chunk = chunk.map_err(|error| self.foreign("an event").because(error))?;
            if let Some(event) = chunk.event {
                return messages::event(event).ok_or_else(|| self.foreign("an event"));
            }
        }
    }

    /// What the server said, from the trailer; from the status alone where no server of ours spoke.
    fn failure(&self, status: &tonic::Status, remaining: Option<Duration>) -> Error {
        let told = status.metadata().get("llmpool-error").and_then(|value| value.to_str().ok());
        let told = told.and_then(|text| serde_json::from_str::<Value>(text).ok());
        if let Some(error) = told.and_then(|error| Error::in_body(&json!({"error": error}))) {
            return error;
        }
        match status.code() {
            Status::DeadlineExceeded => Error::late(remaining.unwrap_or_default()),
            Status::Cancelled if remaining.is_some() && status.message().contains("Timeout") => {
                Error::late(remaining.unwrap_or_default()) // as tonic tells that the call's own deadline passed
            }
            Status::Cancelled => Error::new(Code::Cancelled, "cancelled by the server"),
            Status::Unavailable => Error::unreachable(&self.url, status.message()),
            code => Error::new(Code::Other(format!("{code:?}")), format!("{}: {}", self.url, status.message())),
        }
    }

    fn foreign(&self, expected: &str) -> Error {
        Error::unreachable(&self.url, &format!("something else answers there instead of {expected}"))
    }
}
