//! The least that can be done for each stage, and published crates that read the same text.

use std::hint::black_box;
use std::io::BufRead;

/// Its end, its last space, its number, of every line.
pub fn lines_and_numbers(text: &[u8]) -> f64 {
    let mut sum = 0.0;
    for line in samples(text) {
        let at = memchr::memrchr(b' ', line).unwrap_or(0);
        sum += std::str::from_utf8(&line[at + 1..]).ok().and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0);
    }
    sum
}

/// Every label cut out of every line, nothing checked, nothing kept.
pub fn lines_and_labels(text: &[u8]) -> usize {
    let mut labels = 0;
    for line in samples(text) {
        let Some(open) = memchr::memchr(b'{', line) else { continue };
        let mut rest = &line[open + 1..];
        while let Some(equals) = memchr::memchr(b'=', rest) {
            let Some(end) = memchr::memchr(b'"', &rest[equals + 2..]) else { break };
            labels += black_box(&rest[..equals]).len() + black_box(&rest[equals + 2..equals + 2 + end]).len();
            rest = &rest[equals + 2 + end + 1..];
            if rest.first() == Some(&b',') {
                rest = &rest[1..];
            }
        }
    }
    labels
}

pub fn newlines(text: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', text).count()
}

/// Compressed at our level, each body by itself.
pub fn zstd(bodies: &[Vec<u8>]) -> usize {
    bodies.iter().map(|body| zstd::bulk::compress(body, 1).expect("memory").len()).sum()
}

fn samples(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    let lines = std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest)?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        Some(line)
    });
    lines.filter(|line| line.first().is_some_and(|first| *first != b'#'))
}

/// Takes lines, and leaves out labels whose value holds `=`: on this text, every url.
pub fn prometheus_parse(text: &[u8]) -> usize {
    prometheus_parse::Scrape::parse(text.lines()).expect("our own text").samples.len()
}

pub fn prom_text_format_parser(text: &[u8]) -> prom_text_format_parser::Scrape {
    let text = std::str::from_utf8(text).expect("our own text");
    prom_text_format_parser::Scrape::parse(text).expect("our own text")
}
