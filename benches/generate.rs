//! Deterministic expositions like virt-api's, of any size: latency histograms by url and verb, calls by code, host, method,
//! resource and verb, and a process' own gauges.

use std::fmt::Write;

/// Upper bounds of KubeVirt's request latency.
const BOUNDS: [&str; 25] = [
    "0.005", "0.025", "0.05", "0.1", "0.2", "0.4", "0.6", "0.8", "1", "1.25", "1.5", "2", "3", "4", "5", "6", "8",
    "10", "15", "20", "30", "45", "60", "+Inf", "",
];
const RESOURCES: [&str; 8] =
    ["pods", "nodes", "virtualmachines", "virtualmachineinstances", "configmaps", "events", "leases", "kubevirts"];
const VERBS: [&str; 6] = ["GET", "LIST", "WATCH", "CREATE", "UPDATE", "PATCH"];
const CODES: [&str; 5] = ["200", "201", "404", "409", "500"];

/// A page whose numbers move while its series stay.
#[derive(Clone, Debug)]
pub struct Page {
    /// Text before each number.
    keys: Vec<String>,
    /// What the number is of: its family's text goes before the first of it.
    heads: Vec<Option<&'static str>>,
    values: Vec<f64>,
    state: u64,
}

impl Page {
    /// At least so many series, and fewer than 30 more.
    pub fn new(series: usize) -> Self {
        let mut page = Self { keys: Vec::new(), heads: Vec::new(), values: Vec::new(), state: 0x9e37_79b9_7f4a_7c15 };
        let head = "# TYPE process_start_time_seconds gauge\n";
        page.push(Some(head), "process_start_time_seconds".to_owned(), 1.7e9);
        page.push(Some("# TYPE process_open_fds gauge\n"), "process_open_fds".to_owned(), 21.0);
        // Four fifths are histograms, as on a real page.
        let family = "kubevirt_rest_client_request_latency_seconds";
        let mut head = Some(
            "# HELP kubevirt_rest_client_request_latency_seconds Request latency in seconds. Broken down by verb and URL.\n# TYPE kubevirt_rest_client_request_latency_seconds histogram\n",
        );
        let mut at = 0;
        while page.keys.len() < series * 4 / 5 {
            let (resource, verb) = (RESOURCES[at % RESOURCES.len()], VERBS[at / RESOURCES.len() % VERBS.len()]);
            let path = format!("https://10.96.0.1:443/apis/kubevirt.io/v1/namespaces/%7Bnamespace%7D/{resource}");
            let labels = format!("url=\"{path}?fieldSelector=%7Bvalue%7D&shard={at}\",verb=\"{verb}\"");
            let mut below = 0.0;
            for bound in BOUNDS.iter().filter(|bound| !bound.is_empty()) {
                below += (page.random() % 50) as f64;
                page.push(head.take(), format!("{family}_bucket{{{labels},le=\"{bound}\"}}"), below);
            }
            page.push(None, format!("{family}_sum{{{labels}}}"), below * 0.0173);
            page.push(None, format!("{family}_count{{{labels}}}"), below);
            at += 1;
        }
        let mut head = Some(
            "# HELP kubevirt_rest_client_requests_total Number of HTTP requests, partitioned by status code, method, and host.\n# TYPE kubevirt_rest_client_requests_total counter\n",
        );
        for at in 0.. {
            if page.keys.len() >= series {
                break;
            }
            let (code, verb) = (CODES[at % CODES.len()], VERBS[at / CODES.len() % VERBS.len()]);
            let resource = RESOURCES[at / 30 % RESOURCES.len()];
            let labels = format!(
                "code=\"{code}\",host=\"10.96.{}.1:443\",method=\"GET\",resource=\"{resource}\",verb=\"{verb}\"",
                at / 240
            );
            let value = (page.random() % 100_000) as f64;
            page.push(head.take(), format!("kubevirt_rest_client_requests_total{{{labels}}}"), value);
        }
        page
    }

    fn push(&mut self, head: Option<&'static str>, key: String, value: f64) {
        self.keys.push(key);
        self.heads.push(head);
        self.values.push(value);
    }

    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// Moves so many of a hundred numbers, always up; the process stays.
    pub fn step(&mut self, changed_percent: u64) {
        for at in 2..self.values.len() {
            if self.random() % 100 < changed_percent {
                self.values[at] += (1 + self.random() % 5) as f64;
            }
        }
    }

    pub fn series(&self) -> usize {
        self.keys.len()
    }

    pub fn text(&self) -> Vec<u8> {
        let mut text = String::new();
        for ((head, key), value) in self.heads.iter().zip(&self.keys).zip(&self.values) {
            text.push_str(head.unwrap_or_default());
            writeln!(text, "{key} {value}").expect("a string");
        }
        text.into_bytes()
    }
}
