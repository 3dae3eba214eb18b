//! Who is pulled: the targets of the configuration, and those that are discovered, which come and go. What is known of a
//! target that has left is kept for a while, so that one that returns goes on where it was.

pub mod dns;
pub mod files;
pub mod pods;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::Url;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::clock;
use crate::pull::Target;
use crate::telemetry::metrics::Metrics;
use crate::time::UnixMillis;
use crate::view::View;

/// How long the baselines of a target that has left are kept.
const KEEP: Duration = Duration::from_secs(600);
/// How often a discovery is looked at that has nothing to tell.
const IDLE: Duration = Duration::from_secs(60);

/// A target that was discovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Says that it is the same one as before: a pod's UID, an address.
    pub id: String,
    /// The target's is `group/name`.
    pub name: String,
    pub url: Url,
    pub kube_namespace: Option<String>,
    pub pod_name: Option<String>,
    /// Onto every series.
    pub tags: Vec<(String, String)>,
    /// The points' host in Datadog, where the discovery names one.
    pub host: Option<String>,
}

impl Found {
    /// Known by its address alone.
    fn at(url: Url) -> Self {
        let host = url.host_str().unwrap_or_default();
        let name = url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Self { id: url.to_string(), name, url, kube_namespace: None, pod_name: None, tags: Vec::new(), host: None }
    }
}

/// Makes a target of what was found; the time is since when it has been watched.
pub type Make = Box<dyn Fn(&Found, UnixMillis) -> anyhow::Result<Arc<Target>> + Send + Sync>;

/// An entry of the configuration's `targets:`.
pub enum Entry {
    Fixed(Arc<Target>),
    Discovered {
        name: String,
        make: Make,
        /// Since when the group has been watched.
        since: UnixMillis,
    },
}

/// All targets; clones share them.
#[derive(Clone)]
pub struct Targets(Arc<Inner>);

struct Inner {
    now: ArcSwap<Vec<Arc<Target>>>,
    groups: Mutex<Vec<Group>>,
    metrics: Metrics,
}

struct Group {
    name: String,
    /// `None`: fixed.
    make: Option<Make>,
    members: BTreeMap<String, Member>,
    left: BTreeMap<String, (Member, Instant, UnixMillis)>,
    /// Whoever is seen for the first time has been watched since then: nobody else can have counted it before.
    since: UnixMillis,
    problem: Option<String>,
}

struct Member {
    found: Option<Found>,
    /// `None`: it cannot be made; the operator has been told.
    target: Option<Arc<Target>>,
}

/// How a group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub name: String,
    pub targets: usize,
    /// Whether its targets are discovered.
    pub discovered: bool,
    /// Why what is known of it may not be all.
    pub problem: Option<String>,
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.now().iter().map(|target| &target.params.name)).finish()
    }
}

impl Targets {
    #[must_use]
    pub fn new(entries: Vec<Entry>, metrics: Metrics) -> Self {
        let groups = entries.into_iter().map(Group::new).collect();
        let targets = Self(Arc::new(Inner { now: ArcSwap::default(), groups: Mutex::new(groups), metrics }));
        targets.publish(&targets.groups());
        targets
    }

    /// Those that are pulled now, group by group.
    #[must_use]
    pub fn now(&self) -> Arc<Vec<Arc<Target>>> {
        self.0.now.load_full()
    }

    /// Those of this name, or of the group of this name.
    #[must_use]
    pub fn named(&self, wanted: &str) -> Vec<Arc<Target>> {
        let of_group =
            |name: &str| name.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.now().iter().filter(|target| of_group(&target.params.name)).cloned().collect()
    }

    /// Whether one of them shows a metric of this name, as of its last good pull.
    #[must_use]
    pub fn expose(&self, name: &str) -> bool {
        let exposes = |view: &View| {
            let mut families = view.catalog.out_families.iter().filter(|family| family.name == name);
            families.any(|family| view.catalog.rows_of(family).any(|row| view.shows(row)))
        };
        self.now().iter().filter_map(|target| target.last_good()).any(|view| exposes(&view))
    }

    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let status = |group: &Group| Status {
            name: group.name.clone(),
            targets: group.targets().count(),
            discovered: group.make.is_some(),
            problem: group.problem.clone(),
        };
        self.groups().iter().map(status).collect()
    }

    /// Takes in all that a discovery finds now. `group` is the entry's place in the configuration.
    pub fn found(&self, group: usize, found: Vec<Found>) {
        let mut groups = self.groups();
        if let Some(group) = groups.get_mut(group) {
            group.take_in(found);
        }
        self.publish(&groups);
    }

    /// Shows why a discovery may not know all; `None`: it does. Returns whether that is new.
    pub fn problem(&self, group: usize, problem: Option<String>) -> bool {
        let mut groups = self.groups();
        let Some(group) = groups.get_mut(group) else { return false };
        let new = group.problem != problem;
        group.problem = problem;
        new
    }

    /// The same, and tells the operator.
    fn tell(&self, group: usize, problem: Option<String>) {
        let text = problem.clone();
        if self.problem(group, problem) {
            let name = self.groups().get(group).map(|group| group.name.clone()).unwrap_or_default();
            match text {
                Some(problem) => warn!(group = name, problem, "targets cannot be discovered"),
                None => info!(group = name, "targets can be discovered again"),
            }
        }
    }

    fn publish(&self, groups: &[Group]) {
        self.0.now.store(Arc::new(groups.iter().flat_map(Group::targets).cloned().collect()));
        for group in groups.iter().filter(|group| group.make.is_some()) {
            self.0.metrics.discovered(&group.name, group.targets().count());
        }
    }

    /// A lock whose holder panicked still holds whole groups.
    fn groups(&self) -> MutexGuard<'_, Vec<Group>> {
        self.0.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group {
    fn new(entry: Entry) -> Self {
        let (name, make, members, since) = match entry {
            Entry::Fixed(target) => {
                let name = target.params.name.clone();
                let member = Member { found: None, target: Some(target) };
                (name.clone(), None, BTreeMap::from([(name, member)]), clock::now())
            }
            Entry::Discovered { name, make, since } => (name, Some(make), BTreeMap::new(), since),
        };
        Self { name, make, members, left: BTreeMap::new(), since, problem: None }
    }

    fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.members.values().filter_map(|member| member.target.as_ref())
    }

    fn take_in(&mut self, found: Vec<Found>) {
        let Some(make) = &self.make else { return };
        self.left.retain(|_, (_, left, time)| {
            let keep = left.elapsed() < KEEP;
            if !keep {
                // Should it return nevertheless, what it had counted until then is not counted again.
                self.since = self.since.max(*time);
            }
            keep
        });
        let mut before = std::mem::take(&mut self.members);
        for found in found {
            if self.members.contains_key(&found.id) {
                continue;
            }
            let id = found.id.clone();
            let known = before.remove(&id).or_else(|| Some(self.left.remove(&id)?.0));
            let member = match known {
                Some(member) if member.found.as_ref() == Some(&found) => member,
                // The same process under other tags: its past has been counted.
                Some(other) => {
                    before.insert(id.clone(), other);
                    Member::new(make, found, clock::now())
                }
                None => Member::new(make, found, self.since),
            };
            self.members.insert(id, member);
        }
        let names: BTreeSet<String> = self.targets().map(|target| target.params.name.clone()).collect();
        self.targets().for_each(|target| target.leave(false, false));
        let (instant, time) = (Instant::now(), clock::now());
        for (id, member) in before {
            if let Some(target) = &member.target {
                let name = &target.params.name;
                info!(target_name = name, "the target has left");
                target.leave(true, !names.contains(name));
            }
            self.left.insert(id, (member, instant, time));
        }
    }
}

impl Member {
    fn new(make: &Make, found: Found, since: UnixMillis) -> Self {
        let target = match make(&found, since) {
            Ok(target) => {
                info!(target_name = target.params.name, url = %found.url, "a target was found");
                Some(target)
            }
            Err(error) => {
                warn!(name = found.name, "what was found cannot be pulled: {error:#}");
                None
            }
        };
        Self { found: Some(found), target }
    }
}

/// A URL of these parts; an IPv6 address may lack its brackets.
fn url(scheme: &str, host: &str, port: u16, path: &str) -> Option<Url> {
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    let slash = if path.starts_with('/') { "" } else { "/" };
    Url::parse(&format!("{scheme}://{host}:{port}{slash}{path}")).ok()
}
