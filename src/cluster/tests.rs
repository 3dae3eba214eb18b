use super::*;

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path as UrlPath, Query};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

const LONG: Duration = Duration::from_secs(10);

/// A request as the API server saw it: kind, query and token.
type Seen = Arc<Mutex<Vec<(String, HashMap<String, String>, String)>>>;

/// An API server whose lists come from `answer(kind, continue)`.
async fn serve(answer: impl Fn(&str, &str) -> Response + Clone + Send + Sync + 'static) -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    let handler =
        async move |UrlPath(kind): UrlPath<String>, query: Query<HashMap<String, String>>, headers: HeaderMap| {
            let token = headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
            let next = query.get("continue").cloned().unwrap_or_default();
            log.lock().unwrap().push((kind.clone(), query.0, token));
            answer(&kind, &next)
        };
    let router = Router::new().route("/apis/kubevirt.io/v1/{kind}", get(handler));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, seen)
}

fn params(address: SocketAddr) -> Params {
    let url = format!("http://{address}/").parse().unwrap();
    let source = Source::Url { url, token_file: None, ca_file: None, insecure_skip_verify: false };
    Params { source, page_size: 2, timeout: LONG }
}

async fn list(address: SocketAddr) -> Result<Listed, Error> {
    Lister::connect(params(address)).await.unwrap().list().await
}

/// Items `first..last`, named by number.
fn page(numbers: std::ops::Range<u32>, next: &str) -> Response {
    let items: Vec<String> = numbers
        .map(|n| {
            format!(r#"{{"metadata":{{"namespace":"ns","name":"vm{n}","uid":"u{n}"}},"status":{{"phase":"Running"}}}}"#)
        })
        .collect();
    format!(r#"{{"metadata":{{"continue":"{next}"}},"items":[{}]}}"#, items.join(",")).into_response()
}

fn status(code: u16, message: &str) -> Response {
    let body = serde_json::json!({"kind": "Status", "status": "Failure", "code": code, "message": message});
    (StatusCode::from_u16(code).unwrap(), body.to_string()).into_response()
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let (address, seen) = serve(|kind, next| match (kind, next) {
        ("virtualmachines", "") => page(0..2, "a=&b"),
        ("virtualmachines", _) => page(2..3, ""),
        _ => page(0..1, ""),
    })
    .await;
    let listed = list(address).await.unwrap();
    let names: Vec<&str> = listed.inventory.vms.iter().map(|vm| vm.name.as_str()).collect();
    assert_eq!(names, ["vm0", "vm1", "vm2"]);
    assert_eq!(listed.inventory.vmis[0].phase.as_deref(), Some("Running"));
    assert_eq!(listed.skipped, 0);
    let seen = seen.lock().unwrap();
    assert_eq!((seen[0].1["limit"].as_str(), seen[1].1["continue"].as_str()), ("2", "a=&b"));
}

#[tokio::test]
async fn an_expired_page_restarts_the_list_once() {
    let expired = Arc::new(Mutex::new(0));
    let count = Arc::clone(&expired);
    let (address, _) = serve(move |_, next| match next {
        "" => page(0..2, "more"),
        _ => {
            *count.lock().unwrap() += 1;
            if *count.lock().unwrap() == 1 { status(410, "expired") } else { page(2..3, "") }
        }
    })
    .await;
    let listed = list(address).await.unwrap();
    assert_eq!((listed.inventory.vms.len(), listed.inventory.vmis.len()), (3, 3), "nothing is listed twice");

    let (address, seen) = serve(|_, next| if next.is_empty() { page(0..2, "x") } else { status(410, "expired") }).await;
    assert_eq!(list(address).await.unwrap_err().label(), "expired");
    assert_eq!(seen.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn an_endless_list_is_an_error() {
    let (address, _) = serve(|_, _| page(0..1, "same")).await;
    assert_eq!(list(address).await.unwrap_err().label(), "malformed");
}

#[tokio::test]
async fn refusals_name_the_missing_rule() {
    let (address, _) = serve(|_, _| {
        status(
            403,
            "virtualmachines.kubevirt.io is forbidden: User \"system:serviceaccount:mon:promdog\" cannot list resource",
        )
    })
    .await;
    let error = list(address).await.unwrap_err();
    assert_eq!(error.label(), "forbidden");
    let text = error.to_string();
    assert!(text.contains("--clusterrole=kubevirt.io:view --serviceaccount=mon:promdog`"), "{text}");

    for (code, label) in [(401, "unauthorized"), (404, "no_kubevirt"), (500, "status"), (503, "status")] {
        let (address, _) = serve(move |_, _| status(code, "no")).await;
        assert_eq!(list(address).await.unwrap_err().label(), label, "{code}");
    }
    let (address, _) = serve(|_, _| (StatusCode::NOT_FOUND, "404 page not found\n").into_response()).await;
    let text = list(address).await.unwrap_err().to_string();
    assert!(text.contains("KubeVirt is not installed"), "{text}");
    let (address, _) = serve(|_, _| "<html>".into_response()).await;
    assert_eq!(list(address).await.unwrap_err().label(), "malformed");
}

#[tokio::test]
async fn an_api_server_that_is_away_is_unreachable() {
    // Nobody listens on port 1.
    let error = list(SocketAddr::from(([127, 0, 0, 1], 1))).await.unwrap_err();
    assert_eq!(error.label(), "unreachable");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn the_token_file_is_read_on_each_list() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "one\n").unwrap();
    let (address, seen) = serve(|_, _| page(0..0, "")).await;
    let mut params = params(address);
    if let Source::Url { token_file, .. } = &mut params.source {
        *token_file = Some(path.clone());
    }
    let lister = Lister::connect(params).await.unwrap();
    lister.list().await.unwrap();
    fs::write(&path, "two\n").unwrap();
    lister.list().await.unwrap();
    let tokens: Vec<String> = seen.lock().unwrap().iter().map(|seen| seen.2.clone()).collect();
    assert_eq!(tokens, ["Bearer one", "Bearer one", "Bearer two", "Bearer two"]);
    fs::remove_file(&path).unwrap();
    assert_eq!(lister.list().await.unwrap_err().label(), "token_file");
}

#[tokio::test]
async fn a_kubeconfig_names_server_and_token() {
    let (address, seen) = serve(|_, _| page(0..1, "")).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters:\n- name: k\n  cluster:\n    server: http://{address}\n    proxy-url: http://127.0.0.1:1\n\
         users:\n- name: u\n  user:\n    token: secret\n\
         contexts:\n- name: c\n  context:\n    cluster: k\n    user: u\n"
    );
    fs::write(&path, text).unwrap();
    let params = Params { source: Source::Kubeconfig(path), ..params(address) };
    let listed = Lister::connect(params.clone()).await.unwrap().list().await.unwrap();
    assert_eq!(listed.inventory.vms.len(), 1);
    assert_eq!(seen.lock().unwrap()[0].2, "Bearer secret");

    let source = Source::Kubeconfig(dir.path().join("nothing"));
    let error = Lister::connect(Params { source, ..params }).await.unwrap_err();
    assert_eq!(error.label(), "config");
    assert!(error.to_string().contains("nothing cannot be used"), "{error}");
}

#[tokio::test]
async fn the_api_servers_certificate_is_verified_against_the_ca_file() {
    tls::install_provider();
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    let mut stranger = rcgen::CertificateParams::new(Vec::new()).unwrap();
    stranger.distinguished_name.push(rcgen::DnType::CommonName, "stranger");
    let stranger = stranger.self_signed(&other).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, pem: String| {
        fs::write(dir.path().join(name), pem).unwrap();
        dir.path().join(name)
    };
    let (right, wrong) = (write("right.pem", cert.pem()), write("wrong.pem", stranger.pem()));

    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![cert.der().clone()], key).unwrap();
    let config = axum_server::tls_rustls::RustlsConfig::from_config(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/apis/kubevirt.io/v1/{kind}", get(async || page(0..1, "")));
    let server = axum_server::from_tcp_rustls(listener, config).unwrap();
    tokio::spawn(async move { server.serve(router.into_make_service()).await.unwrap() });

    let url: Url = format!("https://{address}/").parse().unwrap();
    let source = |ca_file: PathBuf| Source::Url {
        url: url.clone(),
        token_file: None,
        ca_file: Some(ca_file),
        insecure_skip_verify: false,
    };
    let lister = Lister::connect(Params { source: source(right), ..params(address) }).await.unwrap();
    assert_eq!(lister.list().await.unwrap().inventory.vmis.len(), 1);
    let lister = Lister::connect(Params { source: source(wrong), ..params(address) }).await.unwrap();
    let error = lister.list().await.unwrap_err();
    assert_eq!(error.label(), "tls", "{error}");
    assert!(error.to_string().contains("give the cluster's CA file"), "{error}");
    let missing = Lister::connect(Params { source: source("/nowhere".into()), ..params(address) }).await.unwrap_err();
    assert!(missing.to_string().starts_with("cannot read CA file /nowhere"), "{missing}");
}
