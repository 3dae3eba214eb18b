#!/usr/bin/env python3
"""The manifests in deploy/kubernetes, as kubectl renders them: Kubernetes' own schemas, and what they must mean.

    python tests/peers/manifests.py [FOLDER]

FOLDER is deploy/kubernetes of this clone unless given. Needs, in a venv of its own:

    pip install kubernetes-validate==1.37.0 pyyaml==6.0.4

and kubectl for its kustomize, with no cluster: Debian's package, `apt-get install --no-install-recommends
kubernetes-client`, is 1.20 with kustomize 2.0, the oldest that must do; newer ones warn that fields are deprecated.
KUBECTL names another binary.
"""

import os
import pathlib
import re
import subprocess
import sys

import kubernetes_validate
import yaml

# The oldest schemas that kubernetes-validate holds, and the newest.
SCHEMAS = ["1.25", kubernetes_validate.latest_version()]
COMPONENTS = {"virt-api": "kubevirt_api", "virt-controller": "kubevirt_controller", "virt-handler": "kubevirt_handler"}
KUBEVIRT = "kubevirt"


class Checks:
    """Prints each check as it is made, and counts. A check that cannot find what it asks about has failed."""

    def __init__(self):
        self.made = self.failed = 0

    def check(self, what, holds):
        detail = ""
        try:
            result = holds()
        except (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError, yaml.YAMLError) as error:
            result, detail = False, f": {type(error).__name__}: {error}"
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            result, detail = False, f": {error.message}"
        print(("ok      " if result else "FAILED  ") + what + detail, flush=True)
        self.made += 1
        self.failed += not result

    def close(self):
        print(f"{self.made - self.failed} of {self.made} checks of the manifests pass")
        if self.failed or not self.made:
            raise SystemExit(1)


def render(folder):
    """The objects of one kustomize folder."""
    command = [os.environ.get("KUBECTL", "kubectl"), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"FAILED  kubectl kustomize {folder}: {done.stderr.strip()}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def name_of(thing):
    metadata = thing["metadata"]
    return f"{thing['kind']} " + "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))


def only(objects, kind):
    """The one object of that kind; ValueError if there are more, or none."""
    (found,) = [thing for thing in objects if thing["kind"] == kind]
    return found


def matches(selector, labels):
    """Whether a selector that is all `matchLabels`, and not empty, chooses an object with these labels."""
    wanted = selector["matchLabels"]
    return set(selector) == {"matchLabels"} and bool(wanted) and wanted.items() <= labels.items()


def ports(rule):
    return sorted((port["protocol"], port["port"]) for port in rule["ports"])


def schemas(checks, objects):
    for thing in objects:
        if thing["kind"] == "ServiceMonitor":
            continue  # The Prometheus Operator's, not Kubernetes'; `monitor` below looks at it.
        for version in SCHEMAS:
            checks.check(f"{name_of(thing)} fits the schema of Kubernetes {version}",
                         lambda: kubernetes_validate.validate(thing, version, strict=True))


def workload(checks, objects):
    spec = lambda: only(objects, "StatefulSet")["spec"]
    pod = lambda: spec()["template"]["spec"]
    container = lambda: only_one(pod()["containers"])
    env = lambda: {entry["name"]: entry for entry in container()["env"]}
    http_port = lambda: next(port["containerPort"] for port in container()["ports"] if port["name"] == "http")

    def only_one(items):
        (item,) = items
        return item

    def claim():
        template = only_one(spec()["volumeClaimTemplates"])
        mounts = {mount["name"]: mount for mount in container()["volumeMounts"]}
        mount = mounts[template["metadata"]["name"]]
        return (template["spec"]["resources"]["requests"]["storage"] == "1Gi" and not mount.get("readOnly")
                and template["spec"]["accessModes"] == ["ReadWriteOnce"] and mount["mountPath"] == "/var/lib/promdog")

    def not_root():
        user, override = pod()["securityContext"], container()["securityContext"]
        return (user["runAsNonRoot"] is True and user["runAsUser"] == user["fsGroup"] == 65532
                and override.get("runAsNonRoot", True) and override.get("runAsUser", 65532) == 65532)

    def probe(which, path):
        asked = container()[which]["httpGet"]
        return asked["path"] == path and asked["port"] == "http" and http_port() == 10045

    def key():
        entry = env()["DD_API_KEY"]
        return set(entry) == {"name", "valueFrom"} and entry["valueFrom"] == {
            "secretKeyRef": {"name": "datadog-api-key", "key": "api-key", "optional": True}}

    def no_literal():
        text = yaml.safe_dump_all(objects)
        return not any(thing["kind"] == "Secret" for thing in objects) and not re.search(r"\b[0-9a-fA-F]{32}\b", text)

    def mounted():
        generated = only(objects, "ConfigMap")
        volume = only_one([one for one in pod()["volumes"] if one.get("configMap")])
        mount = only_one([one for one in container()["volumeMounts"] if one["name"] == volume["name"]])
        path = container()["args"][container()["args"].index("--config.file") + 1]
        return (volume["configMap"]["name"] == generated["metadata"]["name"] and mount["readOnly"] is True
                and re.fullmatch(r"promdog-[0-9a-z]{10}", generated["metadata"]["name"])
                and generated["metadata"]["namespace"] == only(objects, "StatefulSet")["metadata"]["namespace"]
                and list(generated["data"]) == ["promdog.yaml"] and path == mount["mountPath"] + "/promdog.yaml")

    security = lambda: container()["securityContext"]
    checks.check("one replica, of a StatefulSet", lambda: spec()["replicas"] == 1)
    checks.check("the state is a claim of 1Gi at /var/lib/promdog", claim)
    checks.check("not root, but 65532", not_root)
    checks.check("the root file system is read-only", lambda: security()["readOnlyRootFilesystem"] is True)
    checks.check("all capabilities are dropped, and none added",
                 lambda: security()["capabilities"] == {"drop": ["ALL"]})
    checks.check("no escalation of privileges", lambda: security()["allowPrivilegeEscalation"] is False)
    checks.check("the runtime's seccomp profile",
                 lambda: pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"})
    checks.check("nothing of the host", lambda: not {"hostNetwork", "hostPID", "hostIPC"} & set(pod())
                 and not any("hostPath" in volume for volume in pod()["volumes"]))
    checks.check("the namespace enforces the restricted standard", lambda: only(objects, "Namespace")["metadata"][
        "labels"]["pod-security.kubernetes.io/enforce"] == "restricted")
    checks.check("the liveness probe asks /-/healthy of port 10045", lambda: probe("livenessProbe", "/-/healthy"))
    checks.check("the readiness probe asks /-/ready of port 10045", lambda: probe("readinessProbe", "/-/ready"))
    resources = lambda: container()["resources"]
    checks.check("requests of CPU and memory, and a limit of memory", lambda: resources()["requests"]["cpu"]
                 and resources()["requests"]["memory"] and resources()["limits"]["memory"])
    checks.check("30 s to end", lambda: pod()["terminationGracePeriodSeconds"] == 30)
    checks.check("the key comes from the Secret, which may be missing", key)
    checks.check("no Secret and no literal key", no_literal)
    checks.check("site and cluster name are plain values",
                 lambda: env()["DD_SITE"]["value"] and env()["DD_CLUSTER_NAME"]["value"])
    checks.check("the configuration is the generated ConfigMap", mounted)
    checks.check("the StatefulSet's selector chooses its pod",
                 lambda: matches(spec()["selector"], spec()["template"]["metadata"]["labels"]))


def permissions(checks, objects):
    def subjects(binding):
        account = only(objects, "ServiceAccount")["metadata"]
        return binding["subjects"] == [
            {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}]

    def runs_as():
        account, stateful_set = only(objects, "ServiceAccount"), only(objects, "StatefulSet")
        return (account["metadata"]["name"] == stateful_set["spec"]["template"]["spec"]["serviceAccountName"]
                and account["metadata"]["namespace"] == stateful_set["metadata"]["namespace"])

    def view():
        binding = only(objects, "ClusterRoleBinding")
        return subjects(binding) and binding["roleRef"] == {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kubevirt.io:view"}

    def bound():
        role, binding = only(objects, "Role"), only(objects, "RoleBinding")
        return (subjects(binding) and role["metadata"]["namespace"] == binding["metadata"]["namespace"] == KUBEVIRT
                and binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
                                           "name": role["metadata"]["name"]})

    checks.check("the pod's account is the one that gets the permissions", runs_as)
    checks.check("the ClusterRoleBinding is kubevirt.io:view", view)
    checks.check("no ClusterRole", lambda: not any(thing["kind"] == "ClusterRole" for thing in objects))
    checks.check("the Role is pods list and watch, configmaps kubevirt-ca get, and nothing more",
                 lambda: only(objects, "Role")["rules"] == [
                     {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
                     {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["kubevirt-ca"],
                      "verbs": ["get"]}])
    checks.check("the Role is bound, in KubeVirt's namespace", bound)


def configuration(checks, objects):
    read = lambda: yaml.safe_load(only(objects, "ConfigMap")["data"]["promdog.yaml"])

    def target(component):
        (found,) = [one for one in read()["targets"] if one["name"] == component]
        return found == {
            "name": component, "mapping": COMPONENTS[component],
            "kubernetes": {"namespace": KUBEVIRT, "selector": f"kubevirt.io={component}", "port": 8443,
                           "server_name": f"{component}.{KUBEVIRT}.svc", "ca": "kubevirt-ca"}}

    checks.check("promdog.yaml has the three targets and no other",
                 lambda: sorted(one["name"] for one in read()["targets"]) == sorted(COMPONENTS))
    for component in COMPONENTS:
        checks.check(f"the target {component}: mapping, selector, port, server name, CA", lambda: target(component))
    # YAML 1.1 reads `on` as true.
    checks.check("promdog.yaml counts virtual machines", lambda: read()["kubernetes"] == {"inventory": True})


def network(checks, objects):
    labels = lambda: only(objects, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    policy = lambda: only(objects, "NetworkPolicy")["spec"]

    def service():
        (port,) = only(objects, "Service")["spec"]["ports"]
        selector = only(objects, "Service")["spec"]["selector"]
        name = only(objects, "StatefulSet")["spec"]["serviceName"]
        return (matches({"matchLabels": selector}, labels()) and name == only(objects, "Service")["metadata"]["name"]
                and (port["port"], port["targetPort"]) == (10045, "http"))

    def egress(what):
        found = [rule for rule in policy()["egress"] if ports(rule) == what]
        (rule,) = found
        return rule

    def kubevirt():
        (peer,) = egress([("TCP", 8443)])["to"]
        (expression,) = peer["podSelector"]["matchExpressions"]
        return (set(peer["podSelector"]) == {"matchExpressions"}
                and peer["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": KUBEVIRT}}
                and expression == {"key": "kubevirt.io", "operator": "In", "values": sorted(COMPONENTS)})

    checks.check("the Service leads to the pod's port", service)
    checks.check("the NetworkPolicy chooses the pod", lambda: matches(policy()["podSelector"], labels())
                 and only(objects, "NetworkPolicy")["metadata"]["namespace"]
                 == only(objects, "StatefulSet")["metadata"]["namespace"])
    checks.check("the NetworkPolicy is for both directions",
                 lambda: sorted(policy()["policyTypes"]) == ["Egress", "Ingress"])
    checks.check("in: 10045 and nothing else",
                 lambda: [ports(rule) for rule in policy()["ingress"]] == [[("TCP", 10045)]])
    checks.check("out: DNS", lambda: egress([("TCP", 53), ("TCP", 5353), ("UDP", 53), ("UDP", 5353)]))
    checks.check("out: KubeVirt's pods at 8443", kubevirt)
    checks.check("out: Datadog and the API server at 443 and 6443", lambda: egress([("TCP", 443), ("TCP", 6443)]))
    checks.check("out: nothing else", lambda: len(policy()["egress"]) == 3)


def monitor(checks, objects):
    found = lambda: only(objects, "ServiceMonitor")

    def endpoint():
        (one,) = found()["spec"]["endpoints"]
        return one == {"port": "http", "path": "/metrics", "interval": "30s", "honorLabels": True}

    def selects():
        service, ours = only(objects, "Service"), found()
        return (matches(ours["spec"]["selector"], service["metadata"]["labels"])
                and service["metadata"]["namespace"] == ours["metadata"]["namespace"]
                and "http" in [port["name"] for port in service["spec"]["ports"]])

    checks.check("the ServiceMonitor is monitoring.coreos.com/v1",
                 lambda: found()["apiVersion"] == "monitoring.coreos.com/v1")
    checks.check("the ServiceMonitor's endpoint: http, /metrics, 30s, honorLabels", endpoint)
    checks.check("the ServiceMonitor selects the Service", selects)


def main():
    if len(sys.argv) > 2:
        raise SystemExit("usage: manifests.py [FOLDER]")
    here = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) == 2 else here
    checks = Checks()
    base, monitoring = render(root / "base"), render(root / "monitoring")
    for title, objects in (("base", base), ("monitoring", monitoring)):
        print(f"-- {title}: {len(objects)} objects")
        for part in (schemas, workload, permissions, configuration, network):
            part(checks, objects)
    monitor(checks, monitoring)
    checks.check("monitoring is the base and a ServiceMonitor",
                 lambda: [one for one in monitoring if one["kind"] != "ServiceMonitor"] == base)
    checks.check("the base has no ServiceMonitor", lambda: not any(one["kind"] == "ServiceMonitor" for one in base))
    checks.close()


if __name__ == "__main__":
    main()
