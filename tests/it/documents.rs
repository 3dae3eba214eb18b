//! Whole documents: what is read, what is refused, and that no bytes whatever can stop the reader.

use std::path::PathBuf;
use std::sync::Arc;

use promdog::exposition::lex::{self, Line};
use promdog::ledger::Fate;
use promdog::view::{View, page};
use proptest::prelude::*;

use crate::support::{built_in, mapping, named, page_samples, translator};

fn read(rules: &str, text: &str) -> View {
    translator(&mapping(&format!("version: 1\nmetrics:\n{rules}\n"))).read(text.as_bytes())
}

#[test]
fn a_bad_line_costs_itself_only_and_is_told_with_its_place() {
    let view = read("  a: a", "# TYPE a gauge\na{x=\"1\"} 1\na{x=2} 2\na{x=\"3\"} 3\n");
    assert_eq!(view.ledger.refused_lines, 1);
    let refusal = &view.ledger.refusals[0];
    assert_eq!((refusal.line, refusal.column), (3, 5));
    assert_eq!(page_samples(&page(&[&view], &[])), ["a{x=\"1\"} 1", "a{x=\"3\"} 3"]);
}

#[test]
fn the_first_type_of_a_family_wins_wherever_it_stands() {
    let view = read("  a: a", "a 1\n# TYPE a counter\n# TYPE a gauge\n");
    assert!(page(&[&view], &[]).contains("# TYPE a_count counter\na_count 1\n"));
}

#[test]
fn the_second_sample_of_a_series_is_a_duplicate_in_any_spelling() {
    let text = "# TYPE a gauge\na{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 2\na{x=\"1\",y=\"2\",z=\"\"} 3\n";
    let view = read("  a: a", text);
    assert_eq!((view.ledger.count(Fate::Mapped), view.ledger.count(Fate::Duplicate)), (1, 2));
    assert_eq!(page_samples(&page(&[&view], &[])), ["a{x=\"1\",y=\"2\"} 1"]);
}

#[test]
fn a_familys_name_beats_its_aliases_and_their_samples_are_shadowed() {
    let rules = "  new: { name: x, aliases: [old] }";
    let both = read(rules, "# TYPE old gauge\nold 1\n# TYPE new gauge\nnew 2\n");
    assert_eq!((both.ledger.count(Fate::Mapped), both.ledger.count(Fate::Shadowed)), (1, 1));
    assert_eq!(page_samples(&page(&[&both], &[])), ["x 2"]);
    let alone = read(rules, "# TYPE old gauge\nold 1\n");
    assert_eq!(page_samples(&page(&[&alone], &[])), ["x 1"]);
}

#[test]
fn an_untyped_family_needs_a_type_from_its_rule() {
    let view = read("  a: a\n  b: { name: b, type: counter }", "a 1\nb_total 2\n");
    assert_eq!(page_samples(&page(&[&view], &[])), ["b_count 2"]);
    assert_eq!(view.ledger.count(Fate::Unmapped), 1);
}

#[test]
fn a_histogram_becomes_one_family_with_its_bounds_in_order() {
    let text = concat!(
        "# TYPE h histogram\n",
        "h_bucket{le=\"+Inf\"} 5\nh_bucket{le=\"0.50\"} 2\nh_bucket{le=\"1e-05\"} 1\nh_count 5\nh_sum 3.5\n"
    );
    let view = read("  h: x.h", text);
    assert_eq!(
        page_samples(&page(&[&view], &[])),
        [
            "x_h_bucket{le=\"1e-05\"} 1",
            "x_h_bucket{le=\"0.5\"} 2",
            "x_h_bucket{le=\"+Inf\"} 5",
            "x_h_sum 3.5",
            "x_h_count 5"
        ]
    );
}

#[test]
fn sums_leave_the_buckets_out() {
    let text = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 3\nh_count 1\n";
    let view = read("  h: { name: h, histogram: sums }", text);
    assert_eq!(page_samples(&page(&[&view], &[])), ["h_sum 3", "h_count 1"]);
    assert_eq!(view.ledger.count(Fate::Unmapped), 2);
}

#[test]
fn gauges_that_collide_are_one_and_the_rest_is_ledgered() {
    let mapping = mapping("version: 1\nmetrics: { a: a }\nlabels: { drop: [x] }\n");
    let view = translator(&mapping).read(b"# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 2\n");
    assert_eq!((view.ledger.count(Fate::Mapped), view.ledger.count(Fate::Collided)), (1, 1));
}

#[test]
fn a_gauge_that_is_nan_is_on_the_page_and_not_mapped_to_datadog() {
    let view = read("  a: a", "# TYPE a gauge\na NaN\n");
    assert_eq!(page_samples(&page(&[&view], &[])), ["a NaN"]);
    assert_eq!(view.ledger.count(Fate::NotANumber), 1);
}

#[test]
fn limits_cost_what_exceeds_them_and_are_ledgered() {
    let mapping = mapping("version: 1\nmetrics: { a: a }\n");
    let mut params = promdog::translate::Params {
        namespace: None,
        tags: Vec::new(),
        limits: promdog::translate::Limits {
            samples: 3,
            line_bytes: 40,
            labels: 2,
            label_name_bytes: 5,
            label_value_bytes: 10,
        },
    };
    let text = "# TYPE a gauge\na{x=\"1\"} 1\na{x=\"1\",y=\"1\",z=\"1\"} 1\na{x=\"0123456789a\"} 1\na 1\n";
    let read = |params: &promdog::translate::Params, text: &str| {
        let view = promdog::translate::Translator::new(Arc::clone(&mapping), params.clone()).read(text.as_bytes());
        (view.ledger.count(Fate::Mapped), view.ledger.count(Fate::OverLimit), view.ledger.is_complete())
    };
    assert_eq!(read(&params, text), (1, 3, false));
    params.limits.samples = 10;
    assert_eq!(read(&params, &format!("a{{x=\"{}\"}} 1\na 2\n# TYPE a gauge\n", "y".repeat(50))), (1, 1, false));
}

#[test]
fn the_built_in_mapping_meets_an_exposition_before_and_after_the_rename() {
    let mapping = built_in(&["kubevirt_api"]);
    let names = |prefix: &str| {
        let text = format!(
            "# TYPE {prefix}rest_client_requests_total counter\n{prefix}rest_client_requests_total{{code=\"200\",host=\"h:443\"}} 3\n"
        );
        let view = translator(&mapping).read(text.as_bytes());
        (0..view.catalog.out_slots.len()).map(|slot| named(&view, slot)).collect::<Vec<_>>()
    };
    assert_eq!(names(""), ["kubevirt_api.rest.client_requests.count{code:200,kubevirt_api_host:h:443}"]);
    assert_eq!(names(""), names("kubevirt_"));
}

/// Reads a document, and checks what must hold of any.
fn survive(translator: &mut promdog::translate::Translator, text: &[u8]) {
    let view = translator.read(text);
    assert!(view.ledger.balances(), "{:?}", view.ledger);
    let page = page(&[&view], &[]);
    let mut rest = page.as_bytes();
    while let Some((line, next)) = lex::cut_line(rest) {
        rest = next;
        match lex::line(line) {
            Ok(Line::Sample(sample)) => assert!(promdog::exposition::series::decode(sample.key).is_ok()),
            Ok(_) => {}
            Err(error) => panic!("we wrote a line that we refuse: {error}: {}", String::from_utf8_lossy(line)),
        }
    }
}

/// Expositions to hurt: a small one of our own, and the captures in the folder `PROMDOG_CAPTURES` names.
fn captures() -> Vec<Vec<u8>> {
    let own = include_bytes!("../data/small.prom").to_vec();
    let folder = std::env::var_os("PROMDOG_CAPTURES").map(PathBuf::from);
    let mut files: Vec<PathBuf> = folder
        .iter()
        .flat_map(|folder| folder.read_dir().expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt" || extension == "prom"));
    files.sort();
    assert!(folder.is_none() || !files.is_empty(), "no *.txt in PROMDOG_CAPTURES");
    std::iter::once(own).chain(files.iter().map(|path| std::fs::read(path).expect("a readable capture"))).collect()
}

#[test]
fn every_prefix_of_a_capture_is_read_without_a_crash() {
    let mapping = built_in(&["kubevirt_api", "go"]);
    for text in captures() {
        let mut warm = translator(&mapping);
        warm.read(&text);
        for end in 0..=text.len() {
            survive(&mut warm, &text[..end]);
            // A cold catalogue takes longer and differs only in what it has not met.
            if end % 64 == 0 {
                survive(&mut translator(&mapping), &text[..end]);
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_a_capture_is_read_without_a_crash() {
    let mapping = built_in(&["kubevirt_api", "go"]);
    for text in captures() {
        // A flip changes the line it is in, or joins or splits lines: five lines around it are what it can reach.
        let starts: Vec<usize> = std::iter::once(0)
            .chain(text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1))
            .collect();
        for (line, &start) in starts.iter().enumerate() {
            let end = starts.get(line + 1).copied().unwrap_or(text.len());
            let from = starts[line.saturating_sub(2)];
            let to = starts.get(line + 3).copied().unwrap_or(text.len());
            let mut block = text[from..to].to_vec();
            let mut translator = translator(&mapping);
            for at in start - from..end - from {
                for bit in 0..8 {
                    block[at] ^= 1 << bit;
                    survive(&mut translator, &block);
                    block[at] ^= 1 << bit;
                }
            }
        }
    }
}

/// Text that is nearly an exposition, so that the deeper branches are reached.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "a",
        "b_total",
        "h_bucket",
        "h_sum",
        "h_count",
        "{",
        "}",
        "=",
        "\"",
        ",",
        "le",
        "quantile",
        "x",
        "0.5",
        "+Inf",
        "NaN",
        " ",
        "\t",
        "\n",
        "\r\n",
        "# TYPE ",
        "# HELP ",
        "a counter\n",
        "h histogram\n",
        "b gauge\n",
        "a summary\n",
        "\\",
        "\\n",
        "1e9",
        "é",
        "\u{2028}",
        "_",
        ":",
        "-1",
        "1395066363000",
    ]);
    let piece = prop_oneof![
        20 => pieces.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat())
}

const NEARLY_RULES: &str = "version: 1\nmetrics: { a: a, b: b, h: h }\n";

proptest! {
    #[test]
    fn any_bytes_are_read_and_every_sample_has_one_fate(text in nearly()) {
        survive(&mut translator(&mapping(NEARLY_RULES)), &text);
    }

    /// The catalogue is a memo: what is read does not depend on what was read before.
    #[test]
    fn a_warm_catalogue_reads_as_a_cold_one(before in nearly(), text in nearly()) {
        let mapping = mapping(NEARLY_RULES);
        let mut warm = translator(&mapping);
        warm.read(&before);
        let (warm, cold) = (warm.read(&text), translator(&mapping).read(&text));
        prop_assert_eq!(&warm.ledger, &cold.ledger);
        prop_assert_eq!(page(&[&warm], &[]), page(&[&cold], &[]));
    }

    /// Where the network cuts a page changes nothing, nor whether its series are known.
    #[test]
    fn a_page_in_pieces_reads_as_a_whole_one(
        before in nearly(),
        text in nearly(),
        mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mapping = mapping(NEARLY_RULES);
        let whole = translator(&mapping).read(&text);
        let mut cuts: Vec<usize> = cuts.drain(..).map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        for known in [&b""[..], &before, &text] {
            let mut translator = translator(&mapping);
            translator.read(known);
            let mut reading = translator.begin();
            let mut at = 0;
            for end in cuts.iter().copied().chain([text.len()]) {
                translator.feed(&mut reading, &text[at..end]);
                at = end;
            }
            let pieces = translator.finish(reading);
            prop_assert_eq!(&pieces.ledger, &whole.ledger);
            prop_assert_eq!(page(&[&pieces], &[]), page(&[&whole], &[]));
        }
    }
}
