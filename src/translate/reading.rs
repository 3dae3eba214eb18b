//! The lines of one exposition as they come.

use std::collections::HashMap;

use memchr::{memchr, memrchr};

use super::{Translator, place};
use crate::catalog::NONE;
use crate::column::Column;
use crate::exposition::family::FamilyType;
use crate::exposition::lex::{self, Line, LineError};
use crate::exposition::series::{decode_help, decode_name};
use crate::ledger::{Fate, Ledger, Refusal};

/// An exposition that is being read. What it has found is nobody's until [`Translator::finish`]; dropped, it has not been.
#[derive(Debug)]
pub struct Reading {
    pub(super) number: u64,
    pub(super) column: Column,
    pub(super) ledger: Ledger,
    pub(super) unknown: Vec<Unknown>,
    /// Where the last of their keys ends.
    pub(super) aside: u32,
    /// Families whose type is new, or not what it was.
    pub(super) types: HashMap<String, FamilyType>,
    /// The same of their help.
    pub(super) helps: HashMap<String, String>,
    pub(super) last: Last,
    lines: usize,
    /// The slot that was found last, and the one that should come next.
    before: u32,
    expected: u32,
    /// The beginning of a line whose end has not come.
    tail: Vec<u8>,
}

/// A sample whose series is not known yet.
#[derive(Debug)]
pub(super) struct Unknown {
    /// Where its key ends in the text set aside.
    pub(super) end: u32,
    /// The slot found last before it.
    pub(super) after: u32,
    pub(super) value: f64,
}

/// What the last line was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Slot(u32),
    /// The last of the unknown.
    Unknown,
    Other,
}

impl Reading {
    pub(super) fn store(&mut self, slot: u32, value: f64) {
        if !self.column.set_new(slot as usize, value) {
            self.ledger.add(Fate::Duplicate, 1);
        }
    }

    /// Series that were known when this was begun.
    #[must_use]
    pub fn known_slots(&self) -> usize {
        self.column.len()
    }

    /// Samples of series that are new.
    #[must_use]
    pub fn new_samples(&self) -> usize {
        self.unknown.len()
    }

    fn refuse(&mut self, error: LineError) {
        self.ledger.refuse(Refusal { line: self.lines, column: error.at + 1, reason: error.reason });
    }
}

impl Translator {
    /// Begins to read an exposition. One that was begun before and not finished is forgotten.
    pub fn begin(&mut self) -> Reading {
        self.readings += 1;
        self.index.keys.forget_aside();
        Reading {
            number: self.readings,
            column: Column::new(self.catalog.slots.len()),
            ledger: Ledger::default(),
            unknown: Vec::new(),
            aside: 0,
            types: HashMap::new(),
            helps: HashMap::new(),
            last: Last::Other,
            lines: 0,
            before: NONE,
            expected: self.index.keys.after(NONE),
            tail: Vec::new(),
        }
    }

    /// Reads the next piece of the exposition that was begun last, cut anywhere.
    pub fn feed(&mut self, reading: &mut Reading, mut text: &[u8]) {
        if !reading.tail.is_empty() {
            let end = memchr(b'\n', text);
            self.keep_tail(reading, &text[..end.unwrap_or(text.len())]);
            let Some(end) = end else { return };
            self.tail(reading);
            text = &text[end + 1..];
        }
        let whole = memrchr(b'\n', text).map_or(0, |end| end + 1);
        self.lines(reading, &text[..whole]);
        self.keep_tail(reading, &text[whole..]);
    }

    /// Keeps the beginning of a line, or so much of it that it is too long.
    fn keep_tail(&self, reading: &mut Reading, text: &[u8]) {
        let room = (self.params.limits.line_bytes + 2).saturating_sub(reading.tail.len());
        reading.tail.extend_from_slice(&text[..text.len().min(room)]);
    }

    /// Reads the line whose pieces were kept.
    fn tail(&mut self, reading: &mut Reading) {
        let mut tail = std::mem::take(&mut reading.tail);
        self.line(reading, tail.strip_suffix(b"\r").unwrap_or(&tail));
        tail.clear();
        reading.tail = tail;
    }

    /// What nothing ends is a line too.
    pub(super) fn end_of_text(&mut self, reading: &mut Reading) {
        if !reading.tail.is_empty() {
            reading.ledger.unterminated = true;
            self.tail(reading);
        }
    }

    /// Reads whole lines, ends included.
    fn lines(&mut self, reading: &mut Reading, mut text: &[u8]) {
        loop {
            while let Some(rest) = self.expected(reading, text) {
                text = rest;
            }
            let Some((line, rest)) = lex::cut_line(text) else { break };
            self.line(reading, line);
            text = rest;
        }
    }

    /// Reads a line if it is the plainest of those that may come next; what follows it.
    fn expected<'t>(&self, reading: &mut Reading, text: &'t [u8]) -> Option<&'t [u8]> {
        let slot = reading.expected;
        let (value, rest) = lex::plain_value_after(self.index.keys.get(slot)?, text)?;
        let limits = &self.params.limits;
        if text.len() - rest.len() > limits.line_bytes || reading.ledger.samples >= limits.samples as u64 {
            return None;
        }
        reading.lines += 1;
        reading.ledger.samples += 1;
        self.known(reading, slot, value);
        Some(rest)
    }

    /// Stores the number of a slot that is known.
    fn known(&self, reading: &mut Reading, slot: u32, value: f64) {
        reading.store(slot, value);
        reading.last = Last::Slot(slot);
        reading.before = slot;
        reading.expected = self.index.keys.after(slot);
    }

    fn line(&mut self, reading: &mut Reading, line: &[u8]) {
        reading.lines += 1;
        reading.last = Last::Other;
        if line.len() > self.params.limits.line_bytes {
            reading.ledger.samples += 1;
            reading.ledger.add(Fate::OverLimit, 1);
            return;
        }
        let expected = self.index.keys.get(reading.expected).and_then(|key| lex::value_after(key, line));
        if let Some(value) = expected {
            if self.within_limit(reading) {
                self.known(reading, reading.expected, value);
            }
            return;
        }
        match lex::line(line) {
            Ok(Line::Nothing) => {}
            Ok(Line::Help { name, text }) => self.help(reading, name, text),
            Ok(Line::Type { name, kind }) => self.declare(reading, name, kind),
            Ok(Line::Sample(sample)) => {
                if self.within_limit(reading) {
                    self.look_up(reading, sample.key, sample.value);
                }
            }
            Err(error) => reading.refuse(error),
        }
    }

    /// Counts a sample; whether so many may be.
    fn within_limit(&self, reading: &mut Reading) -> bool {
        reading.ledger.samples += 1;
        let within = reading.ledger.samples <= self.params.limits.samples as u64;
        if !within {
            reading.ledger.add(Fate::OverLimit, 1);
        }
        within
    }

    /// A sample that is not what was expected.
    fn look_up(&mut self, reading: &mut Reading, key: &[u8], value: f64) {
        let identity = match self.index.decode(key, &self.params) {
            Ok(decoded) => decoded.identity,
            Err(place::Error::OverLimit) => return reading.ledger.add(Fate::OverLimit, 1),
            Err(place::Error::Line(error)) => {
                reading.ledger.samples -= 1;
                return reading.refuse(error);
            }
        };
        if let Some(slot) = self.index.find(identity, &self.catalog) {
            self.index.keys.follow(reading.before, slot);
            return self.known(reading, slot, value);
        }
        match self.index.keys.set_aside(key) {
            Some(end) => {
                reading.unknown.push(Unknown { end, after: reading.before, value });
                reading.aside = end;
                reading.last = Last::Unknown;
            }
            None => reading.ledger.add(Fate::OverLimit, 1),
        }
    }

    /// The first `TYPE` of a family wins.
    fn declare(&mut self, reading: &mut Reading, name: &[u8], kind: FamilyType) {
        let Some(name) = decode_name(name) else { return };
        if reading.types.contains_key(&*name) {
            return;
        }
        match self.index.types.get_mut(&*name) {
            Some(declared) if declared.read == reading.number => {}
            Some(declared) if declared.kind == kind => declared.read = reading.number,
            Some(_) | None => {
                reading.types.insert(name.into_owned(), kind);
            }
        }
    }

    /// So does the first `HELP`.
    fn help(&mut self, reading: &mut Reading, name: &[u8], text: &[u8]) {
        let Some(name) = decode_name(name) else { return };
        let help = decode_help(text);
        match self.index.types.get_mut(&*name) {
            Some(declared) if declared.helped == reading.number => {}
            Some(declared) if declared.help == help => declared.helped = reading.number,
            Some(_) | None => {
                reading.helps.entry(name.into_owned()).or_insert_with(|| help.into_owned());
            }
        }
    }
}
