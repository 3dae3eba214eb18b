//! `promdog health`: asks a running promdog, for containers without a shell.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::duration;
use crate::tls;

/// Ask a running promdog whether it is ready: exit 0 if it is, 1 if not. For a container's health check.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to ask.
    #[arg(long, default_value = "http://127.0.0.1:10045/-/ready", value_name = "URL")]
    url: String,
    /// How long to wait for the answer.
    #[arg(long, value_parser = duration, default_value = "3s")]
    timeout: Duration,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { url, timeout } = args;
    tls::install_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(timeout).build()?;
        let response = client.get(&url).send().await.with_context(|| format!("promdog does not answer at {url}"))?;
        let status = response.status();
        if !status.is_success() {
            bail!("{url} answers {status}");
        }
        print!("{}", response.text().await?);
        Ok(ExitCode::SUCCESS)
    })
}
