//! Points as compressed bodies, cut while encoding, so that no body ever exceeds a limit. What a series looks like is for
//! `json` and `protobuf` to say.

use std::io::{self, Write};

use zstd::stream::write::Encoder as Zstd;
use zstd::zstd_safe::compress_bound;

use crate::payload::{Body, Encoding, Frame, Limits, Point, json, protobuf};

/// As small as level 3 on this data and a little faster.
const LEVEL: i32 = 1;

/// Encodes the points of one grid second.
pub struct Encoder {
    series: Series,
    bodies: Bodies,
}

/// Who writes a series.
enum Series {
    Json(json::Series),
    Protobuf(protobuf::Series),
}

impl Encoder {
    /// `common_tags` (`key:value` or bare) go onto every series; `second` is the timestamp of every point.
    #[must_use]
    pub fn new(encoding: Encoding, second: i64, common_tags: &[String], limits: Limits) -> Self {
        let series = match encoding {
            Encoding::Json => Series::Json(json::Series::new(second, common_tags)),
            Encoding::Protobuf => Series::Protobuf(protobuf::Series::new(second, common_tags)),
        };
        Self { series, bodies: Bodies { encoding, limits, full: Vec::new(), current: None } }
    }

    /// Appends one point.
    ///
    /// # Errors
    /// Only what the compressor reports, which on memory it does not; a point that no body could hold is refused with
    /// [`io::ErrorKind::FileTooLarge`].
    pub fn push(&mut self, point: &Point<'_>) -> io::Result<()> {
        let bytes = match &mut self.series {
            Series::Json(series) => series.write(point),
            Series::Protobuf(series) => series.write(point),
        };
        self.bodies.append(bytes)
    }

    /// The finished bodies; none if there was no point.
    ///
    /// # Errors
    /// As [`Encoder::push`].
    pub fn finish(self) -> io::Result<Vec<Body>> {
        self.bodies.finish()
    }
}

/// Full bodies, and the one that is filled.
struct Bodies {
    encoding: Encoding,
    limits: Limits,
    full: Vec<Body>,
    current: Option<Current>,
}

impl Bodies {
    fn append(&mut self, series: &[u8]) -> io::Result<()> {
        if let Some(current) = &mut self.current
            && current.fits(series.len(), &self.limits)?
        {
            current.write(current.frame.between)?;
            return current.add(series);
        }
        if let Some(full) = self.current.take() {
            self.full.push(full.close()?);
        }
        let mut current = Current::open(self.encoding)?;
        if !current.fits(series.len(), &self.limits)? {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "one series exceeds the limits of a body"));
        }
        current.add(series)?;
        self.current = Some(current);
        Ok(())
    }

    fn finish(mut self) -> io::Result<Vec<Body>> {
        if let Some(current) = self.current.take() {
            self.full.push(current.close()?);
        }
        Ok(self.full)
    }
}

/// A body in the making.
struct Current {
    encoding: Encoding,
    frame: Frame,
    zstd: Zstd<'static, Vec<u8>>,
    raw_bytes: usize,
    /// Written since the last flush, so not yet in the compressed length.
    unflushed: usize,
    points: usize,
}

impl Current {
    fn open(encoding: Encoding) -> io::Result<Self> {
        let (frame, zstd) = (encoding.frame(), Zstd::new(Vec::new(), LEVEL)?);
        let mut current = Self { encoding, frame, zstd, raw_bytes: 0, unflushed: 0, points: 0 };
        current.write(frame.open)?;
        Ok(current)
    }

    /// Whether `bytes` more still fit, for certain. Flushes to learn the real length when the bound is too coarse.
    fn fits(&mut self, bytes: usize, limits: &Limits) -> io::Result<bool> {
        let more = bytes + self.frame.between.len() + self.frame.close.len();
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

    fn add(&mut self, series: &[u8]) -> io::Result<()> {
        self.points += 1;
        self.write(series)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.zstd.write_all(bytes)?;
        self.raw_bytes += bytes.len();
        self.unflushed += bytes.len();
        Ok(())
    }

    fn close(mut self) -> io::Result<Body> {
        self.write(self.frame.close)?;
        let Self { encoding, frame: _, zstd, raw_bytes, unflushed: _, points } = self;
        Ok(Body { encoding, zstd: zstd.finish()?.into(), raw_bytes, points })
    }
}
