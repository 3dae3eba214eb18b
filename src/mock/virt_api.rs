//! A mock virt-api: `/metrics` and `/healthz` as KubeVirt 1.2 or 1.6 have them, moving as a busy cluster would.

mod page;
pub mod simulation;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::mock::lock;
use crate::mock::serve::{Running, Setup, start};
use crate::mock::virt_api::simulation::{Simulation, Version};

/// A mock virt-api.
#[derive(Clone, Debug)]
pub struct Params {
    pub setup: Setup,
    pub version: Version,
    pub pod_name: String,
    pub seed: u64,
    /// The process restarts this often.
    pub restart_every: Option<Duration>,
    /// How many seconds pass in the cluster for each second of ours.
    pub speed: f64,
    /// The token that requests must bear.
    pub bearer: Option<String>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            setup: Setup::default(),
            version: Version::V1_6,
            pod_name: "virt-api-mock-0".to_owned(),
            seed: 1,
            restart_every: None,
            speed: 1.0,
            bearer: None,
        }
    }
}

/// A running mock.
#[derive(Debug)]
pub struct VirtApi {
    pub running: Running,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    params: Params,
    state: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    simulation: Simulation,
    advanced: Instant,
    restarted: Instant,
    moves: Moves,
    healthy: bool,
    /// Served instead of the simulation's.
    page: Option<String>,
    served: Served,
}

/// Whether time passes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moves {
    Alone,
    ByHand,
}

/// What promdog can prove: the growth of each running total between the pages that it was served.
#[derive(Debug, Default)]
struct Served {
    last: Option<BTreeMap<String, f64>>,
    growth: BTreeMap<String, f64>,
}

impl Served {
    fn page(&mut self, totals: BTreeMap<String, f64>) {
        for (name, total) in &totals {
            let growth = match &self.last {
                // The first page is a baseline.
                None => 0.0,
                Some(last) => total - last.get(name).copied().unwrap_or(0.0),
            };
            *self.growth.entry(name.clone()).or_default() += growth;
        }
        match &mut self.last {
            Some(last) => last.extend(totals),
            None => self.last = Some(totals),
        }
    }
}

impl VirtApi {
    /// Starts one on the current Tokio runtime.
    ///
    /// # Errors
    /// An address that cannot be had.
    pub async fn start(params: Params) -> anyhow::Result<Self> {
        let simulation = Simulation::new(params.version, params.seed, now());
        let state = Inner {
            simulation,
            advanced: Instant::now(),
            restarted: Instant::now(),
            moves: Moves::Alone,
            healthy: true,
            page: None,
            served: Served::default(),
        };
        let shared = Arc::new(Shared { params, state: Mutex::new(state) });
        let router = Router::new()
            .route("/metrics", get(metrics).post(metrics))
            .route("/healthz", get(healthz))
            .with_state(Arc::clone(&shared));
        let running = start(shared.params.setup.clone(), router).await?;
        Ok(Self { running, shared })
    }

    /// Restarts the process: every total starts again from 0.
    pub fn restart(&self) {
        lock(&self.shared.state).restart();
    }

    /// Stops time; [`VirtApi::advance`] moves it by hand from now on.
    pub fn freeze(&self) {
        lock(&self.shared.state).moves = Moves::ByHand;
    }

    pub fn advance(&self, elapsed: Duration) {
        lock(&self.shared.state).simulation.advance(elapsed.as_secs_f64());
    }

    /// Serves exactly this page, or the simulation's again.
    pub fn set_page(&self, page: Option<String>) {
        lock(&self.shared.state).page = page;
    }

    pub fn set_healthy(&self, healthy: bool) {
        lock(&self.shared.state).healthy = healthy;
    }

    /// Every running total as it is now, by sample as spelled on the page.
    #[must_use]
    pub fn page_totals(&self) -> BTreeMap<String, f64> {
        lock(&self.shared.state).simulation.totals()
    }

    /// The growth of each running total over the pages that promdog was served, by sample as spelled on the page: what it
    /// can prove. The first page is a baseline.
    #[must_use]
    pub fn served(&self) -> BTreeMap<String, f64> {
        lock(&self.shared.state).served.growth.clone()
    }
}

impl Inner {
    fn restart(&mut self) {
        self.simulation.restart(now());
        self.restarted = Instant::now();
        // A new process has counted nothing before it.
        self.served.last = self.served.last.take().map(|_| BTreeMap::new());
    }
}

async fn metrics(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if let Some(token) = &shared.params.bearer
        && headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) != Some(&format!("Bearer {token}"))
    {
        return (StatusCode::UNAUTHORIZED, "Unauthorized\n").into_response();
    }
    let mut state = lock(&shared.state);
    let elapsed = state.advanced.elapsed();
    state.advanced += elapsed;
    if shared.params.restart_every.is_some_and(|every| state.restarted.elapsed() >= every) {
        state.restart();
    } else if state.moves == Moves::Alone {
        state.simulation.advance(elapsed.as_secs_f64() * shared.params.speed);
    }
    let (page, kind) = match &state.page {
        Some(page) => (page.clone(), "text/plain; version=0.0.4; charset=utf-8"),
        None => {
            let page = state.simulation.page();
            if headers.get(header::USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"promdog/")) {
                let totals = state.simulation.totals();
                state.served.page(totals);
            }
            (page, state.simulation.content_type())
        }
    };
    state.simulation.scraped();
    drop(state);
    let date =
        HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())).unwrap_or(HeaderValue::from_static(""));
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (header::DATE, date)], page).into_response()
}

async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    let healthy = lock(&shared.state).healthy;
    let json = [(header::CONTENT_TYPE, "application/json")];
    if healthy {
        let body = r#"{"apiserver":{"connectivity":"ok","version":{"major":"1","minor":"31","gitVersion":"v1.31.0"}},"config-resource-version":"900"}"#;
        return (json, body).into_response();
    }
    let body =
        r#"{"apiserver":{"connectivity":"failed","error":"connection refused"},"config-resource-version":"900"}"#;
    (StatusCode::INTERNAL_SERVER_ERROR, json, body).into_response()
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
