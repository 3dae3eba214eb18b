//! Says what goes wrong with an endpoint, but not over and over.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// One kind of trouble is logged this often at most.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Logs each kind of trouble at a bounded rate, and how often it was not said.
#[derive(Default)]
pub(super) struct Log {
    /// Whether the last thing that happened was a failure.
    pub(super) failing: bool,
    said: HashMap<&'static str, (Instant, u64)>,
}

impl Log {
    pub(super) fn warn(&mut self, label: &'static str, text: impl FnOnce() -> String) {
        if let Some(unsaid) = self.may_say(label) {
            tracing::warn!(unsaid, "datadog: {}", text());
        }
    }

    pub(super) fn info(&mut self, label: &'static str, text: impl FnOnce() -> String) {
        if let Some(unsaid) = self.may_say(label) {
            tracing::info!(unsaid, "datadog: {}", text());
        }
    }

    fn may_say(&mut self, label: &'static str) -> Option<u64> {
        let now = Instant::now();
        match self.said.get_mut(label) {
            Some((last, unsaid)) if now.duration_since(*last) < LOG_EVERY => {
                *unsaid += 1;
                None
            }
            Some((last, unsaid)) => {
                *last = now;
                Some(std::mem::take(unsaid))
            }
            None => {
                self.said.insert(label, (now, 0));
                Some(0)
            }
        }
    }
}
