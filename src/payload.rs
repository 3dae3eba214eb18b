//! Batches of points as request bodies of Datadog's `POST /api/v2/series`, under the intake's limits. Sends nothing.
//!
//! Documented limits: 512,000 bytes as sent, 5,242,880 bytes of JSON, 10,000 points.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod json;
pub mod points;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

/// One request body: JSON `{"series":[…]}`, compressed as zstd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// As sent, at most 512,000 bytes.
    pub zstd: Arc<[u8]>,
    /// Length of the JSON before compression, at most 5,242,880 bytes.
    pub raw_bytes: usize,
    /// Points inside, at most 10,000.
    pub points: usize,
}

impl Body {
    /// The JSON before compression.
    ///
    /// # Errors
    /// Bytes that were not made by [`json::Encoder`].
    pub fn text(&self) -> std::io::Result<String> {
        let json = zstd::bulk::decompress(&self.zstd, self.raw_bytes)?;
        String::from_utf8(json).map_err(std::io::Error::other)
    }

    /// The increases in it: the counts of each metric, summed.
    ///
    /// # Errors
    /// Bytes that were not made by [`json::Encoder`].
    pub fn increases(&self) -> std::io::Result<BTreeMap<String, f64>> {
        #[derive(Deserialize)]
        struct Text {
            series: Vec<Series>,
        }
        #[derive(Deserialize)]
        struct Series {
            metric: String,
            #[serde(rename = "type")]
            kind: u8,
            points: Vec<Value>,
        }
        #[derive(Deserialize)]
        struct Value {
            value: f64,
        }
        let Text { series } = serde_json::from_str(&self.text()?)?;
        let mut sums = BTreeMap::new();
        for Series { metric, kind, points } in series {
            if kind == PointKind::Count.code() {
                *sums.entry(metric).or_default() += points.iter().map(|point| point.value).sum::<f64>();
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
    /// `upper_bound` or `quantile`, and its number.
    pub bound: Option<(&'static str, f64)>,
    pub host: Option<&'a str>,
    pub unit: Option<&'a str>,
}
