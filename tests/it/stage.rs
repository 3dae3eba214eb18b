//! A running promdog between its mocks, over real protocols on loopback: what the tests of the service share.

use std::path::Path;
use std::time::Duration;

use promdog::app::{self, Running};
use promdog::config::env::Env;
use promdog::config::flags::Flags;
use promdog::config::{Config, File};
use promdog::mock::intake::judge::Received;
use promdog::mock::intake::{self, Intake};
use promdog::mock::virt_api::{self, VirtApi};

/// For whatever is waited for: long, since it only ends a test that has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const KEY: &str = "test-key";

/// A mock virt-api that speaks plain HTTP; its time stands still.
pub async fn virt_api() -> VirtApi {
    let mock = VirtApi::start(virt_api::Params::default()).await.expect("a free port");
    mock.freeze();
    mock
}

pub async fn intake() -> Intake {
    Intake::start(intake::Params { key: KEY.to_owned(), ..intake::Params::default() }).await.expect("a free port")
}

/// promdog with this configuration, pushing to `intake` with this key; without an intake nothing is pushed.
pub async fn promdog(configuration: &str, intake: Option<(&Intake, &str)>) -> Running {
    let mut env = Vec::new();
    if let Some((intake, key)) = intake {
        env.push(("DD_API_KEY".to_owned(), key.to_owned()));
        env.push(("DD_URL".to_owned(), intake.running.url("")));
    }
    let file = File { name: "test.yaml", text: configuration, folder: Path::new("") };
    let flags = Flags { listen_address: Some("127.0.0.1:0".to_owned()), ..Flags::default() };
    let config = Config::load(Some(file), &flags, &Env::of(env)).unwrap_or_else(|problems| panic!("{problems}"));
    app::start(config).await.expect("it starts")
}

/// Status and text of a GET; `headers` are sent along.
pub async fn get_with(running: &Running, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
    let request = client.get(format!("http://{}{path}", running.address));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.text().await.expect("text"))
}

pub async fn get(running: &Running, path: &str) -> (u16, String) {
    get_with(running, path, &[]).await
}

/// Asks for a page until it holds what is wanted.
pub async fn get_until(running: &Running, path: &str, wanted: &str) -> String {
    let asking = async {
        loop {
            let (_, page) = get(running, path).await;
            if page.contains(wanted) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{path} never holds {wanted}"))
}

/// The lines of a page that begin like this.
pub fn lines<'p>(page: &'p str, start: &str) -> Vec<&'p str> {
    page.lines().filter(|line| line.starts_with(start)).collect()
}

/// What has arrived of a series, in order, without the zeros of pulls in which nothing moved.
pub fn arrived(points: &[Received], name: &str, tags: &[&str]) -> Vec<f64> {
    let has = |point: &&Received| tags.iter().all(|wanted| point.tags.iter().any(|tag| tag == wanted));
    let of_series = points.iter().filter(|point| point.name == name).filter(has);
    of_series.map(|point| point.value).filter(|value| *value != 0.0).collect()
}

/// Waits until this has arrived of a series, and nothing else.
pub async fn expect(intake: &Intake, name: &str, tags: &[&str], wanted: &[f64]) {
    let done = intake.wait_for(PATIENCE, |points| arrived(points, name, tags) == wanted).await;
    let found = arrived(&intake.points(), name, tags);
    assert!(done, "{name} {tags:?}: {found:?} arrived, not {wanted:?}; refused: {:?}", intake.rejections());
}
