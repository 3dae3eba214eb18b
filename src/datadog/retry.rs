//! What to do about an answer. Pure.
//!
//! The rules are those on which Datadog's own senders agree, except that a refused key holds the queue: keys are rotated,
//! and an hour of points is worth keeping until then.

use std::time::{Duration, SystemTime};

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
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after(" 12 ", now), Some(Duration::from_secs(12)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
    }
}
