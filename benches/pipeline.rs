//! What each stage costs, in CPU time of this thread and in memory, beside floors of the same run and published crates.
//!
//!     cargo bench --bench pipeline [-- SERIES|SIZE ...]        100000, or 100MB of text
//!     cargo bench --bench pipeline -- --growth FILE.svg        from a thousand series to a million
//!     cargo bench --bench pipeline -- --day                    24 hours of pulls while series come and go

mod day;
mod floors;
mod generate;
mod growth;
mod rounds;
mod work;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use generate::{Change, Page};
use promdog::mapping::Mapping;
use promdog::payload::Encoding;
use rounds::Stage;
use work::Target;

/// What is pulled next: of a hundred numbers, thirty have grown.
const LATER: Change = Change { percent: 30, churn_percent: 0 };
const CHURN: Change = Change { percent: 30, churn_percent: 1 };

const COPY: &str = "floor: copy of the text";
const NUMBERS: &str = "floor: copy of the numbers";
const NEWLINES: &str = "floor: newlines";
const VALUES: &str = "floor: lines, numbers";
const LABELS: &str = "floor: lines, all labels";
const COPY_PAGE: &str = "floor: copy of the page";
const ZSTD: &str = "floor: zstd of the bodies";
const READ_NEW: &str = "read, everything new";
const READ_KNOWN: &str = "read, all known";
const OTHERS: [&str; 2] = ["prometheus-parse", "prom_text_format_parser"];

/// What the stages work on.
struct Inputs {
    mapping: Arc<Mapping>,
    page: Page,
    text: Vec<u8>,
    later: Vec<u8>,
    churned: Vec<u8>,
}

impl Inputs {
    fn new(page: Page) -> Self {
        let text = page.text();
        let after = |change| {
            let mut page = page.clone();
            page.step(change);
            page.text()
        };
        let (later, churned) = (after(LATER), after(CHURN));
        Self { mapping: work::mapping(), page, text, later, churned }
    }

    /// Bytes per series on the heap for a target after two pulls and a take, keys not counted, and the most on the way.
    fn memory(&self) -> (f64, f64) {
        let (live, peak) = rounds::memory(|| {
            let mut target = Target::new(&self.mapping);
            target.pull(&self.text);
            target.pull(&self.later);
            target.take();
            target
        });
        let each = |bytes: usize| (bytes as f64 - self.page.key_bytes() as f64) / self.page.series() as f64;
        (each(live), each(peak))
    }
}

fn nothing() {}

fn measure(page: Page) {
    let inputs = Inputs::new(page);
    let Inputs { mapping, page, text, later, churned } = &inputs;
    let (bytes, samples) = (text.len() as f64, page.series() as f64);
    assert_eq!(work::lex(text), page.series(), "a line was refused");
    let mut target = Target::pulled(mapping, text);
    let cursor = target.cursor();
    let view = target.read(later);
    let (_, increases) = work::increases(cursor.clone(), &view, mapping);
    let bodies = work::raw(&work::encode(&view, &increases, Encoding::Json));
    let shown: String = work::pieces(&view).collect();
    let numbers = vec![1.0; page.series()];
    let mut stages = vec![
        Stage::new(COPY, None, nothing, |()| text.clone()),
        Stage::new(NUMBERS, None, nothing, |()| numbers.clone()),
        Stage::new(NEWLINES, None, nothing, |()| floors::newlines(text)),
        Stage::new(VALUES, None, nothing, |()| floors::lines_and_numbers(text)),
        Stage::new(LABELS, None, nothing, |()| floors::lines_and_labels(text)),
        Stage::new(COPY_PAGE, None, nothing, |()| shown.clone()),
        Stage::new(ZSTD, None, nothing, |()| floors::zstd(&bodies)),
        Stage::new("lexed only", Some(LABELS), nothing, |()| work::lex(text)),
        Stage::new(READ_NEW, Some(LABELS), || Target::new(mapping), |target| target.read(text)),
        read_known(&inputs),
        Stage::new("read, 1 % new", Some(VALUES), || Target::pulled(mapping, text), |target| target.read(churned)),
        Stage::new(
            "increases",
            Some(NUMBERS),
            || Some(cursor.clone()),
            |cursor| cursor.take().map(|cursor| work::increases(cursor, &view, mapping)),
        ),
        Stage::new("payload, JSON", Some(ZSTD), nothing, |()| work::encode(&view, &increases, Encoding::Json)),
        Stage::new("payload, protobuf", Some(ZSTD), nothing, |()| work::encode(&view, &increases, Encoding::Protobuf)),
        Stage::new("page", Some(COPY_PAGE), nothing, |()| work::page(&view)),
        Stage::new("checkpoint", Some(NUMBERS), nothing, |()| target.checkpoint()),
        pull_to_push(&inputs),
        pull_to("pull to push, protobuf", &inputs, |target| target.push(Encoding::Protobuf)),
        pull_to("pull to page", &inputs, |target| target.page()),
        Stage::new(OTHERS[0], Some(LABELS), nothing, |()| floors::prometheus_parse(text)),
        Stage::new(OTHERS[1], Some(LABELS), nothing, |()| floors::prom_text_format_parser(text)),
    ];
    let rounds = rounds::measure(&mut stages);
    println!(
        "\n{samples} series, {:.2} MB, {:.0} bytes a line; medians of {rounds} rounds",
        bytes / 1e6,
        bytes / samples
    );
    println!("{:28} {:>10} {:>12} {:>12}  times its floor", "", "MB/s", "ns/sample", "allocations");
    let nanos = |name: &str| stages.iter().find(|stage| stage.name == name).map_or(f64::NAN, Stage::nanos);
    for stage in &stages {
        let (took, allocations) = (stage.nanos(), stage.allocations());
        let ratio = stage.floor.map(|floor| format!("{:>6.2}  {floor}", took / nanos(floor))).unwrap_or_default();
        let (speed, each) = (bytes / took * 1e3, took / samples);
        println!("{:28} {speed:>10.0} {each:>12.1} {allocations:>12} {ratio}", stage.name);
    }
    for other in OTHERS {
        let times = |name| nanos(other) / nanos(name);
        println!(
            "{other} takes {:.1} times a read of what is new, {:.1} of what is known",
            times(READ_NEW),
            times(READ_KNOWN)
        );
    }
    drop(stages);
    let (live, peak) = inputs.memory();
    println!("{live:.0} bytes a live series beside its key, {peak:.0} at most on the way");
}

fn read_known(inputs: &Inputs) -> Stage<'_> {
    let mut target = Target::pulled(&inputs.mapping, &inputs.text);
    Stage::new(READ_KNOWN, Some(VALUES), nothing, move |()| target.read(&inputs.later))
}

fn pull_to_push(inputs: &Inputs) -> Stage<'_> {
    pull_to("pull to push, JSON", inputs, |target| target.push(Encoding::Json))
}

/// Pulls a page that goes on growing, made anew each time, and does something with it.
fn pull_to<'a, R: 'a>(
    name: &'static str,
    inputs: &'a Inputs,
    mut then: impl FnMut(&mut Target) -> R + 'a,
) -> Stage<'a> {
    let mut target = Target::pulled(&inputs.mapping, &inputs.text);
    let mut page = inputs.page.clone();
    let next = move || {
        page.step(LATER);
        page.text()
    };
    Stage::new(name, Some(VALUES), next, move |text| {
        target.pull(text);
        then(&mut target)
    })
}

/// `100000`, or `100MB` of text.
fn page(size: &str) -> Option<Page> {
    match size.strip_suffix("MB") {
        Some(megabytes) => Some(Page::of_bytes(megabytes.parse::<usize>().ok()? * 1_000_000)),
        None => Some(Page::new(size.parse().ok()?)),
    }
}

fn main() -> ExitCode {
    // cargo's own flag is no wish.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let sizes = match words.as_slice() {
        [] => &["1000", "100000"],
        ["--growth", file] => {
            growth::draw(Path::new(file));
            return ExitCode::SUCCESS;
        }
        ["--day"] => {
            day::live();
            return ExitCode::SUCCESS;
        }
        sizes => sizes,
    };
    for size in sizes {
        let Some(page) = page(size) else {
            eprintln!("`{size}` is no number of series, and no size such as 100MB");
            return ExitCode::from(2);
        };
        measure(page);
    }
    ExitCode::SUCCESS
}
