//! VMs and VMIs as gauges, with the tags of Datadog's integration: one series of 1 for each object, or counts by what the
//! operator wants to tell apart; one untagged 0 where there is none. And KubeVirt's count of VMIs by phase and node, which
//! virt-controller has not exposed since 1.3.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::inventory::{Inventory, Vm, Vmi};
use crate::translate::names;
use crate::view::Extra;

/// Computed only where no target exposes it.
pub const PHASE_COUNT: &str = "kubevirt_controller.vmi.phase_count";

/// What one series stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    pub detail: Detail,
    /// What the coarser counts keep apart. Virtual machines have neither phase nor node.
    pub by: Vec<By>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// An object.
    #[default]
    Object,
    /// The objects of a namespace that are alike.
    Namespace,
    /// The objects of the cluster that are alike.
    Cluster,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// `vmi_phase`.
    Phase,
    /// `vmi_nodeName`.
    Node,
    /// `vm_size`, `vmi_size`: the label `kubevirt.io/size`.
    Size,
    /// `vm_domain`, `vmi_domain`: the label `kubevirt.io/domain`.
    Domain,
}

/// `kubevirt_api.vm.count`, `kubevirt_api.vmi.count` and, unless a target `exposes` it, [`PHASE_COUNT`]; nothing of
/// what is not known.
#[must_use]
pub fn extras(inventory: &Inventory, params: &Params, exposes: bool) -> Vec<Extra> {
    let Inventory { vms, vmis } = inventory;
    let mut out = Vec::new();
    if let Some(vms) = vms {
        family(&mut out, VM, params.detail, vms.iter().map(|vm| vm_tags(vm, params)));
    }
    if let Some(vmis) = vmis {
        family(&mut out, VMI, params.detail, vmis.iter().map(|vmi| vmi_tags(vmi, params)));
        if !exposes {
            phases(&mut out, vmis.iter().map(AsRef::as_ref));
        }
    }
    out
}

/// Name, and help for each detail.
type Family = (&'static str, [&'static str; 2]);

const VM: Family = (
    "kubevirt_api.vm.count",
    [
        "Virtual machines in the cluster: 1 for each, 0 if there is none (from the Kubernetes API).",
        "Virtual machines in the cluster that have these labels (from the Kubernetes API).",
    ],
);
const VMI: Family = (
    "kubevirt_api.vmi.count",
    [
        "Virtual machine instances in the cluster: 1 for each, 0 if there is none (from the Kubernetes API).",
        "Virtual machine instances in the cluster that have these labels (from the Kubernetes API).",
    ],
);

fn family(out: &mut Vec<Extra>, (name, help): Family, detail: Detail, rows: impl Iterator<Item = Vec<String>>) {
    let before = out.len();
    match detail {
        Detail::Object => out.extend(rows.map(|tags| gauge(name, help[0], tags, 1.0))),
        Detail::Namespace | Detail::Cluster => counted(out, name, help[1], rows),
    }
    if out.len() == before {
        out.push(gauge(name, help[usize::from(detail != Detail::Object)], Vec::new(), 0.0));
    }
}

fn phases<'v>(out: &mut Vec<Extra>, vmis: impl Iterator<Item = &'v Vmi>) {
    let help = "Virtual machine instances by phase and node (from the Kubernetes API).";
    let rows = vmis.map(|vmi| {
        let phase = vmi.phase.as_deref().map(|phase| names::tag("phase", &phase.to_lowercase()));
        let mut tags: Vec<String> = node(vmi).map(|node| names::tag("node", node)).into_iter().chain(phase).collect();
        tags.sort_unstable();
        tags
    });
    counted(out, PHASE_COUNT, help, rows);
}

/// How often each set of tags occurs.
fn counted(out: &mut Vec<Extra>, name: &'static str, help: &'static str, rows: impl Iterator<Item = Vec<String>>) {
    let mut counts: BTreeMap<Vec<String>, u32> = BTreeMap::new();
    rows.for_each(|tags| *counts.entry(tags).or_default() += 1);
    out.extend(counts.into_iter().map(|(tags, count)| gauge(name, help, tags, f64::from(count))));
}

fn gauge(name: &'static str, help: &'static str, tags: Vec<String>, value: f64) -> Extra {
    Extra { name: Cow::Borrowed(name), help: Cow::Borrowed(help), unit: None, tags, value }
}

fn vm_tags(vm: &Vm, params: &Params) -> Vec<String> {
    let Vm { namespace, name, uid, labels } = vm;
    let own = [("vm_name", name.as_str(), None), ("vm_uid", uid, None)];
    tags(params, namespace, &own, "vm_", labels)
}

fn vmi_tags(vmi: &Vmi, params: &Params) -> Vec<String> {
    let Vmi { namespace, name, uid, phase, node: _, labels } = vmi;
    let phase = phase.as_deref().unwrap_or_default();
    let mut own =
        vec![("vmi_name", name.as_str(), None), ("vmi_uid", uid, None), ("vmi_phase", phase, Some(By::Phase))];
    if params.detail != Detail::Object {
        own.push(("vmi_nodeName", node(vmi).unwrap_or_default(), Some(By::Node)));
    }
    tags(params, namespace, &own, "vmi_", labels)
}

/// KubeVirt labels an instance with its node before the status says so.
fn node(vmi: &Vmi) -> Option<&str> {
    let label = vmi.labels.iter().find(|(key, value)| key == "nodeName" && !value.is_empty());
    label.map(|(_, value)| value.as_str()).or(vmi.node.as_deref())
}

/// The tags that the detail asks for, sorted. `own` are tags with what they tell apart, `None` for those of one object.
fn tags(
    Params { detail, by }: &Params,
    namespace: &str,
    own: &[(&str, &str, Option<By>)],
    prefix: &str,
    labels: &[(String, String)],
) -> Vec<String> {
    let object = *detail == Detail::Object;
    let kept = |what: Option<By>| object || what.is_some_and(|what| by.contains(&what));
    let what = |label: &str| match label {
        "size" => Some(By::Size),
        "domain" => Some(By::Domain),
        _ => None,
    };
    let namespace = Some(("kube_namespace", namespace)).filter(|_| *detail != Detail::Cluster);
    let own = own.iter().filter(|(_, _, what)| kept(*what)).map(|(key, value, _)| (*key, *value));
    let labels = labels.iter().filter(|(key, value)| !value.is_empty() && kept(what(key)));
    let mut tags: Vec<String> = own
        .chain(namespace)
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
    use std::sync::Arc;

    use super::*;

    fn inventory() -> Inventory {
        let vm = |name: &str, size: &str| Vm {
            namespace: "default".into(),
            name: name.into(),
            uid: format!("u-{name}"),
            labels: vec![("domain".into(), name.into()), ("size".into(), size.into())],
        };
        let vmi = |namespace: &str, name: &str, phase: Option<&str>, node: Option<&str>| Vmi {
            namespace: namespace.into(),
            name: name.into(),
            uid: format!("i-{name}"),
            phase: phase.map(str::to_owned),
            node: node.map(str::to_owned),
            labels: node.map(|node| ("nodeName".to_owned(), node.to_owned())).into_iter().collect(),
        };
        let vmis = [
            vmi("default", "testvm", Some("Running"), Some("node-1")),
            vmi("default", "other", Some("Running"), Some("node-1")),
            vmi("b", "bare", None, None),
        ];
        Inventory {
            vms: Some(Arc::new([vm("testvm", "small"), vm("other", "small")].map(Arc::new).into())),
            vmis: Some(Arc::new(vmis.map(Arc::new).into())),
        }
    }

    fn lines(inventory: &Inventory, params: &Params, exposes: bool) -> Vec<String> {
        let line = |e: Extra| format!("{}{{{}}} {}", e.name, e.tags.join(","), e.value);
        extras(inventory, params, exposes).into_iter().map(line).collect()
    }

    #[test]
    fn an_empty_cluster_is_one_untagged_zero_each_and_an_unknown_one_is_nothing() {
        let empty = Inventory { vms: Some(Arc::default()), vmis: Some(Arc::default()) };
        for detail in [Detail::Object, Detail::Namespace, Detail::Cluster] {
            let params = Params { detail, by: vec![By::Phase] };
            assert_eq!(lines(&empty, &params, false), ["kubevirt_api.vm.count{} 0", "kubevirt_api.vmi.count{} 0"]);
        }
        assert!(lines(&Inventory::default(), &Params::default(), false).is_empty());
        let half = Inventory { vms: empty.vms, vmis: None };
        assert_eq!(lines(&half, &Params::default(), false), ["kubevirt_api.vm.count{} 0"]);
    }

    #[test]
    fn objects_carry_the_integrations_tags_and_may_lack_labels_and_phase() {
        assert_eq!(
            lines(&inventory(), &Params::default(), true),
            [
                "kubevirt_api.vm.count{kube_namespace:default,vm_domain:testvm,vm_name:testvm,vm_size:small,vm_uid:u-testvm} 1",
                "kubevirt_api.vm.count{kube_namespace:default,vm_domain:other,vm_name:other,vm_size:small,vm_uid:u-other} 1",
                "kubevirt_api.vmi.count{kube_namespace:default,vmi_name:testvm,vmi_nodeName:node-1,vmi_phase:Running,vmi_uid:i-testvm} 1",
                "kubevirt_api.vmi.count{kube_namespace:default,vmi_name:other,vmi_nodeName:node-1,vmi_phase:Running,vmi_uid:i-other} 1",
                "kubevirt_api.vmi.count{kube_namespace:b,vmi_name:bare,vmi_uid:i-bare} 1",
            ]
        );
    }

    #[test]
    fn coarser_counts_keep_what_is_asked_for() {
        let params = Params { detail: Detail::Namespace, by: vec![By::Phase, By::Node, By::Size] };
        assert_eq!(
            lines(&inventory(), &params, true),
            [
                "kubevirt_api.vm.count{kube_namespace:default,vm_size:small} 2",
                "kubevirt_api.vmi.count{kube_namespace:b} 1",
                "kubevirt_api.vmi.count{kube_namespace:default,vmi_nodeName:node-1,vmi_phase:Running} 2",
            ]
        );
        let params = Params { detail: Detail::Cluster, by: Vec::new() };
        assert_eq!(lines(&inventory(), &params, true), ["kubevirt_api.vm.count{} 2", "kubevirt_api.vmi.count{} 3"]);
    }

    #[test]
    fn phases_are_counted_by_node_in_lower_case() {
        let found = lines(&inventory(), &Params { detail: Detail::Cluster, by: Vec::new() }, false);
        assert_eq!(
            found[2..],
            [
                "kubevirt_controller.vmi.phase_count{} 1",
                "kubevirt_controller.vmi.phase_count{node:node-1,phase:running} 2"
            ]
        );
    }
}
