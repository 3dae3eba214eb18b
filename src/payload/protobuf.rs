//! A series as protobuf, for `POST /api/v2/series` as Datadog's Agent sends it: field 1 of its `MetricPayload`
//! (`agent_payload.proto`). Fields are in the order of their numbers. A value of 0 is
//! written, since series that differ in length would compress to nearly twice the size.

use crate::payload::{Point, strings};
use crate::tags::quoted;

/// Room for the tag and the length that stand before a series and are known after it.
const HEADER: usize = 11;

/// What stands before a field: its number, and how it is written.
mod tag {
    pub(super) const PAYLOAD_SERIES: u8 = 1 << 3 | BYTES;
    pub(super) const RESOURCE: u8 = 1 << 3 | BYTES;
    pub(super) const METRIC: u8 = 2 << 3 | BYTES;
    pub(super) const TAG: u8 = 3 << 3 | BYTES;
    pub(super) const POINT: u8 = 4 << 3 | BYTES;
    pub(super) const TYPE: u8 = 5 << 3 | VARINT;
    pub(super) const UNIT: u8 = 6 << 3 | BYTES;
    pub(super) const INTERVAL: u8 = 8 << 3 | VARINT;
    pub(super) const POINT_VALUE: u8 = 1 << 3 | FIXED64;
    pub(super) const POINT_TIMESTAMP: u8 = 2 << 3 | VARINT;
    pub(super) const RESOURCE_TYPE: u8 = 1 << 3 | BYTES;
    pub(super) const RESOURCE_NAME: u8 = 2 << 3 | BYTES;

    const VARINT: u8 = 0;
    const FIXED64: u8 = 1;
    const BYTES: u8 = 2;
}

/// Writes series of one second.
pub(super) struct Series {
    /// Of every point, as a field.
    timestamp: Vec<u8>,
    common_tags: Vec<CommonTag>,
    tags: Tags,
    /// [`HEADER`], then the series.
    out: Vec<u8>,
    scratch: String,
}

/// The tags last written: a histogram's points follow each other, and share them.
#[derive(Default)]
struct Tags {
    json: String,
    /// A point's own, as fields.
    own: Vec<u8>,
    /// Common ones that are not among them.
    common: Vec<u8>,
}

impl Tags {
    /// Cuts a point's tags apart.
    fn cut(&mut self, json: &str, common_tags: &[CommonTag], scratch: &mut String) {
        let Self { json: known, own, common } = self;
        known.clear();
        known.push_str(json);
        own.clear();
        let mut rest = json;
        while let Some(quoted) = strings::next(&mut rest) {
            put_string(own, tag::TAG, &[quoted.text(scratch)]);
        }
        common.clear();
        // A series may have one of the common tags already.
        for one in common_tags.iter().filter(|one| !json.contains(&one.json)) {
            put_string(common, tag::TAG, &[&one.text]);
        }
    }
}

struct CommonTag {
    /// As it would stand among a point's tags.
    json: String,
    text: String,
}

impl Series {
    pub(super) fn new(second: i64, common_tags: &[String]) -> Self {
        let mut timestamp = vec![tag::POINT_TIMESTAMP];
        // Negative ones are two's complement, as `int64` is.
        put_varint(&mut timestamp, second as u64);
        let common_tags: Vec<CommonTag> =
            common_tags.iter().map(|tag| CommonTag { json: quoted(tag), text: tag.clone() }).collect();
        let (mut tags, mut scratch) = (Tags::default(), String::new());
        tags.cut("", &common_tags, &mut scratch);
        Self { timestamp, common_tags, tags, out: Vec::new(), scratch }
    }

    /// A point as a series of its own, tag and length included.
    pub(super) fn write(&mut self, point: &Point<'_>) -> &[u8] {
        let Self { timestamp, common_tags, tags, out, scratch } = self;
        out.clear();
        out.resize(HEADER, 0);
        put_resources(out, scratch, point);
        put_string(out, tag::METRIC, &[point.name, point.suffix]);
        if tags.json != point.json_tags {
            tags.cut(point.json_tags, common_tags, scratch);
        }
        out.extend_from_slice(&tags.own);
        if let Some(bound) = point.bound {
            put_string(out, tag::TAG, &[bound]);
        }
        out.extend_from_slice(&tags.common);
        put_point(out, point.value, timestamp);
        out.extend_from_slice(&[tag::TYPE, point.kind.code()]);
        if let Some(unit) = point.unit {
            put_string(out, tag::UNIT, &[unit]);
        }
        if let Some(interval) = point.interval {
            out.push(tag::INTERVAL);
            put_varint(out, u64::from(interval));
        }
        with_header(out)
    }
}

/// The series with its tag and length, which end where it begins.
fn with_header(out: &mut [u8]) -> &[u8] {
    let mut length = out.len() - HEADER;
    let start = HEADER - 1 - varint_length(length);
    out[start] = tag::PAYLOAD_SERIES;
    for byte in &mut out[start + 1..HEADER - 1] {
        *byte = length as u8 | 0x80;
        length >>= 7;
    }
    out[HEADER - 1] = length as u8;
    &out[start..]
}

/// The host, then what [`crate::payload::points::json_resources`] wrote: names, and then types.
fn put_resources(out: &mut Vec<u8>, scratch: &mut String, point: &Point<'_>) {
    if let Some(host) = point.host {
        put_resource(out, "host", host);
    }
    let mut rest = point.json_resources;
    while let (Some(_), Some(name), Some(_), Some(strings::Quoted::Plain(kind))) =
        (strings::next(&mut rest), strings::next(&mut rest), strings::next(&mut rest), strings::next(&mut rest))
    {
        put_resource(out, kind, name.text(scratch));
    }
}

fn put_resource(out: &mut Vec<u8>, kind: &str, name: &str) {
    out.push(tag::RESOURCE);
    put_varint(out, (string_length(kind) + string_length(name)) as u64);
    put_string(out, tag::RESOURCE_TYPE, &[kind]);
    put_string(out, tag::RESOURCE_NAME, &[name]);
}

fn put_point(out: &mut Vec<u8>, value: f64, timestamp: &[u8]) {
    out.push(tag::POINT);
    put_varint(out, (1 + size_of::<f64>() + timestamp.len()) as u64);
    out.push(tag::POINT_VALUE);
    out.extend_from_slice(&value.to_le_bytes());
    out.extend_from_slice(timestamp);
}

/// A string that is given in parts.
fn put_string(out: &mut Vec<u8>, tag: u8, parts: &[&str]) {
    out.push(tag);
    put_varint(out, parts.iter().map(|part| part.len()).sum::<usize>() as u64);
    parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
}

/// Of a string as a field.
fn string_length(text: &str) -> usize {
    1 + varint_length(text.len()) + text.len()
}

/// Seven bits a byte, and a byte for 0.
fn varint_length(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
