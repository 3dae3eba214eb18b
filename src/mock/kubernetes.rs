//! A mock Kubernetes API: machines, virt-api's pods and its CA, listed and watched as the real one lists and watches, with
//! the rights, the churn and the trouble that the real one has.

mod api;
mod churn;
mod control;
mod fill;
mod list;
mod objects;
mod rbac;
mod resource;
mod selector;
mod shared;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::mock::kubernetes::churn::{Churn, Task};
use crate::mock::kubernetes::list::Snapshots;
use crate::mock::kubernetes::resource::Resource;
use crate::mock::kubernetes::shared::{Log, Shared};
use crate::mock::kubernetes::store::{Key, Store};
use crate::mock::lock;
use crate::mock::serve::{Running, Setup, start};

pub use crate::mock::kubernetes::rbac::Rule;
pub use crate::mock::kubernetes::shared::{Cut, Seen};

/// A mock Kubernetes API.
#[derive(Clone, Debug)]
pub struct Params {
    pub setup: Setup,
    pub vms: usize,
    pub vmis: usize,
    /// Pods of virt-api.
    pub pods: usize,
    /// PEM for the ConfigMap `kubevirt-ca`; absent: there is none.
    pub ca_bundle: Option<String>,
    /// Lists and single objects. They replace all that would be made up of their kind.
    pub objects: Vec<Value>,
    /// Machines are as large as real ones.
    pub realistic: bool,
    /// The token that requests must bear.
    pub token: Option<String>,
    /// What requests may do; absent: everything.
    pub rules: Option<Vec<Rule>>,
    /// Changes that are kept for those who watch.
    pub history: usize,
    /// Time between two bookmarks of a watch.
    pub bookmark_every: Duration,
    /// A watch from a version that is too old is refused with HTTP 410, not with an event.
    pub gone_by_status: bool,
    /// Changes per second.
    pub churn: f64,
    /// Churn forgets history, cuts watches, expires continue tokens and breaks objects, now and then.
    pub churn_trouble: bool,
    pub seed: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            setup: Setup::default(),
            vms: 12,
            vmis: 8,
            pods: 2,
            ca_bundle: None,
            objects: Vec::new(),
            realistic: false,
            token: None,
            rules: None,
            history: 10_000,
            bookmark_every: Duration::from_secs(10),
            gone_by_status: false,
            churn: 0.0,
            churn_trouble: false,
            seed: 1,
        }
    }
}

/// A running mock.
#[derive(Debug)]
pub struct Kubernetes {
    pub running: Running,
    shared: Arc<Shared>,
    _churn: Task,
}

impl Kubernetes {
    /// Starts one on the current Tokio runtime.
    ///
    /// # Errors
    /// An address that cannot be had, objects that are none.
    pub async fn start(params: Params) -> anyhow::Result<Self> {
        let mut store = Store::new(params.history);
        fill::fill(&mut store, &params)?;
        let Params {
            setup, token, rules, bookmark_every, gone_by_status, churn, churn_trouble, seed, realistic, ..
        } = params;
        let life = Churn::new(&store, seed, realistic);
        let shared = Arc::new(Shared {
            store: Mutex::new(store),
            snapshots: Mutex::new(Snapshots::default()),
            token: Mutex::new(token),
            rules: Mutex::new(rules),
            log: Mutex::new(Log::default()),
            changed: tokio::sync::watch::Sender::new(()),
            cuts: tokio::sync::watch::Sender::new(Cut::BetweenEvents),
            churn: tokio::sync::watch::Sender::new(churn),
            trouble: AtomicBool::new(churn_trouble),
            watchers: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            bookmark_every,
            gone_by_status,
        });
        let routes = api::routes().merge(resource::discovery()).merge(control::routes());
        let running = start(setup, routes.with_state(Arc::clone(&shared))).await?;
        let churn = churn::start(Arc::clone(&shared), life);
        Ok(Self { running, shared, _churn: churn })
    }

    /// Creates an object, or replaces the one of its kind, namespace and name.
    ///
    /// # Panics
    /// An object of no known kind, or without a name.
    pub fn apply(&self, object: Value) {
        control::put_object(&self.shared, object).expect("an object that the mock can hold");
    }

    /// Deletes an object; whether it was there.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) -> bool {
        let key = Key { namespace: namespace.to_owned(), name: name.to_owned() };
        control::delete_object(&self.shared, plural, &key)
    }

    /// Replaces every machine. Those that stay are changed, those that go are deleted.
    ///
    /// # Panics
    /// A machine without a name.
    pub fn set(&self, vms: Vec<Value>, vmis: Vec<Value>) {
        self.shared.change(|store| {
            for (resource, objects) in [(Resource::Vms, vms), (Resource::Vmis, vmis)] {
                let put = objects.into_iter().map(|object| store.put(resource, object).expect("machines have names"));
                let stay: BTreeSet<Key> = put.collect();
                let go: Vec<Key> = store.table(resource).keys().filter(|key| !stay.contains(key)).cloned().collect();
                for key in go {
                    store.delete(resource, &key);
                }
            }
        });
    }

    /// The truth, in the order of a list; nothing for a resource that the mock does not have.
    #[must_use]
    pub fn objects(&self, plural: &str) -> Vec<Arc<Value>> {
        control::truth(&self.shared, plural).unwrap_or_default()
    }

    /// The next request that continues a list is answered with 410.
    pub fn expire_continue(&self) {
        lock(&self.shared.snapshots).expired = true;
    }

    /// Every version so far is too old for a new watch; watches that are open go on.
    pub fn forget_history(&self) {
        lock(&self.shared.store).forget();
    }

    /// Drops the connection of every open watch.
    pub fn cut_watches(&self, cut: Cut) {
        self.shared.cut(cut);
    }

    /// The token that requests must bear from now on; `None`: none.
    pub fn set_token(&self, token: Option<String>) {
        *lock(&self.shared.token) = token;
    }

    /// What requests may do from now on; `None`: everything.
    pub fn set_rules(&self, rules: Option<Vec<Rule>>) {
        *lock(&self.shared.rules) = rules;
    }

    /// Changes per second from now on; 0 stops them.
    pub fn set_churn(&self, per_second: f64) {
        self.shared.churn.send_replace(per_second);
    }

    /// Requests for objects so far, refused ones included; faults answer before they are seen. The last 100,000.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        lock(&self.shared.log).requests.iter().cloned().collect()
    }

    /// Bytes of bodies that were sent, before compression.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Watches that are open.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.shared.watchers.load(Ordering::Relaxed)
    }
}
