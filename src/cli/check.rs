//! `promdog check`: is a configuration right, and what does it come to?

use std::process::ExitCode;

use crate::app::mappings;
use crate::cli::serve::ConfigArgs;
use crate::cli::{load_config, out, stdout};
use crate::config::Config;
use crate::config::discovery::{Discovery, Pods};
use crate::config::flags::Flags;
use crate::config::url::mask_url;
use crate::scrape::Scraper;
use crate::targets::{dns, files};
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
    for group in &config.targets {
        let target = &group.target;
        match mappings::load(&target.mappings) {
            Ok(mapping) => {
                let scrape = target.scrape_params(mapping.health().map(|health| health.path.as_str()));
                let place = group.discovery.as_ref().map_or_else(|| mask_url(&target.url), describe_discovery);
                let health = match (&scrape.health_url, &group.discovery) {
                    (None, _) => "no health URL".to_owned(),
                    (Some(url), None) => mask_url(url),
                    (Some(url), Some(_)) => format!("health at {}", url.path()),
                };
                let (mappings, rules) = (target.mappings.join(" + "), mapping.rules().count());
                lines.push(format!("target {}: {place}, {mappings}, {rules} rules, {health}", target.name));
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
    let endpoints = config.datadog.sender_params(&config.push);
    let endpoints: Vec<String> = endpoints.iter().map(|params| mask_url(&params.endpoint)).collect();
    lines.push(match endpoints.as_slice() {
        [] => "push: off, since there is no API key (DD_API_KEY)".to_owned(),
        endpoints => format!("push: every {:?} to {}", config.push.every, endpoints.join(" and ")),
    });
    lines.push(match &config.state.dir {
        Some(dir) => format!("state: in {}", dir.display()),
        None => "state: in memory; a restart begins with baselines".to_owned(),
    });
    let tags = config.push_tags();
    if !tags.is_empty() {
        lines.push(format!("push tags: {}", tags.join(" ")));
    }
    lines.push(match config.kubernetes.counts_machines() {
        true => "virtual machines: counted from the Kubernetes API".to_owned(),
        false => "virtual machines: not counted, since no Kubernetes API is given".to_owned(),
    });
    lines.push("the configuration is right".to_owned());
    Ok(lines)
}

fn describe_discovery(discovery: &Discovery) -> String {
    match discovery {
        Discovery::Pods(Pods { namespace, selector, .. }) => format!("pods {selector} in namespace {namespace}"),
        Discovery::Dns(dns::Params { name, port, .. }) => format!("addresses of {name}, port {port}"),
        Discovery::Files(files::Params { paths, .. }) => {
            let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            format!("targets in {}", paths.join(", "))
        }
    }
}
