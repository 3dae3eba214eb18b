//! Stand-ins for what promdog talks to: virt-api, the Kubernetes API and Datadog's intake. For the demo, docker-compose and
//! the tests; each speaks the real protocol, and breaks on request.

pub mod command;
pub mod fault;
pub mod intake;
pub mod kubernetes;
pub mod serve;
pub mod virt_api;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A small generator of pseudo-random numbers (splitmix64): the same seed, the same cluster.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// In `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// In `0..below`.
    pub fn below(&mut self, below: usize) -> usize {
        ((self.unit() * below as f64) as usize).min(below.saturating_sub(1))
    }

    /// How many events fall into a stretch that holds `expected` on average.
    pub fn events(&mut self, expected: f64) -> u64 {
        let (mut left, mut events) = (expected, 0_u64);
        // Exact for small numbers, rounded for large ones, where nobody can tell.
        if expected > 50.0 {
            return (expected * (0.9 + 0.2 * self.unit())) as u64;
        }
        loop {
            left += self.unit().max(f64::MIN_POSITIVE).ln();
            if left < 0.0 {
                return events;
            }
            events += 1;
        }
    }
}

/// A lock whose holder panicked: a mock goes on with what is there.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
