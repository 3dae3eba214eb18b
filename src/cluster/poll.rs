//! Keeps the latest inventory: lists on a period, forgets it when a list fails, and says so once.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tracing::{info, warn};

use crate::cluster::{Listed, Lister, Params};
use crate::inventory::Inventory;
use crate::telemetry::metrics::Metrics;

/// After a failed list, this long at most.
const RETRY: Duration = Duration::from_secs(5);

/// The latest inventory, if there is one; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Inventories(Arc<ArcSwapOption<Inventory>>);

impl Inventories {
    /// `None` before the first list, after a failed one, and where no inventory is asked for.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<Inventory>> {
        self.0.load_full()
    }
}

/// Lists for ever. Ends only by being dropped.
pub async fn run(params: Params, every: Duration, inventories: Inventories, metrics: Metrics) {
    let mut lister = None;
    let mut failing = false;
    loop {
        let listed = list(&mut lister, &params).await;
        let good = listed.is_ok();
        metrics.listed(good);
        match listed {
            Ok(Listed { inventory, skipped }) => {
                if failing {
                    info!(vms = inventory.vms.len(), vmis = inventory.vmis.len(), "the Kubernetes API answers again");
                }
                if skipped > 0 {
                    warn!(skipped, "objects of the Kubernetes API that cannot be read are not counted");
                }
                inventories.0.store(Some(Arc::new(inventory)));
            }
            Err(error) => {
                inventories.0.store(None);
                if !failing {
                    warn!(%error, "virtual machines cannot be counted; everything else goes on");
                }
            }
        }
        failing = !good;
        tokio::time::sleep(if good { every } else { every.min(RETRY) }).await;
    }
}

async fn list(lister: &mut Option<Lister>, params: &Params) -> Result<Listed, super::error::Error> {
    let connected = match lister.take() {
        Some(lister) => lister,
        None => Lister::connect(params.clone()).await?,
    };
    let listed = connected.list().await;
    // Kept only while it works: a rotated identity is read again.
    *lister = listed.is_ok().then_some(connected);
    listed
}
