//! Bodies of protobuf, held up to messages that were declared from the Agent's proto and are read by someone else's code,
//! and to what JSON says of the same points.

use promdog::catalog::{Bound, Part};
use promdog::payload::body::Encoder;
use promdog::payload::points::{json_resources, json_tags};
use promdog::payload::{Body, Encoding, Limits, Point, PointKind, wire};
use proptest::prelude::*;
use prost::Message;
use serde::Deserialize;

#[derive(Clone, PartialEq, Message, Deserialize)]
struct MetricPayload {
    #[prost(message, repeated, tag = "1")]
    series: Vec<MetricSeries>,
}

/// Also as JSON; fields that we never write are left to fail there.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MetricSeries {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<Resource>,
    #[prost(string, tag = "2")]
    metric: String,
    #[prost(string, repeated, tag = "3")]
    tags: Vec<String>,
    #[prost(message, repeated, tag = "4")]
    points: Vec<MetricPoint>,
    #[prost(int32, tag = "5")]
    #[serde(rename = "type")]
    kind: i32,
    #[prost(string, tag = "6")]
    unit: String,
    #[prost(string, tag = "7")]
    #[serde(skip)]
    source_type_name: String,
    #[prost(int64, tag = "8")]
    interval: i64,
}

#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricPoint {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Eq, Message, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    #[prost(string, tag = "1")]
    #[serde(rename = "type")]
    kind: String,
    #[prost(string, tag = "2")]
    name: String,
}

const SECOND: i64 = 1_700_000_000;

fn bodies(encoding: Encoding, common: &[String], limits: Limits, points: &[Point<'_>]) -> Vec<Body> {
    let mut encoder = Encoder::new(encoding, SECOND, common, limits);
    points.iter().for_each(|point| encoder.push(point).expect("fits"));
    encoder.finish().expect("compresses")
}

fn read(bodies: &[Body]) -> Vec<MetricSeries> {
    let payload = |body: &Body| match body.encoding {
        Encoding::Json => serde_json::from_slice::<MetricPayload>(&body.raw().expect("ours")).expect("JSON"),
        Encoding::Protobuf => MetricPayload::decode(&body.raw().expect("ours")[..]).expect("protobuf"),
    };
    bodies.iter().flat_map(|body| payload(body).series).collect()
}

/// An odd tag: anything, or what JSON has to escape, or what looks like its syntax.
fn tag() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}:\\PC{0,40}",
        any::<String>(),
        r#"[a-z]{0,3}:?["\\,{}\[\]:\n\t\u{1}\u{7f}é🦀u0]{0,12}"#,
        "device:\\PC{1,8}",
    ]
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |value| value.is_finite()),
        Just(0.0),
        Just(-0.0),
        Just(5e-324),
        -1e3..1e3,
        (-1000..1000_i32).prop_map(f64::from),
    ]
}

/// What a point is made of.
#[derive(Clone, Debug)]
struct Parts {
    name: String,
    suffix: &'static str,
    value: f64,
    interval: Option<u32>,
    json_tags: String,
    json_resources: String,
    bound: Option<String>,
    host: Option<String>,
    unit: Option<String>,
}

impl Parts {
    fn point(&self) -> Point<'_> {
        let Self { name, suffix, value, interval, json_tags, json_resources, bound, host, unit } = self;
        let kind = if interval.is_some() { PointKind::Count } else { PointKind::Gauge };
        let (host, unit) = (host.as_deref(), unit.as_deref());
        Point {
            name,
            suffix,
            kind,
            value: *value,
            interval: *interval,
            json_tags,
            json_resources,
            bound: bound.as_deref(),
            host,
            unit,
        }
    }
}

prop_compose! {
    fn parts()(
        name in "[a-z][a-z._]{0,150}",
        suffix in prop::sample::select(vec!["", ".count", ".bucket"]),
        value in value(),
        interval in prop::option::of(1..=u32::MAX),
        // Enough of them for a series whose length takes one to three bytes.
        tags in prop_oneof![prop::collection::vec(tag(), 0..6), prop::collection::vec(tag(), 100..150)],
        part in prop::option::of(prop_oneof![value().prop_map(Part::Bucket), value().prop_map(Part::Quantile)]),
        host in prop::option::of("\\PC{1,12}"),
        unit in prop::option::of("[a-z]{1,8}"),
    ) -> Parts {
        let (json_tags, json_resources) = (json_tags(&tags), json_resources(&tags));
        let bound = part.map(|part| Bound::of(part).tag);
        Parts { name, suffix, value, interval, json_tags, json_resources, bound, host, unit }
    }
}

#[test]
fn a_body_is_exactly_this() {
    let tags = ["a:\"".to_owned(), "device:eth0".to_owned()];
    let (json_tags, json_resources) = (json_tags(&tags), json_resources(&tags));
    let count = Point {
        name: "x",
        suffix: ".count",
        kind: PointKind::Count,
        value: 2.5,
        interval: Some(300),
        json_tags: &json_tags,
        json_resources: &json_resources,
        bound: Some("upper_bound:1e-05"),
        host: Some("h"),
        unit: Some("second"),
    };
    let zero = Point { value: 0.0, json_tags: "\"env:prod\"", json_resources: "", bound: None, host: None, ..count };
    let found = bodies(Encoding::Protobuf, &["env:prod".to_owned()], Limits::default(), &[count, zero]);
    let [body] = &found[..] else { panic!("one body") };
    let expected = [
        &b"\x0a\x64"[..],
        b"\x0a\x09\x0a\x04host\x12\x01h",
        b"\x0a\x0e\x0a\x06device\x12\x04eth0",
        b"\x12\x07x.count",
        b"\x1a\x03a:\"\x1a\x11upper_bound:1e-05\x1a\x08env:prod",
        b"\x22\x0f\x09\0\0\0\0\0\0\x04\x40\x10\x80\xe2\xcf\xaa\x06",
        b"\x28\x01\x32\x06second\x40\xac\x02",
        b"\x0a\x31",
        b"\x12\x07x.count",
        b"\x1a\x08env:prod",
        b"\x22\x0f\x09\0\0\0\0\0\0\0\0\x10\x80\xe2\xcf\xaa\x06",
        b"\x28\x01\x32\x06second\x40\xac\x02",
    ]
    .concat();
    assert_eq!(body.raw().expect("ours").escape_ascii().to_string(), expected.escape_ascii().to_string());
    assert_eq!((body.points, body.raw_bytes, body.encoding), (2, expected.len(), Encoding::Protobuf));
    assert_eq!(body.increases().expect("ours"), [("x.count".to_owned(), 2.5)].into());
    assert!(body.text().is_err(), "it is no JSON");
}

#[test]
fn lengths_and_seconds_of_any_size_come_back() {
    for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
        let tags = json_tags(&["t".repeat(length)]);
        let parts = Parts {
            name: "a".to_owned(),
            suffix: "",
            value: 1.0,
            interval: None,
            json_tags: tags,
            json_resources: String::new(),
            bound: None,
            host: None,
            unit: None,
        };
        for second in [0, 1, SECOND, i64::from(u32::MAX) + 1, i64::MAX, -1] {
            let limits = Limits { compressed_bytes: 10_000_000, ..Limits::default() };
            let mut encoder = Encoder::new(Encoding::Protobuf, second, &[], limits);
            encoder.push(&parts.point()).expect("fits");
            let series = read(&encoder.finish().expect("compresses"));
            assert_eq!((series[0].tags[0].len(), series[0].points[0].timestamp), (length, second));
        }
    }
}

proptest! {
    #[test]
    fn protobuf_says_what_json_says(parts in prop::collection::vec(parts(), 1..6), common in prop::collection::vec(tag(), 0..3)) {
        // Sometimes a series has a common tag already.
        let common: Vec<String> = common.into_iter().chain(["env:prod".to_owned()]).collect();
        // Twice each, as a histogram's points share their tags.
        let points: Vec<Point<'_>> = parts.iter().flat_map(|parts| [parts.point(); 2]).collect();
        let json = bodies(Encoding::Json, &common, Limits::default(), &points);
        let protobuf = bodies(Encoding::Protobuf, &common, Limits::default(), &points);
        let (of_json, of_protobuf) = (read(&json), read(&protobuf));
        prop_assert_eq!(&of_json, &of_protobuf);
        let bits = |series: &[MetricSeries]| series.iter().map(|series| series.points[0].value.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&of_json), bits(&of_protobuf), "-0 is not 0");
        prop_assert_eq!(json[0].increases().expect("ours"), protobuf[0].increases().expect("ours"));
        // Written as others write it, byte by byte; only they leave zeros out.
        if parts.iter().all(|parts| parts.value != 0.0) {
            let theirs = MetricPayload { series: of_protobuf }.encode_to_vec();
            prop_assert!(protobuf[0].raw().expect("ours") == theirs);
        }
    }

    #[test]
    fn what_others_write_is_read(parts in prop::collection::vec(parts(), 0..4)) {
        let points: Vec<Point<'_>> = parts.iter().map(Parts::point).collect();
        let theirs = MetricPayload { series: read(&bodies(Encoding::Json, &[], Limits::default(), &points)) };
        let bytes = theirs.encode_to_vec();
        let ours: Vec<wire::Series<'_>> = wire::series(&bytes).collect::<Result<_, _>>().expect("well formed");
        prop_assert_eq!(ours.iter().map(|series| series.whole.len()).sum::<usize>(), bytes.len());
        prop_assert_eq!(ours.len(), theirs.series.len());
        for (ours, theirs) in ours.iter().zip(&theirs.series) {
            let resources: Vec<Resource> = ours.resources.iter().map(|wire::Resource { kind, name }| Resource { kind: (*kind).to_owned(), name: (*name).to_owned() }).collect();
            let points: Vec<MetricPoint> = ours.points.iter().map(|&wire::Point { value, timestamp }| MetricPoint { value, timestamp }).collect();
            prop_assert_eq!((&resources, &points), (&theirs.resources, &theirs.points));
            prop_assert_eq!((ours.metric, &ours.tags), (theirs.metric.as_str(), &theirs.tags.iter().map(String::as_str).collect::<Vec<_>>()));
            prop_assert_eq!((ours.kind, ours.unit.unwrap_or_default(), ours.interval.unwrap_or_default()), (theirs.kind as u64, theirs.unit.as_str(), theirs.interval));
        }
    }

    #[test]
    fn any_bytes_are_read(noise in prop::collection::vec(any::<u8>(), 0..60), parts in parts(), at in any::<prop::sample::Index>()) {
        let mut bytes = bodies(Encoding::Protobuf, &[], Limits::default(), &[parts.point()])[0].raw().expect("ours");
        let at = at.index(bytes.len());
        bytes.splice(at..(at + noise.len() / 2).min(bytes.len()), noise.iter().copied());
        for bytes in [&bytes[..], &noise] {
            let read: Vec<_> = wire::series(bytes).collect();
            // Whoever reads them leniently reads what we read.
            if let (Ok(theirs), true) = (MetricPayload::decode(bytes), read.iter().all(Result::is_ok)) {
                prop_assert_eq!(theirs.series.len(), read.len());
            }
        }
    }

    #[test]
    fn bodies_keep_every_limit_and_every_point(
        compressed_bytes in 600..4000_usize,
        raw_bytes in 600..6000_usize,
        points in 1..50_usize,
        // Bits that no compressor makes shorter.
        tags in prop::collection::vec(prop::collection::vec(any::<u128>(), 1..4), 1..200),
    ) {
        let limits = Limits { compressed_bytes, raw_bytes, points };
        let tags: Vec<String> = tags.iter().map(|bits| json_tags(&bits.iter().map(|bits| format!("b:{bits:x}")).collect::<Vec<_>>())).collect();
        let point = |json_tags| Point {
            name: "metric.name", suffix: ".count", kind: PointKind::Count, value: 0.1, interval: Some(15), json_tags,
            json_resources: "", bound: None, host: Some("h"), unit: None,
        };
        let points: Vec<Point<'_>> = tags.iter().map(|tags| point(tags)).collect();
        let found = bodies(Encoding::Protobuf, &[], limits, &points);
        for body in &found {
            prop_assert!(body.zstd.len() <= compressed_bytes, "{} > {compressed_bytes}", body.zstd.len());
            prop_assert!(body.raw_bytes <= raw_bytes && body.points <= limits.points);
            prop_assert_eq!(read(std::slice::from_ref(body)).len(), body.points);
        }
        prop_assert_eq!(read(&found), read(&bodies(Encoding::Json, &[], Limits::default(), &points)));
    }
}
