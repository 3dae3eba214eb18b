//! Request bodies: exact bytes, limits, and that no point is lost or doubled by the splitting.

use promdog::payload::body::Encoder;
use promdog::payload::points::{Frame, Gauges, json_resources, json_tags, of_view};
use promdog::payload::{Body, Encoding, Limits, Point, PointKind};
use proptest::prelude::*;

use crate::support::{Target, mapping};

fn point<'a>(name: &'a str, value: f64, json_tags: &'a str) -> Point<'a> {
    Point {
        name,
        suffix: ".count",
        kind: PointKind::Count,
        value,
        interval: Some(15),
        json_tags,
        json_resources: "",
        bound: None,
        host: None,
        unit: None,
    }
}

fn text(bodies: &[Body]) -> String {
    bodies.iter().map(|body| body.text().expect("our own bytes")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_body_is_exactly_this() {
    let mut encoder = Encoder::new(Encoding::Json, 1_700_000_000, &["env:prod".to_owned()], Limits::default());
    let tags = json_tags(&["a:b".to_owned(), "q:\"x\"".to_owned()]);
    encoder
        .push(&Point { unit: Some("second"), bound: Some("upper_bound:1e-05"), ..point("x.y", 2.5, &tags) })
        .expect("fits");
    let gauge = Point { suffix: "", kind: PointKind::Gauge, interval: None, host: Some("h"), ..point("g", 3.0, "") };
    encoder.push(&gauge).expect("fits");
    let bodies = encoder.finish().expect("compresses");
    assert_eq!(
        text(&bodies),
        concat!(
            r#"{"series":[{"interval":15,"metric":"x.y.count","points":[{"timestamp":1700000000,"value":2.5}],"#,
            r#""tags":["a:b","q:\"x\"","upper_bound:1e-05","env:prod"],"type":1,"unit":"second"},"#,
            r#"{"metric":"g","points":[{"timestamp":1700000000,"value":3}],"resources":[{"name":"h","type":"host"}],"#,
            r#""tags":["env:prod"],"type":3}]}"#
        )
    );
    assert_eq!((bodies[0].points, bodies[0].raw_bytes), (2, text(&bodies).len()));
}

#[test]
fn a_tag_stands_once_and_a_device_is_a_resource() {
    let mut encoder = Encoder::new(Encoding::Json, 1, &["env:prod".to_owned(), "team:a".to_owned()], Limits::default());
    let tags = ["device:eth0".to_owned(), "env:prod".to_owned()];
    let (json_tags, json_resources) = (json_tags(&tags), json_resources(&tags));
    let gauge = Point { suffix: "", kind: PointKind::Gauge, interval: None, ..point("g", 1.0, &json_tags) };
    encoder.push(&Point { json_resources: &json_resources, ..gauge }).expect("fits");
    encoder.push(&Point { json_resources: &json_resources, host: Some("h"), ..gauge }).expect("fits");
    let written = text(&encoder.finish().expect("compresses"));
    assert!(
        written.contains(r#""resources":[{"name":"eth0","type":"device"}],"tags":["env:prod","team:a"]"#)
            && written.contains(r#""resources":[{"name":"h","type":"host"},{"name":"eth0","type":"device"}],"#),
        "{written}"
    );
}

#[test]
fn no_point_makes_no_body() {
    let encoder = Encoder::new(Encoding::Json, 0, &[], Limits::default());
    assert!(encoder.finish().expect("nothing to compress").is_empty());
}

#[test]
fn the_infinite_bucket_is_on_the_page_only_and_gauges_can_be_withheld() {
    let mut target = Target::new(mapping("version: 1\nmetrics: { h: h, g: g }\n"));
    let pull = |count: u32| {
        format!(
            "# TYPE g gauge\ng 1\n# TYPE h histogram\nh_bucket{{le=\"1\"}} {count}\nh_bucket{{le=\"+Inf\"}} {count}\nh_sum {count}\nh_count {count}\n"
        )
    };
    target.grown(1, &pull(1));
    let view = target.pull(16, &pull(3));
    let increases = target.cursor.take(&view.catalog);
    let names = |gauges: Gauges| {
        let mut names = Vec::new();
        of_view(&view, &increases, gauges, Frame { host: None, interval: 15 }, |_, point| {
            names.push(format!("{}{} {}", point.name, point.suffix, point.value));
        });
        names.sort();
        names
    };
    assert_eq!(names(Gauges::Send), ["g 1", "h.bucket 2", "h.count 2", "h.sum 2"]);
    assert_eq!(names(Gauges::Withhold), ["h.bucket 2", "h.count 2", "h.sum 2"]);
}

proptest! {
    #[test]
    fn bodies_keep_every_limit_and_every_point(
        compressed_bytes in 400..4000_usize,
        raw_bytes in 400..6000_usize,
        points in 1..50_usize,
        values in prop::collection::vec(any::<f64>().prop_filter("finite", |value| value.is_finite()), 1..300),
    ) {
        let limits = Limits { compressed_bytes, raw_bytes, points };
        let mut encoder = Encoder::new(Encoding::Json, 1_700_000_000, &[], limits);
        for (at, value) in values.iter().enumerate() {
            let tags = format!("\"n:{at}\"");
            encoder.push(&point("metric.name", *value, &tags)).expect("one point fits every limit tried here");
        }
        let bodies = encoder.finish().expect("compresses");
        let mut found = Vec::new();
        for body in &bodies {
            prop_assert!(body.zstd.len() <= compressed_bytes, "{} > {compressed_bytes}", body.zstd.len());
            prop_assert!(body.raw_bytes <= raw_bytes && body.points <= points);
            let json: serde_json::Value = serde_json::from_str(&body.text().expect("ours")).expect("JSON");
            let series = json["series"].as_array().expect("a list").clone();
            prop_assert_eq!(series.len(), body.points);
            found.extend(series.iter().map(|series| series["points"][0]["value"].as_f64().expect("a number")));
        }
        prop_assert_eq!(found, values);
    }
}
