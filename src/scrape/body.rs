//! Reads an answer's body: gunzipped here and not by the client, so that bytes on the wire and bytes in memory have limits
//! of their own, and a bomb or an endless body stops at the first one it meets.

use std::io::{self, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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

/// Bytes of a compressed body that are unpacked in one go: they may become a thousand times as many.
const SIP: usize = 4 << 10;
/// After so much text, others get their turn.
const TURN: usize = 64 << 10;

/// Hands the body over as it comes, and returns its length on the wire.
pub(super) async fn read(
    mut response: Response,
    limits: Limits,
    progress: &Progress,
    take: impl FnMut(&[u8]),
) -> Result<u64, Error> {
    let gzip = is_gzip(&response)?;
    let (wire_limit, wire_what) = if gzip { (limits.compressed, COMPRESSED) } else { (limits.decompressed, PLAIN) };
    let too_large = || Error::TooLarge { limit: wire_limit, what: wire_what };
    if response.content_length().is_some_and(|length| length > wire_limit) {
        return Err(too_large());
    }

    let max = usize::try_from(limits.decompressed).unwrap_or(usize::MAX);
    let mut sink = Sink::new(gzip, Limited::new(max, Page { take, begun: false, html: false }));
    let (mut wire_bytes, mut turn) = (0_u64, 0);
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
        for sip in chunk.chunks(if gzip { SIP } else { TURN }) {
            sink.write(sip).map_err(|error| sink.error(&error, limits))?;
            let Limited { taken, to, .. } = sink.limited();
            if to.html {
                return Err(Error::Html);
            }
            if *taken - turn >= TURN {
                turn = *taken;
                tokio::task::yield_now().await;
            }
        }
    }
    sink.finish().map_err(|error| sink.error(&error, limits))?;
    if sink.limited().to.html { Err(Error::Html) } else { Ok(wire_bytes) }
}

/// The beginning of a body that is not a metrics page; whatever goes wrong, it only gets shorter.
pub(super) async fn aside(mut response: Response, max: usize) -> Vec<u8> {
    let gzip = is_gzip(&response).unwrap_or(false);
    let mut sink = Sink::new(gzip, Limited::new(max, Vec::new()));
    let mut wire_bytes = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        wire_bytes += chunk.len();
        if sink.write(&chunk).is_err() || wire_bytes > max {
            break;
        }
    }
    match sink {
        Sink::Plain(sink) => sink.to,
        Sink::Gzip(mut decoder) => std::mem::take(&mut decoder.get_mut().to),
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

/// Where text goes.
trait Take {
    fn take(&mut self, text: &[u8]);
}

impl Take for Vec<u8> {
    fn take(&mut self, text: &[u8]) {
        self.extend_from_slice(text);
    }
}

/// A page that begins like HTML is handed over no further.
struct Page<F> {
    take: F,
    /// It has a first character.
    begun: bool,
    html: bool,
}

impl<F: FnMut(&[u8])> Take for Page<F> {
    fn take(&mut self, text: &[u8]) {
        if !self.begun
            && let Some(first) = text.trim_ascii_start().first()
        {
            self.begun = true;
            self.html = *first == b'<';
        }
        if !self.html {
            (self.take)(text);
        }
    }
}

enum Sink<T: Take> {
    Plain(Limited<T>),
    Gzip(Box<MultiGzDecoder<Limited<T>>>),
}

impl<T: Take> Sink<T> {
    fn new(gzip: bool, limited: Limited<T>) -> Self {
        if gzip { Self::Gzip(Box::new(MultiGzDecoder::new(limited))) } else { Self::Plain(limited) }
    }

    fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(sink) => sink.write_all(chunk),
            Self::Gzip(decoder) => decoder.write_all(chunk),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(decoder) => decoder.try_finish(),
        }
    }

    fn limited(&self) -> &Limited<T> {
        match self {
            Self::Plain(sink) => sink,
            Self::Gzip(decoder) => decoder.get_ref(),
        }
    }

    fn error(&self, error: &io::Error, limits: Limits) -> Error {
        let what = match self {
            Self::Plain(_) => PLAIN,
            Self::Gzip(_) => DECOMPRESSED,
        };
        let over = self.limited().over;
        if over { Error::TooLarge { limit: limits.decompressed, what } } else { Error::Gzip(error.to_string()) }
    }
}

/// Hands over so much and no more.
struct Limited<T> {
    to: T,
    taken: usize,
    max: usize,
    over: bool,
}

impl<T> Limited<T> {
    fn new(max: usize, to: T) -> Self {
        Self { to, taken: 0, max, over: false }
    }
}

impl<T: Take> Write for Limited<T> {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        let room = self.max - self.taken;
        // What still fits is kept: the beginning of an error page is wanted, however long it is.
        let fits = &chunk[..chunk.len().min(room)];
        self.to.take(fits);
        self.taken += fits.len();
        if fits.len() < chunk.len() {
            self.over = true;
            return Err(io::Error::other("over the limit"));
        }
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
