//! An entry of `targets:`, one target or many that are discovered.

use crate::cluster::ca;
use crate::config::target::Target;
use crate::targets::{dns, files, pods};

/// What is common to all targets of an entry, and where they come from.
#[derive(Clone, Debug)]
pub struct Group {
    /// Where targets are discovered, all but the address; its name is the group's.
    pub target: Target,
    /// Absent: `url` names the only one.
    pub discovery: Option<Discovery>,
}

/// Where targets come from, besides `url`.
#[derive(Clone, Debug)]
pub enum Discovery {
    /// `kubernetes`.
    Pods(Pods),
    /// `dns`: `name`, `port` (default 443 or 80), `scheme` (default `http`), `path`, `every` (default 30 s).
    Dns(dns::Params),
    /// `files`: `paths`, `scheme` (default `http`), `path`, `every` (default 10 s).
    Files(files::Params),
}

/// `kubernetes:` of a target: pods of one namespace.
#[derive(Clone, Debug)]
pub struct Pods {
    /// `namespace`. Default `kubevirt`.
    pub namespace: String,
    /// `selector`: of labels, as Kubernetes writes it.
    pub selector: String,
    /// `port` (a number or a name, default 8443), `scheme` (default `https`), `path` (default `/metrics`),
    /// `node_as_host` (default false).
    pub pull: pods::Params,
    /// `ca`: the ConfigMap, whose key `ca-bundle` holds the CA. Default `kubevirt-ca`, unless `tls` says whom to trust.
    pub ca: Option<ca::Place>,
}
