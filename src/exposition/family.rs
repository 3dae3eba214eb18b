//! What a family is: its type.

/// The type a `TYPE` line gives a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FamilyType {
    Counter,
    Gauge,
    Histogram,
    Summary,
    /// `untyped`, `unknown`, or no `TYPE` line at all.
    Untyped,
    GaugeHistogram,
    Info,
    StateSet,
}

impl FamilyType {
    /// The word of the text format.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
            Self::Untyped => "untyped",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }

    /// Reads a type word in any case; `None` if it is no type.
    #[must_use]
    pub fn parse(word: &[u8]) -> Option<Self> {
        const WORDS: [(&[u8], FamilyType); 10] = [
            (b"counter", FamilyType::Counter),
            (b"gauge", FamilyType::Gauge),
            (b"histogram", FamilyType::Histogram),
            (b"summary", FamilyType::Summary),
            (b"untyped", FamilyType::Untyped),
            (b"unknown", FamilyType::Untyped),
            (b"gaugehistogram", FamilyType::GaugeHistogram),
            (b"gauge_histogram", FamilyType::GaugeHistogram),
            (b"info", FamilyType::Info),
            (b"stateset", FamilyType::StateSet),
        ];
        WORDS.iter().find(|(text, _)| word.eq_ignore_ascii_case(text)).map(|(_, kind)| *kind)
    }
}
