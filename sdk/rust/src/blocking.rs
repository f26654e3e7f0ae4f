//! The client without `await`, for programs that have no runtime.

use futures_util::StreamExt as _;
use tokio::runtime::{Builder, Runtime};

use crate::client::Events;
use crate::{Answer, Error, Event, Health, Message, Query};

/// A [`Client`](crate::Client) whose calls block; threads may share one. Not for use within a runtime.
///
/// ```no_run
/// # fn example() -> Result<(), llm_pool::Error> {
/// let pool = llm_pool::blocking::Client::new(llm_pool::Client::new("http://127.0.0.1:7071")?)?;
/// println!("{}", pool.infer("Is 17 prime?")?.content);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    client: crate::Client,
    runtime: Runtime,
}

impl Client {
    /// *client*, on a runtime of its own.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn new(client: crate::Client) -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| Error::unreachable("this machine", "no runtime").because(error))?;
        Ok(Self { client, runtime })
    }

    /// As [`Client::infer`](crate::Client::infer).
    ///
    /// # Errors
    ///
    /// Likewise.
    pub fn infer(&self, query: impl Into<Query>) -> Result<Answer, Error> {
        self.runtime.block_on(self.client.infer(query))
    }

    /// As [`Client::stream`](crate::Client::stream).
    pub fn stream(&self, query: impl Into<Query>) -> Iter<'_> {
        Iter { runtime: &self.runtime, events: self.client.stream(query) }
    }

    /// As [`Client::chat`](crate::Client::chat).
    ///
    /// # Errors
    ///
    /// Likewise.
    pub fn chat(&self, messages: &[Message], query: Query) -> Result<Answer, Error> {
        self.runtime.block_on(self.client.chat(messages, query))
    }

    /// As [`Client::feedback`](crate::Client::feedback).
    ///
    /// # Errors
    ///
    /// Likewise.
    pub fn feedback(&self, request_id: &str, good: bool) -> Result<bool, Error> {
        self.runtime.block_on(self.client.feedback(request_id, good))
    }

    /// As [`Client::health`](crate::Client::health).
    ///
    /// # Errors
    ///
    /// Likewise.
    pub fn health(&self) -> Result<Health, Error> {
        self.runtime.block_on(self.client.health())
    }
}

/// The events of a stream, one after the other. Dropping it ends the models' work.
pub struct Iter<'a> {
    runtime: &'a Runtime,
    events: Events,
}

impl Iterator for Iter<'_> {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.runtime.block_on(self.events.next())
    }
}
