//! A mock Kubernetes API: pages of VirtualMachines and VirtualMachineInstances, as the real one lists them.

use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::mock::serve::{Running, Setup, start};
use crate::mock::{Random, lock};

/// A mock Kubernetes API.
#[derive(Clone, Debug)]
pub struct Params {
    pub setup: Setup,
    pub vms: usize,
    pub vmis: usize,
    /// The token that requests must bear.
    pub token: Option<String>,
    pub seed: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self { setup: Setup::default(), vms: 12, vmis: 8, token: None, seed: 1 }
    }
}

/// A running mock.
#[derive(Debug)]
pub struct Kubernetes {
    pub running: Running,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    token: Option<String>,
    objects: Mutex<Objects>,
}

#[derive(Debug)]
struct Objects {
    vms: Vec<Value>,
    vmis: Vec<Value>,
    /// Continue tokens issued so far are no longer kept.
    expired: bool,
}

impl Kubernetes {
    /// Starts one on the current Tokio runtime.
    ///
    /// # Errors
    /// An address that cannot be had.
    pub async fn start(params: Params) -> anyhow::Result<Self> {
        let Params { setup, vms, vmis, token, seed } = params;
        let mut random = Random::new(seed);
        let vms = (0..vms).map(vm).collect();
        let vmis = (0..vmis).map(|at| vmi(at, &mut random)).collect();
        let shared = Arc::new(Shared { token, objects: Mutex::new(Objects { vms, vmis, expired: false }) });
        let router = Router::new()
            .route("/apis/kubevirt.io/v1/{kind}", get(list))
            .route("/version", get(async || Json(json!({"major": "1", "minor": "31", "gitVersion": "v1.31.0"}))))
            .with_state(Arc::clone(&shared));
        let running = start(setup, router).await?;
        Ok(Self { running, shared })
    }

    /// Replaces every object.
    pub fn set(&self, vms: Vec<Value>, vmis: Vec<Value>) {
        let mut objects = lock(&self.shared.objects);
        (objects.vms, objects.vmis) = (vms, vmis);
    }

    /// The next request that continues a list is answered with 410.
    pub fn expire_continue(&self) {
        lock(&self.shared.objects).expired = true;
    }
}

#[derive(Debug, Deserialize)]
struct Paging {
    limit: Option<usize>,
    #[serde(rename = "continue")]
    token: Option<String>,
}

async fn list(
    State(shared): State<Arc<Shared>>,
    Path(kind): Path<String>,
    Query(Paging { limit, token }): Query<Paging>,
    headers: HeaderMap,
) -> Response {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(wanted) = &shared.token
        && bearer != Some(&format!("Bearer {wanted}"))
    {
        return failure(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized");
    }
    let mut objects = lock(&shared.objects);
    if token.is_some() && std::mem::take(&mut objects.expired) {
        return failure(StatusCode::GONE, "Expired", "The provided continue parameter is too old");
    }
    let (items, name) = match kind.as_str() {
        "virtualmachines" => (&objects.vms, "VirtualMachineList"),
        "virtualmachineinstances" => (&objects.vmis, "VirtualMachineInstanceList"),
        _ => return failure(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource"),
    };
    let from: usize = token.and_then(|token| token.parse().ok()).unwrap_or(0).min(items.len());
    let to = limit.filter(|limit| *limit > 0).map_or(items.len(), |limit| (from + limit).min(items.len()));
    let mut metadata = json!({"resourceVersion": "900"});
    if to < items.len() {
        metadata["continue"] = json!(to.to_string());
        metadata["remainingItemCount"] = json!(items.len() - to);
    }
    let list = json!({"apiVersion": "kubevirt.io/v1", "kind": name, "metadata": metadata, "items": items[from..to]});
    Json(list).into_response()
}

fn failure(status: StatusCode, reason: &str, message: &str) -> Response {
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": status.as_u16()});
    (status, Json(body)).into_response()
}

const NAMESPACES: [&str; 3] = ["default", "tenant-a", "tenant-b"];

/// Every fourth has no template labels, every seventh no template metadata at all: both are normal.
fn vm(at: usize) -> Value {
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
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, "namespace": NAMESPACES[at % 3], "uid": uid(1, at), "resourceVersion": "900"},
        "spec": {"runStrategy": "Always", "template": template},
        "status": {"printableStatus": "Running"},
    })
}

/// Every fifth has no phase yet.
fn vmi(at: usize, random: &mut Random) -> Value {
    let name = format!("vm-{at}");
    let mut status = json!({});
    if at % 5 != 4 {
        status["phase"] = json!(["Running", "Running", "Running", "Scheduling", "Failed"][random.below(5)]);
    }
    let node = format!("node-{}", random.below(3));
    json!({
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {
            "name": name,
            "namespace": NAMESPACES[at % 3],
            "uid": uid(2, at),
            "labels": {"kubevirt.io/domain": name, "kubevirt.io/nodeName": node, "kubevirt.io/size": "small"},
        },
        "spec": {"domain": {"devices": {}}},
        "status": status,
    })
}

fn uid(kind: usize, at: usize) -> String {
    format!("{kind:08x}-0000-4000-8000-{at:012x}")
}
