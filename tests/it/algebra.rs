//! The algebra of increases: over any history of pulls, pushes, answers, restarts and kills, what was accepted, owed, pending,
//! lost and uncertain adds up to what the targets have provably grown by, series by series and bucket by bucket, at every
//! step. Pure: the cursor, its checkpoint, and a queue and an intake that are maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use promdog::catalog::{Output, Part};
use promdog::delta::saved::Saved;
use promdog::delta::{Cursor, FirstValue, Moment};
use promdog::mapping::Mapping;
use promdog::time::UnixMillis;
use promdog::translate::Translator;
use promdog::view::{Increases, View};
use proptest::prelude::*;

use crate::support::{WATCHED, mapping, translator};

/// Increases by series: a family with its bound.
type Sums = BTreeMap<String, f64>;

fn add(to: &mut Sums, what: &Sums, sign: f64) {
    for (series, value) in what {
        *to.entry(series.clone()).or_default() += sign * value;
    }
    to.retain(|_, value| *value != 0.0);
}

/// One process of the target. Several may answer at one URL.
#[derive(Clone, Debug)]
struct Process {
    /// Seconds; what tells it from others.
    start: i64,
    /// `a`, `b`, and of the histogram `h` the buckets 1 and +Inf and the sum. `b` is absent until it is first counted.
    totals: Sums,
}

impl Process {
    fn new(start: i64, grown: u32) -> Self {
        let mut process = Self { start, totals: Sums::new() };
        process.grow(grown);
        process
    }

    fn grow(&mut self, by: u32) {
        let by = f64::from(by);
        *self.totals.entry("a.count".to_owned()).or_default() += by;
        if by > 500.0 {
            *self.totals.entry("b.count".to_owned()).or_default() += by - 500.0;
        }
        *self.totals.entry("h.bucket@1".to_owned()).or_default() += (by / 3.0).floor();
        *self.totals.entry("h.count".to_owned()).or_default() += (by / 2.0).floor();
        *self.totals.entry("h.sum".to_owned()).or_default() += by * 2.0;
    }

    fn page(&self) -> String {
        let total = |series: &str| self.totals.get(series).copied();
        let counter = |name: &str| {
            total(&format!("{name}.count")).map_or_else(String::new, |v| format!("# TYPE {name} counter\n{name} {v}\n"))
        };
        let [bucket, count, sum] = ["h.bucket@1", "h.count", "h.sum"].map(|series| total(series).unwrap_or_default());
        format!(
            "process_start_time_seconds {}\n{}{}# TYPE h histogram\nh_bucket{{le=\"1\"}} {bucket}\n\
             h_bucket{{le=\"+Inf\"}} {count}\nh_count {count}\nh_sum {sum}\n",
            WATCHED + self.start,
            counter("a"),
            counter("b"),
        )
    }
}

/// What can be proven, worked out apart from the cursor: a baseline for each process, and its last reading.
#[derive(Clone, Debug, Default)]
struct Proof {
    /// By start: the totals last read.
    read: BTreeMap<i64, Sums>,
    /// Since the cursor cannot know more than 16 processes, in the order they were last seen.
    last_good: Option<i64>,
    growth: Sums,
}

impl Proof {
    fn read(&mut self, process: &Process, clock: i64) {
        let known = self.read.get(&process.start);
        let younger = process.start > self.last_good.unwrap_or(0);
        let mut growth = process.totals.clone();
        match known {
            // A histogram resets as one thing.
            Some(before) => {
                let fell =
                    |series: &str| before.get(series).is_some_and(|before| process.totals.get(series) < Some(before));
                let rows = [&["a.count"][..], &["b.count"], &["h.bucket@1", "h.count", "h.sum"]];
                let reset: Vec<&str> =
                    rows.iter().filter(|row| row.iter().any(|s| fell(s))).flat_map(|row| row.iter().copied()).collect();
                let before: Sums =
                    before.iter().filter(|(s, _)| !reset.contains(&s.as_str())).map(|(s, v)| (s.clone(), *v)).collect();
                add(&mut growth, &before, -1.0);
            }
            // It started after whatever was read before, or after watching began: all of it is growth.
            None if younger => {}
            None => growth.clear(),
        }
        add(&mut self.growth, &growth, 1.0);
        // Only one process is replaced; of several nobody knows which one.
        if known.is_none() && younger && self.read.len() == 1 {
            self.read.clear();
        }
        // A series that vanishes and returns goes on where it was.
        self.read.entry(process.start).or_default().extend(process.totals.clone());
        self.last_good = Some(clock);
    }
}

#[derive(Clone, Debug)]
struct Batch {
    second: i64,
    increases: Sums,
    uncertain: bool,
}

/// What survives a kill.
#[derive(Clone, Debug, Default)]
struct Disk {
    saved: Saved,
    queue: Vec<Batch>,
    proof: Proof,
    last_second: i64,
}

struct World {
    mapping: Arc<Mapping>,
    clock: i64,
    processes: Vec<Process>,
    translator: Translator,
    cursor: Cursor,
    view: Option<View>,
    proof: Proof,
    disk: Disk,
    queue: Vec<Batch>,
    last_second: i64,
    /// By series and second, as the intake keeps them.
    intake: BTreeMap<(String, i64), f64>,
    accepted: Sums,
    lost: Sums,
    uncertain: Sums,
}

/// How a request ends.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Accepted,
    /// It was taken, and nobody heard so.
    Unheard,
    /// It never arrived, and nobody heard so.
    Nothing,
    Busy,
    Refused,
}

#[derive(Clone, Debug)]
enum Step {
    Grow(usize, u32),
    /// One process falls back: its totals start again.
    Reset(usize, u32),
    Restart(usize, u32),
    /// A pull, and no push; the process that answers.
    Pull(usize),
    /// The grid: a pull, a batch, and a request.
    Push(usize, Outcome),
    /// A batch that waits is sent again.
    Resend(usize, Outcome),
    /// The oldest that waits is given up.
    GiveUp,
    Killed,
    /// Killed between the transaction and the request.
    KilledAfterCommit(usize),
}

impl World {
    fn new() -> Self {
        let mapping = mapping("version: 1\nepoch: process\nmetrics: { a: a, b: b, h: h }\n");
        Self {
            translator: translator(&mapping),
            mapping,
            clock: 10,
            processes: vec![Process::new(-100, 700), Process::new(-90, 300)],
            cursor: Cursor::new(FirstValue::Prove),
            view: None,
            proof: Proof::default(),
            disk: Disk::default(),
            queue: Vec::new(),
            last_second: 0,
            intake: BTreeMap::new(),
            accepted: Sums::new(),
            lost: Sums::new(),
            uncertain: Sums::new(),
        }
    }

    fn pull(&mut self, which: usize) {
        let process = &self.processes[which];
        let view = self.translator.read(process.page().as_bytes());
        let moment = Moment {
            date: UnixMillis::from_seconds(WATCHED + self.clock),
            watching_since: UnixMillis::from_seconds(WATCHED),
        };
        self.cursor.advance(&view, &self.mapping, moment);
        self.view = Some(view);
        self.proof.read(process, self.clock);
    }

    /// A batch of what is owed, stored with where that leaves the cursor. A second is used once.
    fn commit(&mut self) -> bool {
        let second = self.clock.div_euclid(15) * 15;
        let Some(view) = &self.view else { return false };
        if second <= self.last_second {
            return false;
        }
        let increases = by_series(view, &self.cursor.take(&view.catalog));
        self.queue.push(Batch { second, increases, uncertain: false });
        self.last_second = second;
        self.disk = Disk {
            saved: self.cursor.checkpoint(&view.catalog).saved(),
            queue: self.queue.clone(),
            proof: self.proof.clone(),
            last_second: second,
        };
        true
    }

    fn send(&mut self, at: usize, outcome: Outcome) {
        let Some(batch) = self.queue.get_mut(at) else { return };
        let arrives = matches!(outcome, Outcome::Accepted | Outcome::Unheard);
        if arrives {
            for (series, value) in &batch.increases {
                let known = self.intake.insert((series.clone(), batch.second), *value);
                assert!(known.is_none_or(|known| known == *value), "{series} at {}: {known:?}, {value}", batch.second);
            }
        }
        match outcome {
            // Off the disk with the next transaction, or at once: both are allowed, and this is the harder one.
            Outcome::Accepted => add(&mut self.accepted, &self.queue.remove(at).increases, 1.0),
            Outcome::Refused => self.give_up(at),
            Outcome::Unheard | Outcome::Nothing => batch.uncertain = true,
            Outcome::Busy => {}
        }
    }

    fn give_up(&mut self, at: usize) {
        let batch = self.queue.remove(at);
        add(if batch.uncertain { &mut self.uncertain } else { &mut self.lost }, &batch.increases, 1.0);
    }

    fn killed(&mut self) {
        let Disk { saved, queue, proof, last_second } = self.disk.clone();
        // What was settled is not settled again: the disk may still hold it, and then the same points are sent again.
        let settled: Vec<i64> = queue
            .iter()
            .map(|batch| batch.second)
            .filter(|second| self.queue.iter().all(|batch| batch.second != *second))
            .collect();
        self.queue = queue
            .into_iter()
            .filter(|batch| !settled.contains(&batch.second))
            .map(|batch| Batch { uncertain: true, ..batch })
            .collect();
        self.translator = translator(&self.mapping);
        self.cursor = Cursor::restored(FirstValue::Prove, saved);
        self.view = None;
        self.proof = proof;
        self.last_second = last_second;
    }

    fn step(&mut self, step: Step) {
        self.clock += 7;
        match step {
            Step::Grow(which, by) => self.processes[which].grow(by),
            Step::Reset(which, by) => {
                let start = self.processes[which].start;
                self.processes[which] = Process::new(start, by);
            }
            Step::Restart(which, by) => self.processes[which] = Process::new(self.clock - 6, by),
            Step::Pull(which) => self.pull(which),
            Step::Push(which, outcome) => {
                self.pull(which);
                if self.commit() {
                    self.send(self.queue.len() - 1, outcome);
                }
            }
            Step::Resend(at, outcome) => self.send(at % self.queue.len().max(1), outcome),
            Step::GiveUp if !self.queue.is_empty() => self.give_up(0),
            Step::GiveUp => {}
            Step::Killed => self.killed(),
            Step::KilledAfterCommit(which) => {
                self.pull(which);
                self.commit();
                self.killed();
            }
        }
    }

    /// Accepted, pending, owed, lost and uncertain.
    fn accounted(&self) -> Sums {
        let mut sums = Sums::new();
        for part in [&self.accepted, &self.lost, &self.uncertain] {
            add(&mut sums, part, 1.0);
        }
        self.queue.iter().for_each(|batch| add(&mut sums, &batch.increases, 1.0));
        if let Some(view) = &self.view {
            add(&mut sums, &by_series(view, &self.cursor.clone().take(&view.catalog)), 1.0);
        }
        sums
    }

    /// What the intake holds is what was accepted, and of the rest only what is uncertain, or waits for an answer.
    fn check_intake(&self) {
        let mut held = Sums::new();
        for ((series, _), value) in &self.intake {
            *held.entry(series.clone()).or_default() += value;
        }
        let mut most = self.accepted.clone();
        add(&mut most, &self.uncertain, 1.0);
        self.queue.iter().filter(|batch| batch.uncertain).for_each(|batch| add(&mut most, &batch.increases, 1.0));
        for (series, accepted) in &self.accepted {
            assert!(held.get(series) >= Some(accepted), "{series}: {held:?} for {accepted}");
        }
        for (series, held) in held.iter().filter(|(_, held)| **held != 0.0) {
            assert!(most.get(series) >= Some(held), "{series}: {held} of {most:?}");
        }
    }
}

fn by_series(view: &View, increases: &Increases) -> Sums {
    let mut sums = Sums::new();
    for (slot, increase) in increases.iter(&view.catalog) {
        let Output { part, family, .. } = view.catalog.output(slot).expect("a slot that is fed");
        let bound = match part {
            Part::Bucket(bound) if bound.is_infinite() => continue,
            Part::Bucket(bound) => format!("@{bound}"),
            _ => String::new(),
        };
        *sums.entry(format!("{}{}{bound}", family.name, family.kind.suffix(part))).or_default() += increase;
    }
    sums.retain(|_, value| *value != 0.0);
    sums
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Accepted),
        1 => Just(Outcome::Unheard),
        1 => Just(Outcome::Nothing),
        1 => Just(Outcome::Busy),
        1 => Just(Outcome::Refused),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..2_usize;
    prop_oneof![
        4 => (which.clone(), 0..1000_u32).prop_map(|(which, by)| Step::Grow(which, by)),
        1 => (which.clone(), 0..1000_u32).prop_map(|(which, by)| Step::Restart(which, by)),
        1 => (which.clone(), 0..1000_u32).prop_map(|(which, by)| Step::Reset(which, by)),
        2 => which.clone().prop_map(Step::Pull),
        5 => (which.clone(), outcome()).prop_map(|(which, outcome)| Step::Push(which, outcome)),
        2 => (0..8_usize, outcome()).prop_map(|(at, outcome)| Step::Resend(at, outcome)),
        1 => Just(Step::GiveUp),
        1 => Just(Step::Killed),
        1 => which.prop_map(Step::KilledAfterCommit),
    ]
}

proptest! {
    #[test]
    fn accepted_owed_lost_and_uncertain_are_the_provable_growth(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            let told = format!("{step:?}");
            world.step(step);
            prop_assert_eq!(world.accounted(), world.proof.growth.clone(), "after {}", told);
            world.check_intake();
        }
    }
}
