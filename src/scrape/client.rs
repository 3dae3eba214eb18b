//! The HTTP client of one target: made of certificates, and remade when they change.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, Url};
use rustls::pki_types::ServerName;

use super::error::Error;
use crate::tls;
use crate::tls::bundle::{Bundle, State};

const USER_AGENT: &str = concat!("promdog/", env!("CARGO_PKG_VERSION"));
/// How often the certificate files are looked at.
const CHECK_EVERY: Duration = Duration::from_secs(3);

/// The current client.
#[derive(Debug)]
pub(super) struct Clients {
    tls: tls::ClientParams,
    pinned: Arc<Pinned>,
    /// `None` while the CA bundle is missing.
    client: Option<Client>,
    /// What the client was made of.
    stamps: Stamps,
    /// `None`: look at them at the next opportunity.
    checked: Option<Instant>,
}

impl Clients {
    pub(super) fn new(tls: tls::ClientParams, pinned: Pinned) -> Result<Self, Error> {
        let pinned = Arc::new(pinned);
        let stamps = Stamps::of(&tls);
        let client = if stamps.missing() { None } else { Some(build(&tls, &pinned)?) };
        Ok(Self { tls, pinned, client, stamps, checked: Some(Instant::now()) })
    }

    pub(super) fn pinned(&self) -> Arc<Pinned> {
        Arc::clone(&self.pinned)
    }

    /// The client for the certificates as they are now. Those that became unusable leave the old client in place: a
    /// rotation seen half-way must not cost the target.
    pub(super) fn current(&mut self) -> Result<Client, Error> {
        let due = self.checked.is_none_or(|checked| checked.elapsed() >= CHECK_EVERY);
        if let (Some(client), false) = (&self.client, due) {
            return Ok(client.clone());
        }
        self.checked = Some(Instant::now());
        let stamps = Stamps::of(&self.tls);
        let changed = stamps != self.stamps;
        self.stamps = stamps;
        if let (Some(client), false) = (&self.client, changed) {
            return Ok(client.clone());
        }
        match (build(&self.tls, &self.pinned), &self.client) {
            (Ok(client), _) => {
                self.client = Some(client.clone());
                Ok(client)
            }
            (Err(error), Some(old)) => {
                tracing::warn!(%error, "changed certificates cannot be used; keeping the old ones");
                Ok(old.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    /// A certificate was refused: what we trust may have changed a moment ago.
    pub(super) fn recheck(&mut self) {
        self.checked = None;
        if let Some(bundle) = &self.tls.ca_bundle {
            bundle.want();
        }
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

/// Identifies the certificates well enough to see that they changed.
#[derive(Debug, PartialEq, Eq)]
struct Stamps {
    /// Time and size (through symbolic links, as mounted volumes swap them); absent where there is no file.
    files: Vec<Option<(SystemTime, u64)>>,
    bundle: Option<State>,
}

impl Stamps {
    fn of(tls: &tls::ClientParams) -> Self {
        let seen = |path: &Path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.modified().ok()?, meta.len()))
        };
        Self { files: tls.files().map(seen).collect(), bundle: tls.ca_bundle.as_ref().map(Bundle::now) }
    }

    fn missing(&self) -> bool {
        matches!(self.bundle, Some(State::Missing(_)))
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
