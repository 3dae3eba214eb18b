//! `promdog parse`: reads one exposition and says whether all of it is acceptable.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;

use crate::cli::{out, stdout};
use crate::exposition::lex::{self, Line, LineError};
use crate::exposition::series::{decode, decode_help, decode_name};
use crate::number;

/// Read one exposition: exit 0 if the whole document is acceptable, 1 with every error (line, column, reason), 2 if there
/// is nothing to judge.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The exposition; `-` reads standard input.
    #[arg(value_name = "FILE|-")]
    input: PathBuf,
    /// The format it is in.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print families and samples as JSON lines, names as in the text.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Format {
    /// Prometheus text format 0.0.4.
    #[default]
    Prom,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Row<'a> {
    Family {
        name: &'a str,
        #[serde(rename = "type")]
        kind: &'static str,
        help: &'a str,
        unit: &'static str,
    },
    Sample {
        name: &'a str,
        labels: &'a [(Cow<'a, str>, Cow<'a, str>)],
        value: String,
        /// Seconds since 1970.
        #[serde(skip_serializing_if = "Option::is_none")]
        ts: Option<f64>,
    },
}

/// What the metadata says of a family; the first line of each sort counts.
#[derive(Default)]
struct Metadata {
    kind: Option<&'static str>,
    help: Option<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Args { input, format: Format::Prom, json } = args;
    let text = match read(input) {
        Ok(text) => text,
        Err(error) => {
            // Not a verdict on a document.
            eprintln!("error: {error:#}");
            return Ok(ExitCode::from(2));
        }
    };
    let (mut families, mut samples, mut errors) = (BTreeMap::new(), 0_u64, 0_u64);
    let mut stdout = stdout();
    let (mut rest, mut number) = (text.as_slice(), 0);
    while let Some((line, next)) = lex::cut_line(rest) {
        (rest, number) = (next, number + 1);
        match read_line(line, &mut families) {
            Ok(None) => {}
            Ok(Some(sample)) => {
                samples += 1;
                if *json {
                    out(&mut stdout, &sample.json())?;
                }
            }
            Err(error) => {
                errors += 1;
                stdout.flush()?;
                eprintln!("line {number}, column {}: {}", error.at + 1, error.reason);
            }
        }
    }
    if *json {
        for (name, Metadata { kind, help }) in &families {
            let help = help.as_deref().unwrap_or_default();
            let row = Row::Family { name, kind: kind.unwrap_or("untyped"), help, unit: "" };
            out(&mut stdout, &serde_json::to_string(&row)?)?;
        }
    } else {
        out(&mut stdout, &format!("{samples} samples, {} families with metadata, {errors} errors", families.len()))?;
    }
    stdout.flush()?;
    Ok(ExitCode::from(u8::from(errors > 0)))
}

struct Sample<'a> {
    series: crate::exposition::series::Series<'a>,
    value: f64,
    timestamp: Option<i64>,
}

impl Sample<'_> {
    fn json(&self) -> String {
        let mut value = String::new();
        number::go(&mut value, self.value);
        let ts = self.timestamp.map(|millis| millis as f64 / 1000.0);
        let row = Row::Sample { name: &self.series.name, labels: &self.series.labels, value, ts };
        serde_json::to_string(&row).expect("strings and finite numbers are JSON")
    }
}

fn read_line<'a>(line: &'a [u8], families: &mut BTreeMap<String, Metadata>) -> Result<Option<Sample<'a>>, LineError> {
    match lex::line(line)? {
        Line::Nothing => {}
        Line::Help { name, text } => {
            if let Some(name) = decode_name(name) {
                let family = families.entry(name.into_owned()).or_default();
                family.help.get_or_insert_with(|| decode_help(text).into_owned());
            }
        }
        Line::Type { name, kind } => {
            if let Some(name) = decode_name(name) {
                families.entry(name.into_owned()).or_default().kind.get_or_insert(kind.word());
            }
        }
        Line::Sample(lex::Sample { key, value, timestamp }) => {
            return Ok(Some(Sample { series: decode(key)?, value, timestamp }));
        }
    }
    Ok(None)
}

fn read(input: &PathBuf) -> anyhow::Result<Vec<u8>> {
    if input.as_os_str() == "-" {
        let mut text = Vec::new();
        io::stdin().read_to_end(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read(input).with_context(|| format!("cannot read {}", input.display()))
}
