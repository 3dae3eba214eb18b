//! The walls of the house: which module may name which, what the core may not touch, and how long a file may be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// No file is longer.
const MAX_LINES: usize = 500;

/// The core, and the modules each may name besides itself. Values in, values out.
const CORE: [(&str, &[&str]); 15] = [
    ("time", &[]),
    ("number", &[]),
    ("inventory", &[]),
    ("yaml", &[]),
    ("exposition", &["number"]),
    ("ledger", &["exposition"]),
    ("mapping", &["exposition", "yaml"]),
    ("column", &[]),
    ("tags", &["exposition"]),
    ("catalog", &["column", "exposition", "mapping", "number", "tags"]),
    ("view", &["catalog", "column", "exposition", "ledger", "tags"]),
    ("payload", &["catalog", "number", "tags", "view"]),
    (
        "translate",
        &["catalog", "column", "exposition", "inventory", "ledger", "mapping", "number", "payload", "tags", "view"],
    ),
    ("delta", &["catalog", "column", "exposition", "mapping", "tags", "time", "view"]),
    ("lib", &[]),
];

/// The shell, and what each room may name of the shell. All of it may name the core.
const SHELL: [(&str, &[&str]); 19] = [
    ("backoff", &[]),
    ("clock", &[]),
    ("cpu", &[]),
    ("store", &["clock"]),
    ("telemetry", &["clock", "datadog"]),
    ("tls", &[]),
    ("scrape", &["tls"]),
    ("cluster", &["backoff", "telemetry", "tls"]),
    ("datadog", &["backoff", "clock", "store", "tls"]),
    ("pull", &["clock", "cpu", "scrape", "telemetry"]),
    ("targets", &["clock", "cluster", "pull", "scrape", "telemetry", "tls"]),
    ("push", &["clock", "cluster", "cpu", "datadog", "pull", "store", "targets", "telemetry"]),
    ("server", &["cluster", "datadog", "pull", "push", "targets", "telemetry"]),
    ("config", &["cluster", "datadog", "push", "scrape", "store", "targets", "telemetry", "tls"]),
    ("mock", &["tls"]),
    (
        "app",
        &[
            "clock",
            "cluster",
            "config",
            "datadog",
            "pull",
            "push",
            "scrape",
            "server",
            "store",
            "targets",
            "telemetry",
            "tls",
        ],
    ),
    ("cli", &["app", "clock", "config", "mock", "scrape", "targets", "telemetry", "tls", "datadog"]),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// What the core may not contain: crates of the shell, clocks, files, sockets, locks, tasks.
const SHELL_ONLY: [&str; 24] = [
    "anyhow::",
    "axum",
    "clap::",
    "datadog_api_client",
    "futures::",
    "httpdate",
    "hyper",
    "k8s_openapi",
    "kube::",
    "rcgen",
    "reqwest",
    "rustls",
    "secrecy::",
    "tokio",
    "tower",
    "tracing",
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "SystemTime",
    "Instant",
    "Mutex",
    "async ",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the source folder is there") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Path below the crate's root, and text, of every source and test.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in ["src", "tests"] {
        sources(&root.join(folder), &mut paths);
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(root).expect("below the root").display().to_string();
        (name, fs::read_to_string(path).expect("UTF-8"))
    };
    paths.iter().map(read).collect()
}

/// The room a source file belongs to.
fn room(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("src/")?;
    Some(rest.split('/').next().unwrap_or(rest).trim_end_matches(".rs"))
}

/// A file's code: comments and what follows `#[cfg(test)]` left out.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    text.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Rooms named as `crate::room`, also in grouped imports.
fn named_rooms(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut start = true;
            let mut word = String::new();
            for char in group.chars() {
                if depth == 0 && start && (char.is_alphanumeric() || char == '_') {
                    word.push(char);
                } else if !word.is_empty() {
                    rooms.push(std::mem::take(&mut word));
                    start = false;
                }
                match char {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    _ => {}
                }
            }
            rooms.extend((!word.is_empty()).then_some(word));
        } else {
            rooms.push(rest.chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect());
        }
    }
    rooms
}

#[test]
fn no_file_is_longer_than_the_wall() {
    let long: Vec<String> = files()
        .iter()
        .filter(|(_, text)| text.lines().count() > MAX_LINES)
        .map(|(path, text)| format!("{path}: {} lines", text.lines().count()))
        .collect();
    assert!(long.is_empty(), "over {MAX_LINES} lines: {long:#?}");
}

#[test]
fn rooms_name_only_the_rooms_they_may() {
    let core: BTreeMap<&str, &[&str]> = CORE.into_iter().collect();
    let shell: BTreeMap<&str, &[&str]> = SHELL.into_iter().collect();
    let mut wrong = Vec::new();
    for (path, text) in files() {
        let Some(room) = room(&path) else { continue };
        for named in named_rooms(&code(&text)) {
            let allowed = named == room
                || core.get(room).is_some_and(|allowed| allowed.contains(&named.as_str()))
                || shell
                    .get(room)
                    .is_some_and(|allowed| allowed.contains(&named.as_str()) || core.contains_key(named.as_str()));
            if !allowed {
                wrong.push(format!("{path} names crate::{named}"));
            }
        }
        if !core.contains_key(room) && !shell.contains_key(room) {
            wrong.push(format!("{path}: the room `{room}` is in no table"));
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_core_touches_no_clock_file_socket_lock_or_task() {
    let mut wrong = Vec::new();
    for (path, text) in files() {
        if !room(&path).is_some_and(|room| room != "lib" && CORE.iter().any(|(core, _)| *core == room)) {
            continue;
        }
        if path.ends_with("/tests.rs") {
            continue;
        }
        let code = code(&text);
        wrong
            .extend(SHELL_ONLY.iter().filter(|word| code.contains(**word)).map(|word| format!("{path} uses `{word}`")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_what_it_is_for_and_none_is_a_mod_rs() {
    for (path, text) in files() {
        let is_test_module = path.ends_with("/tests.rs");
        assert!(is_test_module || text.starts_with("//!"), "{path} does not begin with `//!`");
        assert!(!path.ends_with("mod.rs"), "{path}: name it after its module");
    }
}

#[test]
fn the_core_switches_its_bans_on() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let switches = |room: &str, lints: &str| {
        let text = fs::read_to_string(root.join(format!("{room}.rs"))).expect("a room");
        assert!(text.contains(&format!("#![warn({lints})]")), "src/{room}.rs does not switch on {lints}");
    };
    for (room, _) in CORE.iter().filter(|(room, _)| *room != "lib") {
        switches(room, "clippy::disallowed_methods, clippy::disallowed_types");
    }
    switches("exposition", "clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used");
}
