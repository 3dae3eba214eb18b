//! Bad answers, bad certificates: each gives one clear message and a metric, and everything else goes on.

use promdog::app::Running;
use promdog::mock::serve::{Setup, Tls, Validity};
use promdog::mock::virt_api::{self, VirtApi};

use crate::stage::{get, lines, promdog, virt_api};

/// A target behind the faults, and one that is well.
async fn with_neighbour(bad: &str, more: &str) -> (VirtApi, Running) {
    let good = virt_api().await;
    let configuration = format!(
        "targets:\n  - {{ name: good, url: '{}' }}\n  - {{ name: bad, url: '{bad}'{more} }}\nweb: {{ max_age: 0s }}\n",
        good.running.url("/metrics")
    );
    let running = promdog(&configuration, None).await;
    (good, running)
}

/// What a request for the bad target is told; the good one and the whole page must be well.
async fn told(bad: &str, more: &str, result: &str) -> String {
    let (_good, running) = with_neighbour(bad, more).await;
    let (status, text) = get(&running, "/metrics?target=bad").await;
    assert_eq!(status, 503, "{text}");
    let (status, page) = get(&running, "/metrics").await;
    assert_eq!(status, 200);
    let up = lines(&page, "promdog_target_up");
    assert_eq!(up, [r#"promdog_target_up{target="good"} 1"#, r#"promdog_target_up{target="bad"} 0"#]);
    let (_, internal) = get(&running, "/internal/metrics").await;
    let counted = format!("promdog_pulls_total{{target=\"bad\",result=\"{result}\"}} 2");
    assert!(internal.contains(&counted), "{counted} is not in\n{internal}");
    running.stop().await;
    text
}

#[tokio::test]
async fn each_bad_answer_has_a_message_of_its_own() {
    for (fault, result, message) in [
        ("status=500", "status", "status 500 instead of 200; it failed by itself: look into its log"),
        ("status=401", "status", "status 401 instead of 200; it wants to know who asks: give a bearer token file"),
        ("redirect", "redirect", "redirects in a loop, back to"),
        (
            "endless",
            "too_large",
            "the page is over 1048576 bytes decompressed; if it is right, raise the target's limit",
        ),
        ("gzip-bomb", "too_large", "the page is over 1048576 bytes decompressed"),
        ("html", "content_type", "the answer is an HTML page, not metrics; check the URL's path"),
        ("garbage", "foreign", "the answer is no exposition: line 1, column 1: expected a metric name"),
        ("cut", "body", "broke off its answer"),
    ] {
        let mock = virt_api().await;
        mock.running.faults.set(vec![format!("{fault}@/metrics").parse().expect("a fault")]);
        let text = told(&mock.running.url("/metrics"), ", limits: { decompressed_bytes: 1MiB }", result).await;
        assert!(text.contains(message), "{fault}: {text}");
    }
}

#[tokio::test]
async fn a_target_that_is_not_there_is_told() {
    // Nobody listens on port 1.
    let text = told("http://127.0.0.1:1/metrics", "", "connect").await;
    assert!(text.contains("cannot connect to") && text.contains("Connection refused"), "{text}");
}

#[tokio::test]
async fn a_bad_line_costs_itself_only() {
    for (fault, refused) in [("invalid-utf8", "not valid UTF-8"), ("truncated", "labels are not closed")] {
        let mock = virt_api().await;
        mock.running.faults.set(vec![format!("{fault}@/metrics").parse().expect("a fault")]);
        let (_good, running) = with_neighbour(&mock.running.url("/metrics"), "").await;
        let (status, page) = get(&running, "/metrics?target=bad").await;
        assert_eq!(status, 200);
        assert!(lines(&page, "kubevirt_api_").len() > 10, "{fault}");
        let (_, internal) = get(&running, "/internal/metrics").await;
        assert!(internal.contains("promdog_refused_lines_total{target=\"bad\"} 1\n"), "{fault}:\n{internal}");
        let latest =
            running.targets.now().iter().find(|target| target.params.name == "bad").and_then(|target| target.latest());
        let view = latest.and_then(|pulled| pulled.view.clone().ok()).expect("it was read");
        let told = promdog::translate::describe_refusals(&view.ledger);
        assert!(told.starts_with("line ") && told.contains(refused), "{told}");
        running.stop().await;
    }
}

async fn over_tls(tls: Tls) -> (VirtApi, tempfile::TempDir) {
    let params =
        virt_api::Params { setup: Setup { tls: Some(tls), ..Setup::default() }, ..virt_api::Params::default() };
    let mock = VirtApi::start(params).await.expect("a free port");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("ca.pem"), mock.running.ca_pem.as_ref().expect("it speaks TLS"))
        .expect("written");
    (mock, folder)
}

/// A port-forward: the name connected to is `localhost`.
fn forwarded(mock: &VirtApi) -> String {
    format!("https://localhost:{}/metrics", mock.running.address.port())
}

fn trusting(folder: &tempfile::TempDir, more: &str) -> String {
    format!(", tls: {{ ca_file: '{}'{more} }}", folder.path().join("ca.pem").display())
}

#[tokio::test]
async fn each_bad_certificate_names_the_flag_that_fixes_it() {
    let (mock, folder) = over_tls(Tls::default()).await;
    let text = told(&forwarded(&mock), "", "tls").await;
    assert!(text.contains("signed by an unknown authority; give its CA with `--target.ca-file FILE`"), "{text}");
    assert!(text.contains("`--target.insecure-skip-verify`"), "{text}");

    let names = vec!["virt-api.kubevirt.svc".to_owned()];
    let (mock, other) = over_tls(Tls { names, ..Tls::default() }).await;
    let text = told(&forwarded(&mock), &trusting(&other, ""), "tls").await;
    assert!(text.contains("not valid for `localhost`, but for `virt-api.kubevirt.svc`"), "{text}");
    assert!(text.contains("add `--target.server-name virt-api.kubevirt.svc`"), "{text}");
    // Taking the advice works.
    let advised = trusting(&other, ", server_name: virt-api.kubevirt.svc");
    let (_good, running) = with_neighbour(&forwarded(&mock), &advised).await;
    assert_eq!(get(&running, "/metrics?target=bad").await.0, 200);
    running.stop().await;

    let (mock, expired) = over_tls(Tls { validity: Validity::Expired, ..Tls::default() }).await;
    let text = told(&forwarded(&mock), &trusting(&expired, ""), "tls").await;
    assert!(text.contains("the server's certificate has expired; renew it"), "{text}");
    drop(folder);
}
