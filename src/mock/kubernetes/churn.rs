//! Life in the cluster: machines come, go, move and fail, so many times a second; and trouble now and then, if wanted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::mock::kubernetes::objects::{Recipe, node, phase, vm, vmi};
use crate::mock::kubernetes::resource::Resource;
use crate::mock::kubernetes::shared::{Cut, Shared};
use crate::mock::kubernetes::store::{Key, Store};
use crate::mock::{Random, lock};

const TICK: Duration = Duration::from_millis(10);
/// Changes between two troubles, on average.
const QUIET: usize = 300;

/// A task that ends with its handle.
#[derive(Debug)]
pub struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Machines of one kind.
#[derive(Debug)]
struct Herd {
    resource: Resource,
    /// How many there shall be, about.
    wanted: usize,
    keys: Vec<Key>,
}

#[derive(Debug)]
pub struct Churn {
    random: Random,
    realistic: bool,
    herds: [Herd; 2],
    /// Of the next machine.
    serial: usize,
    until_trouble: usize,
    /// What objects were before they were broken.
    broken: Vec<(Resource, Value)>,
}

/// Changes the store at the rate that `shared` says, while it says so.
pub fn start(shared: Arc<Shared>, mut churn: Churn) -> Task {
    let mut rate = shared.churn.subscribe();
    Task(tokio::spawn(async move {
        loop {
            if rate.wait_for(|rate| *rate > 0.0).await.is_err() {
                return;
            }
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut last = Instant::now();
            let mut owed = 0.0;
            loop {
                ticks.tick().await;
                let rate = *rate.borrow();
                if rate <= 0.0 {
                    break;
                }
                // A machine that was asleep need not make up for it.
                owed += rate * last.elapsed().as_secs_f64().min(1.0);
                last = Instant::now();
                while owed >= 1.0 {
                    owed -= 1.0;
                    churn.turn(&shared);
                }
            }
        }
    }))
}

impl Churn {
    pub fn new(store: &Store, seed: u64, realistic: bool) -> Self {
        let herds = [Resource::Vms, Resource::Vmis].map(|resource| {
            let keys: Vec<Key> = store.table(resource).keys().cloned().collect();
            Herd { resource, wanted: keys.len(), keys }
        });
        // Far from the names that the start has used.
        let serial = 1_000_000;
        Self { random: Random::new(seed ^ 0xc0de), realistic, herds, serial, until_trouble: QUIET, broken: Vec::new() }
    }

    /// One change, and the trouble that is due.
    pub fn turn(&mut self, shared: &Shared) {
        let herd = usize::from(self.random.unit() < 0.7);
        let what = self.random.below(100);
        shared.change(|store| {
            self.herds[herd].look(store);
            let Herd { resource, wanted, keys } = &self.herds[herd];
            let (resource, there, wanted) = (*resource, keys.len(), *wanted);
            if what < 75 && there > 0 {
                self.alter(store, herd, what);
            } else if self.wants_more(there, wanted) {
                self.create(store, resource, herd);
            } else if there > 0 {
                let key = self.herds[herd].keys.swap_remove(self.random.below(there));
                store.delete(resource, &key);
            }
        });
        if shared.trouble.load(Ordering::Relaxed) {
            self.until_trouble -= 1;
            if self.until_trouble == 0 {
                self.until_trouble = QUIET / 2 + self.random.below(QUIET);
                self.make_trouble(shared);
            }
        }
    }

    /// More likely, the fewer there are.
    fn wants_more(&mut self, there: usize, wanted: usize) -> bool {
        let lacking = (wanted as f64 - there as f64) / (wanted as f64 / 10.0).max(1.0);
        self.random.unit() < 0.5 + lacking / 2.0
    }

    fn create(&mut self, store: &mut Store, resource: Resource, herd: usize) {
        self.serial += 1;
        // Half of the names come again, as other objects.
        let again = self.random.below(2 * self.herds[herd].wanted.max(1));
        let at = if again < self.herds[herd].wanted { again } else { self.serial };
        let object = self.machine(resource, at);
        let key = Key::of(&object).expect("machines have names");
        if !store.delete(resource, &key) {
            self.herds[herd].keys.push(key);
        }
        store.put(resource, object).expect("machines have names");
    }

    fn machine(&mut self, resource: Resource, at: usize) -> Value {
        let recipe = Recipe { at, serial: self.serial, realistic: self.realistic };
        match resource {
            Resource::Vms => vm(recipe),
            _ => vmi(recipe, &mut self.random),
        }
    }

    /// Something about one of the machines that are there.
    fn alter(&mut self, store: &mut Store, herd: usize, what: usize) {
        let Herd { resource, keys, .. } = &self.herds[herd];
        let key = &keys[self.random.below(keys.len())];
        let Some(object) = store.table(*resource).get(key) else { return };
        let mut object = object.value();
        let random = &mut self.random;
        let version = ["blue", "green", "red"][random.below(3)];
        match (*resource, what) {
            (Resource::Vms, 0..40) => {
                let status = ["Running", "Stopped", "Starting", "Migrating"][random.below(4)];
                *field(&mut object, &["status", "printableStatus"]) = json!(status);
            }
            (Resource::Vms, _) => {
                *field(&mut object, &["spec", "template", "metadata", "labels", "version"]) = json!(version);
            }
            (_, 0..40) => *field(&mut object, &["status", "phase"]) = json!(phase(random)),
            (_, 40..60) => {
                let node = node(random);
                *field(&mut object, &["metadata", "labels", "kubevirt.io/nodeName"]) = json!(node);
                *field(&mut object, &["status", "nodeName"]) = json!(node);
            }
            (_, _) => *field(&mut object, &["metadata", "labels", "version"]) = json!(version),
        }
        store.put(*resource, object).expect("it had a name");
    }

    fn make_trouble(&mut self, shared: &Shared) {
        match self.random.below(6) {
            0 => lock(&shared.store).forget(),
            1 => shared.cut(Cut::BetweenEvents),
            2 => shared.cut(Cut::MidObject),
            3 => lock(&shared.snapshots).expired = true,
            _ => shared.change(|store| self.break_or_repair(store)),
        }
    }

    fn break_or_repair(&mut self, store: &mut Store) {
        if let Some((resource, original)) = self.broken.pop() {
            let key = Key::of(&original).expect("it had a name");
            let Some(now) = store.table(resource).get(&key).map(|object| object.value()) else { return };
            let (uid, uid_now) = (&original["metadata"]["uid"], &now["metadata"]["uid"]);
            if self.random.below(3) == 0 {
                store.delete(resource, &key);
            } else if uid == uid_now || !uid_now.is_string() {
                store.put(resource, original).expect("it had a name");
            }
            return;
        }
        let herd = self.random.below(2);
        self.herds[herd].look(store);
        let Herd { resource, keys, .. } = &self.herds[herd];
        let Some(key) = keys.get(self.random.below(keys.len())) else { return };
        let Some(object) = store.table(*resource).get(key) else { return };
        let original = object.value();
        let mut object = original.clone();
        match self.random.below(4) {
            0 => object["metadata"]["labels"] = json!(7),
            1 => object["status"] = json!("x"),
            2 => object["metadata"]["uid"] = json!({"no": "text"}),
            _ => object["spec"] = json!([null]),
        }
        self.broken.push((*resource, original));
        store.put(*resource, object).expect("it has a name");
    }
}

impl Herd {
    /// Others may have created or deleted some.
    fn look(&mut self, store: &Store) {
        let table = store.table(self.resource);
        if table.len() != self.keys.len() {
            self.keys = table.keys().cloned().collect();
        }
    }
}

/// A field, made if need be, whatever was in its place.
fn field<'a>(value: &'a mut Value, path: &[&str]) -> &'a mut Value {
    path.iter().fold(value, |value, name| {
        if !value.is_object() {
            *value = Value::Object(Map::new());
        }
        &mut value[*name]
    })
}
