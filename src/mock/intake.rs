//! A mock Datadog intake: takes what carries the right key and keeps every rule, refuses the rest, and shows what it took.

pub mod judge;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Notify;

use crate::mock::intake::judge::{Headers, Identity, PROTOBUF, Received, Rejection, identity, judge};
use crate::mock::lock;
use crate::mock::serve::{Running, Setup, start};

/// A mock intake.
#[derive(Clone, Debug)]
pub struct Params {
    pub setup: Setup,
    /// The API key that opens it.
    pub key: String,
    /// Every point taken is appended to this file, as a line of JSON.
    pub record: Option<PathBuf>,
}

impl Default for Params {
    fn default() -> Self {
        Self { setup: Setup::default(), key: "mock".to_owned(), record: None }
    }
}

/// A running mock.
#[derive(Debug)]
pub struct Intake {
    pub running: Running,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    key: String,
    log: Mutex<Log>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Log {
    points: Vec<Received>,
    known: BTreeMap<Identity, f64>,
    rejections: Vec<Rejection>,
    requests: u64,
    /// Of those, how many said that they were protobuf.
    protobuf: u64,
    bytes: u64,
    resent: u64,
    record: Option<File>,
}

impl Intake {
    /// Starts one on the current Tokio runtime.
    ///
    /// # Errors
    /// An address that cannot be had, or a record that cannot be opened.
    pub async fn start(params: Params) -> anyhow::Result<Self> {
        let Params { setup, key, record } = params;
        let record = record
            .map(|path| {
                let file = File::options().create(true).append(true).open(&path);
                file.with_context(|| format!("cannot record to {}", path.display()))
            })
            .transpose()?;
        let log = Mutex::new(Log { record, ..Log::default() });
        let shared = Arc::new(Shared { key, log, changed: Notify::new() });
        let router = Router::new()
            .route("/api/v2/series", post(series))
            .route("/api/v1/validate", get(validate).post(validate))
            .route("/mock/points", get(points).delete(clear))
            .route("/mock/summary", get(summary))
            .layer(DefaultBodyLimit::max(8 << 20))
            .with_state(Arc::clone(&shared));
        let running = start(setup, router).await?;
        Ok(Self { running, shared })
    }

    /// Every point taken, in order.
    #[must_use]
    pub fn points(&self) -> Vec<Received> {
        lock(&self.shared.log).points.clone()
    }

    #[must_use]
    pub fn rejections(&self) -> Vec<Rejection> {
        lock(&self.shared.log).rejections.clone()
    }

    /// Requests so far, refused ones included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        lock(&self.shared.log).requests
    }

    /// Requests of protobuf so far, refused ones included.
    #[must_use]
    pub fn protobuf_requests(&self) -> u64 {
        lock(&self.shared.log).protobuf
    }

    /// Waits until what was received satisfies a condition; `false` if that takes longer than `patience`.
    pub async fn wait_for(&self, patience: Duration, condition: impl Fn(&[Received]) -> bool) -> bool {
        let waiting = async {
            loop {
                let changed = self.shared.changed.notified();
                if condition(&lock(&self.shared.log).points) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(patience, waiting).await.is_ok()
    }
}

async fn series(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let seen = Headers {
        key: text("dd-api-key"),
        content_type: text("content-type"),
        content_encoding: text("content-encoding"),
    };
    let judged = judge(seen, &body, &shared.key, now_millis());
    let mut log = lock(&shared.log);
    log.requests += 1;
    log.protobuf += u64::from(seen.content_type == Some(PROTOBUF));
    log.bytes += body.len() as u64;
    let answer = match judged.and_then(|points| log.take(points)) {
        Ok(()) => (StatusCode::ACCEPTED, Json(json!({"errors": []}))).into_response(),
        Err(rejection) => {
            let status = StatusCode::from_u16(rejection.status).unwrap_or(StatusCode::BAD_REQUEST);
            let answer = (status, Json(json!({"errors": rejection.errors}))).into_response();
            log.rejections.push(rejection);
            answer
        }
    };
    drop(log);
    shared.changed.notify_waiters();
    answer
}

impl Log {
    /// Takes points in, unless one replaces another that was taken before. The same point again changes nothing.
    fn take(&mut self, points: Vec<Received>) -> Result<(), Rejection> {
        let replaced = |point: &&Received| self.known.get(&identity(point)).is_some_and(|known| *known != point.value);
        if let Some(point) = points.iter().find(replaced) {
            let text = format!("{}: another value for a second that was sent before", point.name);
            return Err(Rejection { status: 400, errors: vec![text] });
        }
        for point in points {
            if self.known.insert(identity(&point), point.value).is_some() {
                self.resent += 1;
                continue;
            }
            if let Some(record) = &mut self.record
                && let Ok(line) = serde_json::to_string(&point)
                && let Err(error) = writeln!(record, "{line}")
            {
                tracing::error!(%error, "the record cannot be written");
            }
            self.points.push(point);
        }
        Ok(())
    }
}

async fn validate(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let valid = headers.get("dd-api-key").and_then(|key| key.to_str().ok()) == Some(shared.key.as_str());
    let status = if valid { StatusCode::OK } else { StatusCode::FORBIDDEN };
    (status, Json(json!({"valid": valid}))).into_response()
}

#[derive(Debug, Deserialize)]
struct Selection {
    name: Option<String>,
}

async fn points(State(shared): State<Arc<Shared>>, Query(Selection { name }): Query<Selection>) -> Json<Vec<Received>> {
    let log = lock(&shared.log);
    Json(log.points.iter().filter(|point| name.as_ref().is_none_or(|name| *name == point.name)).cloned().collect())
}

async fn clear(State(shared): State<Arc<Shared>>) -> StatusCode {
    lock(&shared.log).points.clear();
    StatusCode::NO_CONTENT
}

async fn summary(State(shared): State<Arc<Shared>>) -> Response {
    let Log { points, known: _, rejections, requests, protobuf, bytes, resent, record: _ } = &*lock(&shared.log);
    let summary = json!({
        "requests": requests, "protobuf": protobuf, "bytes": bytes, "points": points.len(), "resent": resent,
        "rejections": rejections,
    });
    Json(summary).into_response()
}

fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
