//! The HTTP client of one target: made of certificate files, and remade when they change.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, Url};
use rustls::pki_types::ServerName;

use super::error::Error;
use crate::tls;

const USER_AGENT: &str = concat!("promdog/", env!("CARGO_PKG_VERSION"));
/// How often the certificate files are looked at.
const CHECK_EVERY: Duration = Duration::from_secs(3);

/// The current client.
#[derive(Debug)]
pub(super) struct Clients {
    tls: tls::ClientParams,
    pinned: Arc<Pinned>,
    client: Client,
    stamps: Vec<Stamp>,
    /// `None`: look at the files at the next opportunity.
    checked: Option<Instant>,
}

impl Clients {
    pub(super) fn new(tls: tls::ClientParams, pinned: Pinned) -> Result<Self, Error> {
        let pinned = Arc::new(pinned);
        let stamps = tls.files().map(Stamp::of).collect();
        let client = build(&tls, &pinned)?;
        Ok(Self { tls, pinned, client, stamps, checked: Some(Instant::now()) })
    }

    pub(super) fn pinned(&self) -> Arc<Pinned> {
        Arc::clone(&self.pinned)
    }

    /// The client for the files as they are now. Files that became unusable leave the old one in place: a rotation seen
    /// half-way must not cost the target.
    pub(super) fn current(&mut self) -> Client {
        if self.checked.is_none_or(|checked| checked.elapsed() >= CHECK_EVERY) {
            self.checked = Some(Instant::now());
            let stamps: Vec<Stamp> = self.tls.files().map(Stamp::of).collect();
            if stamps != self.stamps {
                self.stamps = stamps;
                match build(&self.tls, &self.pinned) {
                    Ok(client) => self.client = client,
                    Err(error) => {
                        tracing::warn!(%error, "changed certificate files cannot be used; keeping the old ones")
                    }
                }
            }
        }
        self.client.clone()
    }

    pub(super) fn recheck(&mut self) {
        self.checked = None;
    }
}

fn build(tls: &tls::ClientParams, pinned: &Arc<Pinned>) -> Result<Client, Error> {
    let config = tls::client_config(tls).map_err(|error| Error::Setup(error.to_string()))?;
    let mut builder = Client::builder()
        .tls_backend_preconfigured(config)
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(1)
        .user_agent(USER_AGENT);
    if pinned.name.is_some() {
        builder = builder.dns_resolver(Arc::clone(pinned));
    }
    builder.build().map_err(|error| Error::Setup(super::error::root_cause(&error)))
}

/// Identifies a file's content well enough to see that it changed (through symbolic links, as mounted volumes swap them).
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    seen: Option<(SystemTime, u64)>,
}

impl Stamp {
    fn of(path: &Path) -> Self {
        let seen = std::fs::metadata(path).ok().and_then(|meta| Some((meta.modified().ok()?, meta.len())));
        Self { path: path.to_owned(), seen }
    }
}

/// A server name that differs from the URL's host: TLS speaks of the name (SNI and verification), the connection goes to
/// the host, and `Host:` stays the URL's.
#[derive(Debug)]
pub(super) struct Pinned {
    /// The URL's host, as it is connected to.
    host: String,
    /// The name put in its place; absent if there is nothing to replace, or if it is an IP address (which has no SNI, and is
    /// verified all the same).
    name: Option<String>,
}

impl Pinned {
    pub(super) fn new(url: &Url, server_name: Option<&str>) -> Self {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let is_dns = |name: &&str| matches!(ServerName::try_from(*name), Ok(ServerName::DnsName(_)));
        let name = server_name
            .filter(|_| url.scheme() == "https")
            .filter(is_dns)
            .map(|name| name.trim_end_matches('.').to_ascii_lowercase())
            .filter(|name| *name != host);
        Self { host, name }
    }

    /// The URL to hand to the client.
    pub(super) fn apply(&self, url: &Url, headers: &mut HeaderMap) -> Url {
        let mut url = url.clone();
        let (Some(name), Some(host)) = (&self.name, url.host_str()) else { return url };
        if url.scheme() != "https" || host.trim_matches(['[', ']']) != self.host {
            return url;
        }
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        if let Ok(value) = HeaderValue::try_from(authority)
            && url.set_host(Some(name)).is_ok()
        {
            headers.entry(header::HOST).or_insert(value);
        }
        url
    }
}

impl Resolve for Pinned {
    fn resolve(&self, name: Name) -> Resolving {
        let host = match &self.name {
            Some(pinned) if pinned == name.as_str() => self.host.clone(),
            _ => name.as_str().to_owned(),
        };
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
