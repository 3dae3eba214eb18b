//! `promdog translate`: what would become of an exposition. Sends nothing.

mod table;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;

use crate::app::mappings;
use crate::cli::{FirstValueArg, TlsArgs, duration, out, stdout, tag};
use crate::clock;
use crate::config::url::mask_url;
use crate::delta::{Cursor, Moment, start_time};
use crate::mapping::Mapping;
use crate::payload::body::Encoder;
use crate::payload::points::{Frame, Gauges, of_view};
use crate::payload::{Encoding, Limits};
use crate::scrape::{Auth, Scraper};
use crate::time::UnixMillis;
use crate::translate::{self, Translator, describe_refusals, looks_foreign};
use crate::view::{Increases, View, page};
use crate::{scrape, tls};

/// Show what becomes of an exposition: every series, its rule, its name and tags, its increase. Sends nothing.
///
/// Several files are successive pulls of one target, so the second and later ones show increases:
///
///   promdog translate t0.txt t15.txt
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Files or http(s) URLs, each one pull of the same target. URLs after the first are pulled an interval apart.
    #[arg(required = true, value_name = "FILE|URL")]
    inputs: Vec<String>,
    /// Built-in mappings (kubevirt_api, kubevirt_controller, kubevirt_handler, go) or files, several with commas.
    #[arg(long, value_delimiter = ',', default_value = "kubevirt_api", value_name = "NAME|FILE")]
    mapping: Vec<String>,
    /// A tag for every series, as `key:value`; may be repeated.
    #[arg(long = "tag", value_parser = tag, value_name = "KEY:VALUE")]
    tags: Vec<(String, String)>,
    /// The `endpoint:` tag. For a URL, the URL itself unless said otherwise; for a file, none.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// What the first value of a counter counts for: `prove` (the full value only if the process is younger than the
    /// first pull), `always`, or `never`.
    #[arg(long, value_enum, default_value_t)]
    first_value: FirstValueArg,
    /// Between two pulls.
    #[arg(long, value_parser = duration, default_value = "15s")]
    interval: Duration,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    tls: TlsArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Every series with its source value, its increase, and the rule that took it.
    #[default]
    Table,
    /// One line for each point.
    Json,
    /// The exact request bodies, one a line, before compression.
    Payload,
    /// The page `/metrics` would show after the last pull.
    Metrics,
}

/// One pull, translated.
struct Pull<'a> {
    /// From 1.
    number: usize,
    input: &'a str,
    view: View,
    cursor: &'a Cursor,
    /// Knows how the source spells its series.
    translator: &'a Translator,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mapping = std::sync::Arc::new(mappings::load(&args.mapping)?);
    let mut tags = args.tags.clone();
    let endpoint = args.endpoint.clone().or_else(|| url(&args.inputs[0]).map(|url| mask_url(&url)));
    tags.extend(endpoint.map(|endpoint| ("endpoint".to_owned(), endpoint)));
    let params = translate::Params { namespace: None, tags, limits: translate::Limits::default() };
    let mut translator = Translator::new(std::sync::Arc::clone(&mapping), params);
    let mut cursor = Cursor::new(args.first_value.into());
    let mut clock = Clock::new(args.interval, args.inputs.len());
    let mut reader = Reader::new(args)?;
    let mut stdout = stdout();
    for (index, input) in args.inputs.iter().enumerate() {
        let (text, date) = reader.read(input, index)?;
        let mut view = translator.read(&text);
        if looks_foreign(&view.ledger) {
            bail!("{input} is no exposition: {}", describe_refusals(&view.ledger));
        }
        let moment = clock.pulled(&view, date);
        let advance = cursor.advance(&view, &mapping, moment);
        cursor.merge(&mut view);
        let last = index + 1 == args.inputs.len();
        match args.output {
            Output::Table => {
                let pull = Pull { number: index + 1, input, view, cursor: &cursor, translator: &translator };
                table::print(&mut stdout, &pull, &mapping, &advance, last && index == 0)?;
                cursor.take(&pull.view.catalog);
            }
            Output::Json => {
                let increases = cursor.take(&view.catalog);
                print_json(&mut stdout, index + 1, &view, &increases, clock.interval_seconds())?;
            }
            Output::Payload => {
                let increases = cursor.take(&view.catalog);
                print_payload(&mut stdout, &view, &increases, clock.second(index), clock.interval_seconds())?;
            }
            Output::Metrics if last => out(&mut stdout, page(&[&view], &[]).trim_end())?,
            Output::Metrics => {}
        }
    }
    stdout.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// A point as the tool prints it.
#[derive(Serialize)]
struct JsonPoint<'a> {
    pull: usize,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<u32>,
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
}

fn print_json(
    to: &mut impl Write,
    pull: usize,
    view: &View,
    increases: &Increases,
    interval: u32,
) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    of_view(view, increases, Gauges::Send, Frame { host: None, interval }, |row, point| {
        let mut tags = view.catalog.tags(row);
        tags.extend(point.bound.map(str::to_owned));
        tags.sort_unstable();
        let name = format!("{}{}", point.name, point.suffix);
        let (kind, interval) = (point.kind.word(), point.interval);
        lines.push(JsonPoint {
            pull,
            name,
            kind,
            value: point.value,
            interval,
            tags,
            host: point.host,
            unit: point.unit,
        });
    });
    for line in &lines {
        out(to, &serde_json::to_string(line)?)?;
    }
    Ok(())
}

fn print_payload(
    to: &mut impl Write,
    view: &View,
    increases: &Increases,
    second: i64,
    interval: u32,
) -> anyhow::Result<()> {
    let mut encoder = Encoder::new(Encoding::Json, second, &[], Limits::default());
    let mut failed = None;
    of_view(view, increases, Gauges::Send, Frame { host: None, interval }, |_, point| {
        failed = failed.take().or(encoder.push(&point).err());
    });
    if let Some(error) = failed {
        return Err(error).context("cannot encode a point");
    }
    for body in encoder.finish()? {
        out(to, &body.text()?)?;
    }
    Ok(())
}

/// When the pulls were made, by the target's clock. Files do not say: the first one is taken to be from just after the
/// start of its process, the others an interval apart, and after the start of theirs.
struct Clock {
    interval: Duration,
    pulls: usize,
    first: Option<UnixMillis>,
    last: UnixMillis,
    now: i64,
}

impl Clock {
    fn new(interval: Duration, pulls: usize) -> Self {
        Self { interval, pulls, first: None, last: UnixMillis(0), now: clock::now().seconds() }
    }

    fn interval_seconds(&self) -> u32 {
        u32::try_from(self.interval.as_secs().max(1)).unwrap_or(u32::MAX)
    }

    fn pulled(&mut self, view: &View, date: Option<UnixMillis>) -> Moment {
        let started = start_time(view).map(|start| UnixMillis((start * 1000.0) as i64 + 1000));
        let step = i64::try_from(self.interval.as_millis()).unwrap_or(i64::MAX);
        let assumed = match self.first {
            None => started.unwrap_or(UnixMillis::from_seconds(self.now)),
            Some(_) => UnixMillis(self.last.0.saturating_add(step)).max(started.unwrap_or_default()),
        };
        self.last = date.unwrap_or(assumed);
        Moment { date: self.last, watching_since: *self.first.get_or_insert(self.last) }
    }

    /// The grid second of a pull, so that the last one is of now.
    fn second(&self, index: usize) -> i64 {
        let step = i64::from(self.interval_seconds());
        let behind = i64::try_from(self.pulls - 1 - index).unwrap_or(0);
        (self.now - behind * step).div_euclid(step) * step
    }
}

fn url(input: &str) -> Option<reqwest::Url> {
    let web = input.starts_with("http://") || input.starts_with("https://");
    web.then(|| reqwest::Url::parse(input).ok()).flatten()
}

/// Reads files, and URLs with one connection.
struct Reader {
    runtime: tokio::runtime::Runtime,
    tls: tls::ClientParams,
    scraper: Option<(String, Scraper)>,
    interval: Duration,
}

impl Reader {
    fn new(args: &Args) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, tls: args.tls.params(), scraper: None, interval: args.interval })
    }

    fn read(&mut self, input: &str, index: usize) -> anyhow::Result<(Vec<u8>, Option<UnixMillis>)> {
        let Some(url) = url(input) else {
            let text = std::fs::read(Path::new(input)).with_context(|| format!("cannot read {input}"))?;
            return Ok((text, None));
        };
        if !url.username().is_empty() || url.password().is_some() {
            bail!("{} holds a password; put it into the configuration of `promdog serve` instead", mask_url(&url));
        }
        if index > 0 {
            eprintln!("waiting {:?} before pull {}", self.interval, index + 1);
            std::thread::sleep(self.interval);
        }
        if self.scraper.as_ref().is_none_or(|(known, _)| known != input) {
            let params = scrape::Params {
                url,
                health_url: None,
                tls: self.tls.clone(),
                auth: Auth::None,
                headers: Vec::new(),
                timeout: Duration::from_secs(10),
                max_compressed_bytes: 64 << 20,
                max_decompressed_bytes: 256 << 20,
            };
            self.scraper = Some((input.to_owned(), Scraper::new(params)?));
        }
        let Some((_, scraper)) = &self.scraper else { bail!("no connection") };
        let fetched = self.runtime.block_on(scraper.fetch(Duration::from_secs(10)))?;
        Ok((fetched.body, fetched.head.date))
    }
}

/// The rule's key, and the alias that led to it.
fn rule_name(mapping: &Mapping, id: crate::mapping::RuleId, precedence: u32) -> String {
    let rule = mapping.rule(id);
    match (precedence as usize).checked_sub(1).and_then(|at| rule.aliases.get(at)) {
        Some(alias) => format!("{} (alias {alias})", rule.key),
        None => rule.key.clone(),
    }
}
