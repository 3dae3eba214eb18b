//! The manual tells the truth: its examples are read, its lists are complete, its links lead somewhere.

use std::path::Path;

use promdog::config::env::Env;
use promdog::config::flags::Flags;
use promdog::config::{Config, File};
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
fn the_configurations_of_the_manual_are_right() {
    let examples: Vec<&str> = blocks(README, "yaml").into_iter().filter(|text| text.contains("targets:\n")).collect();
    assert_eq!(examples.len(), 1);
    for text in examples {
        let file = File { name: "README.md", text, folder: Path::new("") };
        Config::load(Some(file), &Flags::default(), &Env::default()).unwrap_or_else(|problems| panic!("{problems}"));
    }
}

/// A heading as its anchor.
fn anchor(heading: &str) -> String {
    let kept = |char: &char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_');
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(kept).map(|char| if char == ' ' { '-' } else { char }).collect()
}

/// Files of the clone, and headings within them.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md"), root.join("ARCHITECTURE.md")];
    let docs = std::fs::read_dir(root.join("docs")).expect("docs").map(|entry| entry.expect("readable").path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    assert!(pages.len() > 5);
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("UTF-8");
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("http")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { page.clone() } else { page.parent().expect("a folder").join(file) };
            assert!(file.exists(), "{} links to {link}", page.display());
            let anchors = || std::fs::read_to_string(&file).unwrap_or_default();
            let found =
                heading.is_empty() || anchors().lines().any(|line| line.starts_with('#') && anchor(line) == heading);
            assert!(found, "{} links to {link}", page.display());
        }
    }
}
