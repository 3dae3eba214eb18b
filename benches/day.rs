//! A day of pulls, one every 15 seconds, while one series in a hundred is replaced each time: what of it stays in memory.

use crate::generate::{Change, Page};
use crate::rounds;
use crate::work::{self, Target};

const SERIES: usize = 10_000;
const PULLS_AN_HOUR: usize = 240;
const CHURN: Change = Change { percent: 30, churn_percent: 1 };

/// Prints what is on the heap every two hours. Increases are taken with each pull.
pub fn live() {
    let mapping = work::mapping();
    let mut page = Page::new(SERIES);
    let before = rounds::live() - page.key_bytes();
    let mut target = Target::pulled(&mapping, &page.text());
    println!("{} series, 1 % of them replaced every 15 s", page.series());
    println!("{:>6} {:>12} {:>12} {:>14} {:>16}", "hours", "MB on heap", "slots", "totals kept", "bytes a total");
    let mut first = 0.0;
    for hour in 0..=26 {
        for _ in 0..if hour == 0 { 1 } else { PULLS_AN_HOUR } {
            page.step(CHURN);
            target.pull(&page.text());
            target.take();
        }
        let bytes = (rounds::live() - before - page.key_bytes()) as f64;
        if hour == 0 {
            first = bytes;
        }
        if hour % 2 == 0 {
            let (slots, kept) = (target.latest().catalog.slots.len(), target.kept());
            let each = if kept == 0 { 0.0 } else { (bytes - first) / kept as f64 };
            println!("{hour:>6} {:>12.1} {slots:>12} {kept:>14} {each:>16.0}", bytes / 1e6);
        }
    }
}
