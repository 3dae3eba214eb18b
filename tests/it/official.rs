//! The official client is the contract: what we write, its models read, and write again in the same way.

use datadog_api_client::datadogV2::model::{
    MetricIntakeType, MetricPayload, MetricPoint, MetricResource, MetricSeries,
};
use promdog::catalog::{Bound, Part};
use promdog::payload::body::Encoder;
use promdog::payload::points::{Frame, Gauges, json_tags, of_view};
use promdog::payload::{Encoding, Limits, Point, PointKind};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{Target, built_in};

/// The same point, as the official client's model.
fn model(point: &Point<'_>, second: i64, tags: Vec<String>) -> MetricSeries {
    let value = MetricPoint::new().timestamp(second).value(point.value);
    let kind = match point.kind {
        PointKind::Count => MetricIntakeType::COUNT,
        PointKind::Rate => MetricIntakeType::RATE,
        PointKind::Gauge => MetricIntakeType::GAUGE,
    };
    let mut series = MetricSeries::new(format!("{}{}", point.name, point.suffix), vec![value]).type_(kind).tags(tags);
    if let Some(interval) = point.interval {
        series = series.interval(i64::from(interval));
    }
    if let Some(host) = point.host {
        series = series.resources(vec![MetricResource::new().name(host.to_owned()).type_("host".to_owned())]);
    }
    if let Some(unit) = point.unit {
        series = series.unit(unit.to_owned());
    }
    series
}

/// JSON with every number as a float: `1` and `1.0` are one number, and the client's sender writes the first.
fn by_number(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::from(number.as_f64().expect("no number here is beyond f64")),
        Value::Array(values) => values.into_iter().map(by_number).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, by_number(value))).collect(),
        other => other,
    }
}

/// Our body, its models' reading of it, and their own body for the same points, as JSON values.
fn compare(points: &[(Point<'_>, Vec<String>)], common: &[String], second: i64) {
    let mut encoder = Encoder::new(Encoding::Json, second, common, Limits::default());
    let mut theirs = Vec::new();
    for (point, tags) in points {
        encoder.push(point).expect("fits");
        let bound = point.bound.map(str::to_owned);
        theirs.push(model(point, second, tags.iter().cloned().chain(bound).chain(common.iter().cloned()).collect()));
    }
    let ours: Vec<String> =
        encoder.finish().expect("compresses").iter().map(|body| body.text().expect("ours")).collect();
    let mut read = Vec::new();
    for text in &ours {
        let payload: MetricPayload = serde_json::from_str(text).expect("the official model reads our body");
        assert!(payload.additional_properties.is_empty());
        // What a model cannot read it keeps aside, and says so in its private `_unparsed`.
        assert!(!format!("{payload:?}").contains("_unparsed: true"), "{text}");
        for series in &payload.series {
            assert!(series.additional_properties.is_empty(), "{series:?}");
            assert!(!matches!(series.type_, Some(MetricIntakeType::UnparsedObject(_))), "{series:?}");
        }
        assert_eq!(
            by_number(serde_json::from_str(text).expect("JSON")),
            by_number(serde_json::to_value(&payload).expect("serialises")),
            "what the model read, it writes as we did"
        );
        read.extend(payload.series);
    }
    assert_eq!(read, theirs);
}

#[test]
fn official_contract_a_translated_exposition() {
    let mut target = Target::new(built_in(&["kubevirt_api", "go"]));
    let text = include_str!("../data/small.prom");
    target.grown(1, text);
    let view = target.pull(16, text);
    let increases = target.cursor.take(&view.catalog);
    let mut points = Vec::new();
    of_view(&view, &increases, Gauges::Send, Frame { host: Some("node \"1\""), interval: 15 }, |row, point| {
        points.push((point, view.catalog.tags(row)));
    });
    assert!(points.len() > 10);
    compare(&points, &["env:prod".to_owned(), "bare".to_owned()], 1_700_000_000);
}

proptest! {
    #[test]
    fn official_contract_any_point(
        value in any::<f64>().prop_filter("finite", |value| value.is_finite()),
        tags in prop::collection::vec("[a-z]{1,8}:\\PC{0,20}", 0..5),
        interval in prop::option::of(1..4000_u32),
        host in prop::option::of("\\PC{1,12}"),
        unit in prop::option::of("[a-z]{1,8}"),
        bound in prop::option::of(any::<f64>().prop_filter("finite", |bound| bound.is_finite())),
    ) {
        let json_tags = json_tags(&tags);
        let bound = bound.map(|bound| Bound::of(Part::Bucket(bound)).tag);
        let point = Point {
            name: "a.b",
            suffix: ".count",
            kind: if interval.is_some() { PointKind::Count } else { PointKind::Gauge },
            value,
            interval,
            json_tags: &json_tags,
            json_resources: "",
            bound: bound.as_deref(),
            host: host.as_deref(),
            unit: unit.as_deref(),
        };
        compare(&[(point, tags)], &[], 1_700_000_000);
    }
}
