//! When to try again what has failed. The back-off is pure: randomness is an argument, and what time it is does not matter.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// The longest `Retry-After` that is obeyed in full.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// The shortest: `Retry-After: 0` must not become a busy loop.
const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Back-off of one endpoint or connection: doubles from `base` to `max` with each failure in a row.
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

/// In `[0, 1)`: the standard library's hash keys are random, and jitter needs no more.
#[must_use]
pub fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
