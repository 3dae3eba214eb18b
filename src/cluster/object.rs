//! The few fields of an object that we need, out of its JSON. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::inventory::{Pod, Vm, Vmi};

/// Labels outside of this are not the inventory's business.
const LABEL_PREFIX: &str = "kubevirt.io/";

/// A kind of objects that can be listed and watched.
pub trait Object: Sized + Send + Sync + 'static {
    /// The resource's name in URLs and in RBAC rules.
    const PLURAL: &'static str;
    /// Of its group and version.
    const API: &'static str;

    /// # Errors
    /// A field that we need is missing, or is not what it should be.
    fn read(json: &str) -> Result<Self, serde_json::Error>;
}

/// Where an object is, what can be said of it even where the rest makes no sense.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) resource_version: Option<String>,
}

impl Head {
    /// `None` if not even its name can be read.
    pub(super) fn read(json: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Object {
            metadata: Head,
        }
        serde_json::from_str::<Object>(json).ok().map(|object| object.metadata)
    }

    /// What no two objects of a kind share at a time.
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.namespace.as_deref().unwrap_or_default(), self.name)
    }
}

#[derive(Deserialize)]
struct Metadata {
    namespace: String,
    name: String,
    uid: String,
}

/// A virtual machine's own labels do not matter: its template's do.
#[derive(Default, Deserialize)]
struct Labelled {
    #[serde(default, deserialize_with = "null_is_default")]
    labels: BTreeMap<String, String>,
}

impl Object for Vm {
    const PLURAL: &'static str = "virtualmachines";
    const API: &'static str = "/apis/kubevirt.io/v1";

    fn read(json: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Object {
            metadata: Metadata,
            #[serde(default, deserialize_with = "fields")]
            spec: Spec,
        }
        #[derive(Default, Deserialize)]
        struct Spec {
            #[serde(default, deserialize_with = "fields")]
            template: Template,
        }
        #[derive(Default, Deserialize)]
        struct Template {
            #[serde(default, deserialize_with = "fields")]
            metadata: Labelled,
        }
        let Object { metadata: Metadata { namespace, name, uid }, spec } = serde_json::from_str(json)?;
        Ok(Self { namespace, name, uid, labels: own_labels(spec.template.metadata.labels) })
    }
}

impl Object for Vmi {
    const PLURAL: &'static str = "virtualmachineinstances";
    const API: &'static str = "/apis/kubevirt.io/v1";

    fn read(json: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Object {
            metadata: VmiMetadata,
            #[serde(default, deserialize_with = "fields")]
            status: Status,
        }
        #[derive(Deserialize)]
        struct VmiMetadata {
            namespace: String,
            name: String,
            uid: String,
            #[serde(default, deserialize_with = "null_is_default")]
            labels: BTreeMap<String, String>,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Status {
            phase: Option<String>,
            node_name: Option<String>,
        }
        let Object { metadata: VmiMetadata { namespace, name, uid, labels }, status } = serde_json::from_str(json)?;
        let Status { phase, node_name } = status;
        Ok(Self { namespace, name, uid, phase: given(phase), node: given(node_name), labels: own_labels(labels) })
    }
}

impl Object for Pod {
    const PLURAL: &'static str = "pods";
    const API: &'static str = "/api/v1";

    fn read(json: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Object {
            metadata: Metadata,
            #[serde(default, deserialize_with = "fields")]
            spec: Spec,
            #[serde(default, deserialize_with = "fields")]
            status: Status,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Spec {
            node_name: Option<String>,
            #[serde(default, deserialize_with = "null_is_default")]
            containers: Vec<Container>,
        }
        #[derive(Deserialize)]
        struct Container {
            #[serde(default, deserialize_with = "null_is_default")]
            ports: Vec<Port>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Port {
            name: Option<String>,
            container_port: u16,
        }
        #[derive(Default, Deserialize)]
        struct Status {
            phase: Option<String>,
            #[serde(rename = "podIP")]
            pod_ip: Option<String>,
        }
        let Object { metadata: Metadata { namespace, name, uid }, spec, status } = serde_json::from_str(json)?;
        let ports = spec.containers.into_iter().flat_map(|container| container.ports);
        Ok(Self {
            namespace,
            name,
            uid,
            running: status.phase.as_deref() == Some("Running"),
            ip: given(status.pod_ip),
            node: given(spec.node_name),
            ports: ports.filter_map(|port| Some((port.name?, port.container_port))).collect(),
        })
    }
}

/// Absent, `null` and empty are the same to Kubernetes.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The same for what is made of fields: a list, which serde would take for them in their order, is none.
fn fields<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Fields<T>(PhantomData<T>);
    impl<'de, T: Default + Deserialize<'de>> Visitor<'de> for Fields<T> {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<T, E> {
            Ok(T::default())
        }
    }
    deserializer.deserialize_any(Fields(PhantomData))
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// KubeVirt's own labels, without their prefix, by name.
fn own_labels(labels: BTreeMap<String, String>) -> Vec<(String, String)> {
    let own = labels.into_iter().filter_map(|(key, value)| Some((key.strip_prefix(LABEL_PREFIX)?.to_owned(), value)));
    let mut own: Vec<(String, String)> = own.collect();
    own.shrink_to_fit();
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_needs_no_template() {
        let labels = |spec: &str| {
            let json = format!(
                r#"{{"metadata":{{"namespace":"a","name":"b","uid":"c","labels":{{"kubevirt.io/vm":"not these"}}}},"spec":{spec}}}"#
            );
            Vm::read(&json).unwrap().labels
        };
        assert_eq!(labels("null"), []);
        let list = r#"{"metadata":{"namespace":"a","name":"b","uid":"c"},"spec":[null]}"#;
        assert!(Vm::read(list).unwrap_err().to_string().contains("expected an object"));
        assert_eq!(labels(r#"{"running":true}"#), []);
        assert_eq!(labels(r#"{"template":{"metadata":{"labels":null}}}"#), []);
        assert_eq!(
            labels(
                r#"{"template":{"metadata":{"labels":{"app":"x","kubevirt.io/size":"small","kubevirt.io/domain":"z"}}}}"#
            ),
            [("domain".to_owned(), "z".to_owned()), ("size".to_owned(), "small".to_owned())]
        );
    }

    #[test]
    fn a_vmi_needs_no_status() {
        let of = |rest: &str| {
            Vmi::read(&format!(r#"{{"metadata":{{"namespace":"a","name":"b","uid":"c"}}{rest}}}"#)).unwrap()
        };
        assert_eq!((of("").phase, of("").node), (None, None));
        assert_eq!(of(r#","status":{"phase":"","nodeName":null}"#).phase, None);
        let vmi = of(r#","status":{"phase":"Running","nodeName":"n1"}"#);
        assert_eq!((vmi.phase.as_deref(), vmi.node.as_deref()), (Some("Running"), Some("n1")));
    }

    #[test]
    fn a_pod_has_named_ports_of_all_its_containers() {
        let json = r#"{"metadata":{"namespace":"kubevirt","name":"virt-api-1","uid":"u"},
            "spec":{"nodeName":"n1","containers":[{"ports":null},{"ports":[{"containerPort":1},{"name":"metrics","containerPort":8443}]}]},
            "status":{"phase":"Running","podIP":"10.0.0.1"}}"#;
        let pod = Pod::read(json).unwrap();
        assert!(pod.running);
        assert_eq!(pod.ports, [("metrics".to_owned(), 8443)]);
        assert_eq!((pod.ip.as_deref(), pod.node.as_deref()), (Some("10.0.0.1"), Some("n1")));
    }

    #[test]
    fn what_makes_no_sense_may_still_say_where_it_is() {
        let json = r#"{"metadata":{"namespace":"a","name":"b","uid":7,"resourceVersion":"12"}}"#;
        assert!(Vm::read(json).is_err());
        let head = Head::read(json).unwrap();
        assert_eq!((head.key().as_str(), head.resource_version.as_deref()), ("a/b", Some("12")));
        for nothing in ["null", "7", r#""x""#, "{}", r#"{"metadata":{"name":7}}"#] {
            assert!(Head::read(nothing).is_none() && Vm::read(nothing).is_err(), "{nothing}");
        }
    }
}
