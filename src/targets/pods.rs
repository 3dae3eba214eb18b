//! Discovery by the Kubernetes API: each running pod that a selector finds is a target of its own.

use tokio::time::timeout;

use super::{Found, IDLE, Targets, url};
use crate::cluster::watch::Latest;
use crate::inventory::Pod;

/// How a pod is pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// `http` or `https`.
    pub scheme: String,
    pub port: Port,
    pub path: String,
    /// The pod's node is its points' host in Datadog.
    pub node_as_host: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Port {
    Number(u16),
    /// Of one of the pod's containers.
    Name(String),
}

/// Follows the pods. Those that were found last stay while the API server does not answer. Ends when the watch does.
pub async fn run(params: Params, mut pods: Latest<Pod>, targets: Targets, group: usize) {
    loop {
        let (objects, lost) = {
            let snapshot = pods.borrow_and_update();
            (snapshot.objects.clone(), snapshot.problem.clone())
        };
        let mut problem = None;
        if let Some(objects) = objects {
            let mut found = Vec::new();
            for pod in objects.iter().filter(|pod| pod.running) {
                match of_pod(&params, pod) {
                    Ok(pod) => found.extend(pod),
                    Err(text) => problem = Some(text),
                }
            }
            targets.found(group, found);
        }
        match lost {
            // The watch has told the operator.
            Some(lost) => drop(targets.problem(group, Some(lost))),
            None => targets.tell(group, problem),
        }
        // Elapsed is as good: what has left is to be forgotten some time.
        if let Ok(Err(_)) = timeout(IDLE, pods.changed()).await {
            return;
        }
    }
}

/// `None` while it has no address.
fn of_pod(params: &Params, pod: &Pod) -> Result<Option<Found>, String> {
    let Params { scheme, port, path, node_as_host } = params;
    let Some(ip) = &pod.ip else { return Ok(None) };
    let port = match port {
        Port::Number(port) => *port,
        Port::Name(name) => {
            let named = pod.ports.iter().find(|(known, _)| known == name);
            named.ok_or_else(|| format!("pod {} has no port named `{name}`", pod.name))?.1
        }
    };
    let url = url(scheme, ip, port, path).ok_or_else(|| format!("pod {} has no usable address: `{ip}`", pod.name))?;
    Ok(Some(Found {
        // A pod's sandbox may be made anew: then all its processes are new, and so is its address.
        id: format!("{} {ip}", pod.uid),
        name: pod.name.clone(),
        url,
        kube_namespace: Some(pod.namespace.clone()),
        pod_name: Some(pod.name.clone()),
        tags: pod.node.iter().map(|node| ("kube_node".to_owned(), node.clone())).collect(),
        host: pod.node.clone().filter(|_| *node_as_host),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        Pod {
            namespace: "kubevirt".into(),
            name: "virt-api-1".into(),
            uid: "u1".into(),
            running: true,
            ip: Some("10.0.0.1".into()),
            node: Some("n1".into()),
            ports: vec![("metrics".into(), 8443)],
        }
    }

    fn params(port: Port) -> Params {
        Params { scheme: "https".into(), port, path: "/metrics".into(), node_as_host: false }
    }

    #[test]
    fn a_pod_is_pulled_at_its_address_under_its_names() {
        let found = of_pod(&params(Port::Name("metrics".into())), &pod()).unwrap().unwrap();
        assert_eq!(found.url.as_str(), "https://10.0.0.1:8443/metrics");
        assert_eq!(
            (found.kube_namespace.as_deref(), found.pod_name.as_deref()),
            (Some("kubevirt"), Some("virt-api-1"))
        );
        assert_eq!((found.tags, found.host), (vec![("kube_node".to_owned(), "n1".to_owned())], None));
        let params = Params { node_as_host: true, ..params(Port::Number(9)) };
        let six = Pod { ip: Some("fd00::1".into()), ..pod() };
        let found = of_pod(&params, &six).unwrap().unwrap();
        assert_eq!((found.url.as_str(), found.host.as_deref()), ("https://[fd00::1]:9/metrics", Some("n1")));
    }

    #[test]
    fn a_pod_without_address_waits_and_one_without_the_port_is_told() {
        assert_eq!(of_pod(&params(Port::Number(1)), &Pod { ip: None, ..pod() }), Ok(None));
        let problem = of_pod(&params(Port::Name("web".into())), &pod()).unwrap_err();
        assert_eq!(problem, "pod virt-api-1 has no port named `web`");
    }

    #[test]
    fn a_new_sandbox_is_a_new_process() {
        let id =
            |ip: &str| of_pod(&params(Port::Number(1)), &Pod { ip: Some(ip.into()), ..pod() }).unwrap().unwrap().id;
        assert_ne!(id("10.0.0.1"), id("10.0.0.2"));
    }
}
