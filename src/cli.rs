//! The command line. Each command is a file; exit status 0 is good, 1 is a failure that was told, 2 is wrong usage.

mod check;
mod demo;
mod health;
mod parse;
mod serve;
mod translate;

use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use crate::config::env::Env;
use crate::config::flags::Flags;
use crate::config::{Config, File};
use crate::delta::FirstValue;
use crate::mock::command::{self, Mock};
use crate::tls;
use crate::yaml::problem::Problems;

/// A Prometheus-to-Datadog translation proxy.
///
/// It pulls a Prometheus exposition (KubeVirt's virt-api first of all), translates it by a mapping file, shows the result
/// under /metrics, and pushes it to Datadog. Try `promdog demo`: everything on this machine, no account needed.
#[derive(Debug, Parser)]
#[command(name = "promdog", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    Demo(demo::Args),
    Translate(translate::Args),
    Parse(parse::Args),
    Check(check::Args),
    Health(health::Args),
    /// Run one of the mocks alone: a virt-api, a Kubernetes API or a Datadog intake.
    Mock {
        #[command(subcommand)]
        mock: Mock,
    },
}

/// Reads the command line and does as it says.
#[must_use]
pub fn run() -> ExitCode {
    let Cli { command } = Cli::parse();
    let result = match command {
        Command::Serve(args) => serve::run(*args),
        Command::Demo(args) => demo::run(args),
        Command::Translate(args) => translate::run(&args),
        Command::Parse(args) => parse::run(&args),
        Command::Check(args) => check::run(args),
        Command::Health(args) => health::run(args),
        Command::Mock { mock } => runtime().and_then(|runtime| {
            runtime.block_on(command::run(mock, interrupted()))?;
            Ok(ExitCode::SUCCESS)
        }),
    };
    result.unwrap_or_else(|error| {
        tell(&error);
        ExitCode::FAILURE
    })
}

/// Tells of an error on standard error, as one message.
fn tell(error: &anyhow::Error) {
    if error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
    {
        // Whoever read our output has seen enough.
        return;
    }
    match error.downcast_ref::<Problems>() {
        Some(problems) => eprintln!("{problems}"),
        None => eprintln!("error: {error:#}"),
    }
}

/// Reads the configuration file, if there is one, and puts flags and environment over it.
fn load_config(file: Option<&Path>, flags: &Flags) -> anyhow::Result<Config> {
    let env = Env::read();
    let Some(path) = file else { return Ok(Config::load(None, flags, &env)?) };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let name = path.display().to_string();
    let folder = path.parent().unwrap_or(Path::new(""));
    Ok(Config::load(Some(File { name: &name, text: &text, folder }), flags, &env)?)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Ready at SIGINT or SIGTERM.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be waited for");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

fn out(to: &mut impl Write, line: &str) -> io::Result<()> {
    to.write_all(line.as_bytes())?;
    to.write_all(b"\n")
}

/// How to verify a target, and how to identify ourselves.
#[derive(Clone, Debug, Default, clap::Args)]
struct TlsArgs {
    /// PEM file with the CA that signed the target's certificate, instead of the system's CAs.
    #[arg(long = "target.ca-file", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The name the target's certificate is for, if it is not the URL's host (a port-forward, a pod's address).
    #[arg(long = "target.server-name", value_name = "NAME")]
    server_name: Option<String>,
    /// Accept any certificate of the target.
    #[arg(long = "target.insecure-skip-verify")]
    insecure_skip_verify: bool,
}

impl TlsArgs {
    fn params(&self) -> tls::ClientParams {
        let Self { ca_file, server_name, insecure_skip_verify } = self.clone();
        tls::ClientParams {
            ca_file,
            ca_bundle: None,
            cert_file: None,
            key_file: None,
            server_name,
            insecure_skip_verify,
        }
    }
}

/// [`FirstValue`] as a word of the command line.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum FirstValueArg {
    #[default]
    Prove,
    Always,
    Never,
}

impl From<FirstValueArg> for FirstValue {
    fn from(arg: FirstValueArg) -> Self {
        match arg {
            FirstValueArg::Prove => Self::Prove,
            FirstValueArg::Always => Self::Always,
            FirstValueArg::Never => Self::Never,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = crate::yaml::node::duration(text).filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "a time such as `15s`, `500ms` or `5m`".to_owned())
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("a tag is `key:value`".to_owned()),
    }
}
