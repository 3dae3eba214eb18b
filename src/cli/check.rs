//! `promdog check`: is a configuration right, and what does it come to?

use std::process::ExitCode;

use crate::app::mappings;
use crate::cli::serve::ConfigArgs;
use crate::cli::{load_config, out, stdout};
use crate::config::Config;
use crate::config::flags::Flags;
use crate::config::url::mask_url;
use crate::scrape::Scraper;
use crate::yaml::problem::Problems;

/// Check a configuration and its mappings, or mapping files alone; tells every mistake at once. Connects to nothing.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Mapping files, or names of built-in ones, to check without a configuration.
    #[arg(value_name = "MAPPING", conflicts_with_all = ["file", "target"])]
    mappings: Vec<String>,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { config, mappings } = args;
    let lines = if mappings.is_empty() {
        let flags = Flags { target: config.target(), ..Flags::default() };
        describe(&load_config(config.file.as_deref(), &flags)?)?
    } else {
        check_mappings(&mappings)?
    };
    let mut stdout = stdout();
    for line in lines {
        out(&mut stdout, &line)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Each file alone, so that one's mistakes do not hide another's.
fn check_mappings(names: &[String]) -> Result<Vec<String>, Problems> {
    let (mut lines, mut problems) = (Vec::new(), Problems::default());
    for name in names {
        match mappings::load(std::slice::from_ref(name)) {
            Ok(mapping) => lines.push(format!(
                "{name}: {} rules, namespace {}",
                mapping.rules().count(),
                mapping.namespace().unwrap_or("(none)")
            )),
            Err(found) => problems.extend(found),
        }
    }
    problems.or_value(Some(lines))
}

fn describe(config: &Config) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut problems = Problems::default();
    for target in &config.targets {
        match mappings::load(&target.mappings) {
            Ok(mapping) => {
                let scrape = target.scrape_params(mapping.health().map(|health| health.path.as_str()));
                let health = scrape.health_url.as_ref().map_or_else(|| "no health URL".to_owned(), mask_url);
                let rules = mapping.rules().count();
                let url = mask_url(&target.url);
                lines.push(format!(
                    "target {}: {url}, {}, {rules} rules, {health}",
                    target.name,
                    target.mappings.join(" + ")
                ));
                crate::tls::install_provider();
                if let Err(error) = Scraper::new(scrape) {
                    problems.extend(Problems::without_place(&format!("target `{}`", target.name), error.to_string()));
                }
            }
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(problems.into());
    }
    lines.push(match config.datadog.sender_params(&config.push) {
        Some(params) => format!("push: every {:?} to {}", config.push.every, mask_url(&params.endpoint)),
        None => "push: off, since there is no API key (DD_API_KEY)".to_owned(),
    });
    let tags = config.push_tags();
    if !tags.is_empty() {
        lines.push(format!("push tags: {}", tags.join(" ")));
    }
    lines.push(match config.kubernetes.cluster_params() {
        Some(_) => format!("virtual machines: listed every {:?}", config.kubernetes.every),
        None => "virtual machines: not counted, since no Kubernetes API is given".to_owned(),
    });
    lines.push("the configuration is right".to_owned());
    Ok(lines)
}
