//! Halves a body that the intake found too large. Pure. Series are moved as they are written.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::payload::{Body, Encoding, Frame, wire};

/// The level `payload` compresses with hardly matters here: this happens once in a blue moon.
const ZSTD_LEVEL: i32 = 3;

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    series: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Points {
    #[serde(default)]
    points: Vec<IgnoredAny>,
}

/// A series as it is written, and how many points it has.
type Series<'b> = (&'b [u8], usize);

/// Two bodies with half the series each, in order; `None` if there is nothing to split (one series, or a body that cannot
/// be read).
pub(super) fn halve(body: &Body) -> Option<(Body, Body)> {
    let raw = body.raw().ok()?;
    let series: Vec<Series<'_>> = match body.encoding {
        Encoding::Json => {
            let payload: Payload<'_> = serde_json::from_slice(&raw).ok()?;
            payload.series.into_iter().map(json_series).collect::<Option<_>>()?
        }
        Encoding::Protobuf => {
            wire::series(&raw).map(|series| Some(protobuf_series(&series.ok()?))).collect::<Option<_>>()?
        }
    };
    if series.len() < 2 {
        return None;
    }
    let (first, second) = series.split_at(series.len() / 2);
    Some((pack(body.encoding, first)?, pack(body.encoding, second)?))
}

fn json_series(series: &RawValue) -> Option<Series<'_>> {
    let Points { points } = serde_json::from_str(series.get()).ok()?;
    Some((series.get().as_bytes(), points.len()))
}

fn protobuf_series<'b>(series: &wire::Series<'b>) -> Series<'b> {
    (series.whole, series.points.len())
}

fn pack(encoding: Encoding, series: &[Series<'_>]) -> Option<Body> {
    let Frame { open, between, close } = encoding.frame();
    let written: Vec<&[u8]> = series.iter().map(|(written, _)| *written).collect();
    let raw = [open, &written.join(between), close].concat();
    let zstd = zstd::bulk::compress(&raw, ZSTD_LEVEL).ok()?;
    Some(Body {
        encoding,
        zstd: zstd.into(),
        raw_bytes: raw.len(),
        points: series.iter().map(|(_, points)| points).sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(encoding: Encoding, raw: &[u8], points: usize) -> Body {
        Body { encoding, zstd: zstd::bulk::compress(raw, 1).unwrap().into(), raw_bytes: raw.len(), points }
    }

    fn body(json: &str, points: usize) -> Body {
        body_of(Encoding::Json, json.as_bytes(), points)
    }

    #[test]
    fn halves_hold_the_same_series_and_points() {
        let a = r#"{"metric":"a","points":[{"timestamp":1,"value":0.1}]}"#;
        let b = r#"{"metric":"b","points":[{"timestamp":1,"value":1e300},{"timestamp":2,"value":2}]}"#;
        let c = r#"{"metric":"c","points":[{"timestamp":1,"value":3}]}"#;
        let (first, second) = halve(&body(&format!("{{\"series\":[{a},{b},{c}]}}"), 4)).unwrap();
        assert_eq!(first.text().unwrap(), format!("{{\"series\":[{a}]}}"));
        assert_eq!(second.text().unwrap(), format!("{{\"series\":[{b},{c}]}}"));
        assert_eq!((first.points, second.points), (1, 3));
    }

    #[test]
    fn halves_of_protobuf_hold_the_same_bytes() {
        // Names of one letter; `b` has two points.
        let a = [10, 5, 18, 1, b'a', 34, 0];
        let b = [10, 7, 18, 1, b'b', 34, 0, 34, 0];
        let c = [10, 5, 18, 1, b'c', 34, 0];
        let whole = body_of(Encoding::Protobuf, &[&a[..], &b, &c].concat(), 4);
        let (first, second) = halve(&whole).unwrap();
        assert_eq!((first.raw().unwrap(), second.raw().unwrap()), (a.to_vec(), [&b[..], &c].concat()));
        assert_eq!((first.points, second.points), (1, 3));
        assert_eq!((first.encoding, halve(&first)), (Encoding::Protobuf, None));
    }

    #[test]
    fn one_series_and_rubbish_cannot_be_split() {
        assert_eq!(halve(&body(r#"{"series":[{"points":[]}]}"#, 0)), None);
        assert_eq!(halve(&body("rubbish", 0)), None);
        assert_eq!(halve(&body_of(Encoding::Protobuf, b"rubbish", 0)), None);
        assert_eq!(halve(&Body { zstd: (*b"no zstd").into(), raw_bytes: 9, ..body("", 1) }), None);
    }
}
