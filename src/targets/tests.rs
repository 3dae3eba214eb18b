use super::*;

use crate::delta::FirstValue;
use crate::mapping::Mapping;
use crate::scrape::{self, Auth, Scraper};
use crate::{pull, tls, translate};

fn found(id: &str, tag: &str) -> Found {
    let url = format!("http://{id}:1/metrics").parse().unwrap();
    Found { tags: vec![("t".to_owned(), tag.to_owned())], ..Found::at(url) }
}

/// What was made: name, and since when it has been watched.
type Made = Arc<Mutex<Vec<(String, UnixMillis)>>>;

fn make(found: &Found, since: UnixMillis) -> Arc<Target> {
    let scrape = scrape::Params {
        url: found.url.clone(),
        health_url: None,
        tls: tls::ClientParams::default(),
        auth: Auth::None,
        headers: Vec::new(),
        timeout: Duration::from_secs(1),
        max_compressed_bytes: 1,
        max_decompressed_bytes: 1,
    };
    let params = pull::Params {
        name: format!("g/{}", found.name),
        key: String::new(),
        mapping: Arc::new(Mapping::default()),
        translate: translate::Params { namespace: None, tags: Vec::new(), limits: translate::Limits::default() },
        first_value: FirstValue::Prove,
        health: None,
        host: None,
        timeout: Duration::from_secs(1),
        turns: pull::turns::Turns::default(),
    };
    let history = pull::History { watching_since: since, saved: None };
    Target::new(params, Scraper::new(scrape).unwrap(), Metrics::default(), history)
}

/// One group; `bad` cannot be made.
fn group() -> (Targets, Made) {
    let made = Made::default();
    let log = Arc::clone(&made);
    let make: Make = Box::new(move |found, since| {
        anyhow::ensure!(!found.name.starts_with("bad"), "it is bad");
        log.lock().unwrap().push((found.name.clone(), since));
        Ok(make(found, since))
    });
    (
        Targets::new(vec![Entry::Discovered { name: "g".to_owned(), make, since: clock::now() }], Metrics::default()),
        made,
    )
}

fn names(targets: &Targets) -> Vec<String> {
    targets.now().iter().map(|target| target.params.name.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn one_that_returns_soon_is_the_same_and_later_another() {
    let (targets, made) = group();
    let started = clock::now();
    targets.found(0, vec![found("a", "1"), found("b", "1")]);
    let first = Arc::clone(&targets.now()[0]);
    targets.found(0, vec![found("b", "1")]);
    assert_eq!(names(&targets), ["g/b:1"]);
    tokio::time::advance(KEEP / 2).await;
    targets.found(0, vec![found("b", "1"), found("a", "1")]);
    assert!(Arc::ptr_eq(&targets.now()[0], &first), "with all its baselines");
    assert_eq!(made.lock().unwrap().len(), 2);
    assert!(made.lock().unwrap().iter().all(|(_, since)| *since <= started), "watched from the start");

    targets.found(0, vec![found("b", "1")]);
    tokio::time::advance(KEEP * 2).await;
    targets.found(0, vec![found("b", "1"), found("a", "1")]);
    assert!(!Arc::ptr_eq(&targets.now()[0], &first));
    let last = made.lock().unwrap().last().cloned().unwrap();
    assert!(last.0 == "a:1" && last.1 >= started, "what it had counted until it left is not counted again");
}

#[tokio::test]
async fn one_under_other_tags_has_been_counted_until_now() {
    let (targets, made) = group();
    targets.found(0, vec![found("a", "1"), found("a", "1")]);
    let before = clock::now();
    targets.found(0, vec![found("a", "2")]);
    let made = made.lock().unwrap();
    assert_eq!(made.len(), 2);
    assert!(made[0].1 <= before && made[1].1 >= before);
}

#[tokio::test]
async fn what_cannot_be_made_hinders_nobody() {
    let (targets, made) = group();
    targets.found(0, vec![found("bad", "1"), found("a", "1")]);
    targets.found(0, vec![found("bad", "1"), found("a", "1")]);
    assert_eq!((names(&targets), made.lock().unwrap().len()), (vec!["g/a:1".to_owned()], 1));
    targets.problem(0, Some("why".to_owned()));
    let status = Status { name: "g".to_owned(), targets: 1, discovered: true, problem: Some("why".to_owned()) };
    assert_eq!(targets.status(), [status]);
    assert_eq!((targets.named("g").len(), targets.named("g/a:1").len(), targets.named("g/").len()), (1, 1, 0));
}
