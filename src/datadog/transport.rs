//! One request and its answer, over our own client or Datadog's. Judges nothing and repeats nothing.

use std::time::Duration;

use reqwest::header::{self, HeaderName, HeaderValue};
use reqwest::{NoProxy, Response, Url};

use super::answer::{Answer, broken, excerpt, innermost};
use super::key::{self, ReadKey};
use super::{Client, Error, Key, Params, Proxy};
use crate::payload::{Body, Encoding};
use crate::tls;

const USER_AGENT: &str = concat!("promdog/", env!("CARGO_PKG_VERSION"));
const DD_API_KEY: HeaderName = HeaderName::from_static("dd-api-key");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// As Datadog's API reference spells it.
const ZSTD1: HeaderValue = HeaderValue::from_static("zstd1");
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
/// As Datadog's Agent spells it.
const ZSTD: HeaderValue = HeaderValue::from_static("zstd");
const DD_AGENT_PAYLOAD: HeaderName = HeaderName::from_static("dd-agent-payload");
/// Whose messages the Agent's protobuf is of.
const AGENT_PAYLOAD: HeaderValue = HeaderValue::from_static("4.87.0");
/// How much of an answer is read.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Transport {
    key: Key,
    timeout: Duration,
    client: reqwest::Client,
    url: Url,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Own,
    #[cfg(feature = "datadog-api")]
    Official(super::official::Official),
}

impl Transport {
    pub(super) fn new(params: &Params) -> Result<Self, Error> {
        let Params { name: _, endpoint, key, proxy, tls, timeout, queue_max_bytes: _, queue_max_age: _, client } =
            params;
        let url = series_url(endpoint)?;
        if let Key::Static(secret) = key {
            ReadKey::new(secret).ok_or(Error::Key)?;
        }
        let http = http_client(tls, proxy.as_ref())?;
        let way = match client {
            Client::Own => Way::Own,
            #[cfg(feature = "datadog-api")]
            Client::Official => Way::Official(super::official::Official::new(endpoint, http.clone())),
            #[cfg(not(feature = "datadog-api"))]
            Client::Official => return Err(Error::NoOfficialClient),
        };
        Ok(Self { key: key.clone(), timeout: *timeout, client: http, url, way })
    }

    /// The key as it is now.
    pub(super) async fn key(&self) -> Option<ReadKey> {
        key::read(&self.key).await.ok()
    }

    /// Whether the key may change while we run.
    pub(super) fn key_may_change(&self) -> bool {
        matches!(self.key, Key::File(_))
    }

    /// Sends a body once, and says with which key.
    pub(super) async fn send(&self, body: &Body) -> (Answer, Option<ReadKey>) {
        let key = match key::read(&self.key).await {
            Ok(key) => key,
            Err(text) => return (Answer::NoKey(text), None),
        };
        let sending = async {
            match (&self.way, body.encoding) {
                #[cfg(feature = "datadog-api")]
                (Way::Official(official), Encoding::Json) => official.send(&key, body).await,
                // What an earlier promdog left may be protobuf, which the official client cannot send.
                #[cfg(feature = "datadog-api")]
                (Way::Official(_), Encoding::Protobuf) => self.post(&key, body).await,
                (Way::Own, Encoding::Json | Encoding::Protobuf) => self.post(&key, body).await,
            }
        };
        let answer = tokio::time::timeout(self.timeout, sending).await.unwrap_or(Answer::Timeout);
        (answer, Some(key))
    }

    async fn post(&self, key: &ReadKey, body: &Body) -> Answer {
        let request = self.client.post(self.url.clone()).header(DD_API_KEY, key.header());
        let request = match body.encoding {
            Encoding::Json => request.header(header::CONTENT_TYPE, JSON).header(header::CONTENT_ENCODING, ZSTD1),
            Encoding::Protobuf => request
                .header(header::CONTENT_TYPE, PROTOBUF)
                .header(header::CONTENT_ENCODING, ZSTD)
                .header(DD_AGENT_PAYLOAD, AGENT_PAYLOAD),
        };
        let request = request.body(bytes::Bytes::from_owner(std::sync::Arc::clone(&body.zstd)));
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return broken(&error),
        };
        let code = response.status().as_u16();
        let retry_after = text_of(&response, &header::RETRY_AFTER);
        let text = match text_of(&response, &header::LOCATION) {
            Some(location) if (300..400).contains(&code) => where_to(&self.url, &location),
            _ => key.masked_in(&excerpt(&beginning(response).await)),
        };
        Answer::Status { code, retry_after, text }
    }
}

fn series_url(endpoint: &Url) -> Result<Url, Error> {
    let shown = || Error::Endpoint(format!("{}://{}", endpoint.scheme(), endpoint.host_str().unwrap_or_default()));
    if !matches!(endpoint.scheme(), "http" | "https") || !endpoint.has_host() {
        return Err(shown());
    }
    let mut url = endpoint.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.set_path(&format!("{}/api/v2/series", endpoint.path().trim_end_matches('/')));
    Ok(url)
}

fn http_client(tls: &tls::ClientParams, proxy: Option<&Proxy>) -> Result<reqwest::Client, Error> {
    let mut config = tls::client_config(tls)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(1)
        .user_agent(USER_AGENT);
    if let Some(Proxy { url, no_proxy }) = proxy {
        // The error of a bad proxy URL would quote it, password and all.
        let proxy = reqwest::Proxy::all(url.clone()).map_err(|error| Error::Proxy(innermost(&error.without_url())))?;
        builder = builder.proxy(proxy.no_proxy(NoProxy::from_string(no_proxy)));
    }
    builder.build().map_err(|error| Error::Client(innermost(&error)))
}

/// The beginning of an answer, so that the connection can be used again.
async fn beginning(mut response: Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_ANSWER_BYTES
        && let Ok(Some(chunk)) = response.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    bytes
}

/// The origin and path a redirect leads to.
fn where_to(url: &Url, location: &str) -> String {
    let Ok(mut next) = url.join(location) else { return "nowhere".to_owned() };
    let _ = (next.set_username(""), next.set_password(None));
    next.set_query(None);
    next.to_string()
}

fn text_of(response: &Response, name: &HeaderName) -> Option<String> {
    response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}
