//! The file of the embedded engine in rough hands: what was acknowledged is in the file that the
//! path names, or it was not acknowledged.

use std::{fs, path::Path, time::Duration};

use telegate::{
    clock::Clock,
    pool::{Policy, SessionState},
    store::{
        Error, Health, Store as _,
        embedded::{Durability, EmbeddedStore},
    },
};

use crate::harness::{
    eventually, mandate,
    stage::{ANN, lease_id, pool_name, secret, session, want, why},
};

/// How long a condition may take to come true, on a slow machine.
const WITHIN: Duration = Duration::from_secs(20);

fn open(path: &Path) -> Result<EmbeddedStore, Error> {
    EmbeddedStore::open(path, Clock::system(), Durability::Machine)
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
