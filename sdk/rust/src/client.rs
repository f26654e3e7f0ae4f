//! The client: one query, again where that helps, within its deadline and a budget.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use futures_util::stream::{BoxStream, once};
use futures_util::{FutureExt as _, StreamExt as _, TryFutureExt as _};

use crate::answer::Answer;
use crate::budget::{Budget, SHARED};
use crate::conversation::Message;
use crate::credentials::Credentials;
use crate::deadline;
use crate::error::Error;
use crate::event::Event;
use crate::health::Health;
use crate::query::Query;
use crate::retry::Retry;
use crate::signing::random_id;
use crate::transport::Transport;

/// What happens while a query is answered; the last event is the answer. Dropping it ends the models' work.
pub type Events = BoxStream<'static, Result<Event, Error>>;

/// Instants are told from here.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A client of an llm-pool daemon; clones share one.
///
/// What the server did not take (overloaded, stopping, over a rate, out of reach) is sent again within the query's
/// deadline and the budget. Every query has a `request_id`, so one that was taken after all is not asked twice.
///
/// ```no_run
/// # async fn example() -> Result<(), llm_pool::Error> {
/// let pool = llm_pool::Client::new("http://127.0.0.1:7071")?;
/// let answer = pool.infer("Is 17 prime?").await?;
/// println!("{} ({})", answer.content, answer.winner_model);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    transport: Arc<Transport>,
    retries: u32,
    budget: Arc<Budget>,
}

/// How a [`Client`] is to be made.
///
/// ```
/// use llm_pool::{Client, Credentials};
///
/// # fn example() -> Result<(), llm_pool::Error> {
/// let pool = Client::builder("https://pool.example")
///     .credentials(Credentials::hmac("acme-9dc5e4ee", "lpsk_…"))
///     .retries(0)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    url: String,
    credentials: Option<Credentials>,
    retries: u32,
    budget: Arc<Budget>,
}

impl Builder {
    /// Who we are; left out where the server does not ask.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Further attempts at most; 2 unless given.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// What retries are paid from; unless given, all clients of a process share one.
    #[must_use]
    pub fn budget(mut self, budget: Arc<Budget>) -> Self {
        self.budget = budget;
        self
    }

    /// The client. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`Code::InvalidRequest`](crate::Code::InvalidRequest): the address has another shape.
    pub fn build(self) -> Result<Client, Error> {
        let transport = Arc::new(Transport::new(&self.url, self.credentials)?);
        Ok(Client { transport, retries: self.retries, budget: self.budget })
    }
}

impl Client {
    /// A client of the daemon at *url*, `http://host:port` or `https://host:port`, with feature `grpc` also `grpc://` and
    /// `grpcs://`.
    ///
    /// # Errors
    ///
    /// [`Code::InvalidRequest`](crate::Code::InvalidRequest): the address has another shape.
    pub fn new(url: &str) -> Result<Self, Error> {
        Self::builder(url).build()
    }

    /// More to say about it.
    #[must_use]
    pub fn builder(url: &str) -> Builder {
        Builder { url: url.to_owned(), credentials: None, retries: 2, budget: Arc::clone(&SHARED) }
    }

    /// The answer to *query*. Dropping the future ends the models' work.
    ///
    /// # Errors
    ///
    /// What the server said; [`Code::Unreachable`](crate::Code::Unreachable) where it did not answer.
    pub async fn infer(&self, query: impl Into<Query>) -> Result<Answer, Error> {
        let mut attempts = self.attempts(query.into())?;
        loop {
            match self.transport.infer(&attempts.query, attempts.remaining()?).await {
                Err(error) => attempts.back_off(error).await?,
                answer => return answer,
            }
        }
    }

    /// What happens while *query* is answered; the last event is the answer. Errors are those of [`infer`](Self::infer).
    ///
    /// Nothing is sent again once something was heard.
    ///
    /// ```no_run
    /// use futures_util::StreamExt as _;
    /// use llm_pool::{Client, Event};
    ///
    /// # async fn example(pool: Client) -> Result<(), llm_pool::Error> {
    /// let mut events = pool.stream("Tell me of the sea.");
    /// while let Some(event) = events.next().await {
    ///     match event? {
    ///         Event::Start { model, why, .. } => println!("{model}: {why}"),
    ///         Event::Answer(answer) => println!("{}", answer.content),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(&self, query: impl Into<Query>) -> Events {
        let (client, query) = (self.clone(), query.into());
        let begun = async move {
            let mut attempts = client.attempts(query)?;
            loop {
                let mut events = client.transport.stream(&attempts.query, attempts.remaining()?);
                match events.next().await {
                    Some(Err(error)) => attempts.back_off(error).await?,
                    first => return Ok(once(async { first }).filter_map(std::future::ready).chain(events)),
                }
            }
        };
        begun.boxed().try_flatten_stream().boxed()
    }

    /// The answer to the last of *messages*, the user's, in the light of the others; *query* says the rest.
    ///
    /// # Errors
    ///
    /// As [`infer`](Self::infer); [`Code::InvalidRequest`](crate::Code::InvalidRequest) too where the user asks nothing at
    /// their end.
    pub async fn chat(&self, messages: &[Message], query: Query) -> Result<Answer, Error> {
        self.infer(query.about(messages)?).await
    }

    /// Says how good the answer to *`request_id`* was; whether somebody gains or loses trust by it.
    ///
    /// # Errors
    ///
    /// [`Code::InvalidRequest`](crate::Code::InvalidRequest): no answer of several models is kept under that id.
    pub async fn feedback(&self, request_id: &str, good: bool) -> Result<bool, Error> {
        self.transport.feedback(request_id, good).await
    }

    /// How the server's providers are; a server without a healthy one says so, and that is no error.
    ///
    /// # Errors
    ///
    /// [`Code::Unreachable`](crate::Code::Unreachable): it does not answer.
    pub async fn health(&self) -> Result<Health, Error> {
        self.transport.health().await
    }

    fn attempts(&self, mut query: Query) -> Result<Attempts, Error> {
        let now = EPOCH.elapsed();
        self.budget.note_request(now);
        if query.request_id.as_deref().is_none_or(str::is_empty) {
            query.request_id = Some(random_id()?);
        }
        let asked = query.deadline_ms.filter(|ms| *ms > 0.0).map(|ms| Duration::try_from_secs_f64(ms / 1000.0));
        let asked = asked.transpose().map_err(|error| Error::invalid("deadline_ms", "it is no span").because(error))?;
        let deadline = asked.map(|asked| now.saturating_add(asked));
        let retry = Retry::new(self.retries, Arc::clone(&self.budget), deadline);
        Ok(Attempts { query, asked: asked.unwrap_or_default(), deadline, retry })
    }
}

/// One query's attempts, on the clock of this machine.
struct Attempts {
    query: Query,
    asked: Duration,
    deadline: Option<Duration>,
    retry: Retry,
}

impl Attempts {
    /// What is left until the query's deadline; an error where nothing is.
    fn remaining(&self) -> Result<Option<Duration>, Error> {
        self.deadline.map(|deadline| deadline::remaining(deadline, self.asked, EPOCH.elapsed())).transpose()
    }

    /// Waits until another attempt makes sense; *error* where none does.
    async fn back_off(&mut self, error: Error) -> Result<(), Error> {
        match self.retry.wait(&error, EPOCH.elapsed(), draw()) {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(error),
        }
        Ok(())
    }
}

/// A random number in [0, 1); a machine without randomness waits the longest.
fn draw() -> f64 {
    getrandom::u32().map_or(1.0, |drawn| f64::from(drawn) / (f64::from(u32::MAX) + 1.0))
}
