//! Whether a query is sent again, and when: a rule without a clock.
//!
//! Source: "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), full jitter.

use std::sync::Arc;
use std::time::Duration;

use crate::budget::Budget;
use crate::error::Error;

/// The wait before the first retry at most; each further one takes up to twice as long.
pub(crate) const INITIAL_BACKOFF: Duration = Duration::from_millis(100);
/// A server that asks for more is not waited for.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(5);

/// The attempts of one query.
#[derive(Debug)]
pub(crate) struct Retry {
    left: u32,
    budget: Arc<Budget>,
    deadline: Option<Duration>,
    backoff: Duration,
}

impl Retry {
    /// *retries* further attempts at most, paid from *budget*; *deadline* is an instant.
    pub(crate) fn new(retries: u32, budget: Arc<Budget>, deadline: Option<Duration>) -> Self {
        Self { left: retries, budget, deadline, backoff: INITIAL_BACKOFF }
    }

    /// How long to wait before the next attempt; `None` where none makes sense. *draw* is random, in [0, 1).
    pub(crate) fn wait(&mut self, error: &Error, now: Duration, draw: f64) -> Option<Duration> {
        if !error.is_retryable() || self.left == 0 {
            return None;
        }
        let wait = self.backoff.mul_f64(draw).max(error.retry_after().unwrap_or_default());
        let is_late = self.deadline.is_some_and(|deadline| wait >= deadline.saturating_sub(now));
        if wait > MAX_WAIT || is_late || !self.budget.spend(now) {
            return None;
        }
        self.left -= 1;
        self.backoff *= 2;
        Some(wait)
    }
}
