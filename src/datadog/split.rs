//! Halves a body that the intake found too large. Pure. Series are moved as they are written: no number is read.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::payload::Body;

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

/// Two bodies with half the series each, in order; `None` if there is nothing to split (one series, or a body that cannot
/// be read).
pub(super) fn halve(body: &Body) -> Option<(Body, Body)> {
    let json = zstd::bulk::decompress(&body.zstd, body.raw_bytes).ok()?;
    let payload: Payload<'_> = serde_json::from_slice(&json).ok()?;
    if payload.series.len() < 2 {
        return None;
    }
    let (first, second) = payload.series.split_at(payload.series.len() / 2);
    Some((pack(first)?, pack(second)?))
}

fn pack(series: &[&RawValue]) -> Option<Body> {
    let mut json = String::from("{\"series\":[");
    let mut points = 0;
    for (index, series) in series.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        json.push_str(series.get());
        points += serde_json::from_str::<Points>(series.get()).ok()?.points.len();
    }
    json.push_str("]}");
    let zstd = zstd::bulk::compress(json.as_bytes(), ZSTD_LEVEL).ok()?;
    Some(Body { zstd: zstd.into(), raw_bytes: json.len(), points })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: &str, points: usize) -> Body {
        Body { zstd: zstd::bulk::compress(json.as_bytes(), 1).unwrap().into(), raw_bytes: json.len(), points }
    }

    fn json(body: &Body) -> String {
        String::from_utf8(zstd::bulk::decompress(&body.zstd, body.raw_bytes).unwrap()).unwrap()
    }

    #[test]
    fn halves_hold_the_same_series_and_points() {
        let a = r#"{"metric":"a","points":[{"timestamp":1,"value":0.1}]}"#;
        let b = r#"{"metric":"b","points":[{"timestamp":1,"value":1e300},{"timestamp":2,"value":2}]}"#;
        let c = r#"{"metric":"c","points":[{"timestamp":1,"value":3}]}"#;
        let (first, second) = halve(&body(&format!("{{\"series\":[{a},{b},{c}]}}"), 4)).unwrap();
        assert_eq!(json(&first), format!("{{\"series\":[{a}]}}"));
        assert_eq!(json(&second), format!("{{\"series\":[{b},{c}]}}"));
        assert_eq!((first.points, second.points), (1, 3));
    }

    #[test]
    fn one_series_and_rubbish_cannot_be_split() {
        assert_eq!(halve(&body(r#"{"series":[{"points":[]}]}"#, 0)), None);
        assert_eq!(halve(&body("rubbish", 0)), None);
        assert_eq!(halve(&Body { zstd: (*b"no zstd").into(), raw_bytes: 9, points: 1 }), None);
    }
}
