//! What can go wrong with a fetch, in words that help. Texts hold no secrets: URLs are shown without login and query.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{StatusCode, Url};
use rustls::AlertDescription;

use super::Auth;
use crate::tls::{self, CertificateProblem};

/// Why a target could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target's parameters cannot be used at all.
    #[error("{0}")]
    Setup(String),
    #[error("{url} gave no complete answer within {after:?} ({stage}); if it needs longer, raise its time-out")]
    Timeout { url: String, after: Duration, stage: String },
    #[error("cannot connect to {url}: {cause}")]
    Connect { url: String, cause: String },
    #[error("cannot find the host of {url}: {cause}")]
    Dns { url: String, cause: String },
    #[error("{url}: {cause}")]
    Tls { url: String, cause: String, problem: Option<CertificateProblem> },
    #[error("status {status} instead of 200{}{}", prefixed("; ", advice), prefixed(": ", excerpt))]
    Status {
        status: u16,
        /// What to do; may be empty.
        advice: String,
        /// The beginning of the answer, on one line; may be empty.
        excerpt: String,
    },
    #[error("the page is over {limit} bytes {what}; if it is right, raise the target's limit")]
    TooLarge { limit: u64, what: &'static str },
    #[error("{0}")]
    Redirect(String),
    #[error("the gzip-encoded answer cannot be read: {0}")]
    Gzip(String),
    #[error("the answer is an HTML page, not metrics; check the URL's path (most exporters answer under /metrics)")]
    Html,
    #[error("the answer is `{0}`, not the Prometheus text format; check the URL")]
    ContentType(String),
    #[error("{url} broke off its answer: {cause}")]
    Body { url: String, cause: String },
    #[error("{what} {}: {problem}", path.display())]
    AuthFile { what: &'static str, path: PathBuf, problem: String },
}

impl Error {
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Setup(_) => "setup",
            Self::Timeout { .. } => "timeout",
            Self::Connect { .. } => "connect",
            Self::Dns { .. } => "dns",
            Self::Tls { .. } => "tls",
            Self::Status { .. } => "status",
            Self::TooLarge { .. } => "too_large",
            Self::Redirect(_) => "redirect",
            Self::Gzip(_) => "gzip",
            Self::Html | Self::ContentType(_) => "content_type",
            Self::Body { .. } => "body",
            Self::AuthFile { .. } => "auth_file",
        }
    }

    /// Sorts an error that came while sending the request.
    pub(super) fn from_request(url: &Url, source: &reqwest::Error) -> Self {
        let shown = shown(url);
        if source.is_timeout() {
            return Self::Connect { url: shown, cause: "the connection timed out".to_owned() };
        }
        if let Some(error) = tls::tls_error(source) {
            let problem = tls::certificate_advice(source);
            let cause = match (&problem, error) {
                (Some(problem), _) => problem.to_string(),
                (None, rustls::Error::InvalidMessage(_)) => {
                    "the server does not speak TLS; use http:// if that is meant".to_owned()
                }
                (None, rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => {
                    "the server wants a client certificate: give the target a certificate file and a key file"
                        .to_owned()
                }
                (None, error) => format!("TLS failed: {error}"),
            };
            return Self::Tls { url: shown, cause, problem };
        }
        let cause = root_cause(source);
        if source.is_dns() {
            return Self::Dns { url: shown, cause };
        }
        if source.is_connect() {
            return Self::Connect { url: shown, cause };
        }
        // A TLS server that is spoken to in plain text hangs up, or answers in TLS.
        let advice = if url.scheme() == "http" { " (if the port speaks TLS, use https:// in the URL)" } else { "" };
        Self::Body { url: shown, cause: format!("{cause}{advice}") }
    }
}

/// How far a fetch got, for the text of a time-out.
#[derive(Debug, Default)]
pub(super) struct Progress {
    answered: AtomicBool,
    bytes: AtomicU64,
}

impl Progress {
    pub(super) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn stage(&self) -> String {
        match (self.answered.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed)) {
            (false, _) => "no answer began".to_owned(),
            (true, bytes) => format!("the answer stopped coming after {bytes} bytes"),
        }
    }
}

/// A URL for people: without login, fragment and query values.
pub(super) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    let _ = (shown.set_username(""), shown.set_password(None));
    shown.set_fragment(None);
    if shown.query().is_some() {
        shown.set_query(Some("…"));
    }
    shown.to_string().replace("%E2%80%A6", "…")
}

/// The innermost text of an error: `Connection refused (os error 111)` rather than three wrappings of it.
pub(super) fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

pub(super) fn check_content_type(content_type: Option<&str>) -> Result<(), Error> {
    let Some(full) = content_type else { return Ok(()) };
    let media = full.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.as_str() {
        "" | "text/plain" | "application/openmetrics-text" => Ok(()),
        "text/html" | "application/xhtml+xml" => Err(Error::Html),
        _ => Err(Error::ContentType(printable(full, 100))),
    }
}

/// What to do about a status other than 200; may be empty.
pub(super) fn status_advice(status: StatusCode, text: &str, auth: &Auth) -> String {
    let advice = match status.as_u16() {
        400 if text.contains("to an HTTPS server") || text.contains("to HTTPS port") => {
            "the port speaks TLS: use https:// in the URL"
        }
        401 | 403 => match auth {
            Auth::None => "it wants to know who asks: give a bearer token file or basic authentication for this target",
            Auth::Basic { .. } => "user name or password are refused: check the target's basic authentication",
            Auth::BearerFile(_) => "the bearer token is refused: check the token file, and what its account may do",
        },
        404 | 405 => "check the URL's path (most exporters answer under /metrics)",
        429 | 503 => "it is overloaded or limits its scrapes",
        300..=399 => "it redirects without saying where",
        500..=599 => "it failed by itself: look into its log",
        _ => "",
    };
    advice.to_owned()
}

/// The beginning of an error page on one line; empty for HTML, which nobody wants to read in a log.
pub(super) fn excerpt(text: &str) -> String {
    if text.trim_start().starts_with('<') { String::new() } else { printable(text, 160) }
}

/// At most `max` characters, white space folded, control characters dropped.
fn printable(text: &str, max: usize) -> String {
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut chars = folded.chars().filter(|c| !c.is_control());
    let mut short: String = chars.by_ref().take(max).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

fn prefixed(prefix: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{prefix}{text}") }
}
