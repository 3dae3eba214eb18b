//! Lists KubeVirt's virtual machines and instances from the Kubernetes API, page by page, into an [`Inventory`]. Watches
//! nothing, and asks for nothing but these two lists: `kubevirt.io:view` is all it needs.

use std::path::PathBuf;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderValue};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use reqwest::Url;

use self::error::Error;
use self::object::{Kind, Page};
use crate::inventory::Inventory;
use crate::tls;

pub mod error;
mod object;
pub mod poll;
#[cfg(test)]
mod tests;

/// Which API server, and how.
#[derive(Clone, Debug)]
pub struct Params {
    pub source: Source,
    /// Objects in one answer; Kubernetes' own clients ask for 500 (about 2 MB).
    pub page_size: u32,
    /// For one page.
    pub timeout: Duration,
}

/// Where the API server's address and our identity come from. A proxy is never used.
#[derive(Clone, Debug)]
pub enum Source {
    /// `KUBECONFIG` or `~/.kube/config`, or else the pod's service account.
    Infer,
    Kubeconfig(PathBuf),
    Url {
        url: Url,
        /// Read on each list, and trimmed; absent: anonymous.
        token_file: Option<PathBuf>,
        /// Absent: the system's CAs. Looked at again about once a minute.
        ca_file: Option<PathBuf>,
        insecure_skip_verify: bool,
    },
}

/// What the cluster holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    pub inventory: Inventory,
    /// Objects that could not be read.
    pub skipped: u64,
}

/// A connection to the API server.
pub struct Lister {
    client: Client,
    host: String,
    token_file: Option<PathBuf>,
    page_size: u32,
    timeout: Duration,
}

impl std::fmt::Debug for Lister {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lister").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Lister {
    /// Reads the configuration; asks the API server nothing yet.
    ///
    /// # Errors
    /// No configuration, or one that cannot be used.
    pub async fn connect(params: Params) -> Result<Self, Error> {
        tls::install_provider();
        let Params { source, page_size, timeout } = params;
        let (mut config, token_file) = configuration(source).await?;
        if config.proxy_url.take().is_some() {
            tracing::debug!("the Kubernetes API is reached directly; a proxy (kubeconfig, HTTPS_PROXY) is not used");
        }
        // The next list is the retry; meanwhile the operator wants to know.
        config.default_retry = false;
        let host = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| Error::Config(error::causes(&error)))?;
        Ok(Self { client, host, token_file, page_size: page_size.max(1), timeout })
    }

    /// Lists everything. An object that makes no sense is skipped and counted.
    ///
    /// # Errors
    /// One clear reason why there is no complete list; there is never half of one.
    pub async fn list(&self) -> Result<Listed, Error> {
        let token = self.token().await?;
        let mut listed = Listed::default();
        for kind in [Kind::Vm, Kind::Vmi] {
            self.list_kind(kind, token.as_ref(), &mut listed).await?;
        }
        Ok(listed)
    }

    async fn list_kind(&self, kind: Kind, token: Option<&HeaderValue>, listed: &mut Listed) -> Result<(), Error> {
        let mut pages = Listed::default();
        let mut next: Option<String> = None;
        let mut restarted = false;
        loop {
            let text = match self.page(kind, next.as_deref(), token).await {
                // The rest of the list is no longer kept for us (about 5 minutes): begin again, once.
                Err(Error::Expired { .. }) if next.is_some() && !restarted => {
                    (pages, next, restarted) = (Listed::default(), None, true);
                    continue;
                }
                text => text?,
            };
            let malformed =
                |problem: String| Error::Malformed { host: self.host.clone(), kind: kind.plural(), problem };
            let page = Page::parse(&text).map_err(|error| malformed(error.to_string()))?;
            pages.skipped += page.read_into(kind, &mut pages.inventory);
            match page.next() {
                None => break,
                Some(token) if next.as_deref() == Some(token) => {
                    return Err(malformed("the list does not end".to_owned()));
                }
                Some(token) => next = Some(token.to_owned()),
            }
        }
        if pages.skipped > 0 {
            tracing::debug!(kind = kind.plural(), skipped = pages.skipped, "objects that cannot be read");
        }
        listed.skipped += pages.skipped;
        listed.inventory.vms.append(&mut pages.inventory.vms);
        listed.inventory.vmis.append(&mut pages.inventory.vmis);
        Ok(())
    }

    async fn page(&self, kind: Kind, next: Option<&str>, token: Option<&HeaderValue>) -> Result<String, Error> {
        let mut list = ListParams::default().limit(self.page_size);
        if let Some(next) = next {
            list = list.continue_token(next);
        }
        let mut request =
            kube::core::Request::new(kind.path()).list(&list).map_err(|error| Error::Config(error.to_string()))?;
        if let Some(token) = token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        match tokio::time::timeout(self.timeout, self.client.request_text(request)).await {
            Ok(answer) => answer.map_err(|source| Error::from_kube(&self.host, kind.plural(), &source)),
            Err(_) => Err(Error::Timeout { host: self.host.clone(), after: self.timeout }),
        }
    }

    async fn token(&self) -> Result<Option<HeaderValue>, Error> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let problem = |problem: &str| Error::TokenFile { path: path.clone(), problem: problem.to_owned() };
        let text = tokio::fs::read_to_string(path).await.map_err(|error| problem(&error.to_string()))?;
        if text.trim().is_empty() {
            return Err(problem("it is empty"));
        }
        let mut value = HeaderValue::try_from(format!("Bearer {}", text.trim()))
            .map_err(|_| problem("it holds characters that cannot be sent in a header"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

async fn configuration(source: Source) -> Result<(Config, Option<PathBuf>), Error> {
    match source {
        Source::Infer => match Config::infer().await {
            Ok(config) => Ok((config, None)),
            Err(error) => Err(Error::NoCluster(error.to_string())),
        },
        Source::Kubeconfig(path) => {
            let options = KubeConfigOptions::default();
            let config = match Kubeconfig::read_from(&path) {
                Ok(kubeconfig) => Config::from_custom_kubeconfig(kubeconfig, &options).await,
                Err(error) => Err(error),
            };
            let problem = |error: kube::config::KubeconfigError| Error::Kubeconfig { path, problem: error.to_string() };
            Ok((config.map_err(problem)?, None))
        }
        Source::Url { url, token_file, ca_file, insecure_skip_verify } => {
            let uri = url.as_str().parse().map_err(|_| Error::Config(format!("{url} is no URL of an API server")))?;
            let mut config = Config::new(uri);
            config.accept_invalid_certs = insecure_skip_verify;
            if let Some(path) = &ca_file {
                let roots = tls::read_ca_file(path)?;
                config.root_cert = Some(roots.iter().map(|certificate| certificate.to_vec()).collect());
            }
            config.root_cert_file = ca_file;
            Ok((config, token_file))
        }
    }
}
