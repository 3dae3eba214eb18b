//! Reads an answer's body: gunzipped here and not by the client, so that bytes on the wire and bytes in memory have limits
//! of their own, and a bomb or an endless body stops at the first one it meets.

use std::io::{self, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use reqwest::Response;
use reqwest::header::{self, HeaderValue};

use super::error::{Error, Progress, root_cause, shown};

const COMPRESSED: &str = "on the wire";
const DECOMPRESSED: &str = "decompressed";
const PLAIN: &str = "long";

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) compressed: u64,
    pub(super) decompressed: u64,
}

/// The whole body, and its length on the wire. `expected` is a guess at its size.
pub(super) async fn read(
    mut response: Response,
    limits: Limits,
    expected: usize,
    progress: &Progress,
) -> Result<(Bytes, u64), Error> {
    let gzip = is_gzip(&response)?;
    let (wire_limit, wire_what) = if gzip { (limits.compressed, COMPRESSED) } else { (limits.decompressed, PLAIN) };
    let too_large = || Error::TooLarge { limit: wire_limit, what: wire_what };
    if response.content_length().is_some_and(|length| length > wire_limit) {
        return Err(too_large());
    }

    let max = usize::try_from(limits.decompressed).unwrap_or(usize::MAX);
    let sink = Limited { bytes: Vec::with_capacity(expected.min(max)), max, over: false };
    let mut sink = if gzip { Sink::Gzip(Box::new(MultiGzDecoder::new(sink))) } else { Sink::Plain(sink) };
    let mut wire_bytes = 0_u64;
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(source) => {
                return Err(Error::Body { url: shown(response.url()), cause: root_cause(&source) });
            }
        };
        progress.received(chunk.len());
        wire_bytes += chunk.len() as u64;
        if wire_bytes > wire_limit {
            return Err(too_large());
        }
        sink.write(&chunk).map_err(|error| sink.error(&error, limits))?;
    }
    let bytes = match sink {
        Sink::Plain(sink) => sink.bytes,
        Sink::Gzip(mut decoder) => {
            if let Err(error) = decoder.try_finish() {
                return Err(Sink::Gzip(decoder).error(&error, limits));
            }
            std::mem::take(&mut decoder.get_mut().bytes)
        }
    };
    Ok((Bytes::from(bytes), wire_bytes))
}

/// The beginning of a body that is not a metrics page; whatever goes wrong, it only gets shorter.
pub(super) async fn aside(mut response: Response, max: usize) -> Vec<u8> {
    let gzip = is_gzip(&response).unwrap_or(false);
    let sink = Limited { bytes: Vec::new(), max, over: false };
    let mut sink = if gzip { Sink::Gzip(Box::new(MultiGzDecoder::new(sink))) } else { Sink::Plain(sink) };
    let mut wire_bytes = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        wire_bytes += chunk.len();
        if sink.write(&chunk).is_err() || wire_bytes > max {
            break;
        }
    }
    match sink {
        Sink::Plain(sink) => sink.bytes,
        Sink::Gzip(mut decoder) => std::mem::take(&mut decoder.get_mut().bytes),
    }
}

/// `Basic` credentials.
pub(super) fn basic_auth(username: &str, password: &str, password_file: &Path) -> Result<HeaderValue, Error> {
    HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))).map_err(|_| {
        Error::AuthFile {
            what: "password file",
            path: password_file.to_owned(),
            problem: "it cannot be sent in a header".to_owned(),
        }
    })
}

fn is_gzip(response: &Response) -> Result<bool, Error> {
    let Some(encoding) = response.headers().get(header::CONTENT_ENCODING) else { return Ok(false) };
    let encoding = String::from_utf8_lossy(encoding.as_bytes()).trim().to_ascii_lowercase();
    match encoding.as_str() {
        "" | "identity" => Ok(false),
        "gzip" | "x-gzip" => Ok(true),
        other => Err(Error::Gzip(format!("it is encoded as `{other}`, though only gzip was asked for"))),
    }
}

enum Sink {
    Plain(Limited),
    Gzip(Box<MultiGzDecoder<Limited>>),
}

impl Sink {
    fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(sink) => sink.write_all(chunk),
            Self::Gzip(decoder) => decoder.write_all(chunk),
        }
    }

    fn error(&self, error: &io::Error, limits: Limits) -> Error {
        let (over, what) = match self {
            Self::Plain(sink) => (sink.over, PLAIN),
            Self::Gzip(decoder) => (decoder.get_ref().over, DECOMPRESSED),
        };
        if over { Error::TooLarge { limit: limits.decompressed, what } } else { Error::Gzip(error.to_string()) }
    }
}

/// A vector that refuses to grow over its limit.
struct Limited {
    bytes: Vec<u8>,
    max: usize,
    over: bool,
}

impl Write for Limited {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        if chunk.len() > self.max - self.bytes.len() {
            // What still fits is kept: the beginning of an error page is wanted, however long it is.
            let room = self.max - self.bytes.len();
            self.bytes.extend_from_slice(chunk.get(..room).unwrap_or_default());
            self.over = true;
            return Err(io::Error::other("over the limit"));
        }
        self.bytes.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
