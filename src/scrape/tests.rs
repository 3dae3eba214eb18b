use super::*;

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

const LONG: Duration = Duration::from_secs(10);
const GZIP_TEXT: [(HeaderName, &str); 2] = [(header::CONTENT_ENCODING, "gzip"), (header::CONTENT_TYPE, "text/plain")];
const PAGE: &str = "# TYPE up gauge\nup 1\n";

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

fn params(url: &str) -> Params {
    Params {
        url: url.parse().unwrap(),
        health_url: None,
        tls: tls::ClientParams::default(),
        auth: Auth::None,
        headers: Vec::new(),
        timeout: LONG,
        max_compressed_bytes: 1_000_000,
        max_decompressed_bytes: 2_000_000,
    }
}

/// Serves one answer under `/metrics` and fetches it.
async fn fetch(answer: impl IntoResponse + Clone + Send + Sync + 'static) -> Result<Fetched, Error> {
    let address = serve(Router::new().route("/metrics", get(async move || answer.clone()))).await;
    // Spawned, because the pull task must be able to do so too.
    let scraper = Scraper::new(params(&format!("http://{address}/metrics"))).unwrap();
    tokio::spawn(async move { scraper.fetch(LONG).await }).await.unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_page_comes_back_with_its_type_and_date() {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4"), (header::DATE, "Sun, 06 Nov 1994 08:49:37 GMT")];
    let fetched = fetch((headers, PAGE)).await.unwrap();
    assert_eq!(fetched.body, PAGE.as_bytes());
    assert_eq!(fetched.head.content_type.as_deref(), Some("text/plain; version=0.0.4"));
    assert_eq!(fetched.head.date, Some(UnixMillis(784_111_777_000)));
    assert_eq!(fetched.head.wire_bytes, PAGE.len() as u64);
}

#[tokio::test]
async fn a_gzip_body_is_decompressed() {
    let page = PAGE.repeat(1000);
    let packed = gzip(page.as_bytes());
    let fetched = fetch((GZIP_TEXT, Bytes::from(packed.clone()))).await;
    let fetched = fetched.unwrap();
    assert_eq!(fetched.body, page.into_bytes());
    assert_eq!(fetched.head.wire_bytes, packed.len() as u64);
}

#[tokio::test]
async fn a_missing_content_type_is_text() {
    let address = serve(Router::new().route("/", get(async || axum::response::Response::new(Body::from(PAGE))))).await;
    let fetched = Scraper::new(params(&format!("http://{address}/"))).unwrap().fetch(LONG).await.unwrap();
    assert_eq!((fetched.head.content_type, &fetched.body[..]), (None, PAGE.as_bytes()));
}

#[tokio::test]
async fn a_gzip_bomb_stops_at_the_decompressed_limit() {
    let packed = Bytes::from(gzip(&vec![b'a'; 50_000_000]));
    let error = fetch((GZIP_TEXT, packed)).await.unwrap_err();
    assert_eq!(error.label(), "too_large");
    assert!(error.to_string().contains("2000000 bytes decompressed"), "{error}");
}

#[tokio::test]
async fn broken_and_truncated_gzip_is_an_error() {
    let packed = Bytes::from(gzip(PAGE.repeat(1000).as_bytes()));
    let cut = packed.slice(..packed.len() - 12);
    for body in [Bytes::from_static(b"up 1\n"), cut] {
        let error = fetch((GZIP_TEXT, body)).await.unwrap_err();
        assert_eq!(error.label(), "gzip", "{error}");
    }
    let error = fetch(([(header::CONTENT_ENCODING, "br")], PAGE)).await.unwrap_err();
    assert_eq!(error.label(), "gzip");
}

#[tokio::test]
async fn an_endless_body_stops_at_the_limit() {
    async fn endless() -> Body {
        Body::from_stream(futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'a'; 4096]))))
    }
    let address = serve(Router::new().route("/", get(endless))).await;
    let error = Scraper::new(params(&format!("http://{address}/"))).unwrap().fetch(LONG).await.unwrap_err();
    assert_eq!(error.label(), "too_large", "{error}");
}

#[tokio::test]
async fn a_target_that_never_answers_is_a_timeout() {
    let address = serve(Router::new().route("/", get(std::future::pending::<String>))).await;
    let scraper = Scraper::new(params(&format!("http://{address}/?token=secret"))).unwrap();
    let error = scraper.fetch(Duration::from_millis(30)).await.unwrap_err();
    assert_eq!(error.label(), "timeout");
    assert!(error.to_string().contains("no answer began") && !error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_refused_connection_and_an_unknown_host_are_told_apart() {
    // Nobody listens on port 1.
    let error = Scraper::new(params("http://127.0.0.1:1/")).unwrap().fetch(LONG).await.unwrap_err();
    assert_eq!(error.label(), "connect");
    assert!(error.to_string().contains("refused"), "{error}");
    // A label of 64 letters is refused by the resolver itself, so nothing leaves this machine.
    let url = format!("http://{}.invalid/", "a".repeat(64));
    let error = Scraper::new(params(&url)).unwrap().fetch(LONG).await.unwrap_err();
    assert_eq!(error.label(), "dns", "{error}");
}

#[tokio::test]
async fn statuses_say_what_to_do() {
    let error = fetch(StatusCode::UNAUTHORIZED).await.unwrap_err();
    assert!(matches!(error, Error::Status { status: 401, .. }));
    assert!(error.to_string().contains("bearer token file or basic authentication"), "{error}");

    let error = fetch((StatusCode::INTERNAL_SERVER_ERROR, "collected twice:\n a\tb")).await.unwrap_err().to_string();
    assert!(error.contains("status 500") && error.ends_with(": collected twice: a b"), "{error}");

    let error =
        fetch((StatusCode::BAD_REQUEST, "Client sent an HTTP request to an HTTPS server.\n")).await.unwrap_err();
    assert!(error.to_string().contains("use https://"), "{error}");

    let error = fetch(StatusCode::NO_CONTENT).await.unwrap_err();
    assert!(matches!(error, Error::Status { status: 204, .. }));
}

#[tokio::test]
async fn html_and_json_are_refused() {
    let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    assert!(matches!(fetch((html, "<html>")).await, Err(Error::Html)));
    assert!(matches!(fetch("\n <!DOCTYPE html>").await, Err(Error::Html)));
    let json = [(header::CONTENT_TYPE, "application/json")];
    let error = fetch((json, "{}")).await.unwrap_err();
    assert_eq!(error.label(), "content_type");
    assert!(error.to_string().contains("`application/json`"), "{error}");
}

#[tokio::test]
async fn redirects_are_followed_and_loops_are_one_error() {
    let router = Router::new()
        .route("/a", get(async || Redirect::temporary("/b")))
        .route("/b", get(async || PAGE))
        .route("/x", get(async || Redirect::temporary("/y")))
        .route("/y", get(async || Redirect::temporary("/x")))
        .route(
            "/n/{n}",
            get(async |axum::extract::Path(n): axum::extract::Path<u32>| Redirect::temporary(&format!("/n/{}", n + 1))),
        );
    let address = serve(router).await;
    let scraper = |path: &str| Scraper::new(params(&format!("http://{address}{path}"))).unwrap();
    assert_eq!(scraper("/a").fetch(LONG).await.unwrap().body, PAGE.as_bytes());
    let error = scraper("/x").fetch(LONG).await.unwrap_err();
    assert_eq!(error.label(), "redirect");
    assert!(error.to_string().contains("in a loop"), "{error}");
    let error = scraper("/n/0").fetch(LONG).await.unwrap_err().to_string();
    assert!(error.contains("more than 5 times"), "{error}");
}

#[tokio::test]
async fn secrets_go_to_the_target_only_and_not_into_errors() {
    /// Answers with all the headers it got.
    async fn echo(request: Request<Body>) -> String {
        request.headers().iter().map(|(name, value)| format!("{name} {}\n", value.to_str().unwrap())).collect()
    }
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "t0ken\n").unwrap();
    let other = serve(Router::new().route("/", get(echo))).await;
    let router = Router::new()
        .route("/echo", get(echo))
        .route("/denied", get(async |request: Request<Body>| (StatusCode::FORBIDDEN, echo(request).await)))
        .route("/away", get(async move || Redirect::temporary(&format!("http://{other}/"))));
    let address = serve(router).await;
    let scraper = |path: &str, auth: Auth| {
        let headers = vec![(HeaderName::from_static("x-key"), HeaderValue::from_static("k3y-value"))];
        Scraper::new(Params { auth, headers, ..params(&format!("http://{address}{path}")) }).unwrap()
    };
    let text = |fetched: Fetched| String::from_utf8(fetched.body.to_vec()).unwrap();

    let bearer = scraper("/echo", Auth::BearerFile(token.clone()));
    let seen = text(bearer.fetch(LONG).await.unwrap());
    assert!(seen.contains("authorization Bearer t0ken\n") && seen.contains("x-key k3y-value\n"), "{seen}");
    assert!(seen.contains("accept-encoding gzip\n") && seen.contains("user-agent promdog/"), "{seen}");
    fs::write(&token, "rotated").unwrap();
    let seen = text(bearer.fetch(LONG).await.unwrap());
    assert!(seen.contains("authorization Bearer rotated\n"), "{seen}");

    let basic = Auth::Basic { username: "us:er".to_owned(), password_file: token.clone() };
    let seen = text(scraper("/echo", basic).fetch(LONG).await.unwrap());
    assert!(seen.contains("authorization Basic dXM6ZXI6cm90YXRlZA==\n"), "{seen}");

    let seen = text(scraper("/away", Auth::BearerFile(token.clone())).fetch(LONG).await.unwrap());
    assert!(!seen.contains("authorization") && !seen.contains("x-key"), "{seen}");

    let error = scraper("/denied", Auth::BearerFile(token.clone())).fetch(LONG).await.unwrap_err().to_string();
    assert!(error.contains("token file") && !error.contains("rotated") && !error.contains("k3y-value"), "{error}");

    fs::remove_file(&token).unwrap();
    let error = bearer.fetch(LONG).await.unwrap_err();
    assert_eq!(error.label(), "auth_file");
}

#[tokio::test]
async fn health_accepts_anything_under_400() {
    let router = Router::new()
        .route("/good", get(async || ([(header::CONTENT_TYPE, "application/json")], "{}")))
        .route("/bad", get(async || (StatusCode::INTERNAL_SERVER_ERROR, "no")));
    let address = serve(router).await;
    for (path, good) in [("good", true), ("bad", false)] {
        let health_url = Some(format!("http://{address}/{path}").parse().unwrap());
        let scraper = Scraper::new(Params { health_url, ..params(&format!("http://{address}/metrics")) }).unwrap();
        assert_eq!(scraper.health(LONG).await.is_ok(), good);
    }
}

struct Tls {
    dir: tempfile::TempDir,
    address: SocketAddr,
}

/// A server with a certificate for `virt-api.kubevirt.svc` and no IP address, as virt-api has it. It answers with the
/// `Host` header it got.
async fn serve_tls() -> Tls {
    tls::install_provider();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["virt-api.kubevirt.svc".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ca.pem"), ca.pem()).unwrap();

    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let config = axum_server::tls_rustls::RustlsConfig::from_config(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let host = async |headers: HeaderMap| headers[header::HOST].to_str().unwrap().to_owned();
    let router = Router::new().route("/metrics", get(host));
    let server = axum_server::from_tcp_rustls(listener, config).unwrap();
    tokio::spawn(async move { server.serve(router.into_make_service()).await.unwrap() });
    Tls { dir, address }
}

fn tls_scraper(server: &Tls, tls: tls::ClientParams) -> Scraper {
    Scraper::new(Params { tls, ..params(&format!("https://{}/metrics", server.address)) }).unwrap()
}

#[tokio::test]
async fn an_unknown_issuer_advises_the_ca_file() {
    let server = serve_tls().await;
    let other = serve_tls().await;
    let tls = tls::ClientParams { ca_file: Some(other.dir.path().join("ca.pem")), ..Default::default() };
    let error = tls_scraper(&server, tls).fetch(LONG).await.unwrap_err();
    assert_eq!(error.label(), "tls", "{error}");
    assert!(error.to_string().contains("--target.ca-file FILE"), "{error}");
    let tls = tls::ClientParams { insecure_skip_verify: true, ..Default::default() };
    assert!(tls_scraper(&server, tls).fetch(LONG).await.is_ok());
}

#[tokio::test]
async fn a_wrong_name_advises_the_server_name_and_taking_the_advice_works() {
    let server = serve_tls().await;
    let mut tls = tls::ClientParams { ca_file: Some(server.dir.path().join("ca.pem")), ..Default::default() };
    let error = tls_scraper(&server, tls.clone()).fetch(LONG).await.unwrap_err();
    assert!(error.to_string().contains("--target.server-name virt-api.kubevirt.svc"), "{error}");

    tls.server_name = Some("virt-api.kubevirt.svc".to_owned());
    let fetched = tls_scraper(&server, tls.clone()).fetch(LONG).await.unwrap();
    assert_eq!(fetched.body, server.address.to_string().into_bytes(), "`Host` is the URL's");

    tls.server_name = Some("other.svc".to_owned());
    let error = tls_scraper(&server, tls).fetch(LONG).await.unwrap_err();
    assert!(error.to_string().contains("not valid for `other.svc`"), "{error}");
}

#[tokio::test]
async fn a_rotated_ca_file_is_used_after_the_first_failure() {
    let server = serve_tls().await;
    let other = serve_tls().await;
    let path = server.dir.path().join("bundle.pem");
    fs::copy(other.dir.path().join("ca.pem"), &path).unwrap();
    let tls = tls::ClientParams {
        ca_file: Some(path.clone()),
        server_name: Some("virt-api.kubevirt.svc".to_owned()),
        ..Default::default()
    };
    let scraper = tls_scraper(&server, tls);
    assert_eq!(scraper.fetch(LONG).await.unwrap_err().label(), "tls");
    let mut bundle = fs::read_to_string(&path).unwrap();
    bundle.push_str(&fs::read_to_string(server.dir.path().join("ca.pem")).unwrap());
    fs::write(&path, bundle).unwrap();
    assert!(scraper.fetch(LONG).await.is_ok());
}

#[tokio::test]
async fn plain_http_behind_an_https_url_is_told() {
    let address = serve(Router::new().route("/", get(async || PAGE))).await;
    let tls = tls::ClientParams { insecure_skip_verify: true, ..Default::default() };
    let scraper = Scraper::new(Params { tls, ..params(&format!("https://{address}/")) }).unwrap();
    let error = scraper.fetch(LONG).await.unwrap_err();
    assert_eq!(error.label(), "tls", "{error}");
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}

#[tokio::test]
async fn an_http_url_of_a_tls_port_is_told() {
    let server = serve_tls().await;
    let error =
        Scraper::new(params(&format!("http://{}/metrics", server.address))).unwrap().fetch(LONG).await.unwrap_err();
    assert!(error.to_string().contains("use https://"), "{error}");
}
