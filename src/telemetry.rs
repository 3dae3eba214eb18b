//! Logs: structured, to standard error, as text or as JSON.

pub mod metrics;
mod senders;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
}

/// Starts logging; a second call changes nothing. `level` is `error` … `trace`, or a filter such as `promdog=debug`.
///
/// # Errors
/// A filter that cannot be read.
pub fn start(level: &str, format: Format) -> Result<(), tracing_subscriber::filter::ParseError> {
    // kube's client warns of each watch that was cut, which is normal; what matters of it is told by `cluster`.
    let filter = EnvFilter::try_new(level)?.add_directive("kube_client=error".parse()?);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let _already_started = match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
