//! The same body over Datadog's own client crate. It is the contract: what it sends, the intake takes.
//!
//! It gets our HTTP client, so proxy, TLS and redirects are as configured, and a middleware that notes what the crate
//! hides: status and `Retry-After` of an answer whose body it does not like. The body goes out gzip-encoded, because the
//! crate's `zstd1` needs a feature that would bring a second zstd.

use std::sync::{Arc, Mutex, PoisonError};

use datadog_api_client::datadog::{APIKey, Configuration, Error as ApiError};
use datadog_api_client::datadogV2::api_metrics::{MetricsAPI, SubmitMetricsError, SubmitMetricsOptionalParams};
use datadog_api_client::datadogV2::model::{MetricContentEncoding, MetricPayload};
use futures::future::BoxFuture;
use http::Extensions;
use reqwest::header::RETRY_AFTER;
use reqwest::{Request, Response, Url};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Next};

use super::answer::{Answer, broken, excerpt};
use super::key::ReadKey;
use crate::payload::Body;

/// Status and `Retry-After`.
type Noted = Arc<Mutex<Option<(u16, Option<String>)>>>;

pub(super) struct Official {
    client: reqwest::Client,
    protocol: String,
    /// Host, port and path prefix: pasted into the URL as it is.
    name: String,
}

/// The crate's own types print keys.
impl std::fmt::Debug for Official {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Official").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Official {
    pub(super) fn new(endpoint: &Url, client: reqwest::Client) -> Self {
        let host = endpoint.host_str().unwrap_or_default();
        let port = endpoint.port().map(|port| format!(":{port}")).unwrap_or_default();
        let name = format!("{host}{port}{}", endpoint.path().trim_end_matches('/'));
        Self { client, protocol: endpoint.scheme().to_owned(), name }
    }

    pub(super) async fn send(&self, key: &ReadKey, body: &Body) -> Answer {
        let payload = match unpack(body) {
            Ok(payload) => payload,
            // As the intake would: the body is dropped and counted.
            Err(error) => return Answer::Status { code: 400, retry_after: None, text: error },
        };
        let noted = Noted::default();
        let api = MetricsAPI::with_client_and_config(self.configuration(key), observed(&self.client, &noted));
        let options = SubmitMetricsOptionalParams::default().content_encoding(MetricContentEncoding::GZIP);
        let result = api.submit_metrics(payload, options).await;
        let seen = noted.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer(result.err(), seen, key)
    }

    fn configuration(&self, key: &ReadKey) -> Configuration {
        let mut configuration = Configuration::new();
        // Server 1 is `{protocol}://{name}`; 0 and 2 build the host from a list of sites.
        configuration.server_index = 1;
        configuration.server_variables.insert("protocol".to_owned(), self.protocol.clone());
        configuration.server_variables.insert("name".to_owned(), self.name.clone());
        configuration.set_auth_key("apiKeyAuth", APIKey { key: key.text(), prefix: String::new() });
        configuration
    }
}

fn unpack(body: &Body) -> Result<MetricPayload, String> {
    let json = body.text().map_err(|error| format!("unreadable body: {error}"))?;
    serde_json::from_str(&json).map_err(|error| format!("not what the official client can send: {error}"))
}

fn answer(error: Option<ApiError<SubmitMetricsError>>, seen: Option<(u16, Option<String>)>, key: &ReadKey) -> Answer {
    let text = match &error {
        Some(ApiError::ResponseError(response)) => key.masked_in(&excerpt(response.content.as_bytes())),
        _ => String::new(),
    };
    if let Some((code, retry_after)) = seen {
        return Answer::Status { code, retry_after, text };
    }
    match error {
        Some(ApiError::Reqwest(error) | ApiError::ReqwestMiddleware(reqwest_middleware::Error::Reqwest(error))) => {
            broken(&error)
        }
        Some(error) => Answer::Broken { text: key.masked_in(&error.to_string()), sent: true },
        None => Answer::Status { code: 202, retry_after: None, text },
    }
}

fn observed(client: &reqwest::Client, noted: &Noted) -> ClientWithMiddleware {
    ClientBuilder::new(client.clone()).with(noting(Arc::clone(noted))).build()
}

/// A middleware that looks at the answer before the crate does.
fn noting(
    noted: Noted,
) -> impl for<'a> Fn(Request, &'a mut Extensions, Next<'a>) -> BoxFuture<'a, reqwest_middleware::Result<Response>> {
    move |request, extensions, next| {
        let noted = Arc::clone(&noted);
        Box::pin(async move {
            let response = next.run(request, extensions).await?;
            let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            *noted.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((response.status().as_u16(), retry_after.map(str::to_owned)));
            Ok(response)
        })
    }
}
