//! What a virt-api's process counts, as a value that time is handed to. Names, labels and bucket bounds are KubeVirt's.

use std::collections::BTreeMap;

use crate::mock::Random;

/// Which KubeVirt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Version {
    /// `rest_client_*`, as the integration knows them.
    #[value(name = "1.2")]
    V1_2,
    /// `kubevirt_rest_client_*`, and more families.
    #[value(name = "1.6")]
    V1_6,
}

/// Upper bounds of the request latency, in seconds.
pub(super) const LATENCY: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
/// Upper bounds of the wait for the rate limiter, in seconds.
pub(super) const LIMITER: [f64; 10] = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512];

/// The API server, as labels name it.
pub(super) const HOST: &str = "10.96.0.1:443";
const NAMESPACES: [&str; 4] = ["default", "tenant-a", "tenant-b", "ci"];

/// A kind of call: path, logical verb, HTTP method, resource, calls a second, usual latency in seconds.
type Call = (&'static str, &'static str, &'static str, &'static str, f64, f64);
pub(super) const CALLS: [Call; 11] = [
    ("/apis/authorization.k8s.io/v1/subjectaccessreviews", "CREATE", "POST", "subjectaccessreviews", 2.4, 0.008),
    (
        "/apis/kubevirt.io/v1/namespaces/%7Bnamespace%7D/virtualmachineinstances/%7Bname%7D",
        "GET",
        "GET",
        "virtualmachineinstances",
        1.6,
        0.02,
    ),
    (
        "/apis/kubevirt.io/v1/namespaces/%7Bnamespace%7D/virtualmachines/%7Bname%7D",
        "UPDATE",
        "PUT",
        "virtualmachines",
        0.3,
        0.06,
    ),
    ("/api/v1/namespaces/%7Bnamespace%7D/configmaps/%7Bname%7D", "GET", "GET", "configmaps", 0.5, 0.01),
    (
        "/api/v1/namespaces/%7Bnamespace%7D/configmaps?fieldSelector=%7Bvalue%7D&limit=%7Bvalue%7D&resourceVersion=%7Bvalue%7D",
        "LIST",
        "GET",
        "configmaps",
        0.05,
        0.05,
    ),
    (
        "/api/v1/namespaces/%7Bnamespace%7D/pods?fieldSelector=%7Bvalue%7D&labelSelector=%7Bvalue%7D",
        "LIST",
        "GET",
        "pods",
        0.4,
        0.04,
    ),
    ("/api/v1/namespaces?limit=%7Bvalue%7D&resourceVersion=%7Bvalue%7D", "LIST", "GET", "namespaces", 0.02, 0.03),
    (
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?limit=%7Bvalue%7D&resourceVersion=%7Bvalue%7D",
        "LIST",
        "GET",
        "customresourcedefinitions",
        0.01,
        0.4,
    ),
    (
        "/apis/kubevirt.io/v1/kubevirts?limit=%7Bvalue%7D&resourceVersion=%7Bvalue%7D",
        "LIST",
        "GET",
        "kubevirts",
        0.02,
        0.03,
    ),
    (
        "/apis/kubevirt.io/v1/namespaces/%7Bnamespace%7D/virtualmachineinstancemigrations",
        "CREATE",
        "POST",
        "virtualmachineinstancemigrations",
        0.03,
        0.09,
    ),
    ("/version", "none", "GET", "none", 0.02, 0.005),
];

/// A histogram's counts, not yet added up; one more than bounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) per_bucket: Vec<u64>,
    pub(super) sum: f64,
}

impl Counts {
    fn observe(&mut self, bounds: &[f64], value: f64) {
        self.per_bucket.resize(bounds.len() + 1, 0);
        let at = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
        self.per_bucket[at] += 1;
        self.sum += value;
    }
}

/// One process, and the cluster it serves.
#[derive(Clone, Debug)]
pub struct Simulation {
    pub(super) version: Version,
    random: Random,
    /// Seconds since 1970.
    pub(super) start: f64,
    pub(super) now: f64,
    pub(super) cpu: f64,
    pub(super) open_fds: f64,
    pub(super) resident: f64,
    pub(super) goroutines: f64,
    pub(super) allocated: f64,
    pub(super) collections: u64,
    pub(super) collecting: f64,
    pub(super) scrapes: u64,
    /// By index into [`CALLS`].
    pub(super) latency: BTreeMap<usize, Counts>,
    pub(super) limiter: BTreeMap<usize, Counts>,
    /// By call and status.
    pub(super) requests: BTreeMap<(usize, &'static str), u64>,
    /// By kind of connection, namespace and instance; kept at 0 once they were used.
    pub(super) connections: BTreeMap<(&'static str, &'static str, String), u64>,
    pub(super) last_connection: BTreeMap<(&'static str, String), f64>,
    pub(super) created: BTreeMap<&'static str, u64>,
}

impl Simulation {
    /// A process that has been at work for an hour at `now` (seconds since 1970).
    #[must_use]
    pub fn new(version: Version, seed: u64, now: f64) -> Self {
        const WARM_SECONDS: f64 = 3600.0;
        let mut simulation = Self::fresh(version, Random::new(seed), now - WARM_SECONDS);
        for _ in 0..60 {
            simulation.advance(WARM_SECONDS / 60.0);
        }
        simulation
    }

    fn fresh(version: Version, random: Random, start: f64) -> Self {
        Self {
            version,
            random,
            // Hundredths, as Linux counts them.
            start: (start * 100.0).round() / 100.0,
            now: start,
            cpu: 0.4,
            open_fds: 18.0,
            resident: 9.5e7,
            goroutines: 85.0,
            allocated: 2.0e7,
            collections: 4,
            collecting: 0.002,
            scrapes: 0,
            latency: BTreeMap::new(),
            limiter: BTreeMap::new(),
            requests: BTreeMap::new(),
            connections: BTreeMap::new(),
            last_connection: BTreeMap::new(),
            created: BTreeMap::new(),
        }
    }

    /// The process ends and another begins; what it has counted is gone.
    pub fn restart(&mut self, now: f64) {
        *self = Self::fresh(self.version, self.random.clone(), now);
        // Its first calls are made before anybody can ask.
        self.advance(0.5);
        self.now = now;
    }

    /// Counts a page that was served.
    pub(super) fn scraped(&mut self) {
        self.scrapes += 1;
    }

    /// Lets seconds pass.
    pub fn advance(&mut self, seconds: f64) {
        self.now += seconds;
        let random = &mut self.random;
        self.cpu += seconds * (0.02 + 0.06 * random.unit());
        self.open_fds = (self.open_fds + random.unit() * 4.0 - 2.0).clamp(16.0, 60.0).round();
        self.resident = (self.resident + (random.unit() - 0.45) * 4.0e5).clamp(8.0e7, 2.4e8).round();
        self.goroutines = (self.goroutines + random.unit() * 6.0 - 3.0).clamp(70.0, 160.0).round();
        self.allocated += (seconds * 1.5e6 * (0.5 + random.unit())).round();
        let collections = random.events(seconds / 8.0);
        self.collections += collections;
        self.collecting += collections as f64 * 0.0004 * (0.5 + random.unit());
        for (at, (_, verb, _, _, rate, usual)) in CALLS.iter().enumerate() {
            for _ in 0..random.events(rate * seconds) {
                let took = usual * (0.3 + 2.0 * random.unit().powi(3)) * if random.below(50) == 0 { 20.0 } else { 1.0 };
                self.latency.entry(at).or_default().observe(&LATENCY, took);
                let waited = if random.below(20) == 0 { 0.02 * random.unit() } else { 4e-6 };
                self.limiter.entry(at).or_default().observe(&LIMITER, waited);
                let code = match (random.below(200), *verb) {
                    (0, _) => "<error>",
                    (1, _) => "503",
                    (2..=5, "GET") => "404",
                    (2..=5, "UPDATE") => "409",
                    (_, "CREATE") => "201",
                    (_, _) => "200",
                };
                *self.requests.entry((at, code)).or_default() += 1;
            }
        }
        self.connect(seconds);
    }

    fn connect(&mut self, seconds: f64) {
        let random = &mut self.random;
        for _ in 0..random.events(seconds * 0.1) {
            let namespace = NAMESPACES[random.below(NAMESPACES.len())];
            let instance = format!("vm-{}", random.below(4));
            let kinds = ["vnc", "console", "portforward", "usbredir"];
            let kind = kinds[random.below(kinds.len())];
            let open = self.connections.entry((kind, namespace, instance.clone())).or_default();
            if *open > 0 && random.below(3) > 0 {
                *open -= 1;
                self.last_connection.insert((namespace, instance), self.now.round());
            } else {
                *open += 1;
            }
        }
        for _ in 0..random.events(seconds * 0.05) {
            *self.created.entry(NAMESPACES[random.below(NAMESPACES.len())]).or_default() += 1;
        }
    }
}
