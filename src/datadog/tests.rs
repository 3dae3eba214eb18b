use super::*;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body as AxumBody, Bytes};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::queue::DropReason;
use super::stats::{RequestClass, Snapshot, State};
use crate::payload::body::Encoder;
use crate::payload::{Encoding, Limits, Point, PointKind, wire};

const LONG: Duration = Duration::from_secs(10);
const KEY: &str = "0123456789abcdef";
/// Waits short enough for a test, and long enough to be told from none.
const FAST: Timing = Timing {
    base: Duration::from_millis(2),
    max: Duration::from_millis(8),
    key_probe: Duration::from_secs(300),
    key_poll: Duration::from_millis(5),
};

/// One request as the intake saw it.
#[derive(Clone, Debug)]
struct Seen {
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    /// Names of the metrics in a body of protobuf.
    fn names(&self) -> Vec<String> {
        let raw = zstd::bulk::decompress(&self.body, 1_000_000).unwrap();
        wire::series(&raw).map(|series| series.unwrap().metric.to_owned()).collect()
    }

    fn json(&self) -> String {
        String::from_utf8(zstd::bulk::decompress(&self.body, 1_000_000).unwrap()).unwrap()
    }
}

/// An intake that gives prepared answers, then 202 for ever.
#[derive(Clone, Default)]
struct Intake {
    answers: Arc<Mutex<VecDeque<Answering>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone)]
enum Answering {
    Status(u16, &'static str),
    RetryAfter(u16, &'static str),
    Redirect,
    Silence,
}

impl Intake {
    /// With a path prefix, as behind a gateway.
    async fn start(answers: &[Answering]) -> (Self, Url) {
        let intake = Self { answers: Arc::new(Mutex::new(answers.iter().cloned().collect())), ..Self::default() };
        let handler = intake.clone();
        let router = Router::new().route(
            "/prefix/api/v2/series",
            post(async move |headers: HeaderMap, body: Bytes| handler.answer(headers, body).await),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/prefix/", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (intake, url)
    }

    async fn answer(&self, headers: HeaderMap, body: Bytes) -> Response {
        self.seen.lock().unwrap().push(Seen { headers, body });
        let answer = self.answers.lock().unwrap().pop_front();
        let status = |code| StatusCode::from_u16(code).unwrap();
        match answer {
            None => (StatusCode::ACCEPTED, r#"{"errors":[]}"#).into_response(),
            Some(Answering::Status(code, text)) => (status(code), text).into_response(),
            Some(Answering::RetryAfter(code, value)) => (status(code), [("retry-after", value)]).into_response(),
            Some(Answering::Redirect) => (StatusCode::FOUND, [("location", "/login?token=x")]).into_response(),
            Some(Answering::Silence) => std::future::pending::<AxumBody>().await.into_response(),
        }
    }

    fn bodies(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(Seen::json).collect()
    }
}

fn params(endpoint: Url) -> Params {
    Params {
        name: "main".to_owned(),
        endpoint,
        key: Key::Static(KEY.into()),
        proxy: None,
        tls: tls::ClientParams::default(),
        timeout: LONG,
        queue_max_bytes: 1_000_000,
        queue_max_age: Duration::from_secs(3600),
        client: Client::Own,
    }
}

fn now_seconds() -> i64 {
    i64::try_from(SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// One point per metric.
fn queued(age_seconds: i64, metrics: &[&str]) -> Queued {
    let series: Vec<String> = metrics
        .iter()
        .map(|name| format!(r#"{{"metric":"{name}","type":1,"points":[{{"timestamp":1,"value":1}}]}}"#))
        .collect();
    let json = format!(r#"{{"series":[{}]}}"#, series.join(","));
    let zstd = zstd::bulk::compress(json.as_bytes(), 1).unwrap().into();
    let body = Body { encoding: Encoding::Json, zstd, raw_bytes: json.len(), points: metrics.len() };
    let id = Id { endpoint: "main".to_owned(), second: now_seconds() - age_seconds, number: 0 };
    Queued { id, body, uncertain: false }
}

/// The same as protobuf.
fn queued_protobuf(metrics: &[&str]) -> Queued {
    let mut encoder = Encoder::new(Encoding::Protobuf, now_seconds(), &[], Limits::default());
    for name in metrics {
        let (kind, value, interval) = (PointKind::Count, 1.0, Some(1));
        let (json_tags, json_resources, suffix) = ("", "", "");
        let (bound, host, unit) = (None, None, None);
        let point = Point { name, suffix, kind, value, interval, json_tags, json_resources, bound, host, unit };
        encoder.push(&point).unwrap();
    }
    Queued { body: encoder.finish().unwrap().remove(0), ..queued(0, &[]) }
}

struct Sent {
    sender: Sender,
    stats: Arc<Stats>,
}

impl Sent {
    fn start(params: Params) -> Self {
        let stats = Arc::new(Stats::default());
        Self {
            sender: Sender::start_with(params, Arc::clone(&stats), Outbox::default(), Vec::new(), FAST).unwrap(),
            stats,
        }
    }

    /// Waits until the counters look as wanted.
    async fn until(&self, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let looking = async {
            loop {
                let snapshot = self.stats.snapshot();
                if wanted(&snapshot) {
                    return snapshot;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        match tokio::time::timeout(LONG, looking).await {
            Ok(snapshot) => snapshot,
            Err(_) => panic!("never came: {:?}", self.stats.snapshot()),
        }
    }
}

fn requests(snapshot: &Snapshot, class: RequestClass) -> u64 {
    snapshot.requests.iter().find(|(other, _)| *other == class).unwrap().1
}

#[tokio::test]
async fn a_body_is_posted_as_it_is_with_datadogs_headers() {
    let (intake, url) = Intake::start(&[]).await;
    let sent = Sent::start(params(url));
    let one = queued(0, &["a", "b"]);
    sent.sender.submit(vec![one.clone()]);
    let snapshot = sent.until(|snapshot| snapshot.accepted == 2).await;
    assert_eq!((snapshot.submitted, snapshot.pending_points, snapshot.refused), (2, 0, 0));
    assert!(snapshot.last_success.is_some() && snapshot.last_error.is_none());
    let seen = intake.seen.lock().unwrap()[0].clone();
    assert_eq!(seen.body, one.body.zstd[..]);
    for (name, value) in [
        ("dd-api-key", KEY),
        ("content-type", "application/json"),
        ("content-encoding", "zstd1"),
        ("user-agent", concat!("promdog/", env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(seen.headers[name], value);
    }
}

#[tokio::test]
async fn protobuf_goes_out_as_the_agent_sends_it() {
    let (intake, url) = Intake::start(&[]).await;
    let sent = Sent::start(params(url));
    sent.sender.submit(vec![queued_protobuf(&["a", "b"])]);
    sent.until(|snapshot| snapshot.accepted == 2).await;
    let seen = intake.seen.lock().unwrap()[0].clone();
    assert_eq!(seen.names(), ["a", "b"]);
    for (name, value) in [
        ("dd-api-key", KEY),
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "zstd"),
        ("dd-agent-payload", "4.87.0"),
    ] {
        assert_eq!(seen.headers[name], value);
    }
}

#[tokio::test]
async fn protobuf_that_is_too_large_is_halved_and_told_by_metric() {
    let (intake, url) = Intake::start(&vec![Answering::Status(413, "Payload too big"); 3]).await;
    let sent = Sent::start(params(url));
    sent.sender.submit(vec![queued_protobuf(&["a", "b", "c"])]);
    let snapshot = sent.until(|snapshot| snapshot.accepted + snapshot.refused == 3).await;
    // abc, then a, too large for ever, and bc; then b and c.
    assert_eq!((snapshot.accepted, snapshot.refused, snapshot.splits), (2, 1, 2));
    let mut names: Vec<Vec<String>> = intake.seen.lock().unwrap().iter().map(Seen::names).collect();
    names.sort();
    assert_eq!(names, [&["a"][..], &["a", "b", "c"], &["b"], &["b", "c"], &["c"]]);
    assert_eq!(snapshot.lost, [("a".to_owned(), "refused", 1.0)]);
}

#[tokio::test]
async fn the_newest_bodies_go_first() {
    let (intake, url) = Intake::start(&[]).await;
    let sent = Sent::start(params(url));
    sent.sender.submit(vec![queued(30, &["old"]), queued(10, &["new"]), queued(20, &["middle"])]);
    sent.until(|snapshot| snapshot.accepted == 3).await;
    let order: Vec<bool> =
        intake.bodies().iter().zip(["new", "middle", "old"]).map(|(body, name)| body.contains(name)).collect();
    assert_eq!(order, [true; 3], "{:?}", intake.bodies());
}

#[tokio::test]
async fn outages_are_ridden_out_with_the_same_bytes() {
    let answers = [
        Answering::Status(503, "later"),
        Answering::Status(429, ""),
        Answering::Status(404, "<html>"),
        Answering::Status(408, ""),
    ];
    let (intake, url) = Intake::start(&answers).await;
    let sent = Sent::start(params(url));
    let one = queued(0, &["a"]);
    sent.sender.submit(vec![one.clone()]);
    let snapshot = sent.until(|snapshot| snapshot.accepted == 1).await;
    assert_eq!(
        (requests(&snapshot, RequestClass::ServerError), requests(&snapshot, RequestClass::ClientError)),
        (1, 3)
    );
    let seen = intake.seen.lock().unwrap();
    assert_eq!(seen.len(), 5);
    assert!(seen.iter().all(|seen| seen.body == one.body.zstd[..]));
}

#[tokio::test]
async fn a_refused_body_is_dropped_and_counted_with_datadogs_words() {
    let (_, url) = Intake::start(&[Answering::Status(400, r#"{"errors":["bad point", "0123456789abcdef"]}"#)]).await;
    let sent = Sent::start(params(url));
    sent.sender.submit(vec![queued(0, &["a", "b"])]);
    let snapshot = sent.until(|snapshot| snapshot.refused == 2).await;
    assert_eq!(snapshot.state, State::Flowing);
    let error = snapshot.last_error.unwrap();
    assert!(error.contains("400: bad point, ***") && error.contains("2 points are lost"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (intake, url) = Intake::start(&[Answering::Redirect]).await;
    let sent = Sent::start(params(url));
    sent.sender.submit(vec![queued(0, &["a"])]);
    let snapshot = sent.until(|snapshot| snapshot.refused == 1).await;
    let error = snapshot.last_error.unwrap();
    assert!(error.contains("/login (302), which is not followed") && !error.contains("token"), "{error}");
    assert_eq!(intake.bodies().len(), 1);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_halved_until_it_fits_or_is_one_series() {
    let (intake, url) = Intake::start(&vec![Answering::Status(413, "Payload too big"); 4]).await;
    let sent = Sent::start(params(url));
    sent.sender.submit(vec![queued(0, &["a", "b", "c", "d"])]);
    let snapshot = sent.until(|snapshot| snapshot.accepted + snapshot.refused == 4).await;
    // abcd, then ab, cd, and a alone: too large for ever.
    assert_eq!((snapshot.accepted, snapshot.refused, snapshot.splits), (3, 1, 3));
    let names: Vec<Vec<char>> = intake
        .bodies()
        .iter()
        .map(|body| ['a', 'b', 'c', 'd'].into_iter().filter(|name| body.contains(&format!("\"{name}\""))).collect())
        .collect();
    assert_eq!(names.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2, 2, 1, 1, 1, 1], "{names:?}");
}

#[tokio::test]
async fn a_refused_key_holds_the_queue_until_the_key_file_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, "first\n").unwrap();
    let (intake, url) = Intake::start(&[Answering::Status(403, r#"{"errors":["Forbidden"]}"#)]).await;
    let sent = Sent::start(Params { key: Key::File(path.clone()), ..params(url) });
    sent.sender.submit(vec![queued(0, &["a"])]);
    let snapshot = sent.until(|snapshot| snapshot.state == State::KeyRefused).await;
    let error = snapshot.last_error.unwrap();
    assert!(error.contains("check DD_API_KEY and DD_SITE") && error.contains("403: Forbidden"), "{error}");
    sent.sender.submit(vec![queued(0, &["b"])]);
    let snapshot = sent.until(|snapshot| snapshot.pending_points == 2).await;
    assert_eq!((snapshot.accepted, intake.bodies().len()), (0, 1), "the same key is not tried again");

    std::fs::write(&path, "second\n").unwrap();
    sent.until(|snapshot| snapshot.accepted == 2).await;
    assert_eq!(intake.seen.lock().unwrap()[1].headers["dd-api-key"], "second");
}

#[tokio::test]
async fn a_missing_key_file_holds_the_queue_until_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let (_, url) = Intake::start(&[]).await;
    let sent = Sent::start(Params { key: Key::File(path.clone()), ..params(url) });
    sent.sender.submit(vec![queued(0, &["a"])]);
    let snapshot = sent.until(|snapshot| snapshot.state == State::KeyRefused).await;
    assert!(snapshot.last_error.unwrap().contains("cannot read the API key file"));
    std::fs::write(&path, "key").unwrap();
    sent.until(|snapshot| snapshot.accepted == 1).await;
}

#[tokio::test]
async fn silence_is_a_timeout_and_is_tried_again() {
    let (intake, url) = Intake::start(&[Answering::Silence]).await;
    let sent = Sent::start(Params { timeout: Duration::from_millis(30), ..params(url) });
    sent.sender.submit(vec![queued(0, &["a"])]);
    let snapshot = sent.until(|snapshot| snapshot.accepted == 1).await;
    assert!(requests(&snapshot, RequestClass::Timeout) >= 1);
    assert!(intake.bodies().len() >= 2);
}

#[tokio::test]
async fn retry_after_keeps_the_queue_waiting_and_new_bodies_do_not_break_it() {
    let (intake, url) = Intake::start(&[Answering::RetryAfter(429, "120")]).await;
    let sent = Sent::start(params(url));
    sent.sender.submit(vec![queued(10, &["a"])]);
    let snapshot = sent.until(|snapshot| snapshot.state == State::BackingOff).await;
    assert!(snapshot.last_error.unwrap().contains("trying again in 120 s"));
    sent.sender.submit(vec![queued(0, &["b"])]);
    sent.until(|snapshot| snapshot.pending_points == 2).await;
    assert_eq!(intake.bodies().len(), 1);
    // Shutting down makes one attempt all the same.
    let drained = tokio::time::timeout(LONG, sent.sender.drain(Duration::from_secs(5))).await.unwrap();
    assert_eq!(drained, Drained { accepted: 2, left: 0 });
}

#[tokio::test]
async fn draining_gives_up_early_when_the_endpoint_is_down() {
    // Nobody listens on port 1.
    let sent = Sent::start(params("http://127.0.0.1:1/".parse().unwrap()));
    sent.sender.submit(vec![queued(0, &["a", "b"])]);
    let snapshot = sent.until(|snapshot| snapshot.state == State::BackingOff).await;
    assert!(snapshot.last_error.unwrap().contains("cannot connect"));
    let drained = tokio::time::timeout(LONG, sent.sender.drain(Duration::from_millis(20))).await.unwrap();
    assert_eq!(drained, Drained { accepted: 0, left: 2 });
}

#[tokio::test]
async fn points_older_than_an_hour_and_over_the_limit_are_counted_by_reason() {
    let (intake, url) = Intake::start(&[Answering::RetryAfter(503, "60")]).await;
    let bytes = queued(0, &["a"]).body.zstd.len();
    let sent = Sent::start(Params { queue_max_bytes: 2 * bytes, ..params(url) });
    sent.sender.submit(vec![queued(4000, &["a"]), queued(3, &["b"])]);
    sent.until(|snapshot| snapshot.state == State::BackingOff).await;
    sent.sender.submit(vec![queued(2, &["c"]), queued(1, &["d"])]);
    let snapshot = sent.until(|snapshot| snapshot.dropped.iter().all(|(_, points)| *points == 1)).await;
    assert_eq!(snapshot.dropped.iter().map(|(reason, _)| *reason).collect::<Vec<_>>(), DropReason::ALL);
    assert_eq!((snapshot.pending_points, intake.bodies().len()), (2, 1));
    assert_eq!(snapshot.submitted, 4);
    let lost = [("a".to_owned(), "too_old", 1.0), ("b".to_owned(), "queue_full", 1.0)];
    assert_eq!(snapshot.lost, lost);
}

#[tokio::test]
async fn what_may_have_arrived_is_uncertain_and_not_lost_whatever_ends_it() {
    let silent = vec![Answering::Silence; 100];
    let (_, url) = Intake::start(&silent).await;
    let bytes = queued(0, &["a"]).body.zstd.len();
    let sent = Sent::start(Params { timeout: Duration::from_millis(20), queue_max_bytes: bytes, ..params(url) });
    sent.sender.submit(vec![queued(9, &["a"])]);
    sent.until(|snapshot| requests(snapshot, RequestClass::Timeout) >= 1).await;
    // It waits again, and goes for a newer one.
    sent.sender.submit(vec![queued(1, &["b"])]);
    let snapshot = sent.until(|snapshot| snapshot.uncertain == 1).await;
    assert!(snapshot.dropped.iter().all(|(_, points)| *points == 0));
    assert_eq!(snapshot.lost, [("a".to_owned(), "uncertain", 1.0)]);

    let (_, url) = Intake::start(&[Answering::Silence, Answering::Status(400, "no")]).await;
    let sent = Sent::start(Params { timeout: Duration::from_millis(20), ..params(url) });
    sent.sender.submit(vec![queued(0, &["a"])]);
    let snapshot = sent.until(|snapshot| snapshot.uncertain == 1).await;
    assert_eq!(snapshot.refused, 0);
}

#[tokio::test]
async fn a_proxy_is_used_and_no_proxy_is_obeyed() {
    let (proxy, proxy_url) = Intake::start(&[]).await;
    let (direct, url) = Intake::start(&[]).await;
    // Plain HTTP through a proxy asks it for the whole URL: our intake, standing in for one, serves the path.
    let through = Proxy { url: proxy_url, no_proxy: String::new() };
    let endpoint: Url = "http://intake.invalid/prefix".parse().unwrap();
    let sent = Sent::start(Params { proxy: Some(through.clone()), ..params(endpoint) });
    sent.sender.submit(vec![queued(0, &["a"])]);
    sent.until(|snapshot| snapshot.accepted == 1).await;
    assert_eq!((proxy.bodies().len(), direct.bodies().len()), (1, 0));

    let around = Proxy { no_proxy: "127.0.0.1".to_owned(), ..through };
    let sent = Sent::start(Params { proxy: Some(around), ..params(url) });
    sent.sender.submit(vec![queued(0, &["a"])]);
    sent.until(|snapshot| snapshot.accepted == 1).await;
    assert_eq!((proxy.bodies().len(), direct.bodies().len()), (1, 1));
}

#[tokio::test]
async fn parameters_that_can_never_work_are_errors_without_secrets() {
    let url: Url = "http://127.0.0.1:1/".parse().unwrap();
    let start = |params: Params| {
        Sender::start(params, Arc::default(), Outbox::default(), Vec::new()).map(|_| ()).unwrap_err().to_string()
    };
    let error = start(Params { key: Key::Static("se\ncret".into()), ..params(url.clone()) });
    assert!(error.contains("DD_API_KEY") && !error.contains("cret\""), "{error}");
    let error = start(params("ftp://127.0.0.1/".parse().unwrap()));
    assert!(error.contains("DD_SITE"), "{error}");
    #[cfg(not(feature = "datadog-api"))]
    assert!(start(Params { client: Client::Official, ..params(url.clone()) }).contains("--features datadog-api"));
    let proxy = Proxy { url: "http://user:hunter2@proxy/".parse().unwrap(), no_proxy: String::new() };
    assert!(!format!("{:?}", Params { proxy: Some(proxy), ..params(url) }).contains("hunter2"));
}
