//! The kinds of object that the mock serves, and how clients discover them.

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    Vms,
    Vmis,
    Pods,
    ConfigMaps,
}

impl Resource {
    pub const ALL: [Self; 4] = [Self::Vms, Self::Vmis, Self::Pods, Self::ConfigMaps];

    pub fn plural(self) -> &'static str {
        match self {
            Self::Vms => "virtualmachines",
            Self::Vmis => "virtualmachineinstances",
            Self::Pods => "pods",
            Self::ConfigMaps => "configmaps",
        }
    }

    pub fn kind(self) -> &'static str {
        match self {
            Self::Vms => "VirtualMachine",
            Self::Vmis => "VirtualMachineInstance",
            Self::Pods => "Pod",
            Self::ConfigMaps => "ConfigMap",
        }
    }

    pub fn group(self) -> &'static str {
        match self {
            Self::Vms | Self::Vmis => "kubevirt.io",
            Self::Pods | Self::ConfigMaps => "",
        }
    }

    pub fn api_version(self) -> &'static str {
        match self {
            Self::Vms | Self::Vmis => "kubevirt.io/v1",
            Self::Pods | Self::ConfigMaps => "v1",
        }
    }

    /// As messages name it: with its group, if it has one.
    pub fn qualified(self) -> String {
        match self.group() {
            "" => self.plural().to_owned(),
            group => format!("{}.{group}", self.plural()),
        }
    }

    pub fn of_plural(plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.plural() == plural)
    }

    pub fn of_kind(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.kind() == kind)
    }
}

/// What kubectl asks before anything else.
pub fn discovery<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let version = json!({"major": "1", "minor": "31", "gitVersion": "v1.31.0"});
    let kubevirt = json!({"groupVersion": "kubevirt.io/v1", "version": "v1"});
    let group = json!({"name": "kubevirt.io", "versions": [kubevirt], "preferredVersion": kubevirt});
    let groups = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]});
    Router::new()
        .route("/version", fixed(version))
        .route("/api", fixed(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})))
        .route("/apis", fixed(groups))
        .route("/api/v1", fixed(resources("")))
        .route("/apis/kubevirt.io/v1", fixed(resources("kubevirt.io")))
}

fn fixed<S: Clone + Send + Sync + 'static>(answer: Value) -> axum::routing::MethodRouter<S> {
    get(async move || axum::Json(answer))
}

fn resources(group: &str) -> Value {
    let of_group = Resource::ALL.into_iter().filter(|resource| resource.group() == group);
    let resources = of_group.map(|resource| {
        let short = match resource {
            Resource::Vms => "vm",
            Resource::Vmis => "vmi",
            Resource::Pods => "po",
            Resource::ConfigMaps => "cm",
        };
        json!({
            "name": resource.plural(),
            "singularName": resource.kind().to_lowercase(),
            "kind": resource.kind(),
            "namespaced": true,
            "shortNames": [short],
            "verbs": ["get", "list", "watch"],
        })
    });
    let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version,
        "resources": resources.collect::<Vec<_>>(),
    })
}
