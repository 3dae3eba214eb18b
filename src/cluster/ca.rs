//! KubeVirt's CA, out of the ConfigMap that KubeVirt keeps it in and renews by itself. Ends only by being dropped.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::Params;
use super::connection::Connection;
use super::error::Error;
use crate::backoff::{Backoff, random};
use crate::tls::bundle::Bundle;

/// How often it is read again. While the CA changes KubeVirt keeps the old one beside the new one, for hours.
const EVERY: Duration = Duration::from_secs(60);
/// When a certificate is refused it is read again at once, but not more often than this.
const SPACING: Duration = Duration::from_secs(2);

/// Where the CA is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub namespace: String,
    /// Of the ConfigMap.
    pub name: String,
    /// Of its data.
    pub key: String,
}

/// Keeps the bundle up to date. What was read once stays in use while it cannot be read again.
pub async fn run(params: Params, place: Place, bundle: Bundle) {
    let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
    let mut connection = None;
    let mut failing = false;
    loop {
        let read = read(&params, &place, &mut connection).await;
        let pause = match read {
            Ok(pem) => {
                backoff.succeeded();
                if std::mem::take(&mut failing) {
                    info!(config_map = place.name, namespace = place.namespace, "KubeVirt's CA can be read again");
                }
                bundle.set(pem.into_bytes());
                None
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    warn!(%error, "KubeVirt's CA cannot be read");
                }
                bundle.cannot_be_had(&error.to_string());
                Some(backoff.failed(random(), error.retry_after()))
            }
        };
        match pause {
            Some(pause) => sleep(pause).await,
            None => {
                sleep(SPACING).await;
                // Elapsed or asked for: both mean that it is time.
                let _ = timeout(EVERY.saturating_sub(SPACING), bundle.wanted()).await;
            }
        }
    }
}

async fn read(params: &Params, place: &Place, kept: &mut Option<Connection>) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct ConfigMap {
        data: Option<BTreeMap<String, String>>,
    }
    let connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(params).await?,
    };
    let Place { namespace, name, key } = place;
    let text = connection.config_map(namespace, name).await?;
    let malformed = |problem: String| Error::Malformed { host: connection.host.clone(), kind: "configmaps", problem };
    let map: ConfigMap = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    let pem = map.data.and_then(|mut data| data.remove(key));
    let pem = pem.ok_or_else(|| malformed(format!("{name} in namespace {namespace} has no key {key}")))?;
    // Kept only while it works: a rotated identity is read again.
    *kept = Some(connection);
    Ok(pem)
}
