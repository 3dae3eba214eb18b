//! WATCH: a stream of events from a version on, with bookmarks, until its time is over or somebody cuts it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use crate::mock::kubernetes::selector::Filter;
use crate::mock::kubernetes::shared::{Cut, Shared};
use crate::mock::kubernetes::status::Failure;
use crate::mock::kubernetes::store::{Change, Object};
use crate::mock::lock;
use crate::mock::serve::Plain;

/// Events in one piece of the stream, at most.
const AT_ONCE: usize = 128;

/// What a watch's query asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    pub filter: Filter,
    /// Absent or 0: begin with what is there.
    pub version: Option<u64>,
    pub time_out: Duration,
    pub bookmarks: bool,
    /// A bookmark tells the end of what was there at the start.
    pub initial_events: bool,
}

/// How a stream goes on after the piece just sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Follow,
    Break,
    End,
}

#[derive(Debug)]
struct Watch {
    shared: Arc<Shared>,
    filter: Filter,
    /// Every change up to this version has been sent.
    cursor: u64,
    /// What was there at the start, and is yet to be sent.
    initial: VecDeque<Arc<Object>>,
    announce_end_of_initial: bool,
    bookmarks: bool,
    every: Interval,
    end: Instant,
    changed: Receiver<()>,
    cuts: Receiver<Cut>,
    /// The last event sent.
    last: Bytes,
    then: Then,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// # Errors
/// A version that is too old, if that is told by the HTTP status.
pub fn open(shared: &Arc<Shared>, wish: Wish) -> Result<Response, Failure> {
    let Wish { filter, version, time_out, bookmarks, initial_events } = wish;
    let (changed, cuts) = (shared.changed.subscribe(), shared.cuts.subscribe());
    let store = lock(&shared.store);
    let (cursor, initial) = match version.filter(|version| *version > 0 && !initial_events) {
        Some(version) if version < store.oldest => {
            let failure = Failure::too_old(version, store.oldest);
            drop(store);
            if shared.gone_by_status {
                return Err(failure);
            }
            let event = error_event(&failure);
            shared.count_bytes(event.len());
            return Ok(answer(Body::from(event)));
        }
        Some(version) => (version, VecDeque::new()),
        None => {
            let objects = store.table(filter.resource).values().filter(|object| filter.takes(object));
            (store.version, objects.cloned().collect())
        }
    };
    drop(store);
    shared.watchers.fetch_add(1, Ordering::Relaxed);
    let every = shared.bookmark_every.max(Duration::from_millis(1));
    let mut every = interval_at(Instant::now() + every, every);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = Watch {
        shared: Arc::clone(shared),
        filter,
        cursor,
        initial,
        announce_end_of_initial: initial_events,
        bookmarks,
        every,
        end: Instant::now() + time_out,
        changed,
        cuts,
        last: Bytes::new(),
        then: Then::Follow,
    };
    Ok(answer(Body::from_stream(stream::unfold(watch, Watch::step))))
}

/// The real API does not compress a watch either.
fn answer(body: Body) -> Response {
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    response.extensions_mut().insert(Plain);
    response
}

impl Watch {
    /// The next piece of the stream.
    async fn step(mut self) -> Option<(io::Result<Bytes>, Self)> {
        loop {
            match self.then {
                Then::Follow => {}
                Then::Break => {
                    // What was sent shall leave before the connection goes.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    self.then = Then::End;
                    return Some((Err(io::Error::other("cut")), self));
                }
                Then::End => return None,
            }
            if self.cuts.has_changed().unwrap_or(false) {
                let cut = *self.cuts.borrow_and_update();
                self.then = Then::Break;
                if cut == Cut::MidObject {
                    let half = self.half();
                    return Some((Ok(half), self));
                }
                continue;
            }
            let over = Instant::now() >= self.end;
            if !over && let Some(events) = self.events() {
                return Some((Ok(events), self));
            }
            let bookmark = if over {
                self.then = Then::End;
                self.bookmarks && self.initial.is_empty()
            } else {
                tokio::select! {
                    _ = self.changed.changed() => false,
                    // Looked at above.
                    _ = self.cuts.changed() => { self.cuts.mark_changed(); false }
                    _ = self.every.tick() => self.bookmarks,
                    () = sleep_until(self.end) => false,
                }
            };
            if bookmark {
                let event = self.sent(self.bookmark(false));
                return Some((Ok(event), self));
            }
        }
    }

    /// Events that are due, if any.
    fn events(&mut self) -> Option<Bytes> {
        let mut piece = Vec::new();
        if !self.initial.is_empty() {
            for object in self.initial.drain(..self.initial.len().min(AT_ONCE)) {
                write_event("ADDED", &object, &mut piece);
            }
            return Some(self.sent(piece));
        }
        if std::mem::take(&mut self.announce_end_of_initial) {
            return Some(self.sent(self.bookmark(true)));
        }
        self.changed.mark_unchanged();
        let shared = Arc::clone(&self.shared);
        let store = lock(&shared.store);
        let Some(changes) = store.since(self.cursor) else {
            let failure = Failure::too_old(self.cursor, store.oldest);
            self.then = Then::End;
            return Some(self.sent(error_event(&failure)));
        };
        let mut due = Vec::new();
        let mut seen = self.cursor.max(store.version);
        for change in changes {
            if due.len() == AT_ONCE {
                seen = change.version - 1;
                break;
            }
            due.extend(event(&self.filter, change));
        }
        drop(store);
        self.cursor = seen;
        for (kind, object, version) in &due {
            if object.version == *version {
                write_event(kind, object, &mut piece);
            } else {
                write_event(kind, &object.at(*version), &mut piece);
            }
        }
        (!piece.is_empty()).then(|| self.sent(piece))
    }

    /// Half of the next event, or of the last one.
    fn half(&mut self) -> Bytes {
        let last = self.last.clone();
        let next = self.events().unwrap_or(last);
        let next = if next.is_empty() { self.bookmark(false).into() } else { next };
        self.then = Then::Break;
        let line = next.iter().position(|byte| *byte == b'\n').unwrap_or(next.len());
        next.slice(..line / 2)
    }

    fn bookmark(&self, end_of_initial: bool) -> Vec<u8> {
        let resource = self.filter.resource;
        let mut metadata = json!({"resourceVersion": self.cursor.to_string(), "creationTimestamp": null});
        if end_of_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({"apiVersion": resource.api_version(), "kind": resource.kind(), "metadata": metadata});
        line("BOOKMARK", &object)
    }

    fn sent(&mut self, piece: Vec<u8>) -> Bytes {
        self.shared.count_bytes(piece.len());
        let piece = Bytes::from(piece);
        let lines = piece.strip_suffix(b"\n").unwrap_or(&piece);
        let from = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.last = piece.slice(from..);
        piece
    }
}

/// How a change looks through a filter, and as of which version.
fn event(filter: &Filter, change: &Change) -> Option<(&'static str, Arc<Object>, u64)> {
    let Change { version, before, after } = change;
    let before = before.as_ref().filter(|object| filter.takes(object));
    let after = after.as_ref().filter(|object| filter.takes(object));
    let (kind, object) = match (before, after) {
        (None, Some(object)) => ("ADDED", object),
        (Some(_), Some(object)) => ("MODIFIED", object),
        (Some(object), None) => ("DELETED", object),
        (None, None) => return None,
    };
    Some((kind, Arc::clone(object), *version))
}

fn write_event(kind: &str, object: &Object, into: &mut Vec<u8>) {
    into.extend_from_slice(format!(r#"{{"type":"{kind}","object":"#).as_bytes());
    object.write(into);
    into.extend_from_slice(b"}\n");
}

fn error_event(failure: &Failure) -> Vec<u8> {
    line("ERROR", &failure.status())
}

fn line(kind: &str, object: &Value) -> Vec<u8> {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").into_bytes()
}
