//! The table of `promdog translate`: every series by the metric it becomes, then what became of the rest.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::catalog::{NONE, Output, Route, Unmapped};
use crate::cli::translate::{Pull, rule_name, url};
use crate::delta::{Advance, ProcessChange};
use crate::ledger::Fate;
use crate::mapping::Mapping;
use crate::number;
use crate::translate::describe_refusals;

/// One series of the source.
struct Line {
    value: String,
    sent: String,
    source: String,
}

pub(super) fn print(
    to: &mut impl Write,
    pull: &Pull<'_>,
    mapping: &Mapping,
    advance: &Advance,
    only_one: bool,
) -> io::Result<()> {
    let Pull { number, input, view, cursor, translator } = pull;
    let catalog = &view.catalog;
    let mut groups: BTreeMap<(String, String), Vec<Line>> = BTreeMap::new();
    let mut rest: BTreeMap<(&'static str, &str), usize> = BTreeMap::new();
    for (id, value) in view.source.iter() {
        let slot = catalog.slots[id];
        let source = catalog.family(catalog.row(slot));
        let output = if slot.out == NONE { None } else { catalog.output(slot.out as usize) };
        let (Route::Mapped { rule, precedence, .. }, Some(Output { part, family, .. })) = (source.route, output) else {
            *rest.entry((why(source.route), &source.name)).or_default() += 1;
            continue;
        };
        let cumulative = part.is_cumulative(family.kind);
        let sent = match (view.folded.get(id), value.is_finite(), part.is_pushed(), cumulative) {
            (_, false, _, _) => "not a number".to_owned(),
            (false, _, _, _) => "not used".to_owned(),
            (_, _, false, _) => "page only".to_owned(),
            (_, _, _, false) => text(value),
            (_, _, _, true) => {
                cursor.owed(id).map_or_else(|| "baseline".to_owned(), |increase| format!("+{}", text(increase)))
            }
        };
        let name = format!("{}{}", family.name, family.kind.suffix(part));
        let unit = family.unit.as_ref().map(|unit| format!(" of {unit}")).unwrap_or_default();
        let datadog = if cumulative { "count" } else { "gauge" };
        let header = format!("{name}  {datadog}{unit}  rule {}", rule_name(mapping, rule, precedence));
        let line =
            Line { value: text(value), sent, source: String::from_utf8_lossy(translator.spelling(id)).into_owned() };
        groups.entry((name, header)).or_default().push(line);
    }
    writeln!(to, "pull {number}: {input}: {}", summary(pull, advance))?;
    let lines = groups.values().flatten();
    let (value_width, sent_width) =
        lines.fold((5, 4), |(value, sent), line| (value.max(line.value.len()), sent.max(line.sent.len())));
    writeln!(to, "\n  {:>value_width$}  {:>sent_width$}  SOURCE SERIES", "VALUE", "SENT")?;
    for ((_, header), lines) in &groups {
        writeln!(to, "{header}")?;
        for Line { value, sent, source } in lines {
            writeln!(to, "  {value:>value_width$}  {sent:>sent_width$}  {source}")?;
        }
    }
    if !rest.is_empty() {
        writeln!(to, "\nnot mapped, by family:")?;
        for ((why, family), samples) in rest {
            writeln!(to, "  {family}  {samples} samples  {why}")?;
        }
    }
    if !view.ledger.is_whole() {
        writeln!(to, "\nnot all of it can be read: {}", describe_refusals(&view.ledger))?;
    }
    if only_one && advance.baselines > 0 {
        writeln!(
            to,
            "\nCounters are sent as increases; one pull only gives them a baseline. A second one shows increases:"
        )?;
        // A URL is pulled again, an interval later.
        let later = if url(input).is_some() { input } else { "LATER_FILE" };
        writeln!(to, "  promdog translate {input} {later}")?;
    }
    writeln!(to)
}

fn summary(pull: &Pull<'_>, advance: &Advance) -> String {
    let ledger = &pull.view.ledger;
    let fates = Fate::ALL.into_iter().filter(|fate| ledger.count(*fate) > 0);
    let fates: Vec<String> = fates.map(|fate| format!("{} {}", ledger.count(fate), fate.label())).collect();
    let mut text = format!("{} samples: {}", ledger.samples, fates.join(", "));
    if ledger.refused_lines > 0 {
        text.push_str(&format!("; {} lines refused", ledger.refused_lines));
    }
    let Advance { resets, baselines: _, process } = advance;
    if *resets > 0 {
        text.push_str(&format!("; {resets} rows were reset"));
    }
    match process {
        ProcessChange::Replaced => text.push_str("; the process has restarted"),
        ProcessChange::Another => text.push_str("; another process answered"),
        ProcessChange::First | ProcessChange::Same => {}
    }
    text
}

fn why(route: Route) -> &'static str {
    match route {
        Route::Unmapped(Unmapped::NoRule) => "no rule",
        Route::Unmapped(Unmapped::NoType) => "the rule needs a `type:`, since the exposition gives none that fits",
        Route::Unmapped(Unmapped::TypeDoesNotFit) => "the rule's `type:` cannot be made of this family",
        Route::Mapped { .. } => "buckets are left out by `histogram: sums`",
        Route::Excluded => "excluded",
        Route::Collided => "the name is taken by another type",
    }
}

fn text(value: f64) -> String {
    let mut out = String::new();
    number::go(&mut out, value);
    out
}
