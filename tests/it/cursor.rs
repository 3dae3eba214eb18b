//! Increases are proven, never guessed: the rules one by one, and the accounting as a property.

use promdog::delta::ProcessChange;
use promdog::view::{self, View};
use proptest::prelude::*;

use crate::support::{Target, WATCHED, mapping};

const RULES: &str =
    "version: 1\nmetrics:\n  a: a\n  b: b\n  h: h\n  o: { name: o, epoch: object }\n  p: { name: p, epoch: process }\n";

fn target() -> Target {
    Target::new(mapping(RULES))
}

/// An exposition of counters, with the start of the process.
fn counters(start: i64, values: &[(&str, f64)]) -> String {
    let mut text = format!("process_start_time_seconds {}\n", WATCHED + start);
    for (name, value) in values {
        let family = name.split('{').next().unwrap_or(name);
        text.push_str(&format!("# TYPE {family} counter\n{name} {value}\n"));
    }
    text
}

#[test]
fn the_first_pull_of_an_old_process_is_a_baseline_and_later_ones_differences() {
    let mut target = target();
    assert_eq!(target.grown(1, &counters(-100, &[("a", 1000.0)])), [""; 0]);
    assert_eq!(target.advance.baselines, 1);
    assert_eq!(target.grown(16, &counters(-100, &[("a", 1010.0)])), ["a.count{} 10"]);
    assert_eq!(target.grown(31, &counters(-100, &[("a", 1010.0)])), ["a.count{} 0"], "unchanged is 0, not nothing");
}

#[test]
fn the_first_pull_of_a_process_younger_than_our_watch_counts_in_full() {
    assert_eq!(target().grown(20, &counters(10, &[("a", 7.0)])), ["a.count{} 7"]);
}

#[test]
fn a_counter_that_falls_within_one_process_has_started_again() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("a", 1000.0), ("b", 50.0)]));
    assert_eq!(target.grown(16, &counters(-100, &[("a", 5.0), ("b", 60.0)])), ["a.count{} 5", "b.count{} 10"]);
    assert_eq!(target.advance.resets, 1);
}

#[test]
fn a_series_absent_from_the_last_complete_pull_is_new_and_counts_in_full() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("a{x=\"1\"}", 10.0)]));
    let both = counters(-100, &[("a{x=\"1\"}", 10.0), ("a{x=\"2\"}", 3.0)]);
    assert_eq!(target.grown(16, &both), ["a.count{x:1} 0", "a.count{x:2} 3"]);
}

#[test]
fn a_series_absent_from_an_incomplete_pull_is_a_baseline() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("a{x=\"1\"}", 10.0)]));
    // The line of the second series was broken off.
    target.grown(16, &format!("{}a{{x=\"2\"", counters(-100, &[("a{x=\"1\"}", 10.0)])));
    let both = counters(-100, &[("a{x=\"1\"}", 10.0), ("a{x=\"2\"}", 3.0)]);
    assert_eq!(target.grown(31, &both), ["a.count{x:1} 0"]);
    assert_eq!(target.advance.baselines, 1);
}

#[test]
fn a_series_that_vanishes_and_comes_back_yields_the_difference() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("a", 10.0), ("b", 1.0)]));
    assert_eq!(target.grown(16, &counters(-100, &[("b", 1.0)])), ["b.count{} 0"]);
    assert_eq!(target.grown(31, &counters(-100, &[("a", 14.0), ("b", 1.0)])), ["a.count{} 4", "b.count{} 0"]);
}

#[test]
fn after_a_restart_the_epoch_decides() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("a", 10.0), ("o", 100.0), ("p", 10.0), ("b", 10.0)]));
    // The new process has already passed its predecessor on `a` and `p`; `b` is below it.
    let after = counters(10, &[("a", 12.0), ("o", 104.0), ("p", 12.0), ("b", 3.0)]);
    assert_eq!(target.grown(20, &after), ["a.count{} 2", "b.count{} 3", "o.count{} 4", "p.count{} 12"]);
}

#[test]
fn a_series_that_comes_late_after_a_restart_is_not_held_against_its_predecessor() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("p{x=\"1\"}", 10.0), ("p{x=\"2\"}", 10.0)]));
    assert_eq!(target.grown(20, &counters(10, &[("p{x=\"1\"}", 1.0)])), ["p.count{x:1} 1"]);
    let both = counters(10, &[("p{x=\"1\"}", 1.0), ("p{x=\"2\"}", 12.0)]);
    assert_eq!(target.grown(35, &both), ["p.count{x:1} 0", "p.count{x:2} 12"]);
}

#[test]
fn a_restart_behind_a_balanced_url_costs_the_others_nothing() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("p", 1000.0)]));
    target.grown(16, &counters(-50, &[("p", 10.0)]));
    assert_eq!(target.grown(31, &counters(20, &[("p", 4.0)])), ["p.count{} 4"], "new, whichever it replaced");
    assert_eq!(target.grown(46, &counters(-50, &[("p", 11.0)])), ["p.count{} 1"]);
    assert_eq!(target.grown(61, &counters(-100, &[("p", 1002.0)])), ["p.count{} 2"]);
}

#[test]
fn a_second_process_behind_one_url_gets_a_baseline_of_its_own() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("a", 1000.0)]));
    assert_eq!(target.grown(16, &counters(-50, &[("a", 10.0)])), [""; 0]);
    assert_eq!(target.grown(31, &counters(-100, &[("a", 1003.0)])), ["a.count{} 3"]);
    assert_eq!(target.grown(46, &counters(-50, &[("a", 15.0)])), ["a.count{} 5"]);
    assert_eq!(target.cursor.processes(), 2);
}

#[test]
fn a_start_that_moves_by_less_than_five_seconds_is_one_process() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("a", 10.0)]));
    assert_eq!(target.grown(16, &counters(-98, &[("a", 12.0)])), ["a.count{} 2"]);
}

#[test]
fn a_histogram_resets_as_one_thing() {
    let histogram = |one: u32, two: u32, sum: u32| {
        format!(
            "process_start_time_seconds {}\n# TYPE h histogram\nh_bucket{{le=\"1\"}} {one}\nh_bucket{{le=\"+Inf\"}} {two}\nh_sum {sum}\nh_count {two}\n",
            WATCHED - 100
        )
    };
    let mut target = target();
    target.grown(1, &histogram(5, 10, 30));
    // The first bucket is not lower than before, but the count is: all of it has started again.
    assert_eq!(
        target.grown(16, &histogram(6, 7, 8)),
        ["h.bucket@1{} 6", "h.bucket@inf{} 7", "h.count{} 7", "h.sum{} 8"]
    );
}

#[test]
fn nan_and_infinity_change_no_total() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("a", 10.0)]));
    assert_eq!(target.grown(16, &counters(-100, &[("a", f64::NAN)])), [""; 0]);
    assert_eq!(target.grown(31, &counters(-100, &[("a", 14.0)])), ["a.count{} 4"]);
}

#[test]
fn an_empty_answer_proves_nothing() {
    let mut target = target();
    assert_eq!(target.grown(1, ""), [""; 0]);
    assert_eq!(target.grown(16, &counters(-100, &[("a", 1000.0)])), [""; 0], "a total is no increase");
    assert_eq!(target.grown(31, ""), [""; 0]);
    assert_eq!(target.grown(46, &counters(-100, &[("a", 1004.0)])), ["a.count{} 4"]);
}

#[test]
fn a_number_that_was_cut_short_is_no_reset() {
    let mut target = target();
    let whole = counters(-100, &[("b", 7.0), ("a", 1000.0)]);
    target.grown(1, &whole);
    // `a 1000` broken off after `a 10`.
    assert_eq!(target.grown(16, &whole[..whole.len() - 3]), ["b.count{} 0"]);
    assert_eq!(target.grown(31, &counters(-100, &[("b", 7.0), ("a", 1003.0)])), ["a.count{} 3", "b.count{} 0"]);
    let unended = counters(-100, &[("b", 7.0), ("a", 1005.0)]);
    assert_eq!(target.grown(46, unended.trim_end()), ["a.count{} 2", "b.count{} 0"], "what only lacks its end counts");
}

#[test]
fn increases_wait_until_they_are_taken_and_are_taken_once() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("a", 10.0)]));
    target.pull(6, &counters(-100, &[("a", 11.0)]));
    target.pull(11, &counters(-100, &[("a", 15.0)]));
    assert!(target.cursor.owes());
    assert_eq!(target.grown(16, &counters(-100, &[("a", 16.0)])), ["a.count{} 6"]);
    assert!(!target.cursor.owes());
}

#[test]
fn sources_that_feed_one_series_are_differenced_before_they_are_added() {
    let rules = "version: 1\nmetrics: { a: a }\nlabels: { drop: [x] }\n";
    let mut target = Target::new(mapping(rules));
    let pull = |one: f64, two: f64| counters(-100, &[("a{x=\"1\"}", one), ("a{x=\"2\"}", two)]);
    target.grown(1, &pull(120.0, 95.0));
    assert_eq!(target.grown(16, &pull(130.0, 100.0)), ["a.count{} 15"]);
    // One source resets: its new value counts, not the difference of the sums.
    assert_eq!(target.grown(31, &pull(131.0, 2.0)), ["a.count{} 3"]);
}

#[test]
fn compaction_changes_no_increase() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("a{x=\"1\"}", 10.0), ("a{x=\"2\"}", 5.0), ("b", 1.0)]));
    let view = target.pull(16, &counters(-100, &[("a{x=\"2\"}", 6.0), ("b", 2.0)]));
    target.cursor.take(&view.catalog);
    assert_eq!(target.compact(&view).catalog.slots.len(), 3, "one is gone");
    assert_eq!(
        target.grown(31, &counters(-100, &[("a{x=\"2\"}", 8.0), ("b", 2.0)])),
        ["a.count{x:2} 2", "b.count{} 0"]
    );
    // What left the catalogue comes back: its total was kept.
    assert_eq!(
        target.grown(46, &counters(-100, &[("a{x=\"1\"}", 13.0), ("a{x=\"2\"}", 8.0), ("b", 2.0)])),
        ["a.count{x:1} 3", "a.count{x:2} 0", "b.count{} 0"]
    );
}

#[test]
fn over_our_own_restart_the_difference_counts_if_the_process_is_the_same() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("a", 100.0)]));
    assert_eq!(target.grown(16, &counters(-100, &[("a", 110.0)])), ["a.count{} 10"]);
    target.promdog_restarts();
    assert_eq!(target.grown(31, &counters(-100, &[("a", 125.0)])), ["a.count{} 15"]);
    // Pulled and never stored: the next promdog reads it again.
    target.pull(40, &counters(-100, &[("a", 130.0)]));
    target.promdog_restarts();
    target.promdog_restarts();
    assert_eq!(target.grown(46, &counters(-100, &[("a", 131.0)])), ["a.count{} 6"]);
}

#[test]
fn over_both_restarts_the_new_process_counts_in_full() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("p", 100.0), ("o", 50.0)]));
    target.promdog_restarts();
    assert_eq!(target.grown(31, &counters(20, &[("p", 7.0), ("o", 60.0)])), ["o.count{} 10", "p.count{} 7"]);
    assert_eq!(target.advance.process, ProcessChange::Replaced);
}

#[test]
fn without_a_start_time_our_restart_is_a_baseline() {
    let mut target = target();
    let page = |value: f64| format!("# TYPE a counter\na {value}\n");
    target.grown(1, &page(100.0));
    target.promdog_restarts();
    assert_eq!(target.grown(31, &page(125.0)), [""; 0]);
    assert_eq!(target.grown(46, &page(126.0)), ["a.count{} 1"]);
}

#[test]
fn what_a_process_last_showed_is_remembered_over_our_restart() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("a{x=\"1\"}", 10.0)]));
    target.promdog_restarts();
    // Absent from the last complete pull, though another promdog made it: born since.
    let both = counters(-100, &[("a{x=\"1\"}", 10.0), ("a{x=\"2\"}", 3.0)]);
    assert_eq!(target.grown(16, &both), ["a.count{x:1} 0", "a.count{x:2} 3"]);
    target.promdog_restarts();
    // It vanishes, we restart, and it comes back.
    target.grown(31, &counters(-100, &[("a{x=\"1\"}", 11.0)]));
    target.promdog_restarts();
    let both = counters(-100, &[("a{x=\"1\"}", 11.0), ("a{x=\"2\"}", 9.0)]);
    assert_eq!(target.grown(46, &both), ["a.count{x:1} 0", "a.count{x:2} 6"]);
}

#[test]
fn several_processes_behind_one_url_survive_our_restart_also_those_that_stay_silent() {
    let mut target = target();
    target.grown(1, &counters(-100, &[("a", 100.0)]));
    target.grown(16, &counters(-90, &[("a", 500.0)]));
    target.promdog_restarts();
    assert_eq!(target.grown(31, &counters(-100, &[("a", 103.0)])), ["a.count{} 3"]);
    // The other has not answered since; it is stored as it was read.
    target.promdog_restarts();
    assert_eq!(target.grown(46, &counters(-90, &[("a", 504.0)])), ["a.count{} 4"]);
}

/// The value of a series on the page.
fn shown(view: &View, series: &str) -> f64 {
    let page = view::page(&[view], &[]);
    let line =
        page.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_else(|| panic!("no {series} in\n{page}"));
    line.trim().parse().expect("a number")
}

#[test]
fn a_merged_counter_on_the_page_falls_never() {
    let mut target =
        Target::new(mapping("version: 1\nepoch: process\nmetrics: { a: { name: a, labels: { drop: [x] } }, b: b }\n"));
    let two = |start: i64, x: f64, y: f64| counters(start, &[("a{x=\"1\"}", x), ("a{x=\"2\"}", y), ("b", x)]);
    let view = target.pull(1, &two(-100, 10.0, 5.0));
    assert_eq!((shown(&view, "a_count"), shown(&view, "b_count")), (15.0, 10.0), "at first the sum");
    let view = target.pull(16, &two(-100, 12.0, 6.0));
    assert_eq!(shown(&view, "a_count"), 18.0);
    // One source vanishes.
    let view = target.pull(31, &counters(-100, &[("a{x=\"1\"}", 13.0)]));
    assert_eq!(shown(&view, "a_count"), 19.0);
    target.take(&view);
    assert_eq!(shown(&target.compact(&view), "a_count"), 19.0, "it is forgotten, and what it counted is not");
    let view = target.pull(32, &counters(-100, &[("a{x=\"1\"}", 13.0)]));
    assert_eq!(shown(&view, "a_count"), 19.0);
    // It is back, and one row falls.
    let view = target.pull(46, &two(-100, 1.0, 8.0));
    assert_eq!(
        (shown(&view, "a_count"), shown(&view, "b_count")),
        (22.0, 1.0),
        "alone, a counter is as its source has it"
    );
    // The process is replaced.
    let view = target.pull(61, &two(50, 2.0, 1.0));
    assert_eq!(shown(&view, "a_count"), 25.0);
    // So are we.
    target.take(&view);
    target.promdog_restarts();
    let view = target.pull(76, &two(50, 4.0, 1.0));
    assert_eq!(shown(&view, "a_count"), 27.0);
}

/// What a counter does between two pulls.
#[derive(Clone, Debug)]
enum Step {
    Grow(u32),
    /// The process restarts, and then grows; what its predecessor counted after the last pull nobody can prove.
    Restart(u32),
    /// The pull fails; growth is read by the next one.
    Fail(u32),
    /// Somebody asks for `/metrics`: a pull, and no push.
    OnDemand(u32),
    /// promdog is killed.
    Killed,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..1000_u32).prop_map(Step::Grow),
        1 => (0..1000_u32).prop_map(Step::Restart),
        1 => (0..1000_u32).prop_map(Step::Fail),
        1 => (0..1000_u32).prop_map(Step::OnDemand),
        1 => Just(Step::Killed),
    ]
}

proptest! {
    /// Whatever happens, the increases add up to what the target has provably grown by: no more, no less.
    #[test]
    fn increases_add_up_to_the_growth_that_was_read(steps in prop::collection::vec(step(), 1..40)) {
        let mut target = Target::new(mapping("version: 1\nepoch: process\nmetrics: { a: a }\n"));
        let (mut start, mut value, mut clock) = (-100_i64, 500.0, 1_i64);
        let mut sum = 0.0;
        let mut provable = 0.0;
        let (mut read, mut stored) = (value, value);
        let mut pull = |target: &mut Target, clock: i64, start: i64, value: f64| {
            let view = target.pull(clock, &counters(start, &[("a", value)]));
            let increases = target.take(&view);
            sum += increases.iter(&view.catalog).map(|(_, increase)| increase).sum::<f64>();
        };
        pull(&mut target, clock, start, value);
        for step in steps {
            clock += 15;
            match step {
                Step::Grow(by) => value += f64::from(by),
                Step::Fail(by) => {
                    value += f64::from(by);
                    continue;
                }
                Step::OnDemand(by) => {
                    value += f64::from(by);
                    provable += value - read;
                    read = value;
                    target.pull(clock, &counters(start, &[("a", value)]));
                    continue;
                }
                // What was read and not stored is proven only by whoever reads it again.
                Step::Killed => {
                    provable -= read - stored;
                    read = stored;
                    target.promdog_restarts();
                    continue;
                }
                Step::Restart(by) => {
                    start = clock - 5;
                    value = f64::from(by);
                    provable += value;
                    read = value;
                }
            }
            provable += value - read;
            (read, stored) = (value, value);
            pull(&mut target, clock, start, value);
        }
        provable += value - read;
        pull(&mut target, clock + 15, start, value);
        prop_assert_eq!(sum, provable);
    }
}
