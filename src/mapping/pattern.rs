//! Names and values to match: a plain name, a glob whose `*` captures, or a `/regex/`; and templates of `${1}`.

use regex::{Captures, Regex};

/// What a key matches.
#[derive(Clone, Debug)]
pub(super) enum Matcher {
    Exact(String),
    Pattern { regex: Regex, captures: usize },
}

impl Matcher {
    /// Reads a key: `/…/` is a regex over the whole name, `*` makes a glob, anything else is the name itself.
    ///
    /// # Errors
    /// Why the regex cannot be compiled, in one line.
    pub(super) fn parse(key: &str) -> Result<Self, String> {
        let inner = key.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
        let source = match inner {
            Some(inner) => format!("^(?:{inner})$"),
            None if key.contains('*') => {
                let parts: Vec<String> = key.split('*').map(regex::escape).collect();
                format!("(?s)^{}$", parts.join("(.*)"))
            }
            None => return Ok(Self::Exact(key.to_owned())),
        };
        let regex = Regex::new(&source).map_err(|error| one_line(&error))?;
        Ok(Self::Pattern { captures: regex.captures_len() - 1, regex })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(name) => name == text,
            Self::Pattern { regex, .. } => regex.is_match(text),
        }
    }

    /// The captures, if this is a pattern that matches.
    pub(super) fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        match self {
            Self::Exact(_) => None,
            Self::Pattern { regex, .. } => regex.captures(text),
        }
    }

    /// How many groups it captures.
    pub(super) fn groups(&self) -> usize {
        match self {
            Self::Exact(_) => 0,
            Self::Pattern { captures, .. } => *captures,
        }
    }
}

fn one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// A text with `${1}`-style places for captures.
#[derive(Clone, Debug, Default)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Group(usize),
}

impl Template {
    /// # Errors
    /// What is wrong with a `${…}`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            parts.push(Part::Text(before.to_owned()));
            let (number, after) = after.split_once('}').ok_or("`${` is not closed by `}`")?;
            let group = number.parse().ok().filter(|group| *group > 0);
            parts.push(Part::Group(group.ok_or("`${…}` holds the number of a capture, from 1")?));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self { parts })
    }

    /// The highest capture it asks for.
    pub(super) fn highest_group(&self) -> usize {
        self.parts.iter().map(|part| if let Part::Group(group) = part { *group } else { 0 }).max().unwrap_or(0)
    }

    /// The fixed parts.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None })
    }

    pub(super) fn expand(&self, captures: Option<&Captures<'_>>) -> String {
        let group = |group: usize| captures.and_then(|captures| captures.get(group)).map_or("", |found| found.as_str());
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::Group(number) => group(*number),
            })
            .collect()
    }
}
