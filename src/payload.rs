//! Batches of points as request bodies of Datadog's `POST /api/v2/series`, under the intake's limits. Sends nothing.
//!
//! Documented limits: 512,000 bytes as sent, 5,242,880 bytes before compression, 10,000 points.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod body;
pub mod json;
pub mod points;
mod protobuf;
mod strings;
pub mod wire;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde::Deserialize;

/// How bodies are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `{"series":[…]}`, as Datadog documents it.
    #[default]
    Json,
    /// `MetricPayload`, as Datadog's Agent sends it.
    Protobuf,
}

/// What stands around series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub open: &'static [u8],
    pub between: &'static [u8],
    pub close: &'static [u8],
}

impl Encoding {
    #[must_use]
    pub fn frame(self) -> Frame {
        match self {
            Self::Json => Frame { open: b"{\"series\":[", between: b",", close: b"]}" },
            // A repeated field: each series says how long it is, and nothing stands around them.
            Self::Protobuf => Frame { open: b"", between: b"", close: b"" },
        }
    }
}

/// One request body, compressed as zstd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    pub encoding: Encoding,
    /// As sent, at most 512,000 bytes.
    pub zstd: Arc<[u8]>,
    /// Length before compression, at most 5,242,880 bytes.
    pub raw_bytes: usize,
    /// Points inside, at most 10,000.
    pub points: usize,
}

impl Body {
    /// The bytes before compression.
    ///
    /// # Errors
    /// Bytes that were not made by [`body::Encoder`].
    pub fn raw(&self) -> io::Result<Vec<u8>> {
        zstd::bulk::decompress(&self.zstd, self.raw_bytes)
    }

    /// The JSON before compression.
    ///
    /// # Errors
    /// Protobuf, and bytes that were not made by [`body::Encoder`].
    pub fn text(&self) -> io::Result<String> {
        match self.encoding {
            Encoding::Json => String::from_utf8(self.raw()?).map_err(io::Error::other),
            Encoding::Protobuf => Err(io::Error::new(io::ErrorKind::InvalidData, "protobuf is no text")),
        }
    }

    /// The increases in it: the counts of each metric, summed.
    ///
    /// # Errors
    /// Bytes that were not made by [`body::Encoder`].
    pub fn increases(&self) -> io::Result<BTreeMap<String, f64>> {
        #[derive(Deserialize)]
        struct Text {
            series: Vec<Series>,
        }
        #[derive(Deserialize)]
        struct Series {
            metric: String,
            #[serde(rename = "type")]
            kind: u64,
            points: Vec<Value>,
        }
        #[derive(Deserialize)]
        struct Value {
            value: f64,
        }
        let mut sums = BTreeMap::new();
        let mut add = |metric: &str, kind: u64, increase: f64| {
            if kind == u64::from(PointKind::Count.code()) {
                *sums.entry(metric.to_owned()).or_default() += increase;
            }
        };
        match self.encoding {
            Encoding::Json => {
                let Text { series } = serde_json::from_str(&self.text()?)?;
                for Series { metric, kind, points } in series {
                    add(&metric, kind, points.iter().map(|point| point.value).sum());
                }
            }
            Encoding::Protobuf => {
                for series in wire::series(&self.raw()?) {
                    let wire::Series { metric, kind, points, .. } = series.map_err(io::Error::other)?;
                    add(metric, kind, points.iter().map(|point| point.value).sum());
                }
            }
        }
        Ok(sums)
    }
}

/// What one body may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub compressed_bytes: usize,
    pub raw_bytes: usize,
    pub points: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { compressed_bytes: 512_000, raw_bytes: 5_242_880, points: 10_000 }
    }
}

/// Datadog's type of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PointKind {
    Count,
    Rate,
    Gauge,
}

impl PointKind {
    /// The number in a v2 body.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Count => 1,
            Self::Rate => 2,
            Self::Gauge => 3,
        }
    }

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Rate => "rate",
            Self::Gauge => "gauge",
        }
    }
}

/// One point of one series, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point<'a> {
    /// Without the suffix.
    pub name: &'a str,
    /// `.count`, `.bucket`, … or nothing.
    pub suffix: &'static str,
    pub kind: PointKind,
    /// Finite.
    pub value: f64,
    /// The seconds that a count covers; absent for gauges.
    pub interval: Option<u32>,
    /// Members of a JSON array, without brackets; may be empty.
    pub json_tags: &'a str,
    /// Members of a JSON array, without brackets, beside the host; may be empty.
    pub json_resources: &'a str,
    /// `upper_bound:0.5` or `quantile:0.5`: nothing that JSON escapes.
    pub bound: Option<&'a str>,
    pub host: Option<&'a str>,
    pub unit: Option<&'a str>,
}
