use super::*;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::column::{Bits, Column};
use crate::delta::Last;
use crate::delta::lots::{Lot, Lots, Retired};
use crate::delta::saved::{Kept, SavedProcess};
use crate::payload::{Body, Encoding};
use crate::store::outbox::Id;
use crate::store::record::{ChunkKey, Kind};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn params(dir: &Path) -> Params {
    Params { dir: dir.to_owned(), lock_timeout: Duration::from_millis(200) }
}

async fn open(dir: &Path) -> (Store, State) {
    Store::open(params(dir), NOW).await.unwrap()
}

fn lot(left: i64, replaced: bool, identities: std::ops::Range<u128>) -> Lot {
    let entries = identities.map(|identity| Retired::new(identity << 100, 5.0)).collect();
    Lot::new(UnixMillis(left), replaced, entries)
}

/// A target of so many series, of which each has `base` and its own number as total.
fn checkpoint(series: usize, base: f64) -> Checkpoint {
    let identities = (0..series).map(|at| at as u128 * 7 + 1).collect();
    let catalog = Arc::new(Catalog { identities, ..Catalog::default() });
    let mut totals = Column::new(series);
    (0..series).filter(|at| at % 3 != 0).for_each(|at| totals.set(at, base + at as f64));
    let mut last = Bits::new(series);
    (0..series).filter(|at| at % 2 == 0).for_each(|at| last.set(at));
    // The first one takes more than one chunk.
    let retired = [lot(4, true, 0..3000), lot(5, false, 7..8)].into_iter().collect();
    let kept = Kept { start: 1.5e9, totals, last: Last::Slots(last), retired };
    let silent = Kept {
        start: 1.6e9,
        totals: Column::default(),
        last: Last::Identities(Arc::new(vec![8, 9])),
        // It is stored once.
        retired: [lot(2, false, 7..8)].into_iter().collect(),
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

/// Sealed values of a table, changed behind the store's back.
fn put(database: &Database, table: TableDefinition<'static, &[u8], &[u8]>, rows: &[(Vec<u8>, Option<Vec<u8>>)]) {
    let transaction = database.begin_write().unwrap();
    let mut table = transaction.open_table(table).unwrap();
    for (key, value) in rows {
        match value {
            Some(value) => drop(table.insert(key.as_slice(), seal(key, value).as_slice()).unwrap()),
            None => assert!(table.remove(key.as_slice()).unwrap().is_some()),
        }
    }
    drop(table);
    transaction.commit().unwrap();
}

fn chunk(of: u64, kind: Kind, chunk: u32) -> Vec<u8> {
    ChunkKey { of, kind, chunk }.bytes("t")
}

#[tokio::test]
async fn a_lot_is_written_once_and_removed_when_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path()).await;
    let mut checkpoint = checkpoint(10, 1.0);
    store.commit(commit(&[("t", checkpoint.clone())], Vec::new())).unwrap();
    let before = store.written.clone();
    // The next pull: totals grow, and nothing leaves.
    checkpoint.processes[1].totals.set(1, 9.0);
    // A lot that was written again would be whole again.
    let first = lot(4, true, 0..3000).hash();
    put(store.database.as_ref().unwrap(), COLUMNS, &[(chunk(first, Kind::Lot, 1), None)]);
    store.commit(commit(&[("t", checkpoint.clone())], Vec::new())).unwrap();
    assert_eq!(store.written.differing(&before), 1, "a chunk of totals");
    drop(store);
    let (mut store, state) = open(dir.path()).await;
    assert!(state.targets.is_empty(), "a lot that is not whole is a state that is not whole");
    assert_eq!(set_aside(dir.path()), 1);

    store.commit(commit(&[("t", checkpoint.clone())], Vec::new())).unwrap();
    drop(store);
    // Another promdog writes none of them either, but what has left since.
    let (mut store, state) = open(dir.path()).await;
    assert_eq!(state.targets["t"], checkpoint.saved());
    let before = store.written.clone();
    let lots: Lots = [lot(5, true, 7..8), lot(6, false, 20..30)].into_iter().collect();
    checkpoint.processes[1].retired = lots;
    store.commit(commit(&[("t", checkpoint.clone())], Vec::new())).unwrap();
    assert_eq!(store.written.differing(&before), 1, "the new lot");
    assert_eq!(before.differing(&store.written), 1, "the old one is gone, and the other one stays");
    drop(store);
    let (_store, state) = open(dir.path()).await;
    assert_eq!(state.targets["t"], checkpoint.saved(), "that its process was replaced is not in the lot");
}

#[tokio::test]
async fn a_state_from_before_there_were_lots_is_read_and_goes_on_as_lots() {
    let start = 1.5e9_f64;
    let row = |identity: u128, total: f64, left: i64, start: f64| {
        [&identity.to_le_bytes()[..], &total.to_le_bytes(), &left.to_le_bytes(), &start.to_le_bytes()].concat()
    };
    let hour = 3_600_000;
    let retired =
        [row(3, 3.0, hour, start), row(4, 4.0, 5, 1.4e9), row(5, 5.0, hour + 7, start + 2.0), row(6, 6.0, 1, f64::NAN)];
    let identities: Vec<u8> = [70_u128, 60, 50].iter().flat_map(|identity| identity.to_le_bytes()).collect();
    let totals: Vec<u8> = [7.0, f64::NAN, 5.5].iter().flat_map(|total| total.to_le_bytes()).collect();
    let bits = start.to_bits();
    let head = format!(r#"{{"seen":{},"last_good":{},"processes":[{{"start":{bits},"last":true}}]}}"#, NOW.0, 2 * hour);
    for format in [1_u32, 2] {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::create(dir.path().join("state.redb")).unwrap();
        put(&database, META, &[(b"format".to_vec(), Some(format.to_le_bytes().to_vec()))]);
        put(&database, TARGETS, &[(target_key(b"target", "t"), Some(head.clone().into_bytes()))]);
        let columns = [
            (chunk(0, Kind::Identities, 0), Some(identities.clone())),
            (chunk(bits, Kind::Totals, 0), Some(totals.clone())),
            (chunk(bits, Kind::Last, 0), Some(0b11_u64.to_le_bytes().to_vec())),
            (chunk(bits, Kind::Retired, 0), Some(retired[..2].concat())),
            (chunk(bits, Kind::Retired, 1), Some(retired[2..].concat())),
        ];
        put(&database, COLUMNS, &columns);
        drop(database);
        let (mut store, state) = open(dir.path()).await;
        let entries =
            |all: &[(u128, f64)]| all.iter().map(|(identity, total)| Retired::new(*identity, *total)).collect();
        let of_predecessor = Lot::new(UnixMillis(5), true, entries(&[(4, 4.0)]));
        let unknown = Lot::new(UnixMillis(1), false, entries(&[(6, 6.0)]));
        let one_hour = Lot::new(UnixMillis(hour + 7), false, entries(&[(3, 3.0), (5, 5.0)]));
        let retired: Lots = [of_predecessor, unknown, one_hour].into_iter().collect();
        let live = entries(&[(70, 7.0), (50, 5.5)]);
        let process = SavedProcess::new(start, retired.clone(), live, Some(vec![60, 70]), UnixMillis(2 * hour));
        assert_eq!(state.targets["t"].processes, [process], "format {format}");

        let mut checkpoint = checkpoint(3, 1.0);
        checkpoint.processes[1].retired = retired;
        store.commit(commit(&[("t", checkpoint.clone())], Vec::new())).unwrap();
        drop(store);
        let (_store, state) = open(dir.path()).await;
        assert_eq!(state.targets["t"], checkpoint.saved(), "format {format}: nothing is left of the old layout");
    }
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
