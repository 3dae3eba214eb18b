//! Bodies of protobuf read back, as strictly as they are written: a field that promdog never writes is an error. Any bytes
//! are read without a panic.

use std::str;

/// What cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("it ends within a field")]
    Cut,
    #[error("a varint is longer than 64 bits")]
    Varint,
    #[error("a string is not UTF-8")]
    Utf8,
    #[error("field {0} of {1} is not known, or not of this type")]
    Field(u64, &'static str),
}

/// One series, borrowed. What is absent is as protobuf has it: 0, or empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Series<'b> {
    /// As it stands in the payload, tag and length included.
    pub whole: &'b [u8],
    pub resources: Vec<Resource<'b>>,
    pub metric: &'b str,
    pub tags: Vec<&'b str>,
    pub points: Vec<Point>,
    /// [`crate::payload::PointKind::code`], or anything else.
    pub kind: u64,
    pub unit: Option<&'b str>,
    pub interval: Option<i64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resource<'b> {
    pub kind: &'b str,
    pub name: &'b str,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    pub value: f64,
    /// Seconds since 1970.
    pub timestamp: i64,
}

/// The series of a `MetricPayload`; the first that cannot be read is the last.
pub fn series(payload: &[u8]) -> impl Iterator<Item = Result<Series<'_>, Malformed>> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let before = rest;
        let read = match next(&mut rest)? {
            Ok((1, Value::Bytes(bytes))) => one(&before[..before.len() - rest.len()], bytes),
            Ok((number, _)) => Err(Malformed::Field(number, "the payload")),
            Err(malformed) => Err(malformed),
        };
        if read.is_err() {
            rest = &[];
        }
        Some(read)
    })
}

fn one<'b>(whole: &'b [u8], bytes: &'b [u8]) -> Result<Series<'b>, Malformed> {
    let mut series = Series {
        whole,
        resources: Vec::new(),
        metric: "",
        tags: Vec::new(),
        points: Vec::new(),
        kind: 0,
        unit: None,
        interval: None,
    };
    for field in fields(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => series.resources.push(resource(bytes)?),
            (2, Value::Bytes(bytes)) => series.metric = text(bytes)?,
            (3, Value::Bytes(bytes)) => series.tags.push(text(bytes)?),
            (4, Value::Bytes(bytes)) => series.points.push(point(bytes)?),
            (5, Value::Varint(kind)) => series.kind = kind,
            (6, Value::Bytes(bytes)) => series.unit = Some(text(bytes)?),
            (8, Value::Varint(interval)) => series.interval = Some(interval as i64),
            (number, _) => return Err(Malformed::Field(number, "a series")),
        }
    }
    Ok(series)
}

fn resource(bytes: &[u8]) -> Result<Resource<'_>, Malformed> {
    let mut resource = Resource::default();
    for field in fields(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => resource.kind = text(bytes)?,
            (2, Value::Bytes(bytes)) => resource.name = text(bytes)?,
            (number, _) => return Err(Malformed::Field(number, "a resource")),
        }
    }
    Ok(resource)
}

fn point(bytes: &[u8]) -> Result<Point, Malformed> {
    let mut point = Point::default();
    for field in fields(bytes) {
        match field? {
            (1, Value::Fixed64(bits)) => point.value = f64::from_bits(bits),
            (2, Value::Varint(timestamp)) => point.timestamp = timestamp as i64,
            (number, _) => return Err(Malformed::Field(number, "a point")),
        }
    }
    Ok(point)
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    str::from_utf8(bytes).map_err(|_| Malformed::Utf8)
}

enum Value<'b> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'b [u8]),
}

/// Numbers and values of a message's fields.
fn fields(message: &[u8]) -> impl Iterator<Item = Result<(u64, Value<'_>), Malformed>> {
    let mut rest = message;
    // Whoever meets an error asks no further.
    std::iter::from_fn(move || next(&mut rest))
}

/// Cuts a field off; `None` at the end.
fn next<'b>(rest: &mut &'b [u8]) -> Option<Result<(u64, Value<'b>), Malformed>> {
    (!rest.is_empty()).then(|| field(rest))
}

fn field<'b>(rest: &mut &'b [u8]) -> Result<(u64, Value<'b>), Malformed> {
    let tag = varint(rest)?;
    let number = tag >> 3;
    let value = match tag & 7 {
        0 => Value::Varint(varint(rest)?),
        1 => {
            let (bits, after) = rest.split_first_chunk().ok_or(Malformed::Cut)?;
            *rest = after;
            Value::Fixed64(u64::from_le_bytes(*bits))
        }
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| Malformed::Cut)?;
            let (bytes, after) = rest.split_at_checked(length).ok_or(Malformed::Cut)?;
            *rest = after;
            Value::Bytes(bytes)
        }
        _ => return Err(Malformed::Field(number, "a message")),
    };
    Ok((number, value))
}

fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, after) = rest.split_first().ok_or(Malformed::Cut)?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return Err(Malformed::Varint);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed::Varint)
}

#[cfg(test)]
mod tests {
    use super::{Malformed, series, varint};

    #[test]
    fn varints_have_64_bits_at_most() {
        let read = |bytes: &[u8]| varint(&mut &*bytes);
        assert_eq!(read(&[0xac, 0x02]), Ok(300));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Ok(u64::MAX));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), Err(Malformed::Varint));
        assert_eq!(read(&[0x80; 11]), Err(Malformed::Varint));
        assert_eq!(read(&[0x80]), Err(Malformed::Cut));
    }

    #[test]
    fn the_first_series_that_cannot_be_read_is_the_last() {
        let good = [0x0a, 3, 0x12, 1, b'a'];
        let read = |bytes: &[u8]| series(bytes).map(|series| series.map(|series| series.metric.to_owned())).collect();
        let all: Vec<Result<String, Malformed>> = read(&[good, good].concat());
        assert_eq!(all, [Ok("a".to_owned()), Ok("a".to_owned())]);
        for (bytes, expected) in [
            (&[0x0a, 9][..], Malformed::Cut),
            (&[0x0a, 2, 0x4a, 0], Malformed::Field(9, "a series")),
            (&[0x12, 0], Malformed::Field(2, "the payload")),
            (&[0x0a, 3, 0x12, 1, 0xff], Malformed::Utf8),
            (&[0x0a, 4, 0x22, 2, 0x08, 0], Malformed::Field(1, "a point")),
            (&[0x0b], Malformed::Field(1, "a message")),
        ] {
            let all: Vec<Result<String, Malformed>> = read(&[&good, bytes, &good].concat());
            assert_eq!(all, [Ok("a".to_owned()), Err(expected)]);
        }
    }
}
