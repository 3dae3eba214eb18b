//! Faults on request: what a mock does instead of answering well, how often, and on which path.

use std::convert::Infallible;
use std::io::Write;
use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;
use futures::stream;

use crate::mock::lock;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Status(u16),
    /// The answer comes, later.
    Delay(Duration),
    /// The request is dealt with at once, and answered later: whoever has gone by then has been heard all the same.
    Late(Duration),
    /// The connection is cut in the middle of the body.
    Cut,
    /// Bytes that are no answer of the kind.
    Garbage,
    /// A redirect to itself.
    Redirect,
    Html,
    /// A body that never ends.
    Endless,
    /// 300 MiB of zeros in 300 kB of gzip.
    GzipBomb,
    /// The answer with a byte that is no UTF-8 in the middle.
    InvalidUtf8,
    /// Two thirds of the answer, as a whole HTTP answer.
    Truncated,
}

/// A fault, how often, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    /// `None`: always.
    pub times: Option<u32>,
    /// `None`: on every path but `/mock/…`.
    pub path: Option<String>,
}

impl FromStr for Fault {
    type Err = String;

    /// `KIND[*TIMES][@/PATH]`, such as `status=500*3@/healthz`.
    fn from_str(text: &str) -> Result<Self, String> {
        const KINDS: &str = "status=CODE, delay=TIME, late=TIME, cut, garbage, redirect, html, endless, gzip-bomb, invalid-utf8 and truncated";
        let (rest, path) = match text.split_once('@') {
            Some((rest, path)) if path.starts_with('/') => (rest, Some(path.to_owned())),
            Some(_) => return Err(format!("`{text}`: what follows `@` is a path")),
            None => (text, None),
        };
        let (rest, times) = match rest.split_once('*') {
            Some((rest, times)) => {
                (rest, Some(times.parse().map_err(|_| format!("`{text}`: what follows `*` is a number"))?))
            }
            None => (rest, None),
        };
        let kind = match rest.split_once('=').unwrap_or((rest, "")) {
            ("status", code) => Kind::Status(
                code.parse()
                    .ok()
                    .filter(|code| (200..=599).contains(code))
                    .ok_or_else(|| format!("`{text}`: a status is 200 to 599"))?,
            ),
            ("delay" | "late", time) => {
                let time =
                    crate::yaml::node::duration(time).ok_or_else(|| format!("`{text}`: a delay is `500ms` or `2s`"))?;
                if rest.starts_with("late") { Kind::Late(time) } else { Kind::Delay(time) }
            }
            ("cut", "") => Kind::Cut,
            ("garbage", "") => Kind::Garbage,
            ("redirect", "") => Kind::Redirect,
            ("html", "") => Kind::Html,
            ("endless", "") => Kind::Endless,
            ("gzip-bomb", "") => Kind::GzipBomb,
            ("invalid-utf8", "") => Kind::InvalidUtf8,
            ("truncated", "") => Kind::Truncated,
            _ => {
                return Err(format!("no fault `{rest}`; there are {KINDS}, each with `*TIMES` and `@/PATH` if wanted"));
            }
        };
        Ok(Self { kind, times, path })
    }
}

/// A mock's faults; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Fault>>>);

impl Faults {
    #[must_use]
    pub fn new(faults: Vec<Fault>) -> Self {
        Self(Arc::new(Mutex::new(faults)))
    }

    /// Replaces all of them.
    pub fn set(&self, faults: Vec<Fault>) {
        *lock(&self.0) = faults;
    }

    /// The fault for a request, counted.
    fn take(&self, path: &str) -> Option<Kind> {
        if path.starts_with("/mock/") {
            return None;
        }
        let mut faults = lock(&self.0);
        let at = faults
            .iter()
            .position(|fault| fault.path.as_deref().is_none_or(|wanted| wanted == path) && fault.times != Some(0))?;
        let fault = faults.get_mut(at)?;
        fault.times = fault.times.map(|times| times - 1);
        Some(fault.kind)
    }

    /// Puts the faults in front of a router, and `/mock/faults` beside it: `PUT` sets them, one a line.
    pub fn around(&self, router: Router) -> Router {
        let (set, shown) = (self.clone(), self.clone());
        let put = async move |text: String| {
            let faults: Result<Vec<Fault>, String> =
                text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::parse).collect();
            match faults {
                Ok(faults) => {
                    set.set(faults);
                    (StatusCode::OK, String::new())
                }
                Err(problem) => (StatusCode::BAD_REQUEST, format!("{problem}\n")),
            }
        };
        let shown = async move || format!("{:#?}\n", *lock(&shown.0));
        router.route("/mock/faults", get(shown).put(put)).layer(middleware::from_fn_with_state(self.clone(), apply))
    }
}

async fn apply(State(faults): State<Faults>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    match faults.take(&path) {
        None => next.run(request).await,
        Some(Kind::Status(code)) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, format!("a fault asked for: {status}\n")).into_response()
        }
        Some(Kind::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            next.run(request).await
        }
        Some(Kind::Late(delay)) => {
            let answer = next.run(request).await;
            tokio::time::sleep(delay).await;
            answer
        }
        Some(Kind::Cut) => {
            let body = body(next, request).await;
            let half = body.slice(..body.len() / 2);
            let pieces = [Ok(half), Err(std::io::Error::other("cut"))];
            // The error shall come after the first half has left.
            let pieces = stream::iter(pieces).then(async |piece| {
                if piece.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                piece
            });
            (text, Body::from_stream(pieces)).into_response()
        }
        Some(Kind::Garbage) => {
            (text, Bytes::from_static(b"\x00\x9f\x92\x96 {{{ not = metrics \xff\xfe\n")).into_response()
        }
        Some(Kind::Redirect) => {
            let to = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/"));
            (StatusCode::FOUND, [(header::LOCATION, to)]).into_response()
        }
        Some(Kind::Html) => Html("<!DOCTYPE html><html><body>Sign in</body></html>").into_response(),
        Some(Kind::Endless) => {
            let line = Bytes::from("endless_line{x=\"y\"} 1\n".repeat(2000));
            // Others want to be served too.
            let lines = stream::repeat(line).then(async |line| {
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(line)
            });
            (text, Body::from_stream(lines)).into_response()
        }
        Some(Kind::GzipBomb) => {
            static BOMB: OnceLock<Bytes> = OnceLock::new();
            let bomb = BOMB.get_or_init(bomb).clone();
            (text, [(header::CONTENT_ENCODING, "gzip")], bomb).into_response()
        }
        Some(Kind::InvalidUtf8) => {
            let mut bytes = body(next, request).await.to_vec();
            // Into the first label's value, so that one line is wrong.
            if let Some(at) = bytes.windows(2).position(|pair| pair == b"=\"") {
                bytes.insert(at + 2, 0xff);
            }
            (text, bytes).into_response()
        }
        Some(Kind::Truncated) => {
            let bytes = body(next, request).await;
            let two_thirds = bytes.len() * 2 / 3;
            let cut = bytes.iter().take(two_thirds).rposition(|byte| *byte == b'{').unwrap_or(two_thirds);
            (text, bytes.slice(..cut + 1)).into_response()
        }
    }
}

async fn body(next: Next, request: Request) -> Bytes {
    to_bytes(next.run(request).await.into_body(), 64 << 20).await.unwrap_or_default()
}

/// A gzip body may have many members: one of 1 MiB, again and again.
fn bomb() -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let member = encoder.write_all(&vec![0; 1 << 20]).and_then(|()| encoder.finish());
    member.unwrap_or_default().repeat(300).into()
}
