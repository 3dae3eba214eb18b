//! What the command line may say; the command line wins over file and environment.

use std::path::PathBuf;
use std::time::Duration;

use crate::telemetry::Format;
use crate::tls;

/// `promdog serve`'s flags. Absent: as configured.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub listen_address: Option<String>,
    pub log_level: Option<String>,
    pub log_format: Option<Format>,
    pub push_every: Option<Duration>,
    pub dry_run: bool,
    pub state_dir: Option<PathBuf>,
    pub state_lock_timeout: Option<Duration>,
    /// Replaces the file's targets.
    pub target: Option<TargetFlags>,
}

/// The one target of a command line.
#[derive(Clone, Debug, Default)]
pub struct TargetFlags {
    pub url: String,
    pub name: Option<String>,
    pub health_url: Option<String>,
    /// Empty: `kubevirt_api`.
    pub mappings: Vec<String>,
    pub tags: Vec<(String, String)>,
    pub kube_namespace: Option<String>,
    pub pod_name: Option<String>,
    pub bearer_token_file: Option<PathBuf>,
    pub tls: tls::ClientParams,
}
