//! `datadog:`, where points go and what they are tagged with.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

use crate::config::Push;
use crate::datadog::{self, Key, Proxy};
use crate::payload::Encoding;
use crate::tls;

/// The endpoint. `DD_*` variables win over the file.
#[derive(Clone, Debug)]
pub struct Datadog {
    /// `site`, `DD_SITE`: such as `datadoghq.eu`. Default `datadoghq.com`.
    pub site: String,
    /// `url`, `DD_URL`: the base to send to, instead of `https://api.<site>`.
    pub url: Option<Url>,
    /// `DD_API_KEY`, or `api_key_file`, which is read for each request. Without a key push is off.
    pub key: Option<Key>,
    /// `DD_TAGS`: separated by commas or spaces.
    pub tags: Vec<String>,
    /// `env`, `DD_ENV`: adds `env:`.
    pub env: Option<String>,
    /// `cluster_name`, `DD_CLUSTER_NAME`: adds `kube_cluster_name:` and `cluster_name:`.
    pub cluster_name: Option<String>,
    /// `encoding`: `json`, as Datadog documents it, or `protobuf`, as its Agent sends. Default `json`.
    pub encoding: Encoding,
    /// `timeout`: of one request. Default 20 s.
    pub timeout: Duration,
    /// `queue_max_bytes`: what waits to be sent, compressed. Default 15 MiB.
    pub queue_max_bytes: usize,
    /// `queue_max_age`: Datadog takes nothing older than an hour. Default 1 h.
    pub queue_max_age: Duration,
    /// `proxy: {https, no_proxy}`, `DD_PROXY_HTTPS` and `DD_PROXY_NO_PROXY`, or `HTTPS_PROXY` and `NO_PROXY`.
    pub proxy: Option<Proxy>,
    /// `ca_file`: instead of the system's CAs.
    pub ca_file: Option<PathBuf>,
    /// `additional_endpoints`, `DD_ADDITIONAL_ENDPOINTS`: where else every batch goes.
    pub additional: Vec<Additional>,
}

/// One more endpoint: `site` or `url`, with a key of its own.
#[derive(Clone, Debug)]
pub struct Additional {
    pub endpoint: Url,
    /// `api_key_file`; only the variable holds keys themselves.
    pub key: Key,
}

impl Default for Datadog {
    fn default() -> Self {
        Self {
            site: "datadoghq.com".to_owned(),
            url: None,
            key: None,
            tags: Vec::new(),
            env: None,
            cluster_name: None,
            encoding: Encoding::Json,
            timeout: Duration::from_secs(20),
            queue_max_bytes: 15 << 20,
            queue_max_age: Duration::from_secs(3600),
            proxy: None,
            ca_file: None,
            additional: Vec::new(),
        }
    }
}

impl Datadog {
    /// Where requests go; `None` if the site makes no URL.
    #[must_use]
    pub fn endpoint(&self) -> Option<Url> {
        self.url.clone().or_else(|| endpoint_of(&self.site))
    }

    /// Tags of every pushed series.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        let env = self.env.iter().map(|env| format!("env:{env}"));
        let cluster = self
            .cluster_name
            .iter()
            .flat_map(|name| [format!("kube_cluster_name:{name}"), format!("cluster_name:{name}")]);
        self.tags.iter().cloned().chain(env).chain(cluster).collect()
    }

    /// The endpoints' tasks, the main one first; none without a key. The proxy is for `https` endpoints, as its variables
    /// say.
    #[must_use]
    pub fn sender_params(&self, push: &Push) -> Vec<datadog::Params> {
        let main = self.endpoint().zip(self.key.clone());
        let Some(main) = main else { return Vec::new() };
        let others = self.additional.iter().map(|Additional { endpoint, key }| (endpoint.clone(), key.clone()));
        let mut all: Vec<datadog::Params> = Vec::new();
        for (endpoint, key) in std::iter::once(main).chain(others) {
            let host = at_port(&endpoint);
            let same = all.iter().filter(|params| at_port(&params.endpoint) == host).count();
            all.push(datadog::Params {
                // Two keys at one host are two endpoints.
                name: if same == 0 { host } else { format!("{host}#{}", same + 1) },
                proxy: self.proxy.clone().filter(|_| endpoint.scheme() == "https"),
                endpoint,
                key,
                tls: tls::ClientParams { ca_file: self.ca_file.clone(), ..tls::ClientParams::default() },
                timeout: self.timeout,
                queue_max_bytes: self.queue_max_bytes,
                queue_max_age: self.queue_max_age,
                client: push.client,
            });
        }
        all
    }

    /// A key given as text.
    pub(super) fn set_key(&mut self, text: &str) {
        self.key = Some(Key::Static(SecretString::from(text.to_owned())));
    }
}

/// Where a site takes points; `None` if it makes no URL.
pub(super) fn endpoint_of(site: &str) -> Option<Url> {
    Url::parse(&format!("https://api.{site}")).ok()
}

/// The host, with its port if that is no usual one.
fn at_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
