//! Discovery by DNS: each address of a name is a target of its own, as with a Compose service of several containers or a
//! headless Service.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::{Found, Targets, url};

/// What to look up, and how to pull what is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    pub name: String,
    pub port: u16,
    /// `http` or `https`.
    pub scheme: String,
    pub path: String,
    pub every: Duration,
}

/// Looks up for ever. What was found last stays while the name cannot be resolved. Ends only by being dropped.
pub async fn run(params: Params, targets: Targets, group: usize) {
    let Params { name, port, scheme, path, every } = &params;
    loop {
        match tokio::net::lookup_host((name.as_str(), *port)).await {
            Ok(addresses) => {
                let addresses: BTreeSet<IpAddr> = addresses.map(|address| address.ip()).collect();
                let found = addresses.iter().filter_map(|ip| url(scheme, &ip.to_string(), *port, path)).map(Found::at);
                targets.found(group, found.collect());
                targets.tell(group, None);
            }
            Err(error) => targets.tell(group, Some(format!("{name} cannot be resolved: {error}"))),
        }
        tokio::time::sleep(*every).await;
    }
}
