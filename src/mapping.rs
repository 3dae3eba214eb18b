//! The rules that say which family becomes which Datadog metric. A compiled [`Mapping`] cannot be wrong: whatever can be
//! wrong with its files is found while it is compiled, all at once.
//!
//! Suffixes (`.count`, `.bucket`, `.sum`) come from a family's type and are not part of a rule. Knows no exposition.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod builtin;
mod compile;
mod file;
pub mod labels;
mod pattern;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::exposition::family::FamilyType;
use crate::mapping::labels::LabelRules;
use crate::mapping::pattern::{Matcher, Template};
use crate::yaml::problem::Problems;

/// One mapping file, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What problems call it.
    pub name: String,
    pub text: String,
}

/// A rule's place in its mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u32);

/// What a restart of the target means for running totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Epoch {
    /// Totals belong to the process: they start again from 0 with it.
    Process,
    /// Totals belong to an object that outlives the process.
    Object,
    /// Totals have started again if one of the family has fallen.
    #[default]
    Auto,
}

/// What is made of a histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HistogramMode {
    /// `.bucket`, `.sum` and `.count`.
    #[default]
    Buckets,
    /// `.sum` and `.count` only.
    Sums,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// As its author wrote it: a name, a glob, or `/regex/`.
    pub key: String,
    /// The file it stands in.
    pub source: String,
    /// The metric's name without namespace and suffix; `${1}` stands for a capture.
    pub name: String,
    /// Other names of the same family; the rule's own key wins over them, and earlier ones over later ones.
    pub aliases: Vec<String>,
    /// Overrides the exposition's type.
    pub kind: Option<FamilyType>,
    pub histogram: HistogramMode,
    pub epoch: Epoch,
    /// A unit of Datadog's, such as `second` or `byte`.
    pub unit: Option<String>,
    pub description: Option<String>,
    template: Template,
    /// `None`: the mapping's own.
    labels: Option<LabelRules>,
}

/// The gauge that says whether the target's health URL answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Asked at the target's origin, such as `/healthz`.
    pub path: String,
    /// Without namespace.
    pub name: String,
}

/// A version of the target's software, and families that tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// As its author calls it, such as `KubeVirt 1.3 or later`.
    pub name: String,
    /// Families that no other version has, unless it stands later.
    pub families: Vec<String>,
}

/// What [`Mapping::find`] has found.
#[derive(Clone, Debug)]
pub enum Find<'m> {
    Mapped(Hit<'m>),
    Excluded,
    Unmapped,
}

/// A rule and what it makes of a family.
#[derive(Clone, Debug)]
pub struct Hit<'m> {
    pub rule: &'m Rule,
    pub id: RuleId,
    /// Without namespace and suffix.
    pub name: String,
    /// 0 for the rule's own key, 1 and up for its aliases.
    pub precedence: usize,
}

/// All rules of a target.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    namespace: Option<String>,
    health: Option<Health>,
    rules: Vec<Rule>,
    labels: LabelRules,
    /// Names to rules, with the precedence of the name.
    exact: HashMap<String, (RuleId, usize)>,
    /// Globs and regexes, in the order of the files.
    patterns: Vec<(Matcher, RuleId, usize)>,
    exclude: HashMap<String, ()>,
    exclude_patterns: Vec<Matcher>,
    versions: Vec<Version>,
}

impl Mapping {
    /// Compiles one or more files into one mapping. A later file's rule for a name replaces an earlier one's; only one of
    /// them may name a namespace.
    ///
    /// # Errors
    /// Everything wrong with the files, each with line, column and an excerpt.
    pub fn compile(sources: &[Source]) -> Result<Self, Problems> {
        compile::compile(sources)
    }

    /// What every name begins with, without the dot.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    #[must_use]
    pub fn health(&self) -> Option<&Health> {
        self.health.as_ref()
    }

    /// # Panics
    /// If the id is of another mapping.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> &Rule {
        &self.rules[id.0 as usize]
    }

    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// Whether a name leads to this rule: a later file may have replaced all of them.
    #[must_use]
    pub fn is_reachable(&self, id: RuleId) -> bool {
        self.exact.values().any(|(found, _)| *found == id) || self.patterns.iter().any(|(_, found, _)| *found == id)
    }

    /// The version that these families tell: of those of which one is there, the last.
    #[must_use]
    pub fn version(&self, families: &HashSet<&str>) -> Option<&Version> {
        let there = |name: &String| families.contains(name.as_str()) || families.contains(toggled(name).as_str());
        self.versions.iter().rev().find(|version| version.families.iter().any(there))
    }

    /// Looks a family up: an exact exclusion, then an exact name, then excluding patterns, then patterns in the order of
    /// the files. `_total` is optional on both sides.
    #[must_use]
    pub fn find(&self, family: &str, kind: FamilyType) -> Find<'_> {
        let other = toggled(family);
        let both = [family, other.as_str()];
        if both.iter().any(|name| self.exclude.contains_key(*name)) {
            return Find::Excluded;
        }
        if let Some(&(id, precedence)) = both.iter().find_map(|name| self.exact.get(*name)) {
            let rule = self.rule(id);
            return Find::Mapped(Hit { rule, id, name: rule.template.expand(None), precedence });
        }
        // A counter's `_total` is no part of its name: captures shall not hold it.
        let bare = family.strip_suffix("_total").filter(|_| kind == FamilyType::Counter);
        let spellings: Vec<&str> = bare.into_iter().chain([family]).collect();
        if self.exclude_patterns.iter().any(|pattern| spellings.iter().any(|name| pattern.matches(name))) {
            return Find::Excluded;
        }
        for (pattern, id, precedence) in &self.patterns {
            if let Some(captures) = spellings.iter().find_map(|name| pattern.captures(name)) {
                let rule = self.rule(*id);
                let name = rule.template.expand(Some(&captures));
                return Find::Mapped(Hit { rule, id: *id, name, precedence: *precedence });
            }
        }
        Find::Unmapped
    }

    /// A family's labels as tags: values rewritten, labels dropped, renamed and added, empty values left out; sorted.
    #[must_use]
    pub fn labels<'a>(&'a self, rule: RuleId, labels: &[(&'a str, &'a str)]) -> Vec<(&'a str, Cow<'a, str>)> {
        self.rule(rule).labels.as_ref().unwrap_or(&self.labels).apply(labels)
    }
}

/// The other spelling of a name: with `_total`, or without.
fn toggled(name: &str) -> String {
    name.strip_suffix("_total").map_or_else(|| format!("{name}_total"), str::to_owned)
}
