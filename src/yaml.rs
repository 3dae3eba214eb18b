//! Strict reading of a YAML file an operator wrote: every problem of the file is collected, each with its line, column
//! and an excerpt. Used for mapping files and for the service configuration; knows neither.
//!
//! A reader asks for the keys it knows, value by value. A `None` from a cursor means: absent, or wrong and already
//! reported; so readers carry on with a default and see the remaining problems too. [`Document::problems`] at the end
//! decides.
//!
//! Supported: one YAML 1.2 document per file, anchors and aliases. Refused: tags other than `!!str`, keys that are not
//! plain text, merge keys (`<<` is an unknown key), nesting deeper than 64.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod node;
pub mod problem;
mod tree;

use std::cell::RefCell;

use crate::yaml::node::Node;
use crate::yaml::problem::{Problem, Problems};
use crate::yaml::tree::Tree;

/// One file: its text, its tree, and what is wrong with it so far.
pub struct Document {
    name: String,
    text: String,
    tree: Tree,
    parsed: bool,
    problems: RefCell<Vec<Problem>>,
}

impl Document {
    /// Reads `text`; `name` is what problems call the file. Never fails: a syntax error becomes the first problem, and
    /// the document then looks empty (see [`Document::parsed`]).
    #[must_use]
    pub fn parse(name: &str, text: &str) -> Self {
        let parse = tree::parse(text);
        let document = Self {
            name: name.to_owned(),
            text: text.to_owned(),
            parsed: parse.tree.is_some(),
            tree: parse.tree.unwrap_or_else(Tree::empty),
            problems: RefCell::new(Vec::new()),
        };
        for fault in parse.faults {
            let spot = Spot { document: &document, start: fault.span.start, end: fault.span.end };
            match fault.first {
                Some(first) => {
                    let first = Spot { document: &document, start: first.start, end: first.end };
                    spot.refuse_beside(fault.title, fault.label, first, "first here");
                }
                None => spot.refuse(fault.title, fault.label),
            }
        }
        document
    }

    /// Whether the text was YAML at all. If not, missing keys are not worth reporting.
    #[must_use]
    pub fn parsed(&self) -> bool {
        self.parsed
    }

    /// What problems call the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of the whole document; null if the file is empty.
    #[must_use]
    pub fn root(&self) -> Node<'_> {
        Node::new(self, &self.tree)
    }

    /// The beginning of the file.
    #[must_use]
    pub fn start(&self) -> Spot<'_> {
        Spot { document: self, start: 0, end: 0 }
    }

    /// Everything wrong with the file, in the order of the text.
    #[must_use]
    pub fn problems(self) -> Problems {
        Problems::new(self.problems.into_inner())
    }
}

/// A place in a document, to which a problem can be pinned.
#[derive(Clone, Copy)]
pub struct Spot<'d> {
    document: &'d Document,
    /// Byte offsets into the text.
    start: usize,
    end: usize,
}

impl<'d> Spot<'d> {
    /// Reports a problem here. `label` stands beside the caret; it may be empty.
    pub fn refuse(self, title: impl Into<String>, label: impl Into<String>) {
        self.report(title.into(), &label.into(), None);
    }

    /// Reports a problem here that has a second place, which may be in another file.
    pub fn refuse_beside(
        self,
        title: impl Into<String>,
        label: impl Into<String>,
        other: Spot<'_>,
        other_label: impl Into<String>,
    ) {
        self.report(title.into(), &label.into(), Some((other, &other_label.into())));
    }

    fn report(self, title: String, label: &str, other: Option<(Spot<'_>, &str)>) {
        let rendered = problem::render(&title, self, label, other);
        let (line, column) = self.line_and_column();
        let file = self.document.name.clone();
        self.document.problems.borrow_mut().push(Problem { file, line, column, title, rendered });
    }

    /// Both from 1; the column in characters.
    fn line_and_column(self) -> (usize, usize) {
        let before = self.document.text.get(..self.start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests;
