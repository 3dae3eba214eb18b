//! What Datadog's intake would say to a request, and stricter where it documents a rule that it does not enforce. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use serde::{Deserialize, Serialize};

use crate::payload::{Encoding, wire};

const MAX_COMPRESSED_BYTES: usize = 512_000;
const MAX_RAW_BYTES: u64 = 5_242_880;
const MAX_POINTS: usize = 10_000;
const MAX_TAGS: usize = 100;
const MAX_TAG_BYTES: usize = 200;
const MAX_NAME_BYTES: usize = 200;
const SECONDS_AHEAD: i64 = 600;
const SECONDS_BEHIND: i64 = 3600;

/// The `Content-Type` of a `MetricPayload`.
pub const PROTOBUF: &str = "application/x-protobuf";

/// One point, as it arrived.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Received {
    /// Milliseconds since 1970, by the intake's clock.
    pub received: i64,
    pub name: String,
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Seconds since 1970.
    pub timestamp: i64,
    pub value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<i64>,
    /// Sorted.
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// A refusal: status and reasons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejection {
    pub status: u16,
    pub errors: Vec<String>,
}

impl Rejection {
    pub(super) fn new(status: u16, error: impl Into<String>) -> Self {
        Self { status, errors: vec![error.into()] }
    }
}

/// The headers that matter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    pub key: Option<&'a str>,
    pub content_type: Option<&'a str>,
    pub content_encoding: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    series: Vec<Series>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Series {
    metric: String,
    #[serde(rename = "type")]
    kind: i64,
    points: Vec<Point>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    resources: Vec<Resource>,
    unit: Option<String>,
    interval: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Point {
    timestamp: i64,
    value: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    #[serde(rename = "type")]
    kind: String,
    name: String,
}

/// What identifies a point: Datadog keeps only the last of two with one identity.
pub type Identity = (String, Vec<String>, i64);

/// A point's identity, tags as Datadog stores them; its host and devices count as tags.
#[must_use]
pub fn identity(point: &Received) -> Identity {
    let host = point.host.iter().map(|host| format!("host:{host}"));
    let devices = point.devices.iter().map(|device| format!("device:{device}"));
    let tags: BTreeSet<String> =
        point.tags.iter().cloned().chain(host).chain(devices).map(|tag| tag.to_lowercase()).collect();
    (point.name.clone(), tags.into_iter().collect(), point.timestamp)
}

/// Judges a request: all of its points, or why none is taken.
///
/// # Errors
/// The answer's status and its reasons.
pub fn judge(headers: Headers<'_>, body: &[u8], key: &str, now_millis: i64) -> Result<Vec<Received>, Rejection> {
    match headers.key {
        None => return Err(Rejection::new(401, "Unauthorized: no DD-API-KEY")),
        Some(given) if given != key => return Err(Rejection::new(403, "Forbidden")),
        Some(_) => {}
    }
    let encoding = match headers.content_type {
        Some(kind) if kind.starts_with("application/json") => Encoding::Json,
        Some(PROTOBUF) => Encoding::Protobuf,
        _ => return Err(Rejection::new(415, "Content-Type has to be application/json or application/x-protobuf")),
    };
    if body.len() > MAX_COMPRESSED_BYTES {
        return Err(Rejection::new(413, format!("Payload too large: {} bytes as sent", body.len())));
    }
    let raw = decode(headers.content_encoding, body)?;
    let series = match encoding {
        Encoding::Json => serde_json::from_slice(&raw).map(|Payload { series }| series).map_err(unreadable)?,
        Encoding::Protobuf => {
            wire::series(&raw).map(|series| series.map(Series::from)).collect::<Result<_, _>>().map_err(unreadable)?
        }
    };
    let count: usize = series.iter().map(|series| series.points.len()).sum();
    if count > MAX_POINTS {
        return Err(Rejection::new(413, format!("Payload too large: {count} points")));
    }
    let (mut points, mut errors) = (Vec::new(), Vec::new());
    for series in series {
        read_series(series, now_millis, &mut points, &mut errors);
    }
    let mut seen: BTreeMap<Identity, f64> = BTreeMap::new();
    for point in &points {
        if seen.insert(identity(point), point.value).is_some() {
            errors.push(format!("{}: two points with one name, tags and second", point.name));
        }
    }
    if errors.is_empty() { Ok(points) } else { Err(Rejection { status: 400, errors }) }
}

fn unreadable(error: impl Display) -> Rejection {
    Rejection::new(400, format!("Payload is not in the expected format: {error}"))
}

impl From<wire::Series<'_>> for Series {
    fn from(series: wire::Series<'_>) -> Self {
        let wire::Series { whole: _, resources, metric, tags, points, kind, unit, interval } = series;
        let resource = |wire::Resource { kind, name }: wire::Resource<'_>| Resource {
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        Self {
            metric: metric.to_owned(),
            kind: i64::try_from(kind).unwrap_or(i64::MAX),
            points: points.into_iter().map(|wire::Point { value, timestamp }| Point { timestamp, value }).collect(),
            tags: tags.into_iter().map(str::to_owned).collect(),
            resources: resources.into_iter().map(resource).collect(),
            unit: unit.map(str::to_owned),
            interval,
        }
    }
}

fn decode(encoding: Option<&str>, body: &[u8]) -> Result<Vec<u8>, Rejection> {
    let mut raw = Vec::new();
    let limit = MAX_RAW_BYTES + 1;
    let read = match encoding.unwrap_or("identity") {
        "identity" => {
            raw.extend_from_slice(body);
            Ok(body.len())
        }
        "zstd1" | "zstd" => {
            zstd::stream::read::Decoder::new(body).and_then(|decoder| decoder.take(limit).read_to_end(&mut raw))
        }
        "gzip" => MultiGzDecoder::new(body).take(limit).read_to_end(&mut raw),
        "deflate" => ZlibDecoder::new(body).take(limit).read_to_end(&mut raw),
        other => return Err(Rejection::new(415, format!("Content-Encoding `{other}` is not known"))),
    };
    read.map_err(|error| Rejection::new(400, format!("the body is not what its Content-Encoding says: {error}")))?;
    if raw.len() as u64 > MAX_RAW_BYTES {
        return Err(Rejection::new(413, "Payload too large: over 5242880 bytes before compression"));
    }
    Ok(raw)
}

fn read_series(series: Series, now_millis: i64, points: &mut Vec<Received>, errors: &mut Vec<String>) {
    let Series { metric, kind, points: given, tags, resources, unit, interval } = series;
    let mut complain = |what: String| errors.push(format!("{metric}: {what}"));
    let letter = metric.starts_with(|char: char| char.is_ascii_alphabetic());
    let legal = metric.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.'));
    if !letter || !legal || metric.len() > MAX_NAME_BYTES {
        complain("a name starts with a letter and has letters, digits, `_` and `.`, 200 at most".to_owned());
    }
    let kind = match kind {
        1 => "count",
        2 => "rate",
        3 => "gauge",
        other => {
            complain(format!("no type {other}"));
            "gauge"
        }
    };
    match (kind, interval) {
        ("gauge", Some(_)) => complain("a gauge has no interval".to_owned()),
        ("count" | "rate", None) => complain("a count needs an interval".to_owned()),
        (_, Some(..=0)) => complain("an interval is at least a second".to_owned()),
        _ => {}
    }
    if tags.len() > MAX_TAGS {
        complain(format!("{} tags", tags.len()));
    }
    for tag in &tags {
        let letter = tag.starts_with(char::is_alphabetic);
        let reserved = tag.starts_with("device:") || tag.starts_with("dd.internal.resource:");
        if !letter || tag.ends_with(':') || tag.len() > MAX_TAG_BYTES || tag.contains(char::is_control) || reserved {
            complain(format!("no tag: `{tag}`"));
        }
    }
    let mut tags = tags;
    tags.sort();
    if tags.windows(2).any(|pair| pair[0] == pair[1]) {
        complain("a tag stands twice".to_owned());
    }
    if given.is_empty() {
        complain("no points".to_owned());
    }
    let (mut host, mut devices) = (None, Vec::new());
    for Resource { kind, name } in resources {
        let fits = !name.is_empty() && name.len() <= 255;
        match kind.as_str() {
            "host" if fits && host.is_none() => host = Some(name),
            "device" if fits => devices.push(name),
            _ => complain(format!("no resource: {kind}:{name}")),
        }
    }
    for Point { timestamp, value } in given {
        let now = now_millis.div_euclid(1000);
        if timestamp > now + SECONDS_AHEAD || timestamp < now - SECONDS_BEHIND {
            complain(format!("the timestamp {timestamp} is not near {now}"));
        }
        if !value.is_finite() {
            complain("a value is a finite number".to_owned());
        }
        let (tags, host, devices, unit) = (tags.clone(), host.clone(), devices.clone(), unit.clone());
        points.push(Received {
            received: now_millis,
            name: metric.clone(),
            kind,
            timestamp,
            value,
            interval,
            tags,
            host,
            devices,
            unit,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Headers, PROTOBUF, Received, judge};

    const NOW: i64 = 1_700_000_000;
    const GOOD: &str = r#"{"metric":"a.b","type":3,"points":[{"timestamp":1700000000,"value":1.5}],"tags":["x:y"]}"#;

    fn verdict(series: &str) -> Result<usize, String> {
        let headers = Headers { key: Some("k"), content_type: Some("application/json"), content_encoding: None };
        let body = format!("{{\"series\":[{series}]}}");
        judge(headers, body.as_bytes(), "k", NOW * 1000)
            .map(|points| points.len())
            .map_err(|rejection| rejection.errors.join("; "))
    }

    #[test]
    fn a_good_series_is_taken() {
        assert_eq!(verdict(GOOD), Ok(1));
        let count = GOOD.replace("\"type\":3", "\"type\":1,\"interval\":15");
        assert_eq!(verdict(&count), Ok(1));
    }

    #[test]
    fn each_documented_rule_is_held() {
        for (from, to, expected) in [
            ("a.b", "9a", "a name starts with a letter"),
            ("a.b", "a-b", "a name starts with a letter"),
            ("\"type\":3", "\"type\":4", "no type 4"),
            ("\"type\":3", "\"type\":1", "a count needs an interval"),
            ("\"type\":3", "\"type\":3,\"interval\":15", "a gauge has no interval"),
            ("x:y", "x:", "no tag"),
            ("x:y", "1x:y", "no tag"),
            ("\"x:y\"", "\"x:y\",\"x:y\"", "a tag stands twice"),
            ("1700000000", "1700000700", "is not near"),
            ("1700000000", "1699990000", "is not near"),
            ("1.5", "null", "not in the expected format"),
            ("1.5", "NaN", "not in the expected format"),
            ("\"tags\"", "\"tgas\"", "unknown field"),
            ("{\"timestamp\":1700000000,\"value\":1.5}", "", "no points"),
        ] {
            let problem = verdict(&GOOD.replace(from, to)).expect_err(to);
            assert!(problem.contains(expected), "{to}: {problem}");
        }
        let twice = format!("{GOOD},{}", GOOD.replace("x:y", "X:y"));
        assert!(verdict(&twice).expect_err("one identity").contains("two points with one name"));
    }

    #[test]
    fn headers_and_sizes_are_judged_first() {
        let good = Headers { key: Some("k"), content_type: Some("application/json"), content_encoding: None };
        let status = |headers: Headers<'_>, body: &[u8]| {
            judge(headers, body, "k", NOW * 1000).map_or_else(|rejection| rejection.status, |_| 202)
        };
        assert_eq!(status(good, b"{\"series\":[]}"), 202);
        assert_eq!(status(Headers { key: None, ..good }, b""), 401);
        assert_eq!(status(Headers { key: Some("x"), ..good }, b""), 403);
        assert_eq!(status(Headers { content_type: None, ..good }, b""), 415);
        assert_eq!(status(Headers { content_encoding: Some("br"), ..good }, b""), 415);
        assert_eq!(status(Headers { content_encoding: Some("gzip"), ..good }, b"{}"), 400);
        assert_eq!(status(good, &vec![b' '; 512_001]), 413);
        let large = zstd::bulk::compress(&vec![b' '; 5_300_000], 1).expect("compresses");
        assert_eq!(status(Headers { content_encoding: Some("zstd1"), ..good }, &large), 413);
    }

    #[test]
    fn protobuf_is_judged_alike() {
        let headers = Headers { key: Some("k"), content_type: Some(PROTOBUF), content_encoding: None };
        let verdict = |body: &[u8]| judge(headers, body, "k", NOW * 1000);
        // A gauge named `a` at NOW, with the value 0; then one with an interval, and a field that no series has.
        let point = b"\x22\x06\x10\x80\xe2\xcf\xaa\x06";
        let series = |more: &[u8]| {
            let fields = [&b"\x12\x01a"[..], point, more].concat();
            [&[10, u8::try_from(fields.len()).expect("short")], &fields[..]].concat()
        };
        let good = verdict(&series(b"\x28\x03")).expect("it keeps every rule");
        let (name, kind, timestamp, value) = ("a".to_owned(), "gauge", NOW, 0.0);
        let (tags, devices) = (Vec::new(), Vec::new());
        let received = NOW * 1000;
        let interval = None;
        let (host, unit) = (None, None);
        assert_eq!(good, [Received { received, name, kind, timestamp, value, interval, tags, host, devices, unit }]);
        for (more, expected) in [
            (&b"\x28\x03\x40\x0f"[..], "a gauge has no interval"),
            (b"", "no type 0"),
            (b"\x4a\x00", "expected format"),
        ] {
            let problem = verdict(&series(more)).expect_err("a rule is broken").errors.join("; ");
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
