//! Mapping files put together: rules by name, patterns in order, and what only shows when rules are compared.

use std::collections::HashMap;

use crate::mapping::file::{self, Entry, File};
use crate::mapping::pattern::Matcher;
use crate::mapping::{Mapping, Rule, RuleId, Source};
use crate::yaml::problem::Problems;
use crate::yaml::{Document, Spot};

pub(super) fn compile(sources: &[Source]) -> Result<Mapping, Problems> {
    let documents: Vec<Document> = sources.iter().map(|source| Document::parse(&source.name, &source.text)).collect();
    let mapping = {
        let files: Vec<File<'_>> = documents.iter().map(file::read).collect();
        one_namespace(&files);
        for file in &files {
            names_once(file);
        }
        types_agree(&files);
        assemble(files, sources)
    };
    let mut problems = Problems::default();
    for document in documents {
        problems.extend(document.problems());
    }
    problems.or_value(Some(mapping))
}

fn one_namespace(files: &[File<'_>]) {
    let mut named = files.iter().filter_map(|file| file.namespace.as_ref());
    let Some((first, first_spot)) = named.next() else { return };
    for (other, spot) in named.filter(|(other, _)| other != first) {
        spot.refuse_beside(
            format!("two namespaces in one mapping: `{other}` and `{first}`"),
            "give each target one of the files",
            *first_spot,
            "the other one",
        );
    }
}

/// A family's name may lead to one rule of a file only.
fn names_once(file: &File<'_>) {
    let mut seen: HashMap<&str, Spot<'_>> = HashMap::new();
    let own = file.rules.iter().map(|rule| (rule.key.text(), rule.key.spot()));
    let aliases = file.rules.iter().flat_map(|rule| &rule.aliases).map(|(text, _, spot)| (text.as_str(), *spot));
    for (text, spot) in own.chain(aliases) {
        match seen.get(text) {
            Some(first) => {
                spot.refuse_beside(format!("`{text}` has a rule already"), "again here", *first, "first here")
            }
            None => {
                seen.insert(text, spot);
            }
        }
    }
}

/// Two rules may feed one metric, if they agree on what it is.
fn types_agree(files: &[File<'_>]) {
    let mut seen: HashMap<&str, &Entry<'_>> = HashMap::new();
    for rule in files.iter().flat_map(|file| &file.rules).filter(|rule| rule.template.highest_group() == 0) {
        let Some(first) = seen.get(rule.name.as_str()) else {
            seen.insert(&rule.name, rule);
            continue;
        };
        if first.key.text() == rule.key.text() {
            continue;
        }
        let said = |entry: &Entry<'_>| entry.kind.map_or("the exposition's type", |kind| kind.word());
        if first.kind != rule.kind {
            rule.name_spot.refuse_beside(
                format!("two rules lead to `{}` with different types", rule.name),
                format!("{} here", said(rule)),
                first.name_spot,
                format!("{} here", said(first)),
            );
        } else if first.histogram != rule.histogram {
            rule.name_spot.refuse_beside(
                format!("two rules lead to `{}` with different histogram modes", rule.name),
                "this one",
                first.name_spot,
                "and this one",
            );
        }
    }
}

fn assemble(files: Vec<File<'_>>, sources: &[Source]) -> Mapping {
    let mut mapping = Mapping::default();
    for file in &files {
        mapping.labels = mapping.labels.overlaid(&file.labels);
    }
    for (File { namespace, health, epoch, rules, labels: _, exclude, versions }, source) in
        files.into_iter().zip(sources)
    {
        mapping.namespace = mapping.namespace.or(namespace.map(|(name, _)| name));
        mapping.health = mapping.health.or(health);
        mapping.versions.extend(versions);
        for entry in rules {
            add(&mut mapping, entry, epoch, &source.name);
        }
        for matcher in exclude {
            match matcher {
                Matcher::Exact(name) => {
                    mapping.exclude.insert(name, ());
                }
                Matcher::Pattern { .. } => mapping.exclude_patterns.push(matcher),
            }
        }
    }
    mapping
}

fn add(mapping: &mut Mapping, entry: Entry<'_>, epoch: crate::mapping::Epoch, source: &str) {
    let Entry {
        key,
        matcher,
        name,
        template,
        name_spot: _,
        aliases,
        kind,
        histogram,
        epoch: own_epoch,
        unit,
        description,
        labels,
    } = entry;
    let id = RuleId(u32::try_from(mapping.rules.len()).unwrap_or(u32::MAX));
    let labels = labels.map(|own| mapping.labels.overlaid(&own));
    let rule = Rule {
        key: key.text().to_owned(),
        source: source.to_owned(),
        name,
        aliases: aliases.iter().map(|(text, _, _)| text.clone()).collect(),
        kind,
        histogram,
        epoch: own_epoch.unwrap_or(epoch),
        unit,
        description,
        template,
        labels,
    };
    let spellings = std::iter::once(matcher).chain(aliases.into_iter().map(|(_, matcher, _)| matcher));
    for (precedence, spelling) in spellings.enumerate() {
        match spelling {
            Matcher::Exact(name) => {
                mapping.exact.insert(name, (id, precedence));
            }
            Matcher::Pattern { .. } => mapping.patterns.push((spelling, id, precedence)),
        }
    }
    mapping.rules.push(rule);
}
