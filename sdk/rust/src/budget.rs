//! What retries are paid from.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

const SLICES: u64 = 10;
const WINDOW_SECONDS: f64 = 10.0;

/// What all clients of a process may spend on retries.
pub(crate) static SHARED: LazyLock<Arc<Budget>> = LazyLock::new(|| Arc::new(Budget::new(0.1, 0.5)));

/// What retries are paid from: within any ten seconds at most `max(ratio * requests, floor * 10)` further calls are made,
/// so that the clients of a server in need do not make it worse.
///
/// Source: gRPC proposal A6; Finagle's `RetryBudget`.
#[derive(Debug)]
pub struct Budget {
    ratio: f64,
    floor: f64,
    slices: Mutex<VecDeque<Slice>>,
}

#[derive(Debug)]
struct Slice {
    number: u64,
    requests: u32,
    spent: u32,
}

impl Budget {
    /// A budget of *ratio* further calls for each request, in [0, 1], and *floor* a second however few requests there are.
    #[must_use]
    pub fn new(ratio: f64, floor: f64) -> Self {
        Self { ratio, floor: floor * WINDOW_SECONDS, slices: Mutex::default() }
    }

    /// A request begins, with its first call; *now* is an instant of a steady clock.
    pub(crate) fn note_request(&self, now: Duration) {
        self.at(now, |slices| slices.back_mut().map(|newest| newest.requests += 1));
    }

    /// Pays for one further call; false means: do without it.
    pub(crate) fn spend(&self, now: Duration) -> bool {
        self.at(now, |slices| {
            let requests: u32 = slices.iter().map(|slice| slice.requests).sum();
            let spent: u32 = slices.iter().map(|slice| slice.spent).sum();
            let newest = slices.back_mut()?;
            let left = (self.ratio * f64::from(requests)).max(self.floor) - f64::from(spent);
            (left >= 1.0).then(|| newest.spent += 1)
        })
        .is_some()
    }

    /// Looks at the slices of the window up to *now*; those that are older, or later than a clock that stepped back, go.
    fn at<T>(&self, now: Duration, look: impl FnOnce(&mut VecDeque<Slice>) -> T) -> T {
        let number = now.as_secs();
        let mut slices = self.slices.lock().unwrap_or_else(PoisonError::into_inner);
        slices.retain(|slice| slice.number + SLICES > number && slice.number <= number);
        if slices.back().is_none_or(|newest| newest.number != number) {
            slices.push_back(Slice { number, requests: 0, spent: 0 });
        }
        look(&mut slices)
    }
}
