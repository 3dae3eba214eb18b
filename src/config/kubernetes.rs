//! `kubernetes:`, where virtual machines are counted.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use crate::cluster::{self, Source};

/// The Kubernetes API.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    /// `inventory`: `on`, `off`, or `auto`, the default: on if one of the sources below is given, or in a pod.
    pub inventory: Inventory,
    /// `kubeconfig`: a file.
    pub kubeconfig: Option<PathBuf>,
    /// `url`: of the API server, with `token_file`, `ca_file` and `insecure_skip_verify`.
    pub url: Option<Url>,
    pub token_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub insecure_skip_verify: bool,
    /// `page_size`: objects in one answer. Default 500.
    pub page_size: u32,
    /// `every`: between two lists. Default 60 s.
    pub every: Duration,
    /// `timeout`: of one page. Default 10 s.
    pub timeout: Duration,
    /// Whether this process runs in a pod: `KUBERNETES_SERVICE_HOST` is set.
    pub in_cluster: bool,
}

/// Whether VMs and VMIs are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inventory {
    On,
    Off,
    #[default]
    Auto,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            inventory: Inventory::Auto,
            kubeconfig: None,
            url: None,
            token_file: None,
            ca_file: None,
            insecure_skip_verify: false,
            page_size: 500,
            every: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            in_cluster: false,
        }
    }
}

impl Kubernetes {
    /// What to list; `None` if nothing is.
    #[must_use]
    pub fn cluster_params(&self) -> Option<cluster::Params> {
        let given = self.kubeconfig.is_some() || self.url.is_some();
        match self.inventory {
            Inventory::Off => return None,
            Inventory::Auto if !given && !self.in_cluster => return None,
            Inventory::Auto | Inventory::On => {}
        }
        let source = match (&self.url, &self.kubeconfig) {
            (Some(url), _) => Source::Url {
                url: url.clone(),
                token_file: self.token_file.clone(),
                ca_file: self.ca_file.clone(),
                insecure_skip_verify: self.insecure_skip_verify,
            },
            (None, Some(path)) => Source::Kubeconfig(path.clone()),
            (None, None) => Source::Infer,
        };
        Some(cluster::Params { source, page_size: self.page_size, timeout: self.timeout })
    }
}
