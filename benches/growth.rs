//! How time and memory of a series go with the number of series: a table, and a plot of it with both axes logarithmic.

use std::fmt::Write;
use std::path::Path;
use std::{fs, iter};

use crate::generate::Page;
use crate::rounds::{self, Stage};
use crate::work::Target;
use crate::{Inputs, READ_NEW, pull_to_push, read_known};

const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
const NAMES: [&str; 4] = ["pull to push, ns", "read, everything new, ns", "read, all known, ns", "memory, bytes"];
const COLOURS: [&str; 4] = ["#c2410c", "#7c3aed", "#1d4ed8", "#15803d"];

/// Measures all sizes in the same rounds.
pub fn draw(file: &Path) {
    let inputs: Vec<Inputs> = SIZES.iter().map(|series| Inputs::new(Page::new(*series))).collect();
    let memory: Vec<f64> = inputs.iter().map(|inputs| inputs.memory().0).collect();
    let mut stages = Vec::new();
    for inputs in &inputs {
        stages.push(pull_to_push(inputs));
        let Inputs { mapping, text, .. } = inputs;
        stages.push(Stage::new(READ_NEW, None, || Target::new(mapping), |target| target.read(text)));
        stages.push(read_known(inputs));
    }
    rounds::measure(&mut stages);
    let each = |(stages, inputs): (&[Stage<'_>], &Inputs)| -> Vec<f64> {
        stages.iter().map(|stage| stage.nanos() / inputs.page.series() as f64).collect()
    };
    let rows: Vec<Vec<f64>> = iter::zip(stages.chunks(3), &inputs)
        .zip(memory)
        .map(|(times, memory)| each(times).into_iter().chain([memory]).collect())
        .collect();
    println!("{:>10} {:>26} {:>26} {:>26} {:>26}", "series", NAMES[0], NAMES[1], NAMES[2], NAMES[3]);
    for (series, row) in SIZES.iter().zip(&rows) {
        println!("{series:>10} {:>26.1} {:>26.1} {:>26.1} {:>26.1}", row[0], row[1], row[2], row[3]);
    }
    fs::write(file, svg(&rows)).expect("the file can be written");
}

/// `rows` has for each size a number for each name.
fn svg(rows: &[Vec<f64>]) -> String {
    let (width, height, left, right, bottom, top) = (860.0, 360.0, 60.0, 190.0, 40.0, 40.0);
    let numbers = || rows.iter().flatten().map(|number| number.log10());
    let (low, high) = (numbers().fold(f64::MAX, f64::min).floor(), numbers().fold(0.0, f64::max).ceil());
    let first = (SIZES[0] as f64).log10();
    let x = |size: f64| left + (size.log10() - first) / (SIZES.len() - 1) as f64 * (width - left - right);
    let y = |number: f64| height - bottom - (number.log10() - low) / (high - low) * (height - bottom - top);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\
         <text x=\"{left}\" y=\"18\" font-size=\"14\">What a series costs, by how many there are: CPU time of each pull, and memory beside its key</text>"
    );
    for power in low as i32..=high as i32 {
        for step in [1.0, 2.0, 5.0] {
            let number = step * 10_f64.powi(power);
            if number.log10() <= high {
                let (at, end) = (y(number), width - right);
                write!(out, "<line x1=\"{left}\" y1=\"{at:.1}\" x2=\"{end}\" y2=\"{at:.1}\" stroke=\"#eee\"/>")
                    .expect("a string");
                write!(out, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{number}</text>", left - 6.0, at + 4.0)
                    .expect("a string");
            }
        }
    }
    for size in SIZES {
        let (at, under) = (x(size as f64), height - bottom + 18.0);
        write!(out, "<text x=\"{at:.1}\" y=\"{under}\" text-anchor=\"middle\">{} series</text>", grouped(size))
            .expect("a string");
    }
    // Names at the ends of their lines, apart from each other.
    let ends: Vec<f64> = rows.last().map(|row| row.iter().map(|number| y(*number) + 4.0).collect()).unwrap_or_default();
    let mut order: Vec<usize> = (0..ends.len()).collect();
    order.sort_by(|a, b| ends[*a].total_cmp(&ends[*b]));
    let mut lowest = 0.0_f64;
    for line in order {
        let colour = COLOURS[line];
        let points: Vec<(f64, f64)> =
            SIZES.iter().zip(rows).map(|(size, row)| (x(*size as f64), y(row[line]))).collect();
        let joined: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        write!(out, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", joined.join(" "))
            .expect("a string");
        for (x, y) in points {
            write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>").expect("a string");
        }
        lowest = ends[line].max(lowest + 14.0);
        write!(out, "<text x=\"{}\" y=\"{lowest:.1}\" fill=\"{colour}\">{}</text>", width - right + 10.0, NAMES[line])
            .expect("a string");
    }
    out.push_str("</svg>\n");
    out
}

/// `1,000,000`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).expect("digits")).collect();
    groups.join(",")
}
