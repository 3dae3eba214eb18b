//! The few fields of VMs and VMIs that the inventory needs, out of their JSON. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::inventory::{Inventory, Vm, Vmi};

/// Labels outside of this are not the inventory's business.
const LABEL_PREFIX: &str = "kubevirt.io/";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Vm,
    Vmi,
}

impl Kind {
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Vm => "virtualmachines",
            Self::Vmi => "virtualmachineinstances",
        }
    }

    /// All namespaces.
    pub(super) fn path(self) -> String {
        format!("/apis/kubevirt.io/v1/{}", self.plural())
    }
}

/// One answer. Its items are not read yet, so that one of them cannot spoil the others.
#[derive(Debug, Deserialize)]
pub(super) struct Page<'a> {
    #[serde(default)]
    metadata: ListMetadata,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
struct ListMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

impl<'a> Page<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The token of the next page; `None` on the last.
    pub(super) fn next(&self) -> Option<&str> {
        self.metadata.next.as_deref().filter(|next| !next.is_empty())
    }

    /// Adds the items, and says how many could not be read.
    pub(super) fn read_into(&self, kind: Kind, inventory: &mut Inventory) -> u64 {
        let mut skipped = 0;
        for item in self.items.iter().flatten() {
            let read = match kind {
                Kind::Vm => serde_json::from_str::<VmObject>(item.get()).map(|vm| inventory.vms.push(vm.into())),
                Kind::Vmi => serde_json::from_str::<VmiObject>(item.get()).map(|vmi| inventory.vmis.push(vmi.into())),
            };
            if read.is_err() {
                skipped += 1;
            }
        }
        skipped
    }
}

#[derive(Deserialize)]
struct Metadata {
    namespace: String,
    name: String,
    uid: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct VmObject {
    metadata: Metadata,
    #[serde(default)]
    spec: VmSpec,
}

#[derive(Default, Deserialize)]
struct VmSpec {
    template: Option<Template>,
}

#[derive(Deserialize)]
struct Template {
    metadata: Option<TemplateMetadata>,
}

#[derive(Deserialize)]
struct TemplateMetadata {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct VmiObject {
    metadata: Metadata,
    status: Option<VmiStatus>,
}

#[derive(Deserialize)]
struct VmiStatus {
    phase: Option<String>,
}

impl From<VmObject> for Vm {
    fn from(vm: VmObject) -> Self {
        let VmObject { metadata: Metadata { namespace, name, uid, labels: _ }, spec: VmSpec { template } } = vm;
        let labels = template.and_then(|template| template.metadata).and_then(|metadata| metadata.labels);
        Self { namespace, name, uid, labels: own_labels(labels) }
    }
}

impl From<VmiObject> for Vmi {
    fn from(vmi: VmiObject) -> Self {
        let VmiObject { metadata: Metadata { namespace, name, uid, labels }, status } = vmi;
        let phase = status.and_then(|status| status.phase).filter(|phase| !phase.is_empty());
        Self { namespace, name, uid, phase, labels: own_labels(labels) }
    }
}

/// KubeVirt's own labels, without their prefix, by name.
fn own_labels(labels: Option<BTreeMap<String, String>>) -> Vec<(String, String)> {
    labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.strip_prefix(LABEL_PREFIX)?.to_owned(), value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_needs_no_template_and_a_vmi_no_status() {
        let text = r#"{"kind":"VirtualMachineList","metadata":{"continue":""},"items":[
            {"metadata":{"namespace":"a","name":"b","uid":"c"},"spec":{"running":true}},
            {"metadata":{"namespace":"a","name":"d","uid":"e"},"spec":{"template":{"metadata":{"labels":null}}}},
            {"metadata":{"namespace":"a","name":"f","uid":"g","labels":{"kubevirt.io/vm":"not these"}},
             "spec":{"template":{"metadata":{"labels":{"app":"x","kubevirt.io/size":"small","kubevirt.io/domain":"z"}}}}}
        ]}"#;
        let page = Page::parse(text).unwrap();
        let mut inventory = Inventory::default();
        assert_eq!((page.read_into(Kind::Vm, &mut inventory), page.next()), (0, None));
        let labels: Vec<usize> = inventory.vms.iter().map(|vm| vm.labels.len()).collect();
        assert_eq!(labels, [0, 0, 2]);
        assert_eq!(inventory.vms[2].labels[0], ("domain".to_owned(), "z".to_owned()));

        let text = r#"{"metadata":{"continue":"next"},"items":[
            {"metadata":{"namespace":"a","name":"b","uid":"c"}},
            {"metadata":{"namespace":"a","name":"d","uid":"e","labels":{"kubevirt.io/nodeName":"n1"}},
             "status":{"phase":"Running"}},
            {"metadata":{"namespace":"a","name":"f","uid":"g"},"status":{"phase":""}}
        ]}"#;
        let page = Page::parse(text).unwrap();
        assert_eq!((page.read_into(Kind::Vmi, &mut inventory), page.next()), (0, Some("next")));
        let phases: Vec<Option<&str>> = inventory.vmis.iter().map(|vmi| vmi.phase.as_deref()).collect();
        assert_eq!(phases, [None, Some("Running"), None]);
        assert_eq!(inventory.vmis[1].labels, [("nodeName".to_owned(), "n1".to_owned())]);
    }

    #[test]
    fn one_malformed_item_costs_only_itself() {
        let text =
            r#"{"items":[{"metadata":{"name":7}},{"metadata":{"namespace":"a","name":"b","uid":"c"}},"x",null]}"#;
        let mut inventory = Inventory::default();
        assert_eq!(Page::parse(text).unwrap().read_into(Kind::Vm, &mut inventory), 3);
        assert_eq!(inventory.vms.len(), 1);
    }

    #[test]
    fn a_list_may_have_null_items() {
        let page = Page::parse(r#"{"metadata":{},"items":null}"#).unwrap();
        assert_eq!(page.read_into(Kind::Vm, &mut Inventory::default()), 0);
    }
}
