//! The service's configuration: a YAML file, the environment and the command line, in that order of precedence from
//! last to first, as plain values that convert into each room's `Params`. Reads no file itself, and no room imports it.

pub mod datadog;
pub mod discovery;
pub mod env;
pub mod flags;
pub mod kubernetes;
mod read;
pub mod target;
#[cfg(test)]
mod tests;
pub mod url;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::datadog::Datadog;
use crate::config::discovery::Group;
use crate::config::env::Env;
use crate::config::flags::Flags;
use crate::config::kubernetes::Kubernetes;
use crate::payload::Limits;
use crate::push::{self, On, ZeroIncreases};
use crate::store;
use crate::telemetry::Format;
use crate::translate::names;
use crate::yaml::problem::Problems;

/// Everything `promdog serve` needs.
#[derive(Clone, Debug)]
pub struct Config {
    pub web: Web,
    /// At least one, with different names.
    pub targets: Vec<Group>,
    pub push: Push,
    pub datadog: Datadog,
    pub kubernetes: Kubernetes,
    pub state: State,
    pub log: Log,
}

/// `web:`, what is served.
#[derive(Clone, Debug)]
pub struct Web {
    /// `listen_address`: where to listen; the first that can be had. Default `:10045`, every address of the machine.
    pub listen: Vec<SocketAddr>,
    /// `max_age`: a request for `/metrics` is answered from a view that is younger. Default 5 s.
    pub max_age: Duration,
}

/// `push:`, when and how batches are made.
#[derive(Clone, Debug)]
pub struct Push {
    /// `every`: the grid's period, in whole seconds from 1 to 3600. Default 15 s.
    pub every: Duration,
    /// `on`: `grid`, or `pull` to push on each demand too, `min_spacing` (default 1 s) apart at least.
    pub on: On,
    /// `client`: `own`, or `official` in a build with the feature `datadog-api`.
    pub client: crate::datadog::Client,
    /// `--dry-run`: print bodies instead of sending them.
    pub dry_run: bool,
    /// `zero_increases`: `send`, or `omit` to leave out counts that have not grown. Default `send`.
    pub zero_increases: ZeroIncreases,
    /// `tags`: onto every pushed series, and onto no page.
    pub tags: Vec<String>,
}

/// `state:`, what outlives promdog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// `dir`: a folder of our own. Default: none, so that a restart begins with baselines.
    pub dir: Option<PathBuf>,
    /// `lock_timeout`: how long to wait for another promdog to let go of it. Default 30 s.
    pub lock_timeout: Duration,
}

/// `log:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `level`: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `promdog=debug`. Default `info`.
    pub level: String,
    /// `format`: `text` or `json`. Default `text`.
    pub format: Format,
}

/// A configuration file: its name for problems, its text; relative paths in it are relative to `folder`.
#[derive(Clone, Copy, Debug)]
pub struct File<'f> {
    pub name: &'f str,
    pub text: &'f str,
    pub folder: &'f Path,
}

impl Config {
    /// Puts file, environment and command line together.
    ///
    /// # Errors
    /// Everything wrong with them, all at once.
    pub fn load(file: Option<File<'_>>, flags: &Flags, env: &Env) -> Result<Self, Problems> {
        read::load(file, flags, env)
    }

    /// Tags of every pushed series: `push.tags`, `DD_TAGS`, `DD_ENV` and the cluster's name; made legal, and sorted.
    #[must_use]
    pub fn push_tags(&self) -> Vec<String> {
        let given = self.push.tags.iter().cloned().chain(self.datadog.tags());
        let mut tags: Vec<String> = given.map(|tag| names::legal(&tag)).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    /// `None` without a folder, and where nothing is pushed.
    #[must_use]
    pub fn store_params(&self) -> Option<store::Params> {
        let State { dir, lock_timeout } = self.state.clone();
        Some(store::Params { dir: dir?, lock_timeout })
    }

    #[must_use]
    pub fn push_params(&self) -> push::Params {
        push::Params {
            every: self.push.every,
            on: self.push.on,
            zero_increases: self.push.zero_increases,
            tags: self.push_tags(),
            encoding: self.datadog.encoding,
            limits: Limits::default(),
        }
    }
}

/// Reads `:PORT`, `ADDRESS:PORT` or `HOST:PORT`.
///
/// # Errors
/// What is wrong with it.
pub fn listen_addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    const WANTED: &str = "an address to listen on is `:10045`, `127.0.0.1:10045` or `[::1]:10045`";
    if let Some(port) = text.strip_prefix(':') {
        let port: u16 = port.parse().map_err(|_| format!("`{text}`: {WANTED}"))?;
        return Ok(vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]);
    }
    let found: Vec<SocketAddr> =
        text.to_socket_addrs().map_err(|error| format!("`{text}`: {WANTED} ({error})"))?.collect();
    if found.is_empty() { Err(format!("`{text}`: {WANTED}")) } else { Ok(found) }
}
