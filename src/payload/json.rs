//! Points as zstd-compressed JSON, cut into bodies while encoding, so that no body ever exceeds a limit.

use std::fmt::Write as _;
use std::io::{self, Write};

use zstd::stream::write::Encoder as Zstd;
use zstd::zstd_safe::compress_bound;

use crate::number;
use crate::payload::{Body, Limits, Point};

const OPEN: &[u8] = b"{\"series\":[";
const CLOSE: &[u8] = b"]}";
/// As small as level 3 on this data and a little faster.
const LEVEL: i32 = 1;

/// Encodes the points of one grid second.
pub struct Encoder {
    /// The timestamp of every point, as text.
    second: String,
    /// `"a:b"` for each tag that every series gets.
    common_tags: Vec<String>,
    limits: Limits,
    bodies: Vec<Body>,
    current: Option<Current>,
    scratch: String,
}

/// A body in the making.
struct Current {
    zstd: Zstd<'static, Vec<u8>>,
    raw_bytes: usize,
    /// Written since the last flush, so not yet in the compressed length.
    unflushed: usize,
    points: usize,
}

impl Current {
    fn open() -> io::Result<Self> {
        let mut zstd = Zstd::new(Vec::new(), LEVEL)?;
        zstd.write_all(OPEN)?;
        Ok(Self { zstd, raw_bytes: OPEN.len(), unflushed: OPEN.len(), points: 0 })
    }

    /// Whether `bytes` more still fit, for certain. Flushes to learn the real length when the bound is too coarse.
    fn fits(&mut self, bytes: usize, limits: &Limits) -> io::Result<bool> {
        let more = bytes + 1 + CLOSE.len();
        if self.points >= limits.points || self.raw_bytes + more > limits.raw_bytes {
            return Ok(false);
        }
        let bound = |current: &Self| current.zstd.get_ref().len() + compress_bound(current.unflushed + more) + 16;
        if bound(self) > limits.compressed_bytes {
            self.zstd.flush()?;
            self.unflushed = 0;
        }
        Ok(bound(self) <= limits.compressed_bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.zstd.write_all(bytes)?;
        self.raw_bytes += bytes.len();
        self.unflushed += bytes.len();
        Ok(())
    }

    fn close(mut self) -> io::Result<Body> {
        self.write(CLOSE)?;
        Ok(Body { zstd: self.zstd.finish()?.into(), raw_bytes: self.raw_bytes, points: self.points })
    }
}

impl Encoder {
    /// `common_tags` (`key:value` or bare) go onto every series; `second` is the timestamp of every point.
    #[must_use]
    pub fn new(second: i64, common_tags: &[String], limits: Limits) -> Self {
        let common_tags = common_tags.iter().map(|tag| serde_json::Value::from(tag.as_str()).to_string()).collect();
        Self {
            second: second.to_string(),
            common_tags,
            limits,
            bodies: Vec::new(),
            current: None,
            scratch: String::new(),
        }
    }

    /// Appends one point.
    ///
    /// # Errors
    /// Only what the compressor reports, which on memory it does not; a point that no body could hold is refused with
    /// [`io::ErrorKind::FileTooLarge`].
    pub fn push(&mut self, point: &Point<'_>) -> io::Result<()> {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        write_series(&mut text, point, &self.second, &self.common_tags);
        let result = self.append(text.as_bytes());
        self.scratch = text;
        result
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        if let Some(current) = &mut self.current
            && !current.fits(text.len(), &self.limits)?
            && let Some(full) = self.current.take()
        {
            self.bodies.push(full.close()?);
        }
        let mut current = match self.current.take() {
            Some(current) => current,
            None => Current::open()?,
        };
        if current.points == 0 && !current.fits(text.len(), &self.limits)? {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "one series exceeds the limits of a body"));
        }
        if current.points > 0 {
            current.write(b",")?;
        }
        current.write(text)?;
        current.points += 1;
        self.current = Some(current);
        Ok(())
    }

    /// The finished bodies; none if there was no point.
    ///
    /// # Errors
    /// As [`Encoder::push`].
    pub fn finish(mut self) -> io::Result<Vec<Body>> {
        if let Some(current) = self.current.take() {
            self.bodies.push(current.close()?);
        }
        Ok(self.bodies)
    }
}

/// One member of `series`, fields in the alphabetical order that Datadog's own clients send.
fn write_series(out: &mut String, point: &Point<'_>, second: &str, common_tags: &[String]) {
    out.push('{');
    if let Some(interval) = point.interval {
        out.push_str("\"interval\":");
        write!(out, "{interval}").expect("writing to a string cannot fail");
        out.push(',');
    }
    out.push_str("\"metric\":\"");
    out.push_str(point.name);
    out.push_str(point.suffix);
    out.push_str("\",\"points\":[{\"timestamp\":");
    out.push_str(second);
    out.push_str(",\"value\":");
    number::json(out, point.value);
    out.push_str("}],");
    if point.host.is_some() || !point.json_resources.is_empty() {
        out.push_str("\"resources\":[");
        if let Some(host) = point.host {
            out.push_str("{\"name\":");
            quoted(out, host);
            out.push_str(",\"type\":\"host\"}");
            out.push_str(if point.json_resources.is_empty() { "" } else { "," });
        }
        out.push_str(point.json_resources);
        out.push_str("],");
    }
    out.push_str("\"tags\":[");
    let start = out.len();
    out.push_str(point.json_tags);
    if let Some((key, bound)) = point.bound {
        out.push_str(if out.len() > start { ",\"" } else { "\"" });
        out.push_str(key);
        out.push(':');
        number::write_bound(out, bound);
        out.push('"');
    }
    // A series may have one of the common tags already.
    for tag in common_tags.iter().filter(|tag| !point.json_tags.contains(tag.as_str())) {
        out.push_str(if out.len() > start { "," } else { "" });
        out.push_str(tag);
    }
    out.push_str("],\"type\":");
    out.push(char::from(b'0' + point.kind.code()));
    if let Some(unit) = point.unit {
        out.push_str(",\"unit\":");
        quoted(out, unit);
    }
    out.push('}');
}

/// A JSON string.
fn quoted(out: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}
