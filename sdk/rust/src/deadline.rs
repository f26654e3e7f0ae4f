//! What is left of a deadline.

use std::time::Duration;

use crate::error::Error;

/// How much longer than its deadline a client waits for the server to say that it passed.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
/// What the header can say at most, as a signature covers nine digits; the body has the query's own deadline.
const MAX_HEADER: u128 = 999_999_999;

/// The value of `X-Deadline-Ms` where *remaining* is left: whole milliseconds, at least one.
pub(crate) fn header(remaining: Duration) -> String {
    remaining.as_millis().clamp(1, MAX_HEADER).to_string()
}

/// What is left until *deadline*, of *asked* in all; an error where nothing is.
pub(crate) fn remaining(deadline: Duration, asked: Duration, now: Duration) -> Result<Duration, Error> {
    match deadline.saturating_sub(now) {
        Duration::ZERO => Err(Error::late(asked)),
        remaining => Ok(remaining),
    }
}
