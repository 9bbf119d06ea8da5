//! The history checker: many clients hammer few sessions through two brokers on one Redis, and
//! what they held must never overlap.

pub(crate) mod line;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::harness::{
    broker::{Broker, add_sessions, counts, make_pool},
    eventually,
    load::{Load, Manners},
    redis::{Keeps, RedisServer},
};

/// How many clients hammer.
const CLIENTS: u64 = 64;
/// How many sessions they share.
const SESSIONS: usize = 8;
/// How many leases they get in all, at least.
const LEASES: usize = 600;
/// How long that may take, on a slow machine.
const WITHIN: Duration = Duration::from_secs(120);
/// How long a session rests after its holder vanished.
const DRAIN: Duration = Duration::from_millis(200);

/// One lease as its holder saw it: from the reply of Acquire to the sending of Release, or to the
/// end of its TTL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The session.
    pub(crate) session: String,
    /// The fencing number.
    pub(crate) epoch: u64,
    /// Since when, by the test's own clock.
    pub(crate) from: Duration,
    /// Until when.
    pub(crate) until: Duration,
}

/// Everything in a history that must not be: leases of a session that overlap, and epochs that do
/// not rise.
pub(crate) fn faults(history: &[Held]) -> Vec<String> {
    let mut sessions = BTreeMap::<_, Vec<_>>::new();
    for held in history {
        sessions.entry(&held.session).or_default().push(held);
    }
    let mut faults = Vec::new();
    for leases in sessions.values_mut() {
        leases.sort_by_key(|held| (held.from, held.until, held.epoch));
        let mut last: Option<&Held> = None;
        for held in leases {
            if let Some(last) = last {
                if held.from < last.until {
                    faults.push(format!("lent twice at once: {last:?} and {held:?}"));
                }
                if held.epoch <= last.epoch {
                    faults.push(format!("the epoch does not rise: {last:?} and {held:?}"));
                }
            }
            // The one that lasts longest: an overlap with it must not hide behind a short one.
            last = Some(match last {
                Some(last) if last.until > held.until => last,
                _ => held,
            });
        }
    }
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_brokers_on_one_redis_never_lend_a_session_twice() {
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let brokers =
        [Broker::start(&redis.url(), dir.path()), Broker::start(&redis.url(), dir.path())];
    let client = brokers[0].client().await;
    make_pool(&client, "p", DRAIN).await;
    add_sessions(&client, "p", "busy", SESSIONS).await;

    let addresses = [brokers[0].address.as_str(), brokers[1].address.as_str()];
    let load = Load::start(&addresses, ("p", "busy"), CLIENTS, Manners::Bad, Instant::now());
    eventually("enough leases were granted", WITHIN, async || {
        (load.granted() >= LEASES).then_some(())
    })
    .await;
    let diary = load.stop().await;

    assert_eq!(diary.errors.len(), 0, "{:?}", diary.errors);
    assert_eq!(faults(&diary.held), [""; 0]);
    let lent: std::collections::BTreeSet<_> = diary.held.iter().map(|h| &h.session).collect();
    assert_eq!(lent.len(), SESSIONS, "some session was never lent");
    eventually("all sessions are free again", WITHIN, async || {
        let counts = counts(&client, "p").await?;
        assert_eq!(counts.total as usize, SESSIONS);
        (counts.free as usize == SESSIONS).then_some(())
    })
    .await;
}

/// A made-up lease; times in milliseconds.
fn held(session: &str, epoch: u64, from: u64, until: u64) -> Held {
    let (from, until) = (Duration::from_millis(from), Duration::from_millis(until));
    Held { session: session.to_owned(), epoch, from, until }
}

#[test]
fn a_history_in_order_has_no_faults() {
    let history = [
        held("a", 1, 0, 10),
        held("b", 1, 5, 15),
        held("a", 2, 10, 12),
        held("b", 9, 15, 15),
        held("a", 7, 13, 20),
    ];
    assert_eq!(faults(&history), [""; 0]);
    assert_eq!(faults(&[]), [""; 0]);
}

#[test]
fn an_overlap_is_caught_in_whatever_order_it_was_written_down() {
    let overlap = [held("a", 1, 0, 10), held("b", 5, 0, 99), held("a", 2, 9, 12)];
    let mut backwards = overlap.clone();
    backwards.reverse();
    for history in [&overlap, &backwards] {
        let faults = faults(history);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with("lent twice at once"), "{faults:?}");
    }
}

#[test]
fn an_overlap_behind_a_short_lease_is_caught() {
    let history = [held("a", 1, 0, 100), held("a", 2, 10, 20), held("a", 3, 50, 60)];
    let overlaps = faults(&history).iter().filter(|f| f.starts_with("lent twice")).count();
    assert_eq!(overlaps, 2);
}

#[test]
fn the_same_lease_for_two_is_caught() {
    let history = [held("a", 1, 0, 10), held("a", 1, 2, 8)];
    assert_eq!(faults(&history).len(), 2);
}

#[test]
fn an_epoch_that_does_not_rise_is_caught() {
    for epoch in [4, 5] {
        let faults = faults(&[held("a", 5, 0, 10), held("a", epoch, 10, 20)]);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("the epoch does not rise"), "{faults:?}");
    }
}
