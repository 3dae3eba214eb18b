//! A connection to the API server: its configuration, and the three requests that are made over it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::Stream;
use http::header::{AUTHORIZATION, HeaderValue};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::request::Error as BadRequest;
use kube::core::{Request, Status};
use kube::{Client, Config};
use serde_json::value::RawValue;

use super::error::{self, Attempt, Error};
use super::object::Object;
use super::{Params, Scope, Source};
use crate::tls;

/// An object that is not read yet, so that one that makes no sense does not spoil its neighbours.
pub(super) type Raw = Box<RawValue>;

pub(super) struct Connection {
    client: Client,
    pub(super) host: String,
    /// Of a URL; a kubeconfig's and a pod's are the client's business.
    token_file: Option<PathBuf>,
    page_size: u32,
    timeout: Duration,
}

impl Connection {
    /// Reads the configuration, token and certificate files; asks the API server nothing yet.
    pub(super) async fn open(params: &Params) -> Result<Self, Error> {
        tls::install_provider();
        let Params { source, page_size, timeout, watch: _ } = params.clone();
        let (mut config, token_file) = configuration(source).await?;
        if config.proxy_url.take().is_some() {
            tracing::debug!("the Kubernetes API is reached directly; a proxy (kubeconfig, HTTPS_PROXY) is not used");
        }
        // When to try again is decided here, and the operator is told meanwhile.
        config.default_retry = false;
        let host = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| Error::Config(error::causes(&error)))?;
        Ok(Self { client, host, token_file, page_size, timeout })
    }

    /// The text of one page of a list; `next` is the token that the page before gave.
    pub(super) async fn page<T: Object>(&self, scope: &Scope, next: Option<&str>) -> Result<String, Error> {
        let mut params = ListParams::default().limit(self.page_size);
        params.label_selector.clone_from(&scope.selector);
        params.continue_token = next.map(str::to_owned);
        let request = self.signed(Request::new(path::<T>(scope)).list(&params)).await?;
        self.answer(&of::<T>("list", scope), self.client.request_text(request)).await
    }

    /// The changes since a version, once the API server has begun to tell them.
    pub(super) async fn changes<T: Object>(
        &self,
        scope: &Scope,
        version: &str,
        duration: Duration,
    ) -> Result<impl Stream<Item = kube::Result<WatchEvent<Raw>>> + use<T>, Error> {
        let seconds = u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).max(1);
        let mut params = WatchParams::default().timeout(seconds);
        params.label_selector.clone_from(&scope.selector);
        let request = self.signed(Request::new(path::<T>(scope)).watch(&params, version)).await?;
        self.answer(&of::<T>("watch", scope), self.client.request_events::<Raw>(request)).await
    }

    /// A refusal that came within a watch.
    pub(super) fn refused<T: Object>(&self, scope: &Scope, status: &Status) -> Error {
        Error::from_status(self.host.clone(), &of::<T>("watch", scope), status)
    }

    /// The text of one ConfigMap.
    pub(super) async fn config_map(&self, namespace: &str, name: &str) -> Result<String, Error> {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
        let request = self.signed(Request::new(path).get(name, &kube::api::GetParams::default())).await?;
        let attempt = Attempt {
            verb: "get",
            kind: "configmaps",
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
        };
        self.answer(&attempt, self.client.request_text(request)).await
    }

    /// The request with our token, as its file has it now.
    async fn signed(
        &self,
        request: Result<http::Request<Vec<u8>>, BadRequest>,
    ) -> Result<http::Request<Vec<u8>>, Error> {
        let mut request = request.map_err(|error| Error::Config(error.to_string()))?;
        if let Some(path) = &self.token_file {
            request.headers_mut().insert(AUTHORIZATION, token(path).await?);
        }
        Ok(request)
    }

    async fn answer<A>(&self, attempt: &Attempt, asked: impl Future<Output = kube::Result<A>>) -> Result<A, Error> {
        match tokio::time::timeout(self.timeout, asked).await {
            Ok(answer) => answer.map_err(|source| Error::from_kube(&self.host, attempt, &source)),
            Err(_) => Err(Error::Timeout { host: self.host.clone(), after: self.timeout }),
        }
    }
}

fn path<T: Object>(Scope { namespace, .. }: &Scope) -> String {
    match namespace {
        Some(namespace) => format!("{}/namespaces/{namespace}/{}", T::API, T::PLURAL),
        None => format!("{}/{}", T::API, T::PLURAL),
    }
}

fn of<T: Object>(verb: &'static str, Scope { namespace, .. }: &Scope) -> Attempt {
    Attempt { verb, kind: T::PLURAL, namespace: namespace.clone(), name: None }
}

async fn configuration(source: Source) -> Result<(Config, Option<PathBuf>), Error> {
    match source {
        Source::Infer => match Config::infer().await {
            Ok(config) => Ok((config, None)),
            Err(error) => Err(Error::NoCluster(error::causes(&error))),
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

async fn token(path: &Path) -> Result<HeaderValue, Error> {
    let problem = |problem: &str| Error::TokenFile { path: path.to_owned(), problem: problem.to_owned() };
    let text = tokio::fs::read_to_string(path).await.map_err(|error| problem(&error.to_string()))?;
    if text.trim().is_empty() {
        return Err(problem("it is empty"));
    }
    let mut value = HeaderValue::try_from(format!("Bearer {}", text.trim()))
        .map_err(|_| problem("it holds characters that cannot be sent in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}
