//! The Kubernetes API as a client sees it: lists and watches of virtual machines, their instances and pods, and the
//! ConfigMap with KubeVirt's CA. Reads, never writes; asks for no right that deploy/kubernetes does not grant.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

pub mod ca;
mod connection;
pub mod error;
mod index;
pub mod inventories;
mod object;
pub mod watch;

/// Which API server, and how.
#[derive(Clone, Debug)]
pub struct Params {
    pub source: Source,
    /// Objects in one answer of a list; Kubernetes' own clients ask for 500 (about 2 MB).
    pub page_size: u32,
    /// For one page, and for a watch to begin.
    pub timeout: Duration,
    /// How long a watch lasts before it is asked for again; a connection that died silently is noticed this late.
    pub watch: Duration,
}

/// Where the API server's address and our identity come from. A proxy is never used. Certificate files are read again
/// about once a minute, and at once when they are refused.
#[derive(Clone, Debug)]
pub enum Source {
    /// `KUBECONFIG` or `~/.kube/config`, or else the pod's service account.
    Infer,
    Kubeconfig(PathBuf),
    Url {
        url: Url,
        /// Read for each request, and trimmed. Absent: anonymous.
        token_file: Option<PathBuf>,
        /// Absent: the system's CAs.
        ca_file: Option<PathBuf>,
        insecure_skip_verify: bool,
    },
}

/// Which objects of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Absent: all.
    pub namespace: Option<String>,
    /// A label selector, as Kubernetes writes it. Absent: all.
    pub selector: Option<String>,
}
