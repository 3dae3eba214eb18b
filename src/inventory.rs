//! What runs in the cluster, as plain values: virtual machines and their instances. Names no Kubernetes type; `cluster`
//! fills it.

#![warn(clippy::disallowed_methods, clippy::disallowed_types)]

/// One answer of the Kubernetes API: every VM and VMI, in the order listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    pub vms: Vec<Vm>,
    pub vmis: Vec<Vmi>,
}

/// A `VirtualMachine`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vm {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Labels of `spec.template.metadata` that start with `kubevirt.io/`, without that prefix; may be empty.
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
    /// Labels of `metadata` that start with `kubevirt.io/`, without that prefix; may be empty.
    pub labels: Vec<(String, String)>,
}
