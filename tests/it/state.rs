//! What outlives promdog: baselines and the queue, over restarts, with state that is bad, and for several endpoints.

use std::fs;
use std::path::Path;

use promdog::app;
use promdog::config::env::Env;
use promdog::config::flags::Flags;
use promdog::config::{Config, File};
use promdog::mock::intake::Intake;
use promdog::mock::virt_api::VirtApi;

use crate::discovery::{cluster, pod};
use crate::stage::{KEY, PATIENCE, arrived, expect, get, get_until, intake, promdog, virt_api};

const REQUESTS: &str = "kubevirt_api.rest.client_requests.count";
const METHOD: &[&str] = &["method:GET"];

fn page(start: u64, requests: u64) -> String {
    format!(
        "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {start}\n\
         # TYPE rest_client_requests_total counter\nrest_client_requests_total{{method=\"GET\"}} {requests}\n"
    )
}

/// Seconds since 1970.
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

fn configuration(mock: &VirtApi, dir: &Path) -> String {
    format!(
        "targets: [{{ name: t, url: '{}', health_url: off }}]\npush: {{ every: 1s }}\nweb: {{ max_age: 0s }}\n\
         state: {{ dir: '{}', lock_timeout: 0s }}\n",
        mock.running.url("/metrics"),
        dir.display()
    )
}

/// Waits until a pull has been pushed, whatever was in it.
async fn pushed(intake: &Intake) {
    assert!(intake.wait_for(PATIENCE, |points| !points.is_empty()).await, "{:?}", intake.rejections());
}

#[tokio::test]
async fn baselines_survive_a_restart_if_the_process_is_the_same() {
    let (mock, intake, dir) = (virt_api().await, intake().await, tempfile::tempdir().expect("a folder"));
    let configuration = configuration(&mock, dir.path());
    mock.set_page(Some(page(1000, 100)));
    let running = promdog(&configuration, Some((&intake, KEY))).await;
    pushed(&intake).await;
    running.stop().await;
    mock.set_page(Some(page(1000, 130)));
    let running = promdog(&configuration, Some((&intake, KEY))).await;
    expect(&intake, REQUESTS, METHOD, &[30.0]).await;
    running.stop().await;

    // Target and promdog restart both: the whole of the new process is growth.
    mock.set_page(Some(page(now() + 60, 7)));
    let running = promdog(&configuration, Some((&intake, KEY))).await;
    expect(&intake, REQUESTS, METHOD, &[30.0, 7.0]).await;
    running.stop().await;
    assert_eq!(intake.rejections(), []);
}

/// A pod that promdog knew goes on where it was; one that came while promdog was away counts in full.
#[tokio::test]
async fn discovered_pods_are_known_again_after_a_restart() {
    let (cluster, intake, dir) = (cluster().await, intake().await, tempfile::tempdir().expect("a folder"));
    let (one, two) = (virt_api().await, virt_api().await);
    one.set_page(Some(page(1000, 100)));
    cluster.apply(pod("one", "u1", &one));
    let configuration = format!(
        "targets:\n  - kubernetes: {{ selector: kubevirt.io=virt-api, port: metrics, scheme: http }}\n    \
         health_url: off\npush: {{ every: 1s }}\nkubernetes: {{ url: '{}', inventory: off }}\nstate: {{ dir: '{}' }}\n",
        cluster.running.url(""),
        dir.path().display()
    );
    let running = promdog(&configuration, Some((&intake, KEY))).await;
    pushed(&intake).await;
    running.stop().await;
    one.set_page(Some(page(1000, 130)));
    two.set_page(Some(page(now() + 60, 9)));
    cluster.apply(pod("two", "u2", &two));
    let running = promdog(&configuration, Some((&intake, KEY))).await;
    expect(&intake, REQUESTS, &["pod_name:one"], &[30.0]).await;
    expect(&intake, REQUESTS, &["pod_name:two"], &[9.0]).await;
    running.stop().await;
}

/// A promdog that leaves bodies of one encoding, and one that writes the other.
async fn left_and_sent_as_it_was(left: &str, next: &str) {
    let (mock, intake, dir) = (virt_api().await, intake().await, tempfile::tempdir().expect("a folder"));
    let configured = |encoding| format!("{}datadog: {{ encoding: {encoding} }}\n", configuration(&mock, dir.path()));
    mock.set_page(Some(page(1000, 100)));
    let running = promdog(&configured(left), Some((&intake, KEY))).await;
    pushed(&intake).await;
    intake.running.faults.set(vec!["status=503".parse().expect("a fault")]);
    mock.set_page(Some(page(1000, 111)));
    get_until(&running, "/internal/metrics", "state=\"backing_off\"} 1").await;
    let drained = running.stop().await;
    assert!(drained.left > 0);
    let stopped = i64::try_from(now()).expect("small");
    intake.running.faults.set(Vec::new());
    let (requests, protobuf) = (intake.requests(), intake.protobuf_requests());
    mock.set_page(Some(page(1000, 115)));
    let running = promdog(&configured(next), Some((&intake, KEY))).await;
    let whole = |points: &[promdog::mock::intake::judge::Received]| {
        let mut values = arrived(points, REQUESTS, METHOD);
        values.sort_by(f64::total_cmp);
        values == [4.0, 11.0]
    };
    assert!(intake.wait_for(PATIENCE, whole).await, "{:?}", arrived(&intake.points(), REQUESTS, METHOD));
    let old = intake.points().into_iter().find(|point| point.value == 11.0).expect("it has arrived");
    assert!(old.timestamp <= stopped, "with the second it had");
    running.stop().await;
    let (requests, protobuf) = (intake.requests() - requests, intake.protobuf_requests() - protobuf);
    assert!(0 < protobuf && protobuf < requests, "{protobuf} of {requests} are protobuf: those of one of the two");
    assert_eq!(intake.rejections(), []);
}

#[tokio::test]
async fn what_could_not_be_sent_is_sent_by_the_next_promdog_as_it_was() {
    left_and_sent_as_it_was("json", "protobuf").await;
    left_and_sent_as_it_was("protobuf", "json").await;
}

#[tokio::test]
async fn a_second_promdog_on_the_same_state_is_refused_and_names_the_first() {
    let (mock, intake, dir) = (virt_api().await, intake().await, tempfile::tempdir().expect("a folder"));
    let configuration = configuration(&mock, dir.path());
    let running = promdog(&configuration, Some((&intake, KEY))).await;
    let file = File { name: "test.yaml", text: &configuration, folder: Path::new("") };
    let env = Env::of([("DD_API_KEY".to_owned(), KEY.to_owned()), ("DD_URL".to_owned(), intake.running.url(""))]);
    let flags = Flags { listen_address: Some("127.0.0.1:0".to_owned()), ..Flags::default() };
    let config = Config::load(Some(file), &flags, &env).expect("right");
    let error = app::start(config).await.expect_err("it is held").to_string();
    assert!(error.contains(&format!("is held by promdog, process {}", std::process::id())), "{error}");
    running.stop().await;
}

#[tokio::test]
async fn state_that_is_no_good_is_set_aside_and_service_goes_on() {
    let (mock, intake, dir) = (virt_api().await, intake().await, tempfile::tempdir().expect("a folder"));
    fs::write(dir.path().join("state.redb"), "no database").expect("written");
    mock.set_page(Some(page(1000, 100)));
    let configuration = configuration(&mock, dir.path());
    let running = promdog(&configuration, Some((&intake, KEY))).await;
    pushed(&intake).await;
    mock.set_page(Some(page(1000, 103)));
    expect(&intake, REQUESTS, METHOD, &[3.0]).await;
    get_until(&running, "/internal/metrics", "promdog_state_writable 1\n").await;
    running.stop().await;
    let names = fs::read_dir(dir.path()).expect("readable").map(|entry| entry.expect("readable").file_name());
    assert!(names.into_iter().any(|name| name.to_string_lossy().contains(".bad-")));
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_written_is_told_and_service_goes_on() {
    let (mock, intake, dir) = (virt_api().await, intake().await, tempfile::tempdir().expect("a folder"));
    let file = dir.path().join("file");
    fs::write(&file, "in the way").expect("written");
    mock.set_page(Some(page(1000, 100)));
    let running = promdog(&configuration(&mock, &file), Some((&intake, KEY))).await;
    pushed(&intake).await;
    mock.set_page(Some(page(1000, 103)));
    expect(&intake, REQUESTS, METHOD, &[3.0]).await;
    get_until(&running, "/internal/metrics", "promdog_state_writable 0\n").await;
    running.stop().await;
}

#[tokio::test]
async fn each_endpoint_gets_everything_and_one_that_is_down_holds_up_no_other() {
    let (mock, first, second) = (virt_api().await, intake().await, intake().await);
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("key"), KEY).expect("written");
    let more = format!(
        "datadog: {{ additional_endpoints: [{{ url: '{}', api_key_file: '{}' }}] }}\n",
        second.running.url(""),
        dir.path().join("key").display()
    );
    let configuration = configuration(&mock, &dir.path().join("state")) + &more;
    mock.set_page(Some(page(1000, 100)));
    let running = promdog(&configuration, Some((&first, KEY))).await;
    pushed(&first).await;
    pushed(&second).await;
    second.running.faults.set(vec!["status=503".parse().expect("a fault")]);
    mock.set_page(Some(page(1000, 108)));
    expect(&first, REQUESTS, METHOD, &[8.0]).await;
    get_until(&running, "/internal/metrics", "state=\"backing_off\"} 1").await;
    running.stop().await;
    // The second one's queue is its own, and is kept.
    second.running.faults.set(Vec::new());
    let running = promdog(&configuration, Some((&first, KEY))).await;
    expect(&second, REQUESTS, METHOD, &[8.0]).await;
    assert_eq!(arrived(&first.points(), REQUESTS, METHOD), [8.0], "and the first is told nothing twice");
    running.stop().await;
}

#[tokio::test]
async fn increases_that_are_given_up_are_counted_by_metric() {
    let (mock, intake, dir) = (virt_api().await, intake().await, tempfile::tempdir().expect("a folder"));
    let configuration = configuration(&mock, dir.path()) + "datadog: { queue_max_bytes: 1 }\n";
    mock.set_page(Some(page(1000, 100)));
    let running = promdog(&configuration, Some((&intake, KEY))).await;
    get_until(&running, "/internal/metrics", "fate=\"queue_full\"} ").await;
    get_until(&running, "/metrics", "kubevirt_api_rest_client_requests_count").await;
    mock.set_page(Some(page(1000, 105)));
    let endpoint = intake.running.address;
    let lost = format!(
        "promdog_increase_lost_total{{endpoint=\"{endpoint}\",metric=\"{REQUESTS}\",reason=\"queue_full\"}} 5.0\n"
    );
    let page = get_until(&running, "/internal/metrics", &lost).await;
    assert!(page.contains(&format!("promdog_points_total{{endpoint=\"{endpoint}\",fate=\"accepted\"}} 0")), "{page}");
    running.stop().await;
    assert!(intake.points().is_empty());
}

/// Datadog is away for longer than the queue has room for: the oldest goes, every increase that went is counted, and the
/// newest comes first when it is back.
#[tokio::test]
async fn an_outage_that_is_too_long_costs_the_oldest_and_every_increase_of_it_is_counted() {
    let (mock, intake, dir) = (virt_api().await, intake().await, tempfile::tempdir().expect("a folder"));
    let endpoint = intake.running.address;
    // Room for about five batches of this target.
    let configuration = configuration(&mock, dir.path()) + "datadog: { queue_max_bytes: 1500 }\n";
    mock.set_page(Some(page(1000, 0)));
    let running = promdog(&configuration, Some((&intake, KEY))).await;
    pushed(&intake).await;
    intake.running.faults.set(vec!["status=503".parse().expect("a fault")]);
    let lost = |page: &str| {
        let line = format!(
            "promdog_increase_lost_total{{endpoint=\"{endpoint}\",metric=\"{REQUESTS}\",reason=\"queue_full\"}} "
        );
        page.lines().find_map(|known| known.strip_prefix(&line)?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    let number = |page: &str, name: &str| {
        let line = format!("{name}{{endpoint=\"{endpoint}\"}} ");
        page.lines().find_map(|known| known.strip_prefix(&line)?.parse::<f64>().ok())
    };
    let mut total = 0;
    let full = async {
        loop {
            total += 1;
            mock.set_page(Some(page(1000, total)));
            let (_, now) = get(&running, "/internal/metrics").await;
            assert!(number(&now, "promdog_pending_bytes").is_some_and(|bytes| bytes <= 1500.0 + 600.0), "{now}");
            if lost(&now) >= 3.0 {
                assert!(number(&now, "promdog_queue_capacity_seconds").is_some(), "{now}");
                assert!(number(&now, "promdog_oldest_pending_seconds").is_some_and(|age| age >= 1.0), "{now}");
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, full).await.expect("the queue is full in the end");
    let before = intake.points().len();
    intake.running.faults.set(Vec::new());
    // What arrived and what was lost is the growth, to the last unit.
    let whole = async {
        loop {
            let (_, now) = get(&running, "/internal/metrics").await;
            let arrived: f64 = arrived(&intake.points(), REQUESTS, METHOD).iter().sum();
            if arrived + lost(&now) == total as f64 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, whole).await.expect("nothing is missing but what was counted");
    let seconds: Vec<i64> =
        intake.points()[before..].iter().filter(|point| point.name == REQUESTS).map(|point| point.timestamp).collect();
    // The one that was under way is tried first; of the others the newest, and on a slow machine what has come meanwhile.
    let backlog: Vec<i64> = seconds.iter().skip(1).copied().collect();
    assert!(backlog.windows(2).any(|pair| pair[0] > pair[1]), "newest first: {seconds:?}");
    let size = fs::metadata(dir.path().join("state.redb")).expect("it is there").len();
    assert!(size < 4 << 20, "{size} bytes on disk");
    running.stop().await;
}
