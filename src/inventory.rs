//! What runs in the cluster, as plain values: virtual machines, their instances, and pods. Names no Kubernetes type;
//! `cluster` fills it.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

use std::sync::Arc;

/// Every VM and VMI, sorted by namespace and name. What is not known is absent, and each without the other: a service
/// account may be allowed to list one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    pub vms: Option<Objects<Vm>>,
    pub vmis: Option<Objects<Vmi>>,
}

/// Objects of one kind at one moment; clones share them.
pub type Objects<T> = Arc<Vec<Arc<T>>>;

/// A `VirtualMachine`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vm {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Labels of `spec.template.metadata` that start with `kubevirt.io/`, without that prefix, by name; may be empty.
    pub labels: Vec<(String, String)>,
}

/// A `VirtualMachineInstance`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vmi {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// `status.phase`, as Kubernetes spells it (`Running`); absent on an instance that has no status yet.
    pub phase: Option<String>,
    /// `status.nodeName`; absent until it is scheduled.
    pub node: Option<String>,
    /// Labels of `metadata` that start with `kubevirt.io/`, without that prefix, by name; may be empty.
    pub labels: Vec<(String, String)>,
}

/// A `Pod`, as far as it may be pulled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// `status.phase` is `Running`. A pod that is not ready is: a standby of virt-controller never becomes ready.
    pub running: bool,
    /// `status.podIP`; absent until it has one.
    pub ip: Option<String>,
    /// `spec.nodeName`; absent until it is scheduled.
    pub node: Option<String>,
    /// Named ports of its containers.
    pub ports: Vec<(String, u16)>,
}
