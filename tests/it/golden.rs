//! Golden cases: a folder for each, with one exposition a pull (`t0.prom`, `t1.prom`, …, 15 s apart), the names of
//! built-in mappings (`builtin`) or a mapping of its own (`mapping.yaml`), and what comes out (`*.snap`): points, fates,
//! and the page after the last pull.
//!
//! Processes that start before 1,000,000 were there before we watched; pulls are at 1,000,001, 1,000,016, ….

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use promdog::ledger::{Fate, Ledger};
use promdog::mapping::Mapping;
use promdog::payload::points::{Frame, Gauges, of_view};
use promdog::translate::describe_refusals;
use promdog::view::{self, Increases, View};

use crate::support::{Target, built_in, mapping};

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let entries = fs::read_dir(root).expect("the cases are there").map(|entry| entry.expect("readable").path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn read(folder: &Path, name: &str) -> Option<String> {
    fs::read_to_string(folder.join(name)).ok()
}

fn rules(folder: &Path) -> Arc<Mapping> {
    match read(folder, "mapping.yaml") {
        Some(text) => mapping(&text),
        None => built_in(
            &read(folder, "builtin").expect("`builtin` or `mapping.yaml`").split_whitespace().collect::<Vec<_>>(),
        ),
    }
}

fn points(out: &mut String, view: &View, increases: &Increases) {
    let mut lines = Vec::new();
    of_view(view, increases, Gauges::Send, Frame { host: None, interval: 15 }, |row, point| {
        let tags = view.catalog.tags(row);
        let tags: Vec<&str> = tags.iter().map(String::as_str).chain(point.bound).collect();
        let unit = point.unit.map(|unit| format!(" [{unit}]")).unwrap_or_default();
        let (name, suffix, kind) = (point.name, point.suffix, point.kind.word());
        lines.push(format!("  {kind:5} {name}{suffix}{{{}}} {}{unit}", tags.join(", "), point.value));
    });
    lines.sort();
    lines.iter().for_each(|line| writeln!(out, "{line}").expect("a string"));
}

fn fates(ledger: &Ledger) -> String {
    let fates = Fate::ALL.into_iter().filter(|fate| ledger.count(*fate) > 0);
    fates.map(|fate| format!("{} {}", ledger.count(fate), fate.label())).collect::<Vec<_>>().join(", ")
}

#[test]
fn golden_cases_come_out_as_recorded() {
    let folders = folders();
    assert!(folders.len() > 5);
    for folder in folders {
        let mut target = Target::new(rules(&folder));
        let mut out = String::new();
        let mut last = None;
        for pull in 0.. {
            let Some(text) = read(&folder, &format!("t{pull}.prom")) else { break };
            let view = target.pull(1 + 15 * pull, &text);
            let increases = target.cursor.take(&view.catalog);
            writeln!(out, "t{pull}: {}; {:?}", fates(&view.ledger), target.advance.process).expect("a string");
            if !view.ledger.is_whole() {
                writeln!(out, "  refused: {}", describe_refusals(&view.ledger)).expect("a string");
            }
            points(&mut out, &view, &increases);
            last = Some(view);
        }
        writeln!(out, "\n{}", view::page(&[&last.expect("at least t0.prom")], &[]).trim_end()).expect("a string");
        insta::with_settings!({
            snapshot_path => &folder, prepend_module_to_snapshot => false, omit_expression => true,
        }, {
            insta::assert_snapshot!("out", out);
        });
    }
}
