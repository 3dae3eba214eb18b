//! The landing page: what is served here, and how the targets are.

use std::fmt::Write;

use crate::pull::Target;
use crate::server::Surface;
use crate::targets::Status;
use crate::translate::missing::{Missing, missing};

pub(super) fn page(surface: &Surface) -> String {
    let mut rows = String::new();
    for target in surface.targets.now().iter() {
        let (name, state) = (escaped(&target.params.name), escaped(&state(target)));
        let missing = absent(target);
        let _ = write!(rows, "<tr><td><a href=\"metrics?target={name}\">{name}</a></td><td>{state}{missing}</td></tr>");
    }
    for Status { name, targets, problem, .. } in surface.targets.status().iter().filter(|status| status.discovered) {
        let problem = problem.as_ref().map(|problem| format!("; {problem}")).unwrap_or_default();
        let state = escaped(&format!("{targets} targets discovered{problem}"));
        let _ = write!(rows, "<tr><td>{}</td><td>{state}</td></tr>", escaped(name));
    }
    let mut push = String::new();
    for stats in &surface.stats {
        let now = stats.snapshot();
        let (endpoint, error) = (escaped(stats.name()), now.last_error.map(|error| escaped(&error)));
        let error = error.map(|error| format!(" Last error: {error}")).unwrap_or_default();
        let _ =
            write!(push, "<p>{endpoint} has accepted {} points; {} wait.{error}</p>", now.accepted, now.pending_points);
    }
    if push.is_empty() {
        push.push_str("<p>Nothing is pushed.</p>");
    }
    format!(
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>promdog</title>\
         <style>body{{font-family:sans-serif;margin:2em}}td{{padding:0 1em 0 0}}</style>\
         <h1>promdog {}</h1><p><a href=\"metrics\">/metrics</a>: the translated view. \
         <a href=\"internal/metrics\">/internal/metrics</a>: about promdog itself.</p>\
         <table>{rows}</table>{push}</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn state(target: &Target) -> String {
    match target.latest().as_deref() {
        None => "not pulled yet".to_owned(),
        Some(pulled) => match &pulled.view {
            Ok(view) => format!("up, {} samples", view.ledger.samples),
            Err(failure) => format!("down: {failure}"),
        },
    }
}

/// Which version's names are seen, and the rules without a family.
fn absent(target: &Target) -> String {
    let Some(view) = target.last_good() else { return String::new() };
    let Missing { rules, version } = missing(&view, &target.params.mapping);
    let mut out = version.map_or_else(String::new, |version| format!("; names of {}", escaped(&version.name)));
    if !rules.is_empty() {
        let names: Vec<String> = rules.iter().map(|rule| escaped(&rule.key)).collect();
        let (count, names) = (rules.len(), names.join("<br>"));
        let _ = write!(out, "<details><summary>{count} rules have met no family yet</summary>{names}</details>");
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
