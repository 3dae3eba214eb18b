//! The fate of every sample of a pull. Each has exactly one; refused lines, which are no samples, are counted apart.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

use crate::exposition::lex::Reason;

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    Mapped,
    /// No rule, or a rule that cannot tell what an untyped family is.
    Unmapped,
    /// An `exclude` entry.
    Excluded,
    /// NaN or an infinity: on `/metrics`, never in Datadog.
    NotANumber,
    /// More labels, longer labels, a longer line or more samples than the target's limits allow.
    OverLimit,
    /// The series was already in this exposition.
    Duplicate,
    /// The family is an alias, and its successor is in the same exposition.
    Shadowed,
    /// Another series has the output name and tags, or the name with another type.
    Collided,
}

impl Fate {
    pub const ALL: [Self; 8] = [
        Self::Mapped,
        Self::Unmapped,
        Self::Excluded,
        Self::NotANumber,
        Self::OverLimit,
        Self::Duplicate,
        Self::Shadowed,
        Self::Collided,
    ];

    /// The value of the `fate` label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::Unmapped => "unmapped",
            Self::Excluded => "excluded",
            Self::NotANumber => "not_a_number",
            Self::OverLimit => "over_limit",
            Self::Duplicate => "duplicate",
            Self::Shadowed => "shadowed",
            Self::Collided => "collided",
        }
    }
}

/// A refused line, for telling the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// From 1.
    pub line: usize,
    /// In bytes, from 1.
    pub column: usize,
    pub reason: Reason,
}

/// The ledger of one pull.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    counts: [u64; Fate::ALL.len()],
    /// Sample lines read; equals the sum over the fates.
    pub samples: u64,
    pub refused_lines: u64,
    /// Nothing ends the last line, so the document may have been cut.
    pub unterminated: bool,
    /// The first refusals, at most [`Ledger::KEPT`].
    pub refusals: Vec<Refusal>,
}

impl Ledger {
    /// How many refusals are kept with their place.
    pub const KEPT: usize = 10;

    pub fn add(&mut self, fate: Fate, samples: u64) {
        self.counts[fate as usize] += samples;
    }

    #[must_use]
    pub fn count(&self, fate: Fate) -> u64 {
        self.counts[fate as usize]
    }

    pub fn refuse(&mut self, refusal: Refusal) {
        self.refused_lines += 1;
        if self.refusals.len() < Self::KEPT {
            self.refusals.push(refusal);
        }
    }

    /// Whether there were samples, no line was refused, none cut, and no limit hit: only then does absence prove that a
    /// series did not exist.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.samples > 0 && self.is_whole() && self.count(Fate::OverLimit) == 0
    }

    /// Whether every line was read, to its end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.refused_lines == 0 && !self.unterminated
    }

    /// Whether every sample has exactly one fate.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.counts.iter().sum::<u64>() == self.samples
    }
}
