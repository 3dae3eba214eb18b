//! Keys and values as bytes. Every value carries a checksum of its key and itself: the database finds torn pages, but not
//! every flipped bit. Pure.

use xxhash_rust::xxh3::Xxh3;

use super::outbox::{Entry, Id};
use crate::payload::{Body, Encoding};

const CHECKSUM: usize = 8;

/// What cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("a checksum does not fit")]
    Checksum,
    #[error("a value has a shape that it cannot have")]
    Shape,
}

fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = Xxh3::new();
    hasher.update(&(key.len() as u64).to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.digest().to_le_bytes()
}

/// A value with its checksum.
pub(super) fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    [value, &checksum(key, value)].concat()
}

/// The value, if it is what was sealed under this key.
pub(super) fn unseal<'v>(key: &[u8], sealed: &'v [u8]) -> Result<&'v [u8], Broken> {
    let (value, sum) = sealed.split_last_chunk::<CHECKSUM>().ok_or(Broken::Checksum)?;
    if checksum(key, value) == *sum { Ok(value) } else { Err(Broken::Checksum) }
}

/// A prefix, and a name that may hold anything.
pub(super) fn target_key(prefix: &[u8], name: &str) -> Vec<u8> {
    [prefix, b"\0", name.as_bytes()].concat()
}

/// The name of such a key.
pub(super) fn target_name<'k>(prefix: &[u8], key: &'k [u8]) -> Option<&'k str> {
    std::str::from_utf8(key.strip_prefix(prefix)?.strip_prefix(b"\0")?).ok()
}

/// A chunk of a target's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ChunkKey {
    /// What it belongs to: the bits of a process' start time, a lot's hash, or 0 for the target as a whole.
    pub(super) of: u64,
    pub(super) kind: Kind,
    pub(super) chunk: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Kind {
    /// Of the catalogue's slots: `u128`.
    Identities = 0,
    /// By slot: `f64`, NaN where there is none.
    Totals = 1,
    /// Slots of the last pull: a bit each.
    Last = 2,
    /// The same as identities: `u128`.
    LastIdentities = 3,
    /// What had left the catalogue, as it was written before there were lots: identity, total, milliseconds when it left,
    /// and start of who counted it: `u128`, `f64`, `i64`, `f64` or NaN.
    Retired = 4,
    /// Identity of an output, and its total: `u128`, `f64`.
    Merged = 5,
    /// Identity and total of what has left the catalogue: `u128`, `f64`.
    Lot = 6,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Identities, Self::Totals, Self::Last, Self::LastIdentities, Self::Retired, Self::Merged, Self::Lot];
}

impl ChunkKey {
    /// With the target's name, so that a target's chunks stand together and in order.
    pub(super) fn bytes(self, name: &str) -> Vec<u8> {
        let Self { of, kind, chunk } = self;
        let tail = [&of.to_be_bytes()[..], &[kind as u8], &chunk.to_be_bytes()].concat();
        [name.as_bytes(), b"\0", &tail].concat()
    }

    pub(super) fn read(bytes: &[u8]) -> Result<(&str, Self), Broken> {
        let (head, chunk) = bytes.split_last_chunk::<4>().ok_or(Broken::Shape)?;
        let (kind, head) = head.split_last().ok_or(Broken::Shape)?;
        let (head, of) = head.split_last_chunk::<8>().ok_or(Broken::Shape)?;
        let name = head.strip_suffix(b"\0").and_then(|name| std::str::from_utf8(name).ok()).ok_or(Broken::Shape)?;
        let kind = *Kind::ALL.get(usize::from(*kind)).ok_or(Broken::Shape)?;
        Ok((name, Self { of: u64::from_be_bytes(*of), kind, chunk: u32::from_be_bytes(*chunk) }))
    }
}

pub(super) fn queue_key(Id { endpoint, second, number }: &Id) -> Vec<u8> {
    // A negative second sorts wrongly, and there is none.
    [endpoint.as_bytes(), b"\0", &second.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// Where the encoding is in the number of points: its highest byte, which was 0 while JSON was the only one.
const ENCODING_SHIFT: u32 = 56;

pub(super) fn queue_value(Entry { id: _, body }: &Entry) -> Vec<u8> {
    let Body { encoding, zstd, raw_bytes, points } = body;
    let encoding: u64 = match encoding {
        Encoding::Json => 0,
        Encoding::Protobuf => 1,
    };
    let points = *points as u64 | encoding << ENCODING_SHIFT;
    [&(*raw_bytes as u64).to_le_bytes()[..], &points.to_le_bytes(), zstd].concat()
}

pub(super) fn queue_entry(key: &[u8], value: &[u8]) -> Result<Entry, Broken> {
    let (head, number) = key.split_last_chunk::<8>().ok_or(Broken::Shape)?;
    let (head, second) = head.split_last_chunk::<8>().ok_or(Broken::Shape)?;
    let endpoint = head.strip_suffix(b"\0").and_then(|text| std::str::from_utf8(text).ok()).ok_or(Broken::Shape)?;
    let (raw_bytes, value) = value.split_first_chunk::<8>().ok_or(Broken::Shape)?;
    let (points, zstd) = value.split_first_chunk::<8>().ok_or(Broken::Shape)?;
    let points = u64::from_le_bytes(*points);
    let encoding = match points >> ENCODING_SHIFT {
        0 => Encoding::Json,
        1 => Encoding::Protobuf,
        _ => return Err(Broken::Shape),
    };
    let size = |size: u64| usize::try_from(size).map_err(|_| Broken::Shape);
    let raw_bytes = size(u64::from_le_bytes(*raw_bytes))?;
    let points = size(points & !(u64::MAX << ENCODING_SHIFT))?;
    Ok(Entry {
        id: Id {
            endpoint: endpoint.to_owned(),
            second: i64::from_be_bytes(*second),
            number: u64::from_be_bytes(*number),
        },
        body: Body { encoding, zstd: zstd.into(), raw_bytes, points },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_or_a_value_at_another_key_is_found() {
        let sealed = seal(b"k", b"value");
        assert_eq!(unseal(b"k", &sealed), Ok(&b"value"[..]));
        assert_eq!(unseal(b"l", &sealed), Err(Broken::Checksum));
        for bit in 0..sealed.len() * 8 {
            let mut broken = sealed.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(b"k", &broken), Err(Broken::Checksum), "bit {bit}");
        }
        assert_eq!(unseal(b"k", b"short"), Err(Broken::Checksum));
    }

    #[test]
    fn keys_come_back() {
        let key = ChunkKey { of: 1.5_f64.to_bits(), kind: Kind::Lot, chunk: 7 };
        assert_eq!(ChunkKey::read(&key.bytes("a/b\u{0}c")), Ok(("a/b\u{0}c", key)));
        assert_eq!(target_name(b"since", &target_key(b"since", "x")), Some("x"));
        let id = Id { endpoint: "e".to_owned(), second: 1_700_000_000, number: 3 };
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            let body = Body { encoding, zstd: b"zstd".as_slice().into(), raw_bytes: 9, points: 10_000 };
            let entry = Entry { id: id.clone(), body };
            assert_eq!(queue_entry(&queue_key(&entry.id), &queue_value(&entry)), Ok(entry));
        }
        assert_eq!(queue_entry(b"short", b""), Err(Broken::Shape));
    }

    #[test]
    fn what_was_stored_before_there_was_protobuf_is_json() {
        let key = b"e\0\0\0\0\0\x65\x53\xf1\0\0\0\0\0\0\0\0\x03";
        let value = b"\x09\0\0\0\0\0\0\0\x10\x27\0\0\0\0\0\0zstd";
        let id = Id { endpoint: "e".to_owned(), second: 1_700_000_000, number: 3 };
        let body = Body { encoding: Encoding::Json, zstd: b"zstd".as_slice().into(), raw_bytes: 9, points: 10_000 };
        let entry = Entry { id, body };
        assert_eq!((queue_entry(key, value), queue_value(&entry).as_slice()), (Ok(entry), &value[..]));
        let mut unknown = *value;
        unknown[15] = 2;
        assert_eq!(queue_entry(key, &unknown), Err(Broken::Shape));
    }
}
