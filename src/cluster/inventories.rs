//! What the cluster holds of virtual machines and instances, kept up to date by two watches that do not depend on each
//! other.

use std::time::Duration;

use tokio::sync::watch::channel;
use tokio::task::JoinSet;

use super::watch::{self, Latest, Snapshot};
use super::{Params, Scope};
use crate::inventory::{Inventory, Vm, Vmi};
use crate::telemetry::metrics::Metrics;

/// The latest inventory; clones share it.
#[derive(Clone, Debug)]
pub struct Inventories {
    vms: Latest<Vm>,
    vmis: Latest<Vmi>,
    keep: Duration,
}

impl Default for Inventories {
    /// Knows nothing, for ever.
    fn default() -> Self {
        Self { vms: channel(Snapshot::default()).1, vmis: channel(Snapshot::default()).1, keep: Duration::ZERO }
    }
}

impl Inventories {
    /// Watches all namespaces. What is known outlives a lost connection by `keep`.
    pub fn watch(params: &Params, keep: Duration, metrics: &Metrics, tasks: &mut JoinSet<()>) -> Self {
        let ((vms, latest_vms), (vmis, latest_vmis)) = (channel(Snapshot::default()), channel(Snapshot::default()));
        let all = Scope::default;
        tasks.spawn(watch::run(params.clone(), all(), "virtualmachines".to_owned(), vms, metrics.clone()));
        tasks.spawn(watch::run(params.clone(), all(), "virtualmachineinstances".to_owned(), vmis, metrics.clone()));
        Self { vms: latest_vms, vmis: latest_vmis, keep }
    }

    /// What is known now.
    #[must_use]
    pub fn latest(&self) -> Inventory {
        Inventory { vms: self.vms.borrow().within(self.keep), vmis: self.vmis.borrow().within(self.keep) }
    }
}
