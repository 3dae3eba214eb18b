//! The objects of one kind as the API server's changes leave them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::object::{Head, Object};
use crate::inventory::Objects;

/// What is known of one kind.
#[derive(Debug)]
pub(super) struct Index<T> {
    objects: BTreeMap<String, Arc<T>>,
    /// Objects that are there and cannot be read.
    unreadable: BTreeSet<String>,
    /// Objects of which not even the name can be read, since the last list.
    nameless: u64,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), unreadable: BTreeSet::new(), nameless: 0 }
    }
}

impl<T: Object> Index<T> {
    /// Takes in an object of a list, or one that was added or changed; returns the version it brings. What cannot be
    /// read spoils nothing else, and what was known of it is no longer true.
    pub(super) fn put(&mut self, json: &str) -> Option<String> {
        let Some(head) = Head::read(json) else {
            self.nameless += 1;
            return None;
        };
        let key = head.key();
        match T::read(json) {
            Ok(object) => {
                self.unreadable.remove(&key);
                self.objects.insert(key, Arc::new(object));
            }
            Err(error) => {
                tracing::debug!(kind = T::PLURAL, object = key, %error, "an object cannot be read");
                self.objects.remove(&key);
                self.unreadable.insert(key);
            }
        }
        head.resource_version
    }

    /// Forgets an object that was deleted; returns the version of its end.
    pub(super) fn remove(&mut self, json: &str) -> Option<String> {
        let head = Head::read(json)?;
        let key = head.key();
        self.objects.remove(&key);
        self.unreadable.remove(&key);
        head.resource_version
    }

    /// Sorted by namespace and name.
    pub(super) fn objects(&self) -> Objects<T> {
        Arc::new(self.objects.values().cloned().collect())
    }

    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable.len() as u64 + self.nameless
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::Vm;

    fn vm(name: &str, uid: &str, version: u32) -> String {
        format!(r#"{{"metadata":{{"namespace":"a","name":"{name}","uid":{uid},"resourceVersion":"{version}"}}}}"#)
    }

    fn names(index: &Index<Vm>) -> Vec<String> {
        index.objects().iter().map(|vm| vm.name.clone()).collect()
    }

    #[test]
    fn objects_come_change_and_go() {
        let mut index = Index::<Vm>::default();
        assert_eq!(index.put(&vm("b", "\"1\"", 5)).as_deref(), Some("5"));
        index.put(&vm("a", "\"2\"", 6));
        let before = index.objects();
        index.put(&vm("b", "\"3\"", 7));
        assert_eq!((before[1].uid.as_str(), index.objects()[1].uid.as_str()), ("1", "3"), "a snapshot stays as it was");
        assert_eq!(index.remove(&vm("a", "\"2\"", 8)).as_deref(), Some("8"));
        assert_eq!(names(&index), ["b"]);
    }

    #[test]
    fn what_cannot_be_read_costs_only_itself_and_is_counted_while_it_is_there() {
        let mut index = Index::<Vm>::default();
        index.put(&vm("a", "\"1\"", 1));
        index.put(&vm("b", "\"2\"", 2));
        assert_eq!(index.put(&vm("a", "7", 3)).as_deref(), Some("3"), "watching goes on behind it");
        assert_eq!((names(&index), index.unreadable()), (vec!["b".to_owned()], 1));
        index.put(&vm("a", "\"1\"", 4));
        assert_eq!((names(&index).len(), index.unreadable()), (2, 0));
        index.put(&vm("a", "7", 5));
        index.remove(&vm("a", "7", 6));
        assert_eq!(index.unreadable(), 0);
        assert_eq!((index.put("null"), index.remove("7"), index.unreadable()), (None, None, 1));
    }
}
