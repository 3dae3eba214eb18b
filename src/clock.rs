//! The wall clock, for the shell alone. The core is given moments.

use std::time::{Duration, SystemTime};

use crate::time::UnixMillis;

/// The present moment. A clock before 1970 is at its beginning.
#[must_use]
pub fn now() -> UnixMillis {
    UnixMillis(i64::try_from(since_1970().as_millis()).unwrap_or(i64::MAX))
}

/// The same, to the clock's own precision.
#[must_use]
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
