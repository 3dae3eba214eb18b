//! The manual tells the truth: its examples are read, its lists are complete, its links lead somewhere.

use std::path::Path;

use promdog::mapping::builtin;

use crate::support::{built_in, mapping};

const README: &str = include_str!("../../README.md");
const MAPPING: &str = include_str!("../../docs/mapping.md");
const METRICS: &str = include_str!("../../docs/metrics.md");

/// The fenced blocks of a language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_mapping_of_the_manual_is_a_mapping() {
    let [example] = blocks(MAPPING, "yaml")[..] else { panic!("one example") };
    assert_eq!(mapping(example).rules().count(), 5);
}

#[test]
fn every_built_in_rule_is_listed_with_its_unit() {
    for name in builtin::names() {
        for rule in built_in(&[name]).rules() {
            let row = METRICS
                .lines()
                .find(|line| {
                    line.starts_with(&format!("| `{}`", rule.key)) && line.contains(&format!("`{}", rule.name))
                })
                .unwrap_or_else(|| panic!("{name}: docs/metrics.md lacks `{}` → `{}`", rule.key, rule.name));
            for alias in &rule.aliases {
                assert!(row.contains(&format!("`{alias}`")), "{row}: lacks `{alias}`");
            }
            let unit = rule.unit.as_deref().unwrap_or_default();
            assert!(row.split('|').any(|cell| cell.trim() == unit), "{row}: lacks the unit `{unit}`");
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let targets = README.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for target in targets.filter(|target| !target.starts_with("http")) {
        assert!(root.join(target).exists(), "README.md links to {target}");
    }
}
