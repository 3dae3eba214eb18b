use super::*;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::column::{Bits, Column};
use crate::delta::saved::Kept;
use crate::delta::{Last, Retired};
use crate::payload::{Body, Encoding};
use crate::store::outbox::Id;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn params(dir: &Path) -> Params {
    Params { dir: dir.to_owned(), lock_timeout: Duration::from_millis(200) }
}

async fn open(dir: &Path) -> (Store, State) {
    Store::open(params(dir), NOW).await.unwrap()
}

/// A target of so many series, of which each has `base` and its own number as total.
fn checkpoint(series: usize, base: f64) -> Checkpoint {
    let identities = (0..series).map(|at| at as u128 * 7 + 1).collect();
    let catalog = Arc::new(Catalog { identities, ..Catalog::default() });
    let mut totals = Column::new(series);
    (0..series).filter(|at| at % 3 != 0).for_each(|at| totals.set(at, base + at as f64));
    let mut last = Bits::new(series);
    (0..series).filter(|at| at % 2 == 0).for_each(|at| last.set(at));
    let retired = [(3_u128, Retired { total: 5.0, left: UnixMillis(4), start: Some(1.4e9) })].into();
    let kept = Kept { start: 1.5e9, totals, last: Last::Slots(last), retired };
    let silent = Kept {
        start: 1.6e9,
        totals: Column::default(),
        last: Last::Identities(BTreeSet::from([9, 8])),
        retired: [(8_u128, Retired { total: 1.0, left: UnixMillis(2), start: None })].into(),
    };
    Checkpoint { catalog, last_good: Some(UnixMillis(77)), processes: vec![silent, kept], merged: [(5, 1.5)].into() }
}

fn body(second: i64, number: u64) -> Entry {
    let id = Id { endpoint: "main".to_owned(), second, number };
    let zstd = format!("{second} {number}").into_bytes().into();
    let encoding = if number == 1 { Encoding::Protobuf } else { Encoding::Json };
    Entry { id, body: Body { encoding, zstd, raw_bytes: 100, points: 3 } }
}

fn commit(targets: &[(&str, Checkpoint)], bodies: Vec<Entry>) -> Commit {
    Commit {
        now: NOW,
        second: Some(42),
        since: [("t".to_owned(), UnixMillis(5))].into(),
        targets: targets.iter().map(|(name, checkpoint)| ((*name).to_owned(), checkpoint.clone())).collect(),
        bodies,
        changes: Vec::new(),
    }
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, state) = open(dir.path()).await;
    assert!(state.targets.is_empty() && state.queue.is_empty() && state.last_second.is_none());
    // More than one chunk of each column.
    let first = checkpoint(20_000, 1e6);
    store.commit(commit(&[("t", first.clone()), ("u", checkpoint(0, 0.0))], vec![body(42, 0), body(42, 1)])).unwrap();
    drop(store);
    let (mut store, state) = open(dir.path()).await;
    assert_eq!(state.targets["t"], first.saved());
    assert_eq!(state.targets["u"], checkpoint(0, 0.0).saved());
    assert_eq!((state.last_second, state.since["t"]), (Some(42), UnixMillis(5)));
    assert_eq!(state.queue, [body(42, 0), body(42, 1)]);

    // One is accepted, one is halved, a third comes; and the target has fewer series.
    let second = checkpoint(100, 2e6);
    let changes = vec![Change::Gone(body(42, 0).id), Change::Gone(body(42, 1).id), Change::Here(body(42, 2))];
    store.commit(Commit { changes, ..commit(&[("t", second.clone())], vec![body(57, 3)]) }).unwrap();
    drop(store);
    let (_store, state) = open(dir.path()).await;
    assert_eq!(state.targets["t"], second.saved());
    assert_eq!(state.queue, [body(42, 2), body(57, 3)]);
}

#[tokio::test]
async fn only_what_has_changed_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path()).await;
    let mut checkpoint = checkpoint(100_000, 1.0);
    let hashes = |store: &Store| store.written.clone();
    store.commit(commit(&[("t", checkpoint.clone())], Vec::new())).unwrap();
    let before = hashes(&store);
    store.commit(commit(&[("t", checkpoint.clone())], Vec::new())).unwrap();
    assert_eq!(before.differing(&hashes(&store)), 0);
    checkpoint.processes[1].totals.set(1, 5.0);
    store.commit(commit(&[("t", checkpoint)], Vec::new())).unwrap();
    assert_eq!(before.differing(&hashes(&store)), 1, "one chunk of totals, and no identity");
}

#[tokio::test]
async fn what_nobody_has_seen_for_a_day_is_dropped_while_running_and_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path()).await;
    store.commit(commit(&[("old", checkpoint(10, 1.0)), ("t", checkpoint(10, 1.0))], Vec::new())).unwrap();
    let later = |hours: i64| UnixMillis(NOW.0 + hours * 3_600_000);
    store.commit(Commit { now: later(20), ..commit(&[("t", checkpoint(10, 2.0))], Vec::new()) }).unwrap();
    store.commit(Commit { now: later(26), ..commit(&[("t", checkpoint(10, 3.0))], Vec::new()) }).unwrap();
    drop(store);
    let (store, state) = Store::open(params(dir.path()), later(30)).await.unwrap();
    assert_eq!(state.targets.keys().collect::<Vec<_>>(), ["t"]);
    assert!(state.since.contains_key("t"));
    drop(store);
    let (_store, state) = Store::open(params(dir.path()), later(60)).await.unwrap();
    assert!(state.targets.is_empty() && state.since.is_empty(), "nobody has watched for more than a day");
    assert_eq!(state.last_second, Some(42));
}

#[tokio::test]
async fn a_second_process_waits_and_then_names_the_holder() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).await;
    let locked = Store::open(params(dir.path()), NOW).await.unwrap_err().to_string();
    assert!(locked.contains(&format!("is held by promdog, process {}", std::process::id())), "{locked}");
    assert!(locked.contains("--state-dir"), "{locked}");
    // It is had as soon as it is let go.
    let patient = Params { lock_timeout: Duration::from_secs(60), ..params(dir.path()) };
    let waiting = tokio::spawn(Store::open(patient, NOW));
    drop(store);
    assert!(waiting.await.unwrap().is_ok());
}

/// The database of a closed store, with a target and a body in it.
async fn closed(dir: &Path) -> PathBuf {
    let (mut store, _) = open(dir).await;
    store.commit(commit(&[("t", checkpoint(1000, 1.0))], vec![body(42, 0)])).unwrap();
    dir.join("state.redb")
}

/// Opens what somebody has changed: the old state is gone or whole, and the store works.
async fn survives(dir: &Path, what: &str) -> bool {
    let (mut store, state) = open(dir).await;
    let whole = checkpoint(1000, 1.0).saved();
    let there = state.targets.get("t") == Some(&whole) && state.queue == [body(42, 0)];
    assert!(there || (state.targets.is_empty() && state.queue.is_empty()), "{what}: half of the state");
    store.commit(commit(&[("t", checkpoint(10, 1.0))], Vec::new())).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(store.problem(), None, "{what}");
    there
}

fn set_aside(dir: &Path) -> usize {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(".bad-")).count()
}

#[tokio::test]
async fn truncated_foreign_and_empty_files_are_set_aside() {
    for (what, content) in
        [("foreign", b"SQLite format 3\0".repeat(500)), ("garbage", vec![0xa5; 100_000]), ("short", vec![1])]
    {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("state.redb"), content).unwrap();
        assert!(!survives(dir.path(), what).await);
        assert_eq!(set_aside(dir.path()), 1, "{what}");
    }
    let dir = tempfile::tempdir().unwrap();
    let path = closed(dir.path()).await;
    let whole = fs::read(&path).unwrap();
    for part in [1, 100, 4096, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..part]).unwrap();
        assert!(!survives(dir.path(), &format!("{part} bytes")).await);
    }
    assert!(set_aside(dir.path()) <= 2, "old ones are removed");
    fs::write(&path, b"").unwrap();
    survives(dir.path(), "empty").await;
}

/// Every outcome but one is fine: half of the state, or wrong numbers.
#[tokio::test]
async fn a_flipped_bit_never_yields_wrong_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let path = closed(dir.path()).await;
    let whole = fs::read(&path).unwrap();
    let mut whole_states = 0;
    for flip in 0..60_u64 {
        let bit = usize::try_from(flip.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (whole.len() as u64 * 8)).unwrap();
        let mut broken = whole.clone();
        broken[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &broken).unwrap();
        whole_states += u32::from(survives(dir.path(), &format!("bit {bit}")).await);
    }
    assert!(whole_states < 60, "some of them hit");
}

#[tokio::test]
async fn the_state_of_a_newer_promdog_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = closed(dir.path()).await;
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let sealed = seal(b"format", &(FORMAT + 1).to_le_bytes());
    transaction.open_table(META).unwrap().insert(&b"format"[..], sealed.as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(!survives(dir.path(), "newer").await);
    assert_eq!(set_aside(dir.path()), 1);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_a_problem_and_no_error() {
    let dir = tempfile::tempdir().unwrap();
    // A file where the folder should be: as good as a disk that is read-only, and root is held up by it too.
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let (mut store, state) = open(&file).await;
    assert!(state.targets.is_empty());
    assert!(store.problem().is_some_and(|problem| problem.contains("file: ")), "{:?}", store.problem());
    let error = store.commit(commit(&[], Vec::new())).unwrap_err().to_string();
    assert!(error.contains("file: "), "{error}");
    // It becomes writable: the next commit but one is on disk.
    fs::remove_file(&file).unwrap();
    store.failed = None;
    store.commit(commit(&[("t", checkpoint(10, 1.0))], Vec::new())).unwrap();
    assert_eq!(store.problem(), None);
}
