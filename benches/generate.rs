//! Deterministic expositions like virt-api's, of any size: latency histograms by url and verb, calls by code, host, method,
//! resource and verb, and a process' own gauges. Rows are sorted by their labels, as client libraries write them, and what
//! is new comes where it sorts. `pages.py` makes the same in Python.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Upper bounds of KubeVirt's request latency; the 25th line of a row is its sum, the 26th its count.
const BOUNDS: [&str; 24] = [
    "0.005", "0.025", "0.05", "0.1", "0.2", "0.4", "0.6", "0.8", "1", "1.25", "1.5", "2", "3", "4", "5", "6", "8",
    "10", "15", "20", "30", "45", "60", "+Inf",
];
const RESOURCES: [&str; 8] =
    ["pods", "nodes", "virtualmachines", "virtualmachineinstances", "configmaps", "events", "leases", "kubevirts"];
const VERBS: [&str; 6] = ["GET", "LIST", "WATCH", "CREATE", "UPDATE", "PATCH"];
const CODES: [&str; 5] = ["200", "201", "404", "409", "500"];
const PROCESS: &str = "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1700000000\n\
     # TYPE process_open_fds gauge\nprocess_open_fds 21\n";
const PROCESS_KEYS: [&str; 2] = ["process_start_time_seconds", "process_open_fds"];
const LATENCY: &str = "kubevirt_rest_client_request_latency_seconds";
const LATENCY_HEAD: &str = "# HELP kubevirt_rest_client_request_latency_seconds Request latency in seconds. Broken down by verb and URL.\n\
     # TYPE kubevirt_rest_client_request_latency_seconds histogram\n";
const REQUESTS: &str = "kubevirt_rest_client_requests_total";
const REQUESTS_HEAD: &str = "# HELP kubevirt_rest_client_requests_total Number of HTTP requests, partitioned by status code, method, and host.\n\
     # TYPE kubevirt_rest_client_requests_total counter\n";

/// What happens between two pulls.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Numbers that grow.
    pub percent: u64,
    /// Rows that new ones replace.
    pub churn_percent: u64,
}

/// A page whose numbers grow, and whose series come and go.
#[derive(Clone, Debug)]
pub struct Page {
    /// By their labels.
    latencies: BTreeMap<String, Vec<f64>>,
    requests: BTreeMap<String, f64>,
    /// Rows made so far, those that are gone too.
    latencies_made: u64,
    requests_made: u64,
    random: Random,
}

/// Xorshift.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

impl Page {
    /// At least so many series, and fewer than 30 more; four fifths are histograms, as on a real page.
    pub fn new(series: usize) -> Self {
        let mut page = Self {
            latencies: BTreeMap::new(),
            requests: BTreeMap::new(),
            latencies_made: 0,
            requests_made: 0,
            random: Random(0x9e37_79b9_7f4a_7c15),
        };
        while page.series() < series * 4 / 5 {
            page.add_latencies();
        }
        while page.series() < series {
            page.add_requests();
        }
        page
    }

    /// About so many bytes of text.
    pub fn of_bytes(bytes: usize) -> Self {
        let sample = Self::new(10_000);
        Self::new(bytes * sample.series() / sample.text().len())
    }

    fn add_latencies(&mut self) {
        let at = self.latencies_made as usize;
        let (resource, verb) = (RESOURCES[at % RESOURCES.len()], VERBS[at / RESOURCES.len() % VERBS.len()]);
        let path = format!("https://10.96.0.1:443/apis/kubevirt.io/v1/namespaces/%7Bnamespace%7D/{resource}");
        // An odd factor scatters, and tells apart what was apart.
        let shard = self.latencies_made.wrapping_mul(0x9e37_79b1) & 0xffff_ffff;
        let labels = format!("url=\"{path}?fieldSelector=%7Bvalue%7D&shard={shard:08x}\",verb=\"{verb}\"");
        let mut values = Vec::with_capacity(BOUNDS.len() + 2);
        let mut below = 0.0;
        for _ in BOUNDS {
            below += self.random.below(50) as f64;
            values.push(below);
        }
        values.extend([below * 0.0173, below]);
        self.latencies.insert(labels, values);
        self.latencies_made += 1;
    }

    fn add_requests(&mut self) {
        let at = self.requests_made as usize;
        let (code, verb) = (CODES[at % CODES.len()], VERBS[at / CODES.len() % VERBS.len()]);
        let resource = RESOURCES[at / 30 % RESOURCES.len()];
        let host = (self.requests_made / 240).wrapping_mul(0x9e_3779) & 0xff_ffff;
        let labels = format!(
            "code=\"{code}\",host=\"10.{}.{}.{}:443\",method=\"GET\",resource=\"{resource}\",verb=\"{verb}\"",
            host >> 16,
            host >> 8 & 0xff,
            host & 0xff
        );
        let value = self.random.below(100_000) as f64;
        self.requests.insert(labels, value);
        self.requests_made += 1;
    }

    /// Time passes; the process stays.
    pub fn step(&mut self, change: Change) {
        let Change { percent, churn_percent } = change;
        let random = &mut self.random;
        for value in self.latencies.values_mut().flatten().chain(self.requests.values_mut()) {
            if random.below(100) < percent {
                *value += (1 + random.below(5)) as f64;
            }
        }
        let (latencies, requests) = (self.latencies.len(), self.requests.len());
        self.latencies.retain(|_, _| random.below(100) >= churn_percent);
        self.requests.retain(|_, _| random.below(100) >= churn_percent);
        while self.latencies.len() < latencies {
            self.add_latencies();
        }
        while self.requests.len() < requests {
            self.add_requests();
        }
    }

    pub fn series(&self) -> usize {
        PROCESS_KEYS.len() + self.latencies.len() * (BOUNDS.len() + 2) + self.requests.len()
    }

    /// The text before all numbers, the blank left out.
    pub fn key_bytes(&self) -> usize {
        let buckets: usize = BOUNDS.iter().map(|bound| "_bucket{,le=\"\"}".len() + bound.len()).sum();
        let others = "_sum{}".len() + "_count{}".len();
        let row = (BOUNDS.len() + 2) * LATENCY.len() + buckets + others;
        let latencies = self.latencies.keys().map(|labels| row + (BOUNDS.len() + 2) * labels.len());
        let requests = self.requests.keys().map(|labels| REQUESTS.len() + "{}".len() + labels.len());
        PROCESS_KEYS.iter().map(|key| key.len()).chain(latencies).chain(requests).sum()
    }

    pub fn text(&self) -> Vec<u8> {
        let mut text = String::with_capacity(self.series() * 200);
        text.push_str(PROCESS);
        text.push_str(LATENCY_HEAD);
        for (labels, values) in &self.latencies {
            for (bound, value) in BOUNDS.iter().zip(values) {
                writeln!(text, "{LATENCY}_bucket{{{labels},le=\"{bound}\"}} {value}").expect("a string");
            }
            for (part, value) in ["sum", "count"].iter().zip(&values[BOUNDS.len()..]) {
                writeln!(text, "{LATENCY}_{part}{{{labels}}} {value}").expect("a string");
            }
        }
        text.push_str(REQUESTS_HEAD);
        for (labels, value) in &self.requests {
            writeln!(text, "{REQUESTS}{{{labels}}} {value}").expect("a string");
        }
        text.into_bytes()
    }
}
