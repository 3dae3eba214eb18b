//! The catalogue over a long life: whatever a target has shown before, and whatever was forgotten of it, a page reads as it
//! would to a promdog that has never seen it.

use std::fmt::Write;
use std::sync::Arc;

use promdog::mapping::Mapping;
use promdog::translate::Translator;
use promdog::view::{View, page};
use proptest::prelude::*;

use crate::support::{mapping, translator};

const RULES: &str =
    "version: 1\nmetrics: { c: c, g: g, h: h, s: s, t: { name: t, type: gauge } }\nlabels: { drop: [gone] }\n";

/// A source whose series come and go, change order and spelling, and whose families change type.
#[derive(Clone, Debug, Default)]
struct Source {
    /// Label values of the rows that are there, in order.
    rows: Vec<u32>,
    value: u32,
    counters_are_gauges: bool,
    silent: bool,
    /// A number in the help of a family, which has none for 0.
    help: u32,
    spelled_otherwise: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Come(prop::sample::Index, u32),
    Go(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Retype,
    Silence,
    Respell,
    Help(u32),
    /// A page is cut, and what was read of it is dropped.
    Cut(prop::sample::Index),
    Compact,
    Pull,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (index(), 0..40_u32).prop_map(|(at, row)| Step::Come(at, row)),
        3 => index().prop_map(Step::Go),
        2 => (index(), index()).prop_map(|(one, two)| Step::Swap(one, two)),
        1 => Just(Step::Retype),
        1 => Just(Step::Silence),
        1 => Just(Step::Respell),
        1 => (0..3_u32).prop_map(Step::Help),
        2 => index().prop_map(Step::Cut),
        1 => Just(Step::Compact),
        8 => Just(Step::Pull),
    ]
}

impl Source {
    fn page(&mut self) -> String {
        self.value += 1;
        let value = self.value;
        let mut out = String::new();
        let mut write = |text: std::fmt::Arguments<'_>| out.write_fmt(text).expect("a string");
        if self.help > 0 {
            write(format_args!("# HELP c Counts {}\n", self.help));
        }
        if !self.silent {
            write(format_args!("# TYPE c {}\n", if self.counters_are_gauges { "gauge" } else { "counter" }));
            write(format_args!("# TYPE h histogram\n# TYPE s summary\n# TYPE g gauge\n"));
        }
        for row in &self.rows {
            let labels = if self.spelled_otherwise {
                format!("b=\"x\\\\y\", a=\"{row}\" ,")
            } else {
                format!("a=\"{row}\",b=\"x\\\\y\"")
            };
            write(format_args!("c{{{labels}}} {}\nt{{{labels},gone=\"{row}\"}} 1\n", value + row));
            write(format_args!("g{{a=\"{}\",gone=\"{row}\"}} {value}\n", row / 2));
            if row % 3 == 0 {
                write(format_args!(
                    "s{{{labels},quantile=\"0.1\"}} 0.25\ns_sum{{{labels}}} 7e-3\ns_count{{{labels}}} 3\n"
                ));
                continue;
            }
            for bound in ["0.1", if self.spelled_otherwise { "2.50" } else { "2.5" }, "+Inf"] {
                write(format_args!("h_bucket{{{labels},le=\"{bound}\"}} {value}\n"));
            }
            write(format_args!("h_sum{{{labels}}} {value}.5\nh_count{{{labels}}} {value}\n"));
        }
        out
    }
}

fn same(warm: &View, text: &str, mapping: &Arc<Mapping>) -> Result<(), TestCaseError> {
    let cold = translator(mapping).read(text.as_bytes());
    prop_assert_eq!(&warm.ledger, &cold.ledger, "{}", text);
    let sorted = |view: &View| {
        let page = page(&[view], &[]);
        let mut lines: Vec<String> = page.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    prop_assert_eq!(sorted(warm), sorted(&cold), "{}", text);
    Ok(())
}

fn live(steps: &[Step]) -> Result<(), TestCaseError> {
    let mapping = mapping(RULES);
    let mut warm: Translator = translator(&mapping);
    let mut source = Source::default();
    let mut last: Option<(View, String)> = None;
    for step in steps {
        let rows = &mut source.rows;
        match step {
            Step::Come(at, row) if !rows.contains(row) => rows.insert(at.index(rows.len() + 1), *row),
            Step::Go(at) if !rows.is_empty() => drop(rows.remove(at.index(rows.len()))),
            Step::Swap(one, two) if !rows.is_empty() => {
                let length = rows.len();
                rows.swap(one.index(length), two.index(length));
            }
            Step::Come(..) | Step::Go(_) | Step::Swap(..) => {}
            Step::Retype => source.counters_are_gauges ^= true,
            Step::Silence => source.silent ^= true,
            Step::Respell => source.spelled_otherwise ^= true,
            Step::Help(help) => source.help = *help,
            Step::Cut(at) => {
                let text = source.page();
                let mut reading = warm.begin();
                warm.feed(&mut reading, &text.as_bytes()[..at.index(text.len() + 1)]);
            }
            Step::Compact => {
                if let Some((view, text)) = last.take() {
                    let (view, moved) = warm.compact(&view, |_| false);
                    prop_assert_eq!(moved.slots, view.source.present().count());
                    same(&view, &text, &mapping)?;
                }
            }
            Step::Pull => {
                let text = source.page();
                let view = warm.read(text.as_bytes());
                same(&view, &text, &mapping)?;
                last = Some((view, text));
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_page_reads_the_same_whatever_came_before(steps in prop::collection::vec(step(), 1..60)) {
        live(&steps)?;
    }
}
