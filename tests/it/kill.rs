//! The real binary, killed again and again at random moments between a source that counts what it did and an intake that
//! answers badly: in the end what has arrived is what the source has grown by, exactly.
//!
//! `PROMDOG_KILLS` says how often; a few times if it does not.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use promdog::mock::intake::Intake;

use crate::stage::{KEY, PATIENCE, intake};

const COUNTERS: usize = 40;
const HISTOGRAMS: usize = 10;
const BOUNDS: [&str; 3] = ["0.1", "1", "+Inf"];

/// A process that grows a little with each request for its page.
#[derive(Default)]
struct Source {
    /// Counters, then each histogram's buckets and sum.
    totals: Mutex<Vec<u64>>,
    frozen: AtomicBool,
    state: Mutex<u64>,
}

impl Source {
    async fn start() -> (Arc<Self>, String) {
        let source = Arc::new(Self {
            totals: Mutex::new(vec![1000; COUNTERS + HISTOGRAMS * (BOUNDS.len() + 1)]),
            frozen: AtomicBool::new(true),
            state: Mutex::new(1),
        });
        let serving = Arc::clone(&source);
        let router = Router::new().route("/metrics", get(async move || serving.page()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/metrics", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (source, url)
    }

    fn random(&self, below: u64) -> u64 {
        let mut state = self.state.lock().expect("no panic");
        // xorshift
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % below
    }

    fn page(&self) -> String {
        let mut totals = self.totals.lock().expect("no panic");
        if !self.frozen.load(Ordering::Relaxed) {
            totals[..COUNTERS].iter_mut().for_each(|total| *total += self.random(5));
            for histogram in totals[COUNTERS..].chunks_mut(BOUNDS.len() + 1) {
                // What falls into a bucket falls into all above it.
                let mut below = 0;
                for total in histogram {
                    below += self.random(3);
                    *total += below;
                }
            }
        }
        page(&totals)
    }
}

fn page(totals: &[u64]) -> String {
    let mut text = "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1000\n\
                    # TYPE rest_client_requests_total counter\n"
        .to_owned();
    for (at, total) in totals[..COUNTERS].iter().enumerate() {
        writeln!(text, "rest_client_requests_total{{method=\"m{at}\"}} {total}").expect("a string");
    }
    let family = "rest_client_request_latency_seconds";
    writeln!(text, "# TYPE {family} histogram").expect("a string");
    for (at, histogram) in totals[COUNTERS..].chunks(BOUNDS.len() + 1).enumerate() {
        for (bound, total) in BOUNDS.iter().zip(histogram) {
            writeln!(text, "{family}_bucket{{verb=\"v{at}\",le=\"{bound}\"}} {total}").expect("a string");
        }
        let (count, sum) = (histogram[BOUNDS.len() - 1], histogram[BOUNDS.len()]);
        writeln!(text, "{family}_count{{verb=\"v{at}\"}} {count}\n{family}_sum{{verb=\"v{at}\"}} {sum}")
            .expect("a string");
    }
    text
}

/// By series as Datadog has it: what the source has grown by.
fn growth(before: &[u64], after: &[u64]) -> BTreeMap<String, f64> {
    let grown: Vec<f64> = before.iter().zip(after).map(|(before, after)| (after - before) as f64).collect();
    let mut series = BTreeMap::new();
    for (at, grown) in grown[..COUNTERS].iter().enumerate() {
        series.insert(format!("kubevirt_api.rest.client_requests.count method:m{at}"), *grown);
    }
    let family = "kubevirt_api.rest.client_request_latency_seconds";
    for (at, histogram) in grown[COUNTERS..].chunks(BOUNDS.len() + 1).enumerate() {
        series.insert(format!("{family}.bucket upper_bound:0.1 verb:v{at}"), histogram[0]);
        series.insert(format!("{family}.bucket upper_bound:1.0 verb:v{at}"), histogram[1]);
        series.insert(format!("{family}.count verb:v{at}"), histogram[2]);
        series.insert(format!("{family}.sum verb:v{at}"), histogram[3]);
    }
    series
}

/// The same of what has arrived: of each series and second the last point. Two that differ are a defect.
fn arrived(intake: &Intake) -> BTreeMap<String, f64> {
    let mut points: BTreeMap<(String, i64), f64> = BTreeMap::new();
    for point in intake.points().iter().filter(|point| point.kind == "count") {
        let tags: Vec<&str> =
            point.tags.iter().map(String::as_str).filter(|tag| !tag.starts_with("endpoint:")).collect();
        let series = format!("{} {}", point.name, tags.join(" "));
        let known = points.insert((series.clone(), point.timestamp), point.value);
        assert!(
            known.is_none_or(|known| known == point.value),
            "{series} at {}: {known:?} and {}",
            point.timestamp,
            point.value
        );
    }
    let mut sums = BTreeMap::new();
    for ((series, _), value) in points {
        *sums.entry(series).or_default() += value;
    }
    sums
}

/// Ends its process when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // SIGKILL. It may have ended by itself, which the test finds out otherwise.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(config: &std::path::Path) -> Killed {
    let mut command = Command::new(env!("CARGO_BIN_EXE_promdog"));
    command.args(["serve", "--web.listen-address", "127.0.0.1:0", "--log.level", "error", "--config.file"]).arg(config);
    command.env_remove("DD_API_KEY").env_remove("DD_URL").stdout(Stdio::null());
    Killed(command.spawn().expect("the binary starts"))
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_when_what_arrives_is_the_growth() {
    let kills: u64 = std::env::var("PROMDOG_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let (source, url) = Source::start().await;
    let intake = intake().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("promdog.yaml");
    std::fs::write(folder.path().join("key"), KEY).expect("written");
    let text = format!(
        "targets: [{{ name: t, url: '{url}', health_url: off }}]\npush: {{ every: 1s }}\nstate: {{ dir: state }}\n\
         datadog: {{ url: '{}', api_key_file: key, timeout: 300ms }}\n",
        intake.running.url("")
    );
    std::fs::write(&config, text).expect("written");

    // The baseline: once a batch has arrived it is stored.
    let before = source.totals.lock().expect("no panic").clone();
    let first = start(&config);
    until("the baseline is stored", || intake.points().iter().any(|point| point.name.contains("client_requests")))
        .await;
    source.frozen.store(false, Ordering::Relaxed);
    drop(first);

    let troubles = ["", "status=503", "status=429", "cut", "late=1s", "status=413*1"];
    for round in 0..kills {
        let trouble = troubles[usize::try_from(round).expect("small") % troubles.len()];
        intake.running.faults.set(trouble.parse().into_iter().collect());
        let promdog = start(&config);
        tokio::time::sleep(Duration::from_millis(50 + source.random(1800))).await;
        drop(promdog);
    }
    source.frozen.store(true, Ordering::Relaxed);
    intake.running.faults.set(Vec::new());
    let _last = start(&config);
    let wanted = growth(&before, &source.totals.lock().expect("no panic").clone());
    assert!(wanted.values().sum::<f64>() > 100.0, "it has grown");
    until(&format!("after {kills} kills {:?} is not there", difference(&wanted, &arrived(&intake))), || {
        difference(&wanted, &arrived(&intake)).is_empty()
    })
    .await;
    assert_eq!(intake.rejections().iter().filter(|rejection| rejection.status != 413).count(), 0);
}

/// Series that are not the same, with both values.
fn difference(wanted: &BTreeMap<String, f64>, found: &BTreeMap<String, f64>) -> Vec<(String, f64, f64)> {
    let of = |name: &String| (wanted.get(name).copied().unwrap_or(0.0), found.get(name).copied().unwrap_or(0.0));
    let names: std::collections::BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    let pairs = names.into_iter().map(|name| (name.clone(), of(name).0, of(name).1));
    pairs.filter(|(_, wanted, found)| wanted != found).take(5).collect()
}
