//! `kubernetes:`, where virtual machines are counted and pods are found.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use crate::cluster::{self, Source};
use crate::translate::counts::{self, By, Detail};

/// The API server's own clients ask for 5 to 10 minutes; a minute notices a connection that died silently.
const WATCH: Duration = Duration::from_secs(60);

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
    /// `keep`: how long the counts outlive a lost connection. Default 60 s.
    pub keep: Duration,
    /// `timeout`: of one page, and for a watch to begin. Default 10 s.
    pub timeout: Duration,
    /// `detail`: `object` (the default), `namespace` or `cluster`; `by`: what the last two keep apart, some of `phase`,
    /// `node`, `size` and `domain`. Default phase and node.
    pub counts: counts::Params,
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
            keep: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            counts: counts::Params { detail: Detail::Object, by: vec![By::Phase, By::Node] },
            in_cluster: false,
        }
    }
}

impl Kubernetes {
    /// Whether virtual machines are counted.
    #[must_use]
    pub fn counts_machines(&self) -> bool {
        match self.inventory {
            Inventory::On => true,
            Inventory::Off => false,
            Inventory::Auto => self.kubeconfig.is_some() || self.url.is_some() || self.in_cluster,
        }
    }

    /// The API server, whether or not anything is asked of it.
    #[must_use]
    pub fn cluster_params(&self) -> cluster::Params {
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
        cluster::Params { source, page_size: self.page_size, timeout: self.timeout, watch: WATCH }
    }
}
