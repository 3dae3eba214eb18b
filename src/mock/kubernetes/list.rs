//! LIST: pages of one snapshot, whatever changes meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::json;

use crate::mock::kubernetes::resource::Resource;
use crate::mock::kubernetes::selector::Filter;
use crate::mock::kubernetes::status::Failure;
use crate::mock::kubernetes::store::{Object, Store};

/// Lists that may be continued at a time; older ones have expired.
const KEPT: usize = 64;

/// All that a list shows, as of one version.
#[derive(Clone, Debug)]
struct Snapshot {
    id: u64,
    resource: Resource,
    version: u64,
    objects: Arc<Vec<Arc<Object>>>,
}

#[derive(Debug, Default)]
pub struct Snapshots {
    kept: VecDeque<Snapshot>,
    taken: u64,
    /// The next request that continues a list is refused.
    pub expired: bool,
}

/// What a list's query asks for.
#[derive(Clone, Debug, Default)]
pub struct Paging {
    pub limit: Option<usize>,
    pub token: Option<String>,
    pub version: Option<u64>,
}

/// One page, not yet written.
#[derive(Debug)]
pub struct Page {
    snapshot: Snapshot,
    from: usize,
    to: usize,
}

impl Snapshots {
    /// # Errors
    /// A token that has expired or never was, a version that is yet to come.
    pub fn page(&mut self, store: &Store, filter: &Filter, paging: &Paging) -> Result<Page, Failure> {
        let Paging { limit, token, version } = paging;
        let (snapshot, from) = match token {
            Some(_) if version.is_some_and(|version| version > 0) => {
                let message = "specifying resource version is not allowed when using continue";
                return Err(Failure::bad_request(message));
            }
            Some(token) => self.continued(filter.resource, token)?,
            None => {
                if let Some(version) = version.filter(|version| *version > store.version) {
                    return Err(Failure::too_large(version, store.version));
                }
                let objects = store.table(filter.resource).values().filter(|object| filter.takes(object));
                let objects = Arc::new(objects.cloned().collect());
                self.taken += 1;
                let (id, resource, version) = (self.taken, filter.resource, store.version);
                (Snapshot { id, resource, version, objects }, 0)
            }
        };
        let end = snapshot.objects.len();
        let to = limit.filter(|limit| *limit > 0).map_or(end, |limit| from.saturating_add(limit).min(end));
        if token.is_none() && to < end {
            self.kept.push_back(snapshot.clone());
            if self.kept.len() > KEPT {
                self.kept.pop_front();
            }
        }
        Ok(Page { snapshot, from, to })
    }

    fn continued(&mut self, resource: Resource, token: &str) -> Result<(Snapshot, usize), Failure> {
        let numbers = token.split_once('-').and_then(|(id, from)| Some((id.parse().ok()?, from.parse().ok()?)));
        let (id, from): (u64, usize) = numbers
            .filter(|(id, _)| *id <= self.taken)
            .ok_or_else(|| Failure::bad_request("continue key is not valid: encoded start key is unknown"))?;
        if std::mem::take(&mut self.expired) {
            self.kept.retain(|snapshot| snapshot.id != id);
        }
        let snapshot = self.kept.iter().find(|snapshot| snapshot.id == id && snapshot.resource == resource);
        let snapshot =
            snapshot.filter(|snapshot| from <= snapshot.objects.len()).ok_or_else(Failure::continue_expired)?;
        Ok((snapshot.clone(), from))
    }
}

impl Page {
    pub fn write(&self) -> Vec<u8> {
        let Self { snapshot: Snapshot { id, resource, version, objects }, from, to } = self;
        let mut metadata = json!({"resourceVersion": version.to_string()});
        if *to < objects.len() {
            metadata["continue"] = json!(format!("{id}-{to}"));
            metadata["remainingItemCount"] = json!(objects.len() - to);
        }
        let (api, kind) = (resource.api_version(), resource.kind());
        let mut page =
            format!(r#"{{"apiVersion":"{api}","kind":"{kind}List","metadata":{metadata},"items":["#).into_bytes();
        for (at, object) in objects[*from..*to].iter().enumerate() {
            if at > 0 {
                page.push(b',');
            }
            object.write_item(&mut page);
        }
        page.extend_from_slice(b"]}\n");
        page
    }
}
