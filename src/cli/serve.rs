//! `promdog serve`: the service.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgAction;

use crate::cli::{TlsArgs, duration, interrupted, load_config, runtime, tag};
use crate::config::flags::{Flags, TargetFlags};
use crate::telemetry::{self, Format};
use crate::{app, tls};

/// Serve the translated view under /metrics and push it to Datadog.
///
/// One target on the command line is enough to begin with:
///
///   promdog serve --target https://localhost:8443/metrics --target.ca-file ca.pem \
///       --target.server-name virt-api.kubevirt.svc
///
/// Set DD_API_KEY and DD_SITE to push; --dry-run prints what would be sent.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Print request bodies to standard output instead of sending them; needs no key.
    #[arg(long, action = ArgAction::SetTrue)]
    dry_run: bool,
    /// Seconds between pushes; default 15.
    #[arg(long = "push.every", value_parser = duration, value_name = "TIME")]
    push_every: Option<Duration>,
    /// A folder of promdog's own, for the totals it has sent and what waits to be sent. Without one a restart begins with
    /// baselines, and what waits is lost with the process.
    #[arg(long = "state-dir", value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// How long to wait for another promdog that holds the state; default 30s.
    #[arg(long = "state-lock-timeout", value_parser = duration, value_name = "TIME")]
    state_lock_timeout: Option<Duration>,
    /// Where to listen; default `:10045`.
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    listen_address: Option<String>,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `promdog=debug`; default `info`.
    #[arg(long = "log.level", value_name = "LEVEL")]
    log_level: Option<String>,
    /// How a log line looks; default `text`.
    #[arg(long = "log.format", value_enum, value_name = "FORMAT")]
    log_format: Option<Format>,
}

/// What makes a configuration; `serve` and `check` share it.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// The configuration, in YAML; see docs/configuration.md.
    #[arg(long = "config.file", value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// The URL of the one target; replaces the file's targets.
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// The target's name in `?target=`; default: its host and port.
    #[arg(long = "target.name", value_name = "NAME", requires = "target")]
    name: Option<String>,
    /// What `can_connect` asks; default `/healthz` at the target's origin. `off` leaves it out.
    #[arg(long = "target.health-url", value_name = "URL", requires = "target")]
    health_url: Option<String>,
    /// A file with a bearer token for the target; read for each pull.
    #[arg(long = "target.bearer-token-file", value_name = "FILE", requires = "target")]
    bearer_token_file: Option<PathBuf>,
    /// The `kube_namespace:` tag of the target's series.
    #[arg(long = "target.kube-namespace", value_name = "NAME", requires = "target")]
    kube_namespace: Option<String>,
    /// The `pod_name:` tag of the target's series.
    #[arg(long = "target.pod-name", value_name = "NAME", requires = "target")]
    pod_name: Option<String>,
    /// A tag for every series of the target; may be repeated.
    #[arg(long = "target.tag", value_parser = tag, value_name = "KEY:VALUE", requires = "target")]
    tags: Vec<(String, String)>,
    /// Built-in mappings (kubevirt_api, kubevirt_controller, kubevirt_handler, go) or files, several with commas.
    /// Default `kubevirt_api`.
    #[arg(long, value_delimiter = ',', value_name = "NAME|FILE", requires = "target")]
    mapping: Vec<String>,
    #[command(flatten)]
    tls: TlsArgs,
}

impl ConfigArgs {
    pub(super) fn target(&self) -> Option<TargetFlags> {
        let Self { file: _, target, name, health_url, bearer_token_file, kube_namespace, pod_name, tags, mapping, tls } =
            self;
        Some(TargetFlags {
            url: target.clone()?,
            name: name.clone(),
            health_url: health_url.clone(),
            mappings: mapping.clone(),
            tags: tags.clone(),
            kube_namespace: kube_namespace.clone(),
            pod_name: pod_name.clone(),
            bearer_token_file: bearer_token_file.clone(),
            tls: tls.params(),
        })
    }
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args {
        config: config_args,
        dry_run,
        push_every,
        state_dir,
        state_lock_timeout,
        listen_address,
        log_level,
        log_format,
    } = args;
    let target = config_args.target();
    let flags =
        Flags { listen_address, log_level, log_format, push_every, dry_run, state_dir, state_lock_timeout, target };
    let config = load_config(config_args.file.as_deref(), &flags)?;
    telemetry::start(&config.log.level, config.log.format)?;
    tls::install_provider();
    runtime()?.block_on(async {
        let running = app::start(config).await?;
        interrupted().await;
        tracing::info!("stopping");
        running.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}
