//! Totals of series that have left the catalogue: how long they are kept, how many of them, and what they are worth to a
//! series that comes back.

use promdog::delta::ProcessChange;
use promdog::delta::lots::Lots;
use promdog::view::View;
use proptest::prelude::*;

use crate::support::{Target, WATCHED, mapping, named};

const HOUR: i64 = 3600;
const RULES: &str = "version: 1\nmetrics: { a: a, o: { name: o, epoch: object }, p: { name: p, epoch: process } }\n";

fn target() -> Target {
    Target::new(mapping(RULES))
}

/// Counters of a process, whose start time may be unknown.
fn page(start: Option<i64>, values: &[(&str, u32)]) -> String {
    let mut text = start.map_or_else(String::new, |at| format!("process_start_time_seconds {}\n", WATCHED + at));
    for (name, value) in values {
        let (family, label) = name.split_at(1);
        text.push_str(&format!("# TYPE {family} counter\n{family}{{x=\"{label}\"}} {value}\n"));
    }
    text
}

/// What is not in the view leaves the catalogue.
fn compact(target: &mut Target, view: &View) -> usize {
    let compacted = target.compact(view);
    view.catalog.slots.len() - compacted.catalog.slots.len()
}

/// Pulls, hands over, and forgets what is not there.
fn pull_and_compact(target: &mut Target, seconds: i64, text: &str) {
    let view = target.pull(seconds, text);
    target.take(&view);
    compact(target, &view);
    // What is kept in memory alone is kept by the new slots.
    target.saved = target.cursor.checkpoint(target.translator.catalog()).saved();
}

fn kept(target: &Target) -> Lots {
    target.cursor.checkpoint(target.translator.catalog()).processes[0].retired.clone()
}

/// A target of 200 series, of which two are replaced by others with every pull, for 24 hours and two. Two more vanish at
/// the start: one comes back after 24 hours, one after 26. promdog may restart in between.
fn day(restart_every: Option<i64>) {
    let mut target = target();
    let mut left = Vec::new();
    let value = |series: i64, pull: i64| if series < 0 { 1000 + pull } else { 10 + pull - series / 2 };
    let name = |series: i64| format!("a{{x=\"{series}\"}}");
    let (day, gone) = (-1, -2);
    let pulls = 26 * HOUR / 15 + 8;
    for pull in 0..pulls {
        let now = pull * 15;
        let mut series: Vec<i64> = (2 * pull..2 * pull + 200).collect();
        series.extend((pull <= 1 || now >= 24 * HOUR).then_some(day));
        series.extend((pull <= 1 || now >= 26 * HOUR).then_some(gone));
        let mut text = format!("process_start_time_seconds {}\n# TYPE a counter\n", WATCHED - 100);
        series.iter().for_each(|series| text.push_str(&format!("{} {}\n", name(*series), value(*series, pull))));
        let view = target.pull(now, &text);
        let increases: f64 = target.cursor.take(&view.catalog).iter(&view.catalog).map(|(_, increase)| increase).sum();
        // Known ones grow by one, and what is born counts in full.
        let born: i64 = (2 * pull + 198..2 * pull + 200).map(|series| value(series, pull)).sum();
        let expected = match now {
            0 => 0,
            15 => 200 + born,
            now if now == 24 * HOUR => 198 + born + pull - 1,
            now if now == 26 * HOUR => 199 + born + value(gone, pull),
            now => 198 + born + i64::from(now > 24 * HOUR) + i64::from(now > 26 * HOUR),
        };
        assert_eq!(increases, expected as f64, "after {now} s");

        let dead = view.catalog.slots.len() - view.source.present().count();
        if restart_every.is_some_and(|every| now > 0 && now % every == 0) {
            target.saved = target.cursor.checkpoint(&view.catalog).saved();
            target.promdog_restarts();
            // With what the next pull finds gone.
            left.push((now, dead + 2));
        } else if dead > view.catalog.slots.len() - dead {
            assert_eq!(compact(&mut target, &view), dead);
            left.push((now, dead));
            let kept = kept(&target);
            let since = |from: i64| left.iter().filter(|(at, _)| *at > from).map(|(_, count)| count).sum::<usize>();
            // Those that left within one hour go with the last of them.
            let (least, most) = (since(now - 25 * HOUR), since(now - 26 * HOUR));
            assert!((least..=most).contains(&kept.retired()), "{} of {least} to {most}", kept.retired());
            assert!(kept.iter().count() <= 28, "{} lots", kept.iter().count());
        }
    }
    let all: usize = left.iter().map(|(_, count)| count).sum();
    assert!(kept(&target).retired() < all, "the first ones have been dropped");
}

#[test]
fn at_one_percent_churn_a_day_of_totals_is_kept_and_nothing_counts_twice() {
    day(None);
}

#[test]
fn at_one_percent_churn_our_own_restarts_change_nothing() {
    day(Some(5 * HOUR));
}

#[test]
fn what_was_counted_before_the_process_was_replaced_is_nothing_to_its_successor_even_if_it_left_twice() {
    let second_start = 50;
    for (start, restarts) in [(Some(-100), false), (Some(-100), true), (None, false)] {
        let mut target = target();
        // Most of what leaves stays away, so that the lot stays as it is.
        let gone = [("a3", 1), ("a4", 1), ("a5", 1), ("a6", 1)];
        target.grown(1, &page(start, &[&[("a1", 1), ("a2", 10), ("o2", 10), ("p2", 10)], &gone[..]].concat()));
        pull_and_compact(&mut target, 16, &page(start, &[("a1", 1)]));
        // They come back, so what is kept of them is old; and they are absent when the process is replaced.
        let back = target.grown(31, &page(start, &[("a1", 1), ("a2", 12), ("o2", 13), ("p2", 14)]));
        assert_eq!(back, ["a.count{x:1} 0", "a.count{x:2} 2", "o.count{x:2} 3", "p.count{x:2} 4"]);
        pull_and_compact(&mut target, 60, &page(Some(second_start), &[("a1", 1)]));
        assert_eq!(target.advance.process, ProcessChange::Replaced);
        assert_eq!(kept(&target).iter().map(|lot| lot.retired().len()).max(), Some(7), "also what has come back");
        if restarts {
            target.promdog_restarts();
        }
        let back = target.grown(75, &page(Some(second_start), &[("a1", 1), ("a2", 15), ("o2", 15), ("p2", 15)]));
        assert_eq!(
            back,
            ["a.count{x:1} 0", "a.count{x:2} 3", "o.count{x:2} 2", "p.count{x:2} 15"],
            "start {start:?}, restarts {restarts}"
        );
    }
}

#[test]
fn what_left_with_a_predecessor_is_told_from_what_its_successor_counted() {
    let mut target = target();
    let (first, second) = (Some(-100), Some(20));
    target.grown(1, &page(first, &[("a1", 1), ("p2", 10), ("p3", 10)]));
    pull_and_compact(&mut target, 16, &page(first, &[("a1", 1)]));
    target.grown(31, &page(second, &[("a1", 1), ("p3", 7)]));
    // Both processes have counted it, and both times it has left within the same hour.
    pull_and_compact(&mut target, 46, &page(second, &[("a1", 1)]));
    target.promdog_restarts();
    let back = target.grown(61, &page(second, &[("a1", 1), ("p2", 12), ("p3", 12)]));
    assert_eq!(back, ["a.count{x:1} 0", "p.count{x:2} 12", "p.count{x:3} 5"]);
}

/// A process that a step of the clock moves is the same, however often it moves.
#[test]
fn a_start_that_drifts_loses_no_total() {
    let mut target = target();
    target.grown(1, &page(Some(-100), &[("a1", 1), ("p2", 10)]));
    pull_and_compact(&mut target, 16, &page(Some(-100), &[("a1", 1)]));
    target.grown(31, &page(Some(-96), &[("a1", 1)]));
    target.grown(46, &page(Some(-92), &[("a1", 1)]));
    target.promdog_restarts();
    assert_eq!(target.grown(61, &page(Some(-92), &[("a1", 1), ("p2", 13)])), ["a.count{x:1} 0", "p.count{x:2} 3"]);
}

/// A step of the clock while a total that shows the fall is with those that have left.
#[test]
fn a_successor_that_starts_soon_after_its_predecessor_is_known_by_what_fell() {
    let mut target = target();
    target.grown(21, &page(Some(20), &[("p2", 10)]));
    target.promdog_restarts();
    assert_eq!(target.grown(24, &page(Some(23), &[("p2", 3)])), ["p.count{x:2} 3"]);
    assert_eq!(target.advance.process, ProcessChange::Replaced);
}

#[test]
fn what_an_earlier_promdog_knew_is_kept_once_when_it_has_come_back() {
    let mut target = target();
    let both = page(Some(-100), &[("a1", 1), ("a2", 2), ("a3", 3)]);
    target.grown(1, &both);
    target.promdog_restarts();
    let view = target.pull(16, &page(Some(-100), &[("a1", 1), ("a2", 2)]));
    target.take(&view);
    let lots = kept(&target);
    assert_eq!(lots.iter().flat_map(|lot| lot.retired()).map(|retired| retired.total).collect::<Vec<_>>(), [3.0]);
    target.grown(31, &both);
    assert!(kept(&target).is_empty());
}

#[test]
fn a_checkpoint_shares_what_has_left() {
    let mut target = target();
    target.grown(1, &page(Some(-100), &[("a1", 1), ("a2", 2)]));
    pull_and_compact(&mut target, 16, &page(Some(-100), &[("a1", 1)]));
    let (one, two) = (kept(&target), kept(&target));
    let (one, two) = (one.iter().next().expect("a lot"), two.iter().next().expect("a lot"));
    assert!(std::ptr::eq(one.retired(), two.retired()));
}

/// One pull: of one of two processes that may answer, after something has happened to it.
#[derive(Clone, Debug)]
struct Step {
    which: usize,
    happens: Happens,
    grows: Vec<u32>,
    /// By series: whether it is there.
    there: Vec<bool>,
    /// Afterwards what is not there leaves the catalogue.
    compacts: bool,
    /// Afterwards promdog is replaced.
    restarts: bool,
}

#[derive(Clone, Copy, Debug)]
enum Happens {
    Nothing,
    Restart,
    /// The start time moves a little.
    Drift,
    /// One series starts again.
    Reset(usize),
}

const SERIES: [&str; 6] = ["a1", "a2", "o1", "o2", "p1", "p2"];

fn step() -> impl Strategy<Value = Step> {
    let happens = prop_oneof![
        6 => Just(Happens::Nothing),
        1 => Just(Happens::Restart),
        1 => Just(Happens::Drift),
        1 => (0..SERIES.len()).prop_map(Happens::Reset),
    ];
    let grows = prop::collection::vec(0..100_u32, SERIES.len());
    let there = prop::collection::vec(any::<bool>(), SERIES.len());
    (prop_oneof![3 => Just(0), 1 => Just(1_usize)], happens, grows, there, any::<bool>(), prop::bool::weighted(0.2))
        .prop_map(|(which, happens, grows, there, compacts, restarts)| Step {
            which,
            happens,
            grows,
            there,
            compacts,
            restarts,
        })
}

proptest! {
    /// Whether totals are with the catalogue's series, with those that have left it, or have been on disk, is all one.
    #[test]
    fn compactions_and_our_restarts_change_no_increase(
        steps in prop::collection::vec(step(), 1..40),
        balanced in any::<bool>(),
    ) {
        let (mut target, mut undisturbed) = (target(), target());
        let mut processes = [(-100_i64, [500_u32; SERIES.len()]), (-50, [300; SERIES.len()])];
        for (at, step) in steps.into_iter().enumerate() {
            let now = 1 + 600 * at as i64;
            let (start, totals) = &mut processes[if balanced { step.which } else { 0 }];
            match step.happens {
                Happens::Nothing => {}
                Happens::Restart => (*start, *totals) = (now - 5, [0; SERIES.len()]),
                Happens::Drift => *start += 4,
                Happens::Reset(series) => totals[series] = 0,
            }
            totals.iter_mut().zip(step.grows).for_each(|(total, by)| *total += by);
            let all = SERIES.into_iter().zip(*totals).zip(step.there);
            let values: Vec<(&str, u32)> = all.filter(|(_, there)| *there).map(|(series, _)| series).collect();
            let text = page(Some(*start), &values);
            let grown = undisturbed.grown(now, &text);
            let view = target.pull(now, &text);
            prop_assert_eq!(target.advance, undisturbed.advance, "pull {}", at);
            let mut lines: Vec<String> = target
                .take(&view)
                .iter(&view.catalog)
                .map(|(slot, value)| format!("{} {value}", named(&view, slot)))
                .collect();
            lines.sort();
            prop_assert_eq!(lines, grown, "pull {}", at);
            if step.compacts {
                compact(&mut target, &view);
                target.saved = target.cursor.checkpoint(target.translator.catalog()).saved();
            }
            if step.restarts {
                target.promdog_restarts();
            }
        }
    }
}
