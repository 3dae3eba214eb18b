//! What waits to be sent: newest first, bounded in bytes and in age. Pure: the time is an argument.
//!
//! Newest first, because a dashboard wants the present, and because the oldest are the first to become worthless.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Queued;

/// Why points were given up before Datadog saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The queue's byte limit; the oldest went.
    QueueFull,
    /// Older than Datadog accepts.
    TooOld,
}

impl DropReason {
    pub const ALL: [Self; 2] = [Self::QueueFull, Self::TooOld];

    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooOld => "too_old",
        }
    }
}

/// Bodies dropped, and why; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    pub reason: DropReason,
    pub bodies: Vec<Queued>,
}

impl Dropped {
    #[must_use]
    pub fn points(&self) -> usize {
        self.bodies.iter().map(|queued| queued.body.points).sum()
    }
}

/// Bodies by second; those of one second keep their order.
#[derive(Debug)]
pub struct Queue {
    bodies: BTreeMap<(i64, Reverse<u64>), Queued>,
    next: u64,
    bytes: usize,
    points: usize,
    max_bytes: usize,
    max_age_seconds: i64,
}

impl Queue {
    /// `max_bytes` counts compressed bodies.
    #[must_use]
    pub fn new(max_bytes: usize, max_age_seconds: i64) -> Self {
        Self { bodies: BTreeMap::new(), next: 0, bytes: 0, points: 0, max_bytes, max_age_seconds }
    }

    /// Adds a body, then drops the oldest until the limit holds: at worst the body itself.
    pub fn push(&mut self, queued: Queued) -> Option<Dropped> {
        self.bytes += queued.body.zstd.len();
        self.points += queued.body.points;
        self.bodies.insert((queued.id.second, Reverse(self.next)), queued);
        self.next += 1;
        let mut bodies = Vec::new();
        while self.bytes > self.max_bytes
            && let Some((_, oldest)) = self.bodies.pop_first()
        {
            self.forget(&oldest);
            bodies.push(oldest);
        }
        dropped(DropReason::QueueFull, bodies)
    }

    /// Drops what is older than the age limit.
    pub fn expire(&mut self, now_seconds: i64) -> Option<Dropped> {
        let oldest_allowed = now_seconds.saturating_sub(self.max_age_seconds);
        let mut bodies = Vec::new();
        while let Some(entry) = self.bodies.first_entry() {
            if entry.key().0 >= oldest_allowed {
                break;
            }
            let oldest = entry.remove();
            self.forget(&oldest);
            bodies.push(oldest);
        }
        dropped(DropReason::TooOld, bodies)
    }

    /// Takes the newest body.
    pub fn pop(&mut self) -> Option<Queued> {
        let (_, newest) = self.bodies.pop_last()?;
        self.forget(&newest);
        Some(newest)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.max_bytes.saturating_sub(self.bytes)
    }

    #[must_use]
    pub fn points(&self) -> usize {
        self.points
    }

    #[must_use]
    pub fn oldest_second(&self) -> Option<i64> {
        self.bodies.keys().next().map(|(second, _)| *second)
    }

    fn forget(&mut self, queued: &Queued) {
        self.bytes -= queued.body.zstd.len();
        self.points -= queued.body.points;
    }
}

fn dropped(reason: DropReason, bodies: Vec<Queued>) -> Option<Dropped> {
    (!bodies.is_empty()).then_some(Dropped { reason, bodies })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{Body, Encoding};
    use crate::store::outbox::Id;

    /// Reason and points.
    fn told(dropped: Option<Dropped>) -> Option<(DropReason, usize)> {
        dropped.map(|dropped| (dropped.reason, dropped.points()))
    }

    fn queued(second: i64, bytes: &[u8]) -> Queued {
        let id = Id { endpoint: String::new(), second, number: 0 };
        let (encoding, points) = (Encoding::Json, bytes.len() * 10);
        Queued { id, uncertain: false, body: Body { encoding, zstd: bytes.into(), raw_bytes: 100, points } }
    }

    #[test]
    fn the_newest_second_comes_first_and_its_parts_in_order() {
        let mut queue = Queue::new(1000, 3600);
        for (second, part) in [(10, b"a"), (20, b"b"), (20, b"c"), (15, b"d")] {
            assert_eq!(queue.push(queued(second, part)), None);
        }
        let order: Vec<u8> = std::iter::from_fn(|| queue.pop()).map(|queued| queued.body.zstd[0]).collect();
        assert_eq!(order, b"bcda");
        assert_eq!((queue.bytes(), queue.points()), (0, 0));
    }

    #[test]
    fn over_the_limit_the_oldest_are_dropped_and_counted() {
        let mut queue = Queue::new(5, 3600);
        assert_eq!(queue.push(queued(1, b"aa")), None);
        assert_eq!(queue.push(queued(2, b"bb")), None);
        assert_eq!(told(queue.push(queued(3, b"cccc"))), Some((DropReason::QueueFull, 40)));
        assert_eq!((queue.bytes(), queue.points(), queue.oldest_second()), (4, 40, Some(3)));
        assert_eq!(told(queue.push(queued(0, b"ddd"))), Some((DropReason::QueueFull, 30)));
        assert_eq!(queue.oldest_second(), Some(3), "an old body put back does not push out a new one");
    }

    #[test]
    fn a_body_over_the_whole_limit_is_dropped_itself() {
        let mut queue = Queue::new(3, 3600);
        assert_eq!(told(queue.push(queued(1, b"aaaa"))), Some((DropReason::QueueFull, 40)));
        assert!(queue.is_empty());
    }

    #[test]
    fn points_over_the_age_limit_are_dropped_and_those_at_it_are_not() {
        let mut queue = Queue::new(1000, 3600);
        queue.push(queued(99, b"a"));
        queue.push(queued(100, b"bb"));
        assert_eq!(queue.expire(3699), None);
        assert_eq!(told(queue.expire(3700)), Some((DropReason::TooOld, 10)));
        assert_eq!(queue.oldest_second(), Some(100));
    }
}
