//! What comes back from an endpoint, whoever asked, in words that help. Judges nothing.

use std::error::Error as StdError;

use crate::tls::{self, CertificateProblem};

/// What came back.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Status {
        code: u16,
        /// The header, unread.
        retry_after: Option<String>,
        /// The beginning of the answer on one line, or where a redirect leads; the key is masked.
        text: String,
    },
    Timeout,
    /// No answer, and why.
    Broken {
        text: String,
        /// The request may have arrived.
        sent: bool,
    },
    /// Nothing was sent, since there is no usable key.
    NoKey(String),
}

/// Why there is no answer.
pub(super) fn broken(error: &reqwest::Error) -> Answer {
    if error.is_timeout() {
        return Answer::Timeout;
    }
    let (text, sent) = match tls::certificate_advice(error) {
        Some(CertificateProblem::UnknownIssuer) => (
            format!(
                "{}; if a proxy of yours signs it, set SSL_CERT_FILE to a PEM file that holds its CA",
                CertificateProblem::UnknownIssuer.fact()
            ),
            false,
        ),
        Some(problem) => (problem.fact(), false),
        None if error.is_dns() => (format!("the host is unknown ({})", innermost(error)), false),
        None if error.is_connect() => (format!("cannot connect ({})", innermost(error)), false),
        None => (innermost(error), true),
    };
    Answer::Broken { text, sent }
}

/// `{"errors":["a","b"]}` as `a, b`; anything else folded to one line, and HTML not at all.
pub(super) fn excerpt(answer: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Errors {
        errors: Vec<String>,
    }
    let text = match serde_json::from_slice::<Errors>(answer) {
        Ok(parsed) => parsed.errors.join(", "),
        Err(_) => String::from_utf8_lossy(answer).into_owned(),
    };
    if text.trim_start().starts_with('<') {
        return String::new();
    }
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    folded.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// The innermost text of an error.
pub(super) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
