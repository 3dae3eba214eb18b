//! Objects made up: machines as small as a test wants them, or as large as real ones; virt-api's pods and its CA.

use serde_json::{Map, Value, json};

use crate::mock::Random;

const NAMESPACES: [&str; 3] = ["default", "tenant-a", "tenant-b"];
const NODES: usize = 3;
const CREATED: &str = "2024-07-23T13:30:34Z";

/// Which machine to make.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Decides name, namespace and what is odd about it.
    pub at: usize,
    /// Decides the uid: the same name may come again as another object.
    pub serial: usize,
    /// As large as a real one.
    pub realistic: bool,
}

/// Every fourth has no template labels, every seventh no template metadata at all: both are normal.
pub fn vm(recipe: Recipe) -> Value {
    let Recipe { at, serial, realistic } = recipe;
    let name = format!("vm-{at}");
    let mut template = json!({"spec": {"domain": {"devices": {}}}});
    if at % 7 != 6 {
        template["metadata"] = json!({});
        if at % 4 != 3 {
            let size = ["small", "medium", "large"][at % 3];
            template["metadata"]["labels"] =
                json!({"kubevirt.io/domain": name, "kubevirt.io/size": size, "app": "web"});
        }
    }
    let mut vm = json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, "namespace": NAMESPACES[at % 3], "uid": uid(1, serial)},
        "spec": {"runStrategy": "Always", "template": template},
        "status": {"printableStatus": "Running"},
    });
    if realistic {
        vm["spec"]["template"]["spec"] = machine(at);
        let applied = vm.to_string();
        vm["metadata"]["annotations"] = json!({
            "kubectl.kubernetes.io/last-applied-configuration": applied,
            "kubevirt.io/latest-observed-api-version": "v1",
            "kubevirt.io/storage-observed-api-version": "v1",
        });
        merge(
            &mut vm["metadata"],
            json!({
                "creationTimestamp": CREATED,
                "finalizers": ["kubevirt.io/virtualMachineControllerFinalize"],
                "generation": 2,
            }),
        );
        let snapshots = ["containerdisk", "cloudinitdisk"].map(|disk| {
            let reason = format!("Snapshot is not supported for this volumeSource type [{disk}]");
            json!({"enabled": false, "name": disk, "reason": reason})
        });
        merge(
            &mut vm["status"],
            json!({
                "conditions": conditions(), "created": true, "desiredGeneration": 2, "observedGeneration": 2,
                "ready": true, "runStrategy": "Always", "volumeSnapshotStatuses": snapshots,
            }),
        );
        manage(&mut vm, "kubectl-client-side-apply");
    }
    vm
}

/// Every fifth has no phase yet.
pub fn vmi(recipe: Recipe, random: &mut Random) -> Value {
    let Recipe { at, serial, realistic } = recipe;
    let name = format!("vm-{at}");
    let mut status = json!({});
    if at % 5 != 4 {
        status["phase"] = json!(phase(random));
    }
    let node = node(random);
    status["nodeName"] = json!(node);
    let mut vmi = json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {
            "name": name,
            "namespace": NAMESPACES[at % 3],
            "uid": uid(2, serial),
            "labels": {"kubevirt.io/domain": name, "kubevirt.io/nodeName": node, "kubevirt.io/size": "small"},
        },
        "spec": {"domain": {"devices": {}}},
        "status": status,
    });
    if realistic {
        vmi["spec"] = machine(at);
        let owner = json!({
            "apiVersion": "kubevirt.io/v1", "blockOwnerDeletion": true, "controller": true,
            "kind": "VirtualMachine", "name": name, "uid": uid(1, serial),
        });
        merge(
            &mut vmi["metadata"],
            json!({
                "annotations": {
                    "kubevirt.io/latest-observed-api-version": "v1",
                    "kubevirt.io/storage-observed-api-version": "v1",
                    "kubevirt.io/vm-generation": "2",
                },
                "creationTimestamp": CREATED,
                "finalizers": ["kubevirt.io/virtualMachineControllerFinalize", "foregroundDeleteVirtualMachine"],
                "generation": 10,
                "ownerReferences": [owner],
            }),
        );
        let moments = ["Pending", "Scheduling", "Scheduled", "Running"]
            .map(|phase| json!({"phase": phase, "phaseTransitionTimestamp": CREATED}));
        let address = format!("10.244.{}.{}", at / 250 % 250, at % 250 + 1);
        merge(
            &mut vmi["status"],
            json!({
                "activePods": {uid(4, serial): node},
                "conditions": conditions(),
                "currentCPUTopology": {"cores": 1, "sockets": 1, "threads": 1},
                "guestOSInfo": {},
                "interfaces": [{
                    "infoSource": "domain", "ipAddress": address, "ipAddresses": [address],
                    "mac": "02:5c:f5:c6:e8:e8", "name": "default", "queueCount": 1,
                }],
                "launcherContainerImageVersion": "quay.io/kubevirt/virt-launcher:v1.6.0",
                "machine": {"type": "pc-q35-rhel9.2.0"},
                "memory": {"guestAtBoot": "1Gi", "guestCurrent": "1Gi", "guestRequested": "1Gi"},
                "migrationMethod": "BlockMigration", "migrationTransport": "Unix",
                "phaseTransitionTimestamps": moments,
                "qosClass": "Burstable", "runtimeUser": 107, "selinuxContext": "none",
                "virtualMachineRevisionName": format!("revision-start-vm-{}-2", uid(1, serial)),
                "volumeStatus": [
                    {"name": "cloudinitdisk", "size": 1_048_576, "target": "vdb"},
                    {"containerDiskVolume": {"checksum": 101_079_325}, "name": "containerdisk", "target": "vda"},
                ],
            }),
        );
        manage(&mut vmi, "virt-controller");
    }
    vmi
}

pub fn pod(at: usize) -> Value {
    let ports = ["virt-api", "metrics"].map(|name| json!({"containerPort": 8443, "name": name, "protocol": "TCP"}));
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": format!("virt-api-mock-{at}"),
            "namespace": "kubevirt",
            "uid": uid(3, at),
            "labels": {
                "app.kubernetes.io/component": "kubevirt", "app.kubernetes.io/version": "v1.6.0",
                "kubevirt.io": "virt-api", "prometheus.kubevirt.io": "true",
            },
        },
        "spec": {
            "nodeName": format!("node-{}", at % NODES),
            "containers": [{"name": "virt-api", "image": "quay.io/kubevirt/virt-api:v1.6.0", "ports": ports}],
        },
        "status": {
            "phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

/// What KubeVirt signs its certificates with.
pub fn ca(bundle: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kubevirt-ca", "namespace": "kubevirt", "uid": uid(5, 0)},
        "data": {"ca-bundle": bundle},
    })
}

pub fn phase(random: &mut Random) -> &'static str {
    ["Running", "Running", "Running", "Scheduling", "Failed"][random.below(5)]
}

pub fn node(random: &mut Random) -> String {
    format!("node-{}", random.below(NODES))
}

/// What a VM's template and its VMI share.
fn machine(at: usize) -> Value {
    let size = ["small", "medium", "large"][at % 3];
    json!({
        "architecture": "amd64",
        "domain": {
            "cpu": {"cores": 1, "model": "host-model", "sockets": 1, "threads": 1},
            "devices": {
                "disks": [
                    {"disk": {"bus": "virtio"}, "name": "containerdisk"},
                    {"disk": {"bus": "virtio"}, "name": "cloudinitdisk"},
                ],
                "interfaces": [{"masquerade": {}, "name": "default"}],
            },
            "firmware": {"uuid": uid(6, at)},
            "machine": {"type": "q35"},
            "resources": {"requests": {"memory": if size == "large" { "4Gi" } else { "1Gi" }}},
        },
        "evictionStrategy": "None",
        "networks": [{"name": "default", "pod": {}}],
        "volumes": [
            {"containerDisk": {"image": "quay.io/kubevirt/cirros-container-disk-demo"}, "name": "containerdisk"},
            {"cloudInitNoCloud": {"userDataBase64": "SGkuXG4="}, "name": "cloudinitdisk"},
        ],
    })
}

fn conditions() -> Value {
    json!([
        {"lastProbeTime": null, "lastTransitionTime": "2024-07-23T13:30:50Z", "status": "True", "type": "Ready"},
        {"lastProbeTime": null, "lastTransitionTime": null, "status": "True", "type": "LiveMigratable"},
    ])
}

/// Adds `managedFields` for all that an object has.
fn manage(object: &mut Value, manager: &str) {
    let [mut main, mut status] = [fields(object), json!({})];
    if let Some(main) = main.as_object_mut() {
        status["f:status"] = main.remove("f:status").unwrap_or_default();
    }
    let entry = |manager: &str, fields: Value| {
        json!({
            "apiVersion": "kubevirt.io/v1", "fieldsType": "FieldsV1", "fieldsV1": fields,
            "manager": manager, "operation": "Update", "time": CREATED,
        })
    };
    object["metadata"]["managedFields"] = json!([entry(manager, main), entry("virt-controller", status)]);
}

fn fields(value: &Value) -> Value {
    let children = value.as_object().into_iter().flatten();
    Value::Object(children.map(|(name, child)| (format!("f:{name}"), fields(child))).collect::<Map<_, _>>())
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

fn uid(kind: usize, at: usize) -> String {
    format!("{kind:08x}-0000-4000-8000-{at:012x}")
}
