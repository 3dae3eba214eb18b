//! The mock's etcd: every object as text, one version for all of them, and the last changes for those who watch.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use axum::body::Bytes;
use serde_json::{Map, Value, json};

use crate::mock::kubernetes::resource::Resource;

/// The order of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    /// An object that names no namespace is in `default`.
    pub fn of(object: &Value) -> Option<Self> {
        let metadata = &object["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or("default").to_owned();
        Some(Self { namespace, name: metadata["name"].as_str()?.to_owned() })
    }
}

/// One state of an object, never changed.
#[derive(Debug)]
pub struct Object {
    pub resource: Resource,
    pub key: Key,
    pub version: u64,
    pub labels: BTreeMap<String, String>,
    pub phase: Option<String>,
    /// JSON without `apiVersion` and `kind`: a list of core objects leaves them out.
    bare: Bytes,
}

impl Object {
    fn new(resource: Resource, key: Key, version: u64, mut object: Map<String, Value>) -> Self {
        object.remove("apiVersion");
        object.remove("kind");
        let object = {
            let mut object = Value::Object(object);
            object["metadata"]["namespace"] = json!(key.namespace);
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            object
        };
        let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
        let labels = labels.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        let phase = object["status"]["phase"].as_str().map(str::to_owned);
        let bare = object.to_string().into();
        Self { resource, key, version, labels: labels.collect(), phase, bare }
    }

    /// As a GET and a watch show it.
    pub fn write(&self, into: &mut Vec<u8>) {
        let (version, kind) = (self.resource.api_version(), self.resource.kind());
        into.extend_from_slice(format!(r#"{{"apiVersion":"{version}","kind":"{kind}","#).as_bytes());
        into.extend_from_slice(&self.bare[1..]);
    }

    /// As a list shows it.
    pub fn write_item(&self, into: &mut Vec<u8>) {
        if self.resource.group().is_empty() {
            into.extend_from_slice(&self.bare);
        } else {
            self.write(into);
        }
    }

    pub fn value(&self) -> Value {
        let mut text = Vec::new();
        self.write(&mut text);
        serde_json::from_slice(&text).expect("what was written as JSON")
    }

    /// The same, as of a later version: how an object looks as it goes.
    pub fn at(&self, version: u64) -> Self {
        let object = serde_json::from_slice(&self.bare).expect("what was written as JSON");
        Self::new(self.resource, self.key.clone(), version, object)
    }
}

/// What happened to one object.
#[derive(Clone, Debug)]
pub struct Change {
    pub version: u64,
    /// Absent: it was created. The last state of a deleted object has the version of its end.
    pub before: Option<Arc<Object>>,
    /// Absent: it was deleted.
    pub after: Option<Arc<Object>>,
}

#[derive(Debug)]
pub struct Store {
    pub version: u64,
    /// Changes so far, those that are forgotten included.
    pub changes: u64,
    /// A new watch from an older version is refused.
    pub oldest: u64,
    tables: BTreeMap<Resource, BTreeMap<Key, Arc<Object>>>,
    history: VecDeque<Change>,
    capacity: usize,
    /// The version of the last change that fell out of the history.
    lost: u64,
}

impl Store {
    pub fn new(capacity: usize) -> Self {
        let tables = Resource::ALL.map(|resource| (resource, BTreeMap::new())).into();
        Self { version: 900, changes: 0, oldest: 0, tables, history: VecDeque::new(), capacity, lost: 0 }
    }

    pub fn table(&self, resource: Resource) -> &BTreeMap<Key, Arc<Object>> {
        &self.tables[&resource]
    }

    /// Creates or replaces an object.
    ///
    /// # Errors
    /// An object without a name.
    pub fn put(&mut self, resource: Resource, object: Value) -> Result<Key, String> {
        let key = Key::of(&object).ok_or("an object has a `metadata.name`")?;
        let Value::Object(object) = object else { return Err("an object is a JSON object".to_owned()) };
        let after = Arc::new(Object::new(resource, key.clone(), self.version + 1, object));
        let before = self.tables.get_mut(&resource).and_then(|table| table.insert(key.clone(), Arc::clone(&after)));
        self.record(before, Some(after));
        Ok(key)
    }

    /// Whether it was there.
    pub fn delete(&mut self, resource: Resource, key: &Key) -> bool {
        let Some(before) = self.tables.get_mut(&resource).and_then(|table| table.remove(key)) else { return false };
        let last = Arc::new(before.at(self.version + 1));
        self.record(Some(last), None);
        true
    }

    fn record(&mut self, before: Option<Arc<Object>>, after: Option<Arc<Object>>) {
        self.version += 1;
        self.changes += 1;
        self.history.push_back(Change { version: self.version, before, after });
        while self.history.len() > self.capacity
            && let Some(change) = self.history.pop_front()
        {
            self.lost = change.version;
            self.oldest = self.oldest.max(change.version);
        }
    }

    /// What comes after a version, in order. `None`: some of it is lost.
    pub fn since(&self, version: u64) -> Option<impl Iterator<Item = &Change>> {
        let from = self.history.partition_point(|change| change.version <= version);
        (version >= self.lost).then(|| self.history.range(from..))
    }

    /// Every version so far becomes too old for a new watch. The next list has a newer one, as if something else in the
    /// cluster had changed.
    pub fn forget(&mut self) {
        self.version += 1;
        self.oldest = self.version;
    }

    /// What is there now was there from the start.
    pub fn begin(&mut self) {
        self.history.clear();
        self.changes = 0;
        (self.lost, self.oldest) = (self.version, self.version);
    }
}
