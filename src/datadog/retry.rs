//! What to do about an answer, and when to try again. Pure: time and randomness are arguments.
//!
//! The rules are those on which Datadog's own senders agree, except that a refused key holds the queue: keys are rotated,
//! and an hour of points is worth keeping until then.

use std::time::{Duration, SystemTime};

/// The longest `Retry-After` that is obeyed in full.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// The shortest: `Retry-After: 0` must not become a busy loop.
const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a status means for the body that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// Never will be accepted: drop and count.
    Refused,
    /// Split in two and send again.
    TooLarge,
    /// Keep everything until the key changes, with a probe now and then.
    KeyRefused,
    /// Send the same bytes again, later.
    Retry,
}

/// By status alone.
#[must_use]
pub fn judge(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Accepted,
        401 | 403 => Verdict::KeyRefused,
        413 => Verdict::TooLarge,
        // 404: a gateway whose route is missing for now. 407: a proxy's login, which can be put right.
        404 | 407 | 408 | 425 | 429 | 500..=599 => Verdict::Retry,
        _ => Verdict::Refused,
    }
}

/// Back-off of one endpoint: doubles from `base` to `max` with each failure in a row.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    #[must_use]
    pub fn new(base: Duration, max: Duration) -> Self {
        Self { base, max, failures: 0 }
    }

    /// How long to wait after one more failure: what the server asked for, or else a random time in `[d/2, d]`.
    /// `random` is in `[0, 1)`.
    pub fn failed(&mut self, random: f64, retry_after: Option<Duration>) -> Duration {
        let doubled = self.base.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        match retry_after {
            Some(asked) => asked.clamp(MIN_RETRY_AFTER, MAX_RETRY_AFTER),
            None => doubled.min(self.max).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0),
        }
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// Reads a `Retry-After` header: seconds, or an HTTP date (a past one is zero). `None` if it is neither.
#[must_use]
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_judged_as_datadogs_senders_do() {
        let cases = [
            (200, Verdict::Accepted),
            (202, Verdict::Accepted),
            (302, Verdict::Refused),
            (400, Verdict::Refused),
            (401, Verdict::KeyRefused),
            (403, Verdict::KeyRefused),
            (404, Verdict::Retry),
            (408, Verdict::Retry),
            (413, Verdict::TooLarge),
            (415, Verdict::Refused),
            (429, Verdict::Retry),
            (500, Verdict::Retry),
            (503, Verdict::Retry),
        ];
        for (status, verdict) in cases {
            assert_eq!(judge(status), verdict, "{status}");
        }
    }

    #[test]
    fn back_off_doubles_from_two_to_sixty_four_seconds_with_jitter_of_a_half() {
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(64));
        let waits: Vec<u64> = (0..7).map(|_| backoff.failed(1.0, None).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 64]);
        assert_eq!(backoff.failed(0.0, None), Duration::from_secs(32));
        for _ in 0..100 {
            assert!(backoff.failed(0.99, None) <= Duration::from_secs(64));
        }
        backoff.succeeded();
        assert_eq!(backoff.failed(0.0, None), Duration::from_secs(1));
    }

    #[test]
    fn retry_after_is_obeyed_within_a_second_and_five_minutes() {
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(64));
        for (asked, waited) in [(0, 1), (7, 7), (90, 90), (100_000, 300)] {
            assert_eq!(backoff.failed(0.5, Some(Duration::from_secs(asked))), Duration::from_secs(waited));
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after(" 12 ", now), Some(Duration::from_secs(12)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
