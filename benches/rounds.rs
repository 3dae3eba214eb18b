//! CPU time of this thread and allocations, measured in rounds: each stage once a round, so that noise hits all alike.

use std::alloc::System;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use cpu_time::ThreadTime;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// CPU time that a stage runs for in one round, at least once.
const A_ROUND: Duration = Duration::from_millis(3);
const MOST_RUNS: usize = 100;
/// Rounds go on for so long, but there are so many at least and at most.
const ENOUGH: Duration = Duration::from_secs(20);
const ROUNDS: std::ops::RangeInclusive<usize> = 5..=25;

/// Something that is measured.
pub struct Stage<'a> {
    pub name: &'static str,
    /// The stage that does the least of the same kind.
    pub floor: Option<&'static str>,
    run: Box<dyn FnMut() -> Run + 'a>,
    rounds: Vec<Run>,
}

/// What one run costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    took: Duration,
    /// Reallocations among them.
    allocations: usize,
}

impl<'a> Stage<'a> {
    /// `work` on what `prepare` makes; neither that nor the end of the result is measured.
    pub fn new<T, R>(
        name: &'static str,
        floor: Option<&'static str>,
        mut prepare: impl FnMut() -> T + 'a,
        mut work: impl FnMut(&mut T) -> R + 'a,
    ) -> Self {
        let run = move || {
            let mut input = prepare();
            let region = Region::new(ALLOCATOR);
            let start = ThreadTime::now();
            let result = black_box(work(&mut input));
            let took = start.elapsed();
            let change = region.change();
            drop(result);
            Run { took, allocations: change.allocations + change.reallocations }
        };
        Self { name, floor, run: Box::new(run), rounds: Vec::new() }
    }

    fn round(&mut self) -> Duration {
        let mut runs = Vec::new();
        let mut total = Duration::ZERO;
        while runs.is_empty() || (total < A_ROUND && runs.len() < MOST_RUNS) {
            let run = (self.run)();
            total += run.took;
            runs.push(run);
        }
        self.rounds.push(median(runs));
        total
    }

    pub fn nanos(&self) -> f64 {
        median(self.rounds.clone()).took.as_nanos() as f64
    }

    pub fn allocations(&self) -> usize {
        self.rounds.iter().map(|run| run.allocations).min().unwrap_or(0)
    }
}

fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_unstable();
    runs[runs.len() / 2]
}

/// Measures all stages, one after another, again and again; returns the number of rounds.
pub fn measure(stages: &mut [Stage<'_>]) -> usize {
    let mut total = Duration::ZERO;
    for round in 1.. {
        total += stages.iter_mut().map(Stage::round).sum::<Duration>();
        if round == *ROUNDS.end() || (round >= *ROUNDS.start() && total > ENOUGH) {
            return round;
        }
    }
    unreachable!("it ends after {} rounds", ROUNDS.end())
}

/// Bytes on the heap for what `work` returns, and the most on the way there, looked at every few dozen microseconds.
pub fn memory<R>(work: impl FnOnce() -> R) -> (usize, usize) {
    let (running, peak) = (AtomicBool::new(true), AtomicUsize::new(0));
    thread::scope(|scope| {
        let watch = || {
            while running.load(Ordering::Relaxed) {
                peak.fetch_max(live(), Ordering::Relaxed);
                thread::sleep(Duration::from_micros(10));
            }
        };
        scope.spawn(watch);
        let before = live();
        let result = black_box(work());
        let after = live();
        running.store(false, Ordering::Relaxed);
        drop(result);
        (after - before, peak.load(Ordering::Relaxed).max(after) - before)
    })
}

/// Bytes on the heap.
pub fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}
