//! The file of the embedded engine in rough hands: what was acknowledged is in the file that the
//! path names, or it was not acknowledged.

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use futures_util::{FutureExt as _, future::join_all};
use rusqlite::{Connection, params};
use serde::Serialize;
use telegate::{
    clock::Clock,
    pool::{Event, LeaseId, Policy, PoolMode, PoolView, SessionState, SessionView, Span},
    store::{
        Error, Health, Store as _,
        embedded::{Durability, EmbeddedStore},
    },
};
use tempfile::TempDir;
use tokio::runtime::Builder;

use crate::harness::{
    eventually, mandate,
    place::left_by_the_dead,
    stage::{ANN, BEGINNING, key, lease_id, name, pool_name, secret, session, want, why},
};

/// How long a condition may take to come true, on a slow machine.
const WITHIN: Duration = Duration::from_secs(20);

/// How many leases a test gives at most until what it waits for has come.
const MANY: u64 = 5_000;
/// How many deeds come together: more than fit in one turn.
const TOGETHER: u64 = 100;
/// The tables of the first layout.
const FIRST_LAYOUT: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA application_id = 0x54474154;
    PRAGMA user_version = 1;
    CREATE TABLE pool (name TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE past_pool (name TEXT PRIMARY KEY, past_epoch BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE session (
        pool TEXT NOT NULL, name TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY (pool, name)
    ) WITHOUT ROWID;
    CREATE TABLE standing (
        pool TEXT NOT NULL, name TEXT NOT NULL, standing BLOB NOT NULL, PRIMARY KEY (pool, name)
    ) WITHOUT ROWID;
    CREATE TABLE event (
        pool TEXT NOT NULL, name TEXT NOT NULL, number INTEGER NOT NULL, event BLOB NOT NULL,
        PRIMARY KEY (pool, name, number)
    ) WITHOUT ROWID;";

fn open(path: &Path) -> Result<EmbeddedStore, Error> {
    EmbeddedStore::open(path, Clock::system(), Durability::Machine)
}

/// A store in a folder of its own, whose clock stands still.
fn standing_still(dir: &TempDir) -> EmbeddedStore {
    let clock = Clock::manual(BEGINNING);
    EmbeddedStore::open(&dir.path().join("store"), clock, Durability::Process).unwrap()
}

/// Everything that can be seen of a pool.
type Seen = (PoolView, Vec<Event>, Vec<(SessionView, Vec<Event>)>);

/// Everything that can be seen of a store.
async fn everything(store: &EmbeddedStore) -> Vec<Seen> {
    let mut seen = Vec::new();
    for view in store.list_pools(None, 100).await.unwrap() {
        let pool = &view.record.name;
        let own = store.history(pool, None, None, 100).await.unwrap();
        let mut sessions = Vec::new();
        for view in store.list_sessions(pool, None, 100).await.unwrap() {
            let name = Some(&view.record.name);
            let events = store.history(pool, name, None, 100).await.unwrap();
            sessions.push((view, events));
        }
        seen.push((view, own, sessions));
    }
    seen
}

/// Sees that a store killed now would come back with everything. Tells how many commits it would
/// have had to fold.
async fn survives(store: &EmbeddedStore, dir: &TempDir) -> i64 {
    let left = left_by_the_dead(dir);
    // Whoever opens it writes, so it is counted in a copy.
    let counted = left_by_the_dead(&left);
    let recent = count_of("recent", counted.path());
    assert_eq!(everything(&standing_still(&left)).await, everything(store).await);
    recent
}

/// How many rows a table of the store in a folder has.
fn count_of(table: &str, dir: &Path) -> i64 {
    let file = Connection::open(dir.join("store")).unwrap();
    file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// A record as the file has it.
fn packed(record: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(record).unwrap()
}

async fn lend(store: &EmbeddedStore, number: u64, session: &'static str) -> LeaseId {
    let pool = pool_name("p");
    let grant = store.acquire(&pool, want().named(session).ask(|| secret(number))).await.unwrap();
    lease_id(&pool, &grant)
}

async fn give_back(store: &EmbeddedStore, lease: &LeaseId) {
    store.release(lease, &key(ANN), Span::ZERO, None).await.unwrap();
}

/// A store with the sessions a and b, which are free.
async fn filled(path: &Path) -> EmbeddedStore {
    let store = open(path).unwrap();
    store.create_pool(&pool_name("p"), Policy::default(), &mandate()).await.unwrap();
    for name in ["a", "b"] {
        store.add(&pool_name("p"), session(name)).await.unwrap();
    }
    store
}

fn moved(error: &Error) -> bool {
    matches!(error, Error::Unavailable(why) if why.contains("moved, replaced or deleted"))
}

#[tokio::test]
async fn nothing_is_granted_from_a_file_that_was_replaced_while_it_was_open() {
    let dir = tempfile::tempdir().unwrap();
    let (path, aside) = (dir.path().join("a.db"), dir.path().join("aside.db"));
    let store = filled(&path).await;
    let pool = pool_name("p");
    fs::copy(&path, &aside).unwrap();
    fs::rename(&aside, &path).unwrap();
    let refused = store.acquire(&pool, want().ask(|| secret(1))).await.unwrap_err();
    assert!(moved(&refused), "{refused}");
    assert_eq!(*store.health().borrow(), Health::Down);
}

#[tokio::test]
async fn nothing_is_granted_from_a_file_without_its_log_and_all_is_well_when_both_are_back() {
    let dir = tempfile::tempdir().unwrap();
    let (path, aside) = (dir.path().join("a.db-wal"), dir.path().join("aside"));
    let store = filled(&dir.path().join("a.db")).await;
    let pool = pool_name("p");
    fs::rename(&path, &aside).unwrap();
    let refused = store.acquire(&pool, want().ask(|| secret(1))).await.unwrap_err();
    assert!(moved(&refused), "{refused}");
    fs::rename(&aside, &path).unwrap();
    eventually("the store serves", WITHIN, async || {
        store.acquire(&pool, want().ask(|| secret(2))).await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_file_with_two_names_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one.db"), dir.path().join("two.db"));
    let store = filled(&one).await;
    fs::hard_link(&one, &two).unwrap();
    store.close().await;
    for path in [&one, &two] {
        let refused = open(path).unwrap_err();
        assert!(
            matches!(&refused, Error::Broken(why) if why.contains("more than one name")),
            "{refused}"
        );
    }
    fs::remove_file(&two).unwrap();
    assert_eq!(open(&one).unwrap().status(&pool_name("p")).await.unwrap().counts.total, 2);
}

#[tokio::test]
async fn a_repeated_call_is_not_answered_before_what_it_repeats_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (path, aside) = (dir.path().join("a.db"), dir.path().join("aside.db"));
    let store = filled(&path).await;
    let pool = pool_name("p");
    let grant = store.acquire(&pool, want().ask(|| secret(1))).await.unwrap();
    let lease = lease_id(&pool, &grant);
    fs::rename(&path, &aside).unwrap();
    let (first, again) =
        tokio::join!(store.surrender(&lease, why(ANN, "")), store.surrender(&lease, why(ANN, "")));
    assert!(first.is_err(), "{first:?}");
    assert!(again.is_err(), "{again:?}");
    fs::rename(&aside, &path).unwrap();
    let view = eventually("the store serves", WITHIN, async || {
        store.surrender(&lease, why(ANN, "")).await.ok()
    })
    .await;
    assert_eq!(view.standing.state(view.at), SessionState::Invalid);
}

#[tokio::test]
async fn a_store_whose_file_fails_at_the_last_moment_still_closes() {
    let dir = tempfile::tempdir().unwrap();
    let (path, aside) = (dir.path().join("a.db"), dir.path().join("aside.db"));
    let store = filled(&path).await;
    fs::rename(&path, &aside).unwrap();
    let pool = pool_name("p");
    // Both reach the writing thread at once.
    let last =
        async { tokio::join!(store.acquire(&pool, want().ask(|| secret(1))), store.close()) };
    let (refused, ()) = tokio::time::timeout(WITHIN, last).await.expect("it closes");
    assert!(moved(&refused.unwrap_err()));
    fs::rename(&aside, &path).unwrap();
    open(&path).expect("nobody has the file open");
}

#[tokio::test]
async fn what_was_acknowledged_is_found_before_and_after_its_commit_is_folded() {
    let dir = tempfile::tempdir().unwrap();
    let store = standing_still(&dir);
    store.create_pool(&pool_name("p"), Policy::default(), &mandate()).await.unwrap();
    let names = ["a", "b", "c", "d", "e"];
    for name in names.into_iter().chain(["kept"]) {
        store.add(&pool_name("p"), session(name)).await.unwrap();
    }
    // The others are lent again and again, and this one is known from a commit of long ago.
    lend(&store, 0, "kept").await;
    let mut held: Vec<LeaseId> = Vec::new();
    let (mut before, mut folds) = (survives(&store, &dir).await, 0);
    assert!(before > 0, "the newest commits are not in the table for them");
    for (number, name) in (1..MANY).zip(names.into_iter().cycle()) {
        if held.len() == names.len() - 2 {
            give_back(&store, &held.remove(0)).await;
        }
        held.push(lend(&store, number, name).await);
        if number % 25 == 0 {
            let now = survives(&store, &dir).await;
            folds += u32::from(now < before);
            before = now;
            if folds == 2 {
                return;
            }
        }
    }
    panic!("the newest commits were folded {folds} times");
}

#[tokio::test]
async fn what_was_acknowledged_is_found_whatever_else_was_done_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (pool, store) = (pool_name("p"), standing_still(&dir));
    for life in 1..4 {
        store.create_pool(&pool, Policy::default(), &mandate()).await.unwrap();
        for name in ["a", "b"] {
            store.add(&pool, session(name)).await.unwrap();
        }
        let a = lend(&store, 10 * life, "a").await;
        let b = lend(&store, 10 * life + 1, "b").await;
        assert!(survives(&store, &dir).await > 0);
        give_back(&store, &a).await;
        store.surrender(&b, why(ANN, "banned")).await.unwrap();
        store.set_mode(&pool, PoolMode::Paused, &mandate()).await.unwrap();
        survives(&store, &dir).await;
        store.set_mode(&pool, PoolMode::Active, &mandate()).await.unwrap();
        store.remove(&pool, &name("a"), &mandate()).await.unwrap();
        // The name comes back, and is nobody's.
        survives(&store, &dir).await;
        store.add(&pool, session("a")).await.unwrap();
        survives(&store, &dir).await;
        let again = lend(&store, 10 * life + 2, "a").await;
        survives(&store, &dir).await;
        give_back(&store, &again).await;
        for name in ["a", "b"] {
            store.remove(&pool, &self::name(name), &mandate()).await.unwrap();
            survives(&store, &dir).await;
        }
        store.delete_pool(&pool, &mandate()).await.unwrap();
        survives(&store, &dir).await;
    }
}

#[tokio::test]
async fn nothing_of_a_removed_session_stays_and_nothing_is_left_to_fold_on_closing() {
    let dir = tempfile::tempdir().unwrap();
    let (pool, store) = (pool_name("p"), standing_still(&dir));
    store.create_pool(&pool, Policy::default(), &mandate()).await.unwrap();
    for name in ["a", "b"] {
        store.add(&pool, session(name)).await.unwrap();
    }
    let a = lend(&store, 1, "a").await;
    give_back(&store, &a).await;
    store.remove(&pool, &name("a"), &mandate()).await.unwrap();
    let left = left_by_the_dead(&dir);
    assert_eq!(["recent", "standing"].map(|table| count_of(table, left.path())), [0, 1]);
    lend(&store, 2, "b").await;
    let before = everything(&store).await;
    store.close().await;
    assert_eq!(["recent", "standing"].map(|table| count_of(table, dir.path())), [0, 1]);
    assert_eq!(everything(&standing_still(&dir)).await, before);
}

#[tokio::test]
async fn a_file_of_the_first_layout_is_brought_up_and_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    // What an earlier version would have written.
    let model = tempfile::tempdir().unwrap();
    let store = standing_still(&model);
    store.create_pool(&pool_name("p"), Policy::default(), &mandate()).await.unwrap();
    store.add(&pool_name("p"), session("a")).await.unwrap();
    let lease = lend(&store, 1, "a").await;
    let written = everything(&store).await;
    let (pool, own, sessions) = &written[0];
    let (view, events) = &sessions[0];
    let file = Connection::open(&path).unwrap();
    file.execute_batch(FIRST_LAYOUT).unwrap();
    file.execute("INSERT INTO pool VALUES ('p', ?1)", [packed(&pool.record)]).unwrap();
    file.execute("INSERT INTO session VALUES ('p', 'a', ?1)", [packed(&view.record)]).unwrap();
    file.execute("INSERT INTO standing VALUES ('p', 'a', ?1)", [packed(&view.standing)]).unwrap();
    for (name, event) in own.iter().map(|it| ("", it)).chain(events.iter().map(|it| ("a", it))) {
        let number = i64::try_from(event.number).unwrap();
        let row = params![name, number, packed(event)];
        file.execute("INSERT INTO event VALUES ('p', ?1, ?2, ?3)", row).unwrap();
    }
    drop(file);

    let store = standing_still(&dir);
    assert_eq!(everything(&store).await, written);
    give_back(&store, &lease).await;
    assert!(survives(&store, &dir).await > 0);
    store.close().await;
    let file = Connection::open(&path).unwrap();
    let layout: i64 = file.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(layout, 2, "an earlier version would overlook the newest commits");
}

#[tokio::test]
async fn a_file_whose_newest_commits_cannot_be_read_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    filled(&path).await.close().await;
    let file = Connection::open(&path).unwrap();
    file.execute("INSERT INTO recent VALUES (7, x'93')", []).unwrap();
    drop(file);
    for _ in 0..2 {
        let refused = open(&path).unwrap_err();
        assert!(matches!(&refused, Error::Broken(why) if why.contains("of late")), "{refused}");
    }
    assert_eq!(count_of("recent", dir.path()), 1);
}

#[tokio::test]
async fn deeds_that_come_together_share_commits_and_all_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (pool, store) = (pool_name("p"), standing_still(&dir));
    store.create_pool(&pool, Policy::default(), &mandate()).await.unwrap();
    for number in 0..TOGETHER {
        store.add(&pool, session(&format!("s{number}"))).await.unwrap();
    }
    let before = survives(&store, &dir).await;
    let ask = |number| store.acquire(&pool, want().ask(move || secret(number)));
    let grants = join_all((0..TOGETHER).map(ask)).await;
    let lent: BTreeSet<_> = grants.into_iter().map(|it| it.unwrap().record.name).collect();
    assert_eq!(lent.len(), usize::try_from(TOGETHER).unwrap());
    let commits = survives(&store, &dir).await - before;
    assert!((1..20).contains(&commits), "{TOGETHER} deeds made {commits} commits");
}

#[tokio::test]
async fn callers_that_hang_up_take_nobody_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled(&dir.path().join("store")).await;
    let pool = pool_name("p");
    let mut first = Box::pin(store.acquire(&pool, want().ask(|| secret(1))));
    let mut second = Box::pin(store.acquire(&pool, want().ask(|| secret(2))));
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut second).now_or_never().is_none());
    // The first has begun the turn that the second is in.
    drop(first);
    let second = tokio::time::timeout(WITHIN, second).await.expect("it is answered").unwrap();
    assert_eq!(second.record.name, name("b"));
    assert_eq!(store.status(&pool).await.unwrap().counts.leased, 2);
}

#[test]
fn a_runtime_that_goes_away_leaves_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool_name("p");
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let store = first.block_on(filled(&dir.path().join("store")));
    let mut deed = Box::pin(store.acquire(&pool, want().ask(|| secret(1))));
    assert!(first.block_on(async { (&mut deed).now_or_never() }).is_none());
    drop(first);
    let others = async { tokio::time::timeout(WITHIN, store.status(&pool)).await };
    let status = second.block_on(others).expect("it is answered").unwrap();
    assert_eq!(status.counts.leased, 1);
    assert_eq!(second.block_on(deed).unwrap().record.name, name("a"));
}
