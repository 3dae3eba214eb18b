//! A check that does not depend on the clock: the instructions of fixed workloads, counted by valgrind, beside the figures in
//! instructions.tsv. Fails where one differs by more than 5 %.
//!
//!     cargo bench --bench instructions [-- --update]           --update writes the file
//!
//! Figures hold for one architecture and compiler. Not in CI: valgrind would have to be there.

#[expect(dead_code, reason = "what the pipeline's benches use")]
mod generate;
#[expect(dead_code, reason = "what the pipeline's benches use")]
mod work;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use generate::{Change, Page};
use promdog::payload::Encoding;
use work::Target;

const WORKLOADS: [&str; 4] = ["read_known", "read_new", "increases_and_payload", "page"];
const SERIES: usize = 10_000;
/// A workload runs so often, and twice as often; the difference has no set-up in it.
const RUNS: usize = 4;
const TOLERANCE_PERCENT: f64 = 5.0;

fn work(workload: &str, runs: usize) {
    let mapping = work::mapping();
    let mut page = Page::new(SERIES);
    let text = page.text();
    page.step(Change { percent: 30, churn_percent: 0 });
    let later = page.text();
    let mut target = Target::pulled(&mapping, &text);
    let cursor = target.cursor();
    let view = target.read(&later);
    for _ in 0..runs {
        match workload {
            "read_known" => drop(black_box(target.read(&later))),
            "read_new" => drop(black_box(Target::new(&mapping).read(&text))),
            "increases_and_payload" => {
                let (_, increases) = work::increases(cursor.clone(), &view, &mapping);
                drop(black_box(work::encode(&view, &increases, Encoding::Json)));
            }
            "page" => _ = black_box(work::page(&view)),
            _ => panic!("no workload named `{workload}`"),
        }
    }
}

/// Instructions of this program with other arguments.
fn count(workload: &str, runs: usize) -> Result<u64, String> {
    let program = env::current_exe().map_err(|error| format!("this program cannot be found: {error}"))?;
    let mut valgrind = Command::new("valgrind");
    // Without its simulation of caches it counts, and does nothing else.
    valgrind.args(["--tool=cachegrind", "--cache-sim=no", "--branch-sim=no", "--cachegrind-out-file=/dev/null"]);
    valgrind.arg(program).args(["--workload", workload, &runs.to_string()]).stdin(Stdio::null());
    let output = valgrind.output().map_err(|error| {
        format!("valgrind cannot be run ({error}); `apt-get install valgrind`, or https://valgrind.org")
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    // `==1234== I   refs:      506,980,764`
    let counted = said.lines().filter(|line| line.contains(" I ")).find_map(|line| line.split_once("refs:"));
    let counted = counted.map(|(_, count)| count.replace(',', ""));
    match counted.and_then(|count| count.trim().parse().ok()).filter(|_| output.status.success()) {
        Some(count) => Ok(count),
        None => Err(format!("valgrind has not counted {workload}:\n{said}")),
    }
}

/// Workload and instructions of one run.
fn parse(file: &str) -> Vec<(&str, u64)> {
    let pairs = file.lines().filter_map(|line| line.split_once('\t'));
    pairs.filter_map(|(workload, count)| Some((workload, count.parse().ok()?))).collect()
}

fn check(file: &Path, update: bool) -> Result<bool, String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let known = parse(&text);
    let mut written =
        format!("# Instructions of one run over {SERIES} series; cargo bench --bench instructions -- --update\n");
    let mut good = true;
    println!("{:24} {:>14} {:>14} {:>10} {:>18}", "", "known", "now", "", "for each series");
    for workload in WORKLOADS {
        let (once, twice) = (count(workload, RUNS)?, count(workload, 2 * RUNS)?);
        let now = twice.saturating_sub(once) / RUNS as u64;
        written.push_str(&format!("{workload}\t{now}\n"));
        let before = known.iter().find(|(name, _)| *name == workload).map(|(_, count)| *count);
        let percent = before.map(|before| (now as f64 / before as f64 - 1.0) * 100.0);
        let holds = percent.is_some_and(|percent| percent.abs() <= TOLERANCE_PERCENT);
        good &= holds;
        let known = before.map_or("-".to_owned(), |before| before.to_string());
        let percent = percent.map_or("-".to_owned(), |percent| format!("{percent:+.2} %"));
        let verdict = if holds || update { "" } else { "  FAIL" };
        println!("{workload:24} {known:>14} {now:>14} {percent:>10} {:>18}{verdict}", now / SERIES as u64);
    }
    if update {
        fs::write(file, written).map_err(|error| format!("{} cannot be written: {error}", file.display()))?;
    } else if !good {
        println!(
            "more than {TOLERANCE_PERCENT} % off, or not known; if that is meant: cargo bench --bench instructions -- --update"
        );
    }
    Ok(good || update)
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let update = match words.as_slice() {
        ["--workload", workload, runs] => {
            work(workload, runs.parse().expect("a number"));
            return ExitCode::SUCCESS;
        }
        [] => false,
        ["--update"] => true,
        others => {
            eprintln!("no arguments, or --update; not {others:?}");
            return ExitCode::from(2);
        }
    };
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "benches", "instructions.tsv"].iter().collect();
    match check(&file, update) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
