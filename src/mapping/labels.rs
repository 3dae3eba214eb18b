//! Labels to tags: values rewritten, then labels dropped, renamed and added.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::mapping::pattern::{Matcher, Template};

/// What happens to the labels of a series.
#[derive(Clone, Debug, Default)]
pub struct LabelRules {
    /// By label; the first rewrite that matches applies.
    pub(super) values: BTreeMap<String, Vec<Rewrite>>,
    pub(super) drop: Vec<Matcher>,
    pub(super) rename: BTreeMap<String, String>,
    pub(super) add: BTreeMap<String, String>,
}

/// A value that matches is replaced as a whole.
#[derive(Clone, Debug)]
pub(super) struct Rewrite {
    pub(super) matches: Matcher,
    pub(super) replace: Template,
}

impl LabelRules {
    /// These rules with another's put over them: the other's entry for a label replaces ours, and drops add up.
    pub(super) fn overlaid(&self, over: &Self) -> Self {
        let mut all = self.clone();
        let Self { values, drop, rename, add } = over.clone();
        all.values.extend(values);
        all.drop.extend(drop);
        all.rename.extend(rename);
        all.add.extend(add);
        all
    }

    pub(super) fn apply<'a>(&'a self, labels: &[(&'a str, &'a str)]) -> Vec<(&'a str, Cow<'a, str>)> {
        let mut out: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(labels.len() + self.add.len());
        for (name, value) in labels {
            if self.drop.iter().any(|drop| drop.matches(name)) {
                continue;
            }
            let value = self.rewritten(name, value);
            if !value.is_empty() {
                out.push((self.rename.get(*name).map_or(*name, String::as_str), value));
            }
        }
        out.extend(self.add.iter().map(|(name, value)| (name.as_str(), Cow::Borrowed(value.as_str()))));
        out.sort_unstable();
        out.dedup();
        out
    }

    fn rewritten<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        for Rewrite { matches, replace } in self.values.get(name).into_iter().flatten() {
            match matches {
                Matcher::Exact(exact) if exact == value => return replace.expand(None).into(),
                Matcher::Exact(_) => {}
                Matcher::Pattern { .. } => {
                    if let Some(captures) = matches.captures(value) {
                        return replace.expand(Some(&captures)).into();
                    }
                }
            }
        }
        value.into()
    }
}
