//! VMs and VMIs as gauges, with the tags of Datadog's integration: one series of 1 for each object, one untagged 0 where
//! there is none.

use crate::inventory::{Inventory, Vm, Vmi};
use crate::translate::names;
use crate::view::Extra;

/// `kubevirt_api.vm.count` and `kubevirt_api.vmi.count`.
#[must_use]
pub fn extras(inventory: &Inventory) -> Vec<Extra> {
    let Inventory { vms, vmis } = inventory;
    let mut out = family("kubevirt_api.vm.count", "Virtual machines", vms.iter().map(vm_tags));
    out.extend(family("kubevirt_api.vmi.count", "Virtual machine instances", vmis.iter().map(vmi_tags)));
    out
}

fn family(name: &str, what: &str, rows: impl Iterator<Item = Vec<String>>) -> Vec<Extra> {
    let extra = |tags, value| Extra {
        name: name.to_owned(),
        help: format!("{what} in the cluster: 1 for each, 0 if there is none (from the Kubernetes API)."),
        unit: None,
        tags,
        value,
    };
    let mut out: Vec<Extra> = rows.map(|tags| extra(tags, 1.0)).collect();
    if out.is_empty() {
        out.push(extra(Vec::new(), 0.0));
    }
    out
}

fn vm_tags(vm: &Vm) -> Vec<String> {
    let Vm { namespace, name, uid, labels } = vm;
    let own = [("vm_name", name.as_str()), ("vm_uid", uid), ("kube_namespace", namespace)];
    tags(own.into_iter(), "vm_", labels)
}

fn vmi_tags(vmi: &Vmi) -> Vec<String> {
    let Vmi { namespace, name, uid, phase, labels } = vmi;
    let own = [("vmi_name", name.as_str()), ("vmi_uid", uid), ("kube_namespace", namespace)];
    let phase = phase.as_deref().map(|phase| ("vmi_phase", phase));
    tags(own.into_iter().chain(phase), "vmi_", labels)
}

fn tags<'a>(own: impl Iterator<Item = (&'a str, &'a str)>, prefix: &str, labels: &[(String, String)]) -> Vec<String> {
    let labels = labels.iter().filter(|(_, value)| !value.is_empty());
    let mut tags: Vec<String> = own
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| names::tag(key, value))
        .chain(labels.map(|(key, value)| names::tag(&format!("{prefix}{key}"), value)))
        .collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

#[cfg(test)]
mod tests {
    use super::extras;
    use crate::inventory::{Inventory, Vm, Vmi};

    #[test]
    fn an_empty_cluster_is_one_untagged_zero_each() {
        let found: Vec<_> = extras(&Inventory::default()).into_iter().map(|e| (e.name, e.tags, e.value)).collect();
        assert_eq!(
            found,
            [("kubevirt_api.vm.count".to_owned(), vec![], 0.0), ("kubevirt_api.vmi.count".to_owned(), vec![], 0.0)]
        );
    }

    #[test]
    fn objects_carry_the_integrations_tags_and_may_lack_labels_and_phase() {
        let inventory = Inventory {
            vms: vec![Vm {
                namespace: "default".into(),
                name: "testvm".into(),
                uid: "u1".into(),
                labels: vec![("size".into(), "small".into()), ("domain".into(), "testvm".into())],
            }],
            vmis: vec![
                Vmi {
                    namespace: "default".into(),
                    name: "testvm".into(),
                    uid: "u2".into(),
                    phase: Some("Running".into()),
                    labels: vec![("nodeName".into(), "node-1".into())],
                },
                Vmi { namespace: "default".into(), name: "bare".into(), uid: "u3".into(), phase: None, labels: vec![] },
            ],
        };
        let tags: Vec<_> = extras(&inventory).into_iter().map(|extra| extra.tags).collect();
        assert_eq!(
            tags[0],
            ["kube_namespace:default", "vm_domain:testvm", "vm_name:testvm", "vm_size:small", "vm_uid:u1"]
        );
        assert_eq!(
            tags[1],
            ["kube_namespace:default", "vmi_name:testvm", "vmi_nodeName:node-1", "vmi_phase:Running", "vmi_uid:u2"]
        );
        assert_eq!(tags[2], ["kube_namespace:default", "vmi_name:bare", "vmi_uid:u3"]);
    }
}
