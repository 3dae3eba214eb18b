//! One target of `targets:`.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use crate::config::url::{at_origin, mask_url};
use crate::delta::FirstValue;
use crate::scrape::{self, Auth};
use crate::targets::Found;
use crate::{tls, translate};

/// One target.
#[derive(Clone, Debug)]
pub struct Target {
    /// `name`: of `?target=` and of our own metrics; each its own. Default: the URL's host and port.
    pub name: String,
    /// `url`: of the exposition.
    pub url: Url,
    /// `health_url`: what `can_connect` asks. Default: the mapping's path at the same origin.
    pub health: HealthUrl,
    /// `mapping`: built-in names or files, several as a list. Default `kubevirt_api`.
    pub mappings: Vec<String>,
    /// `namespace`: what every name begins with. Default: the mapping's.
    pub namespace: Option<String>,
    /// `endpoint`: the `endpoint:` tag. Default: the URL, secrets masked.
    pub endpoint: Option<String>,
    /// `kube_namespace`: that tag. Default: no such tag.
    pub kube_namespace: Option<String>,
    /// `pod_name`: that tag. Default: no such tag.
    pub pod_name: Option<String>,
    /// `tags`: `key:value`, onto every series of the target, on the page and in Datadog.
    pub tags: Vec<(String, String)>,
    /// `host`: the points' host in Datadog. Default: none.
    pub host: Option<String>,
    /// `timeout`: of one pull. Default 10 s.
    pub timeout: Duration,
    /// `first_value`: `prove`, `always` or `never`. Default `prove`.
    pub first_value: FirstValue,
    /// `tls`: `ca_file`, `cert_file`, `key_file`, `server_name`, `insecure_skip_verify`. Files are read again when they
    /// change.
    pub tls: tls::ClientParams,
    /// `basic_auth: {username, password_file}` or `bearer_token_file`. Files are read for each pull.
    pub auth: Auth,
    /// `headers`: sent with each pull.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub limits: TargetLimits,
}

/// `limits:`, what one pull may cost.
#[derive(Clone, Copy, Debug)]
pub struct TargetLimits {
    /// `compressed_bytes`: of a gzip-encoded body as sent. Default 64 MiB.
    pub compressed_bytes: u64,
    /// `decompressed_bytes`: of a body as it is read. Default 256 MiB.
    pub decompressed_bytes: u64,
    /// `samples`, `line_bytes`, `labels`, `label_name_bytes`, `label_value_bytes`: what is beyond is ledgered.
    pub translate: translate::Limits,
}

impl Default for TargetLimits {
    fn default() -> Self {
        Self { compressed_bytes: 64 << 20, decompressed_bytes: 256 << 20, translate: translate::Limits::default() }
    }
}

/// Where health is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HealthUrl {
    /// At the target's origin, by the mapping's path.
    #[default]
    Default,
    Url(Url),
    /// `health_url: off`: no `can_connect`.
    Off,
}

impl Target {
    /// A target of which only the URL is known.
    #[must_use]
    pub fn at(url: Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let name = url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Self {
            name,
            url,
            health: HealthUrl::Default,
            mappings: vec!["kubevirt_api".to_owned()],
            namespace: None,
            endpoint: None,
            kube_namespace: None,
            pod_name: None,
            tags: Vec::new(),
            host: None,
            timeout: Duration::from_secs(10),
            first_value: FirstValue::default(),
            tls: tls::ClientParams::default(),
            auth: Auth::None,
            headers: Vec::new(),
            limits: TargetLimits::default(),
        }
    }

    /// Tags of every series: the endpoint, the pod's, then its own.
    #[must_use]
    pub fn tags(&self) -> Vec<(String, String)> {
        self.tags_with(self.endpoint.clone().unwrap_or_else(|| mask_url(&self.url)))
    }

    /// Tags of the health gauge, `key:value`, sorted: the health URL is its endpoint.
    #[must_use]
    pub fn health_tags(&self, health_url: &Url) -> Vec<String> {
        let tags = self.tags_with(mask_url(health_url));
        let mut tags: Vec<String> = tags.iter().map(|(key, value)| translate::names::tag(key, value)).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    fn tags_with(&self, endpoint: String) -> Vec<(String, String)> {
        let own = [
            ("endpoint", Some(endpoint)),
            ("kube_namespace", self.kube_namespace.clone()),
            ("pod_name", self.pod_name.clone()),
        ];
        let own = own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        own.chain(self.tags.iter().cloned()).collect()
    }

    /// What to fetch; `health_path` is the mapping's.
    #[must_use]
    pub fn scrape_params(&self, health_path: Option<&str>) -> scrape::Params {
        let health_url = match &self.health {
            HealthUrl::Default => health_path.map(|path| at_origin(&self.url, path)),
            HealthUrl::Url(url) => Some(url.clone()),
            HealthUrl::Off => None,
        };
        scrape::Params {
            url: self.url.clone(),
            health_url,
            tls: self.tls.clone(),
            auth: self.auth.clone(),
            headers: self.headers.clone(),
            timeout: self.timeout,
            max_compressed_bytes: self.limits.compressed_bytes,
            max_decompressed_bytes: self.limits.decompressed_bytes,
        }
    }

    /// The target at a place that was discovered.
    #[must_use]
    pub fn at_found(&self, found: &Found) -> Self {
        let Found { id: _, name, url, kube_namespace, pod_name, tags, host } = found.clone();
        let mut target = self.clone();
        target.name = format!("{}/{name}", self.name);
        target.url = url;
        target.kube_namespace = kube_namespace.or(target.kube_namespace);
        target.pod_name = pod_name.or(target.pod_name);
        target.host = host.or(target.host);
        target.tags.extend(tags);
        target
    }

    /// Takes relative paths as relative to a folder.
    pub(super) fn resolve(&mut self, folder: &std::path::Path) {
        let resolve = |path: &mut PathBuf| *path = folder.join(&*path);
        let tls::ClientParams { ca_file, cert_file, key_file, .. } = &mut self.tls;
        [ca_file, cert_file, key_file].into_iter().flatten().for_each(resolve);
        match &mut self.auth {
            Auth::None => {}
            Auth::Basic { password_file, .. } => resolve(password_file),
            Auth::BearerFile(path) => resolve(path),
        }
        for mapping in &mut self.mappings {
            if crate::mapping::builtin::source(mapping).is_none() {
                *mapping = folder.join(&*mapping).display().to_string();
            }
        }
    }
}
