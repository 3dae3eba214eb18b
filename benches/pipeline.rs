//! What each stage costs, in CPU time of this thread, beside floors measured in the same run.
//!
//!     cargo bench --bench pipeline [-- SERIES ...]

mod generate;

use std::alloc::System;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use cpu_time::ThreadTime;
use generate::Page;
use promdog::delta::{Cursor, FirstValue, Moment};
use promdog::mapping::{Mapping, builtin};
use promdog::payload::points::{Frame, Gauges, of_view};
use promdog::payload::{Limits, json};
use promdog::time::UnixMillis;
use promdog::translate::{self, Translator};
use promdog::view::{self, Increases, View};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// CPU time before a stage's median is believed.
const ENOUGH: Duration = Duration::from_millis(600);
const RUNS: usize = 7;

struct Stage {
    name: &'static str,
    /// A run, in nanoseconds.
    nanos: f64,
    allocations: usize,
}

/// The median of several runs, each with what `prepare` makes, which is not timed.
fn stage<T, R>(name: &'static str, mut prepare: impl FnMut() -> T, mut work: impl FnMut(T) -> R) -> Stage {
    let mut runs = Vec::new();
    let (mut total, mut allocations) = (Duration::ZERO, usize::MAX);
    while runs.len() < RUNS || (total < ENOUGH && runs.len() < 1000) {
        let input = prepare();
        let region = Region::new(ALLOCATOR);
        let start = ThreadTime::now();
        let result = black_box(work(input));
        let took = start.elapsed();
        allocations = allocations.min(region.change().allocations);
        drop(result);
        total += took;
        runs.push(took);
    }
    runs.sort_unstable();
    Stage { name, nanos: runs[runs.len() / 2].as_nanos() as f64, allocations }
}

fn mapping() -> Arc<Mapping> {
    Arc::new(Mapping::compile(&[builtin::source("kubevirt_api").expect("built in")]).expect("right"))
}

fn translator(mapping: &Arc<Mapping>) -> Translator {
    let tags = vec![("endpoint".to_owned(), "https://10.0.0.7:8443/metrics".to_owned())];
    let params = translate::Params { namespace: None, tags, limits: translate::Limits::default() };
    Translator::new(Arc::clone(mapping), params)
}

fn encode(view: &View, increases: &Increases) -> usize {
    let mut encoder = json::Encoder::new(1_700_000_000, &[], Limits::default());
    of_view(view, increases, Gauges::Send, Frame { host: None, interval: 15 }, |_, point| {
        encoder.push(&point).expect("it fits");
    });
    encoder.finish().expect("bodies").iter().map(|body| body.zstd.len()).sum()
}

/// The least that can be done with a line: its end, its last space, its number.
fn split_and_parse(text: &[u8]) -> f64 {
    let mut sum = 0.0;
    for line in text.split(|byte| *byte == b'\n').filter(|line| line.first().is_some_and(|first| *first != b'#')) {
        let at = memchr::memrchr(b' ', line).unwrap_or(0);
        sum += std::str::from_utf8(&line[at + 1..]).ok().and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0);
    }
    sum
}

/// The same, and every label cut out.
fn split_labels(text: &[u8]) -> usize {
    let mut labels = 0;
    for line in text.split(|byte| *byte == b'\n').filter(|line| line.first().is_some_and(|first| *first != b'#')) {
        let Some(open) = memchr::memchr(b'{', line) else { continue };
        let mut rest = &line[open + 1..];
        while let Some(equals) = memchr::memchr(b'=', rest) {
            let Some(end) = memchr::memchr(b'"', &rest[equals + 2..]) else { break };
            labels += black_box(&rest[..equals]).len() + black_box(&rest[equals + 2..equals + 2 + end]).len();
            rest = &rest[equals + 2 + end + 1..];
            if rest.first() == Some(&b',') {
                rest = &rest[1..];
            }
        }
    }
    labels
}

fn measure(series: usize) {
    let mapping = mapping();
    let mut page = Page::new(series);
    let text = page.text();
    let (bytes, samples) = (text.len() as f64, page.series() as f64);
    let moment = |at: i64| Moment {
        date: UnixMillis(1_700_000_000_000 + at * 15_000),
        watching_since: UnixMillis(1_700_000_000_000),
    };
    let mut stages = vec![
        stage("floor: copy", || (), |()| text.clone()),
        stage("floor: newlines", || (), |()| memchr::memchr_iter(b'\n', &text).count()),
        stage("floor: lines and numbers", || (), |()| split_and_parse(&text)),
        stage("floor: lines and labels", || (), |()| split_labels(&text)),
        stage("read, everything new", || translator(&mapping), |mut translator| translator.read(&text)),
    ];
    let mut warm = translator(&mapping);
    let mut cursor = Cursor::new(FirstValue::Prove);
    let view = warm.read(&text);
    cursor.advance(&view, &mapping, moment(0));
    cursor.take(&view.catalog);
    let mut texts = Vec::new();
    for _ in 0..4 {
        page.step(30);
        texts.push(page.text());
    }
    let views: Vec<View> = texts.iter().map(|text| warm.read(text)).collect();
    let mut at = 0;
    stages.push(stage("read, all known", || (), |()| warm.read(&texts[0])));
    stages.push(stage(
        "increases",
        || cursor.clone(),
        |mut cursor| {
            cursor.advance(&views[0], &mapping, moment(1));
            cursor.take(&views[0].catalog)
        },
    ));
    let increases = {
        let mut cursor = cursor.clone();
        cursor.advance(&views[0], &mapping, moment(1));
        cursor.take(&views[0].catalog)
    };
    stages.push(stage("payload, JSON and zstd", || (), |()| encode(&views[0], &increases)));
    stages.push(stage("page", || (), |()| view::page(&[&views[0]], &[])));
    stages.push(stage("checkpoint", || (), |()| cursor.checkpoint(&views[0].catalog)));
    stages.push(stage(
        "pull to push",
        || (),
        |()| {
            at += 1;
            let view = warm.read(&texts[at % texts.len()]);
            cursor.advance(&view, &mapping, moment(at as i64));
            let increases = cursor.take(&view.catalog);
            encode(&view, &increases)
        },
    ));
    stages.push(stage(
        "pull to page",
        || (),
        |()| {
            at += 1;
            let mut view = warm.read(&texts[at % texts.len()]);
            cursor.advance(&view, &mapping, moment(at as i64));
            cursor.merge(&mut view);
            view::page(&[&view], &[])
        },
    ));
    println!("\n{samples} series, {:.2} MB, {:.0} bytes a line", bytes / 1e6, bytes / samples);
    println!("{:26} {:>10} {:>12} {:>10} {:>12}", "", "MB/s", "ns/sample", "ms", "allocations");
    for Stage { name, nanos, allocations } in &stages {
        let (speed, each) = (bytes / nanos * 1e3, nanos / samples);
        println!("{name:26} {speed:>10.0} {each:>12.1} {:>10.3} {allocations:>12}", nanos / 1e6);
    }
}

fn main() {
    let given: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let sizes = if given.is_empty() { vec![1_000, 100_000] } else { given };
    sizes.into_iter().for_each(measure);
}
