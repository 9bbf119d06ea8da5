//! Calls that share a run of a script: each is as if it came alone.

use std::{collections::BTreeSet, future::poll_fn, task::Poll};

use futures_util::{
    FutureExt as _,
    future::{join, join_all},
};
use telegate::{
    pool::{
        Enqueued, LeaseId, Patience, Priority, Refusal, ReleaseOutcome, SessionName, Span, Ticket,
    },
    store::{Error, Store as _},
};

use super::{Broker, Keeps, is_busy, lost::through_proxy};
use crate::harness::{
    stage::{ANN, POOL, key, lease_id, pool_name, want},
    trouble::flood,
};

/// How many calls share a run at most.
const MOST: usize = 32;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("s{number}")).collect()
}

async fn broker(sessions: usize) -> Option<Broker> {
    let names = names(sessions);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    Broker::start(Keeps::Nothing, &names).await
}

impl Broker {
    /// Stands in line under a number.
    async fn enqueue(&self, number: u64) -> Result<Enqueued, Error> {
        let patience =
            Patience { ticket: Ticket(number), wait: Span::minutes(1), priority: Priority::Normal };
        let ask = want().ask(|| self.fresh_secret());
        self.store.enqueue(&pool_name(POOL), ask, patience).await
    }

    async fn lend_many(&self, count: usize) -> Vec<LeaseId> {
        let granted = join_all((0..count).map(|_| self.acquire())).await;
        let id = |grant| lease_id(&pool_name(POOL), &grant);
        granted.into_iter().map(|grant| id(grant.expect("one is free"))).collect()
    }
}

#[tokio::test]
async fn calls_that_come_together_share_runs_and_one_that_comes_alone_has_its_own() {
    let Some(broker) = broker(3 * MOST).await else { return };
    broker.server.command(&["CONFIG", "RESETSTAT"]);
    let leases = broker.lend_many(2 * MOST + 1).await;
    let sessions: BTreeSet<_> = leases.iter().map(|l| &l.session).collect();
    assert_eq!(sessions.len(), 2 * MOST + 1, "a session was lent twice");
    assert_eq!(broker.count_of("evalsha"), 3);
    let released = join_all(leases.iter().map(|lease| broker.release(lease))).await;
    assert!(released.iter().all(|it| matches!(it, Ok(ReleaseOutcome::Released))), "{released:?}");
    assert_eq!(broker.count_of("evalsha"), 6);
    broker.lend().await;
    assert_eq!(broker.count_of("evalsha"), 7);
}

#[tokio::test]
async fn plain_calls_take_the_short_way_whoever_comes_with_them() {
    let Some(broker) = broker(8).await else { return };
    // Each list is written once, however many stand in it.
    broker.server.command(&["CONFIG", "RESETSTAT"]);
    let leases = broker.lend_many(8).await;
    let released = join_all(leases.iter().map(|lease| broker.release(lease))).await;
    assert!(released.iter().all(|it| matches!(it, Ok(ReleaseOutcome::Released))), "{released:?}");
    let written = ["zpopmin", "hset", "hdel", "zrem", "zadd"].map(|it| broker.count_of(it));
    assert_eq!(written, [1, 3, 1, 1, 2]);
    // One that is picky goes by the rules, which ask for what is due; the others do not.
    let pool = pool_name(POOL);
    let picky = want().named("s5").ask(|| broker.fresh_secret());
    broker.server.command(&["CONFIG", "RESETSTAT"]);
    let (picky, plain) =
        join(broker.store.acquire(&pool, picky), join(broker.acquire(), broker.acquire())).await;
    assert_eq!((broker.count_of("evalsha"), broker.count_of("zpopmin")), (1, 1));
    let lent = [picky, plain.0, plain.1].map(|grant| grant.unwrap().record.name.to_string());
    assert_eq!(lent, ["s5", "s0", "s1"]);
}

#[tokio::test]
async fn a_session_with_trouble_is_lent_among_others_and_not_lost() {
    let Some(broker) = broker(4).await else { return };
    let leases = broker.lend_many(4).await;
    let troubled = &leases[1];
    let told = broker.store.report(troubled, &key(ANN), &flood("messages.search", 600)).await;
    assert!(told.is_ok(), "{told:?}");
    for lease in &leases {
        assert_eq!(broker.release(lease).await.unwrap(), ReleaseOutcome::Released);
    }
    let again = broker.lend_many(4).await;
    let sessions: BTreeSet<_> = again.iter().map(|lease| &lease.session).collect();
    assert_eq!(sessions.len(), 4);
    let released = join_all(again.iter().map(|lease| broker.release(lease))).await;
    assert!(released.iter().all(|it| matches!(it, Ok(ReleaseOutcome::Released))), "{released:?}");
    broker.all_are_free().await;
}

#[tokio::test]
async fn calls_that_wait_share_runs_and_stand_in_the_order_of_their_coming() {
    let Some(broker) = broker(3).await else { return };
    let held = broker.lend().await;
    broker.server.command(&["CONFIG", "RESETSTAT"]);
    let lining_up = join_all((1..=5).map(|number| broker.enqueue(number)));
    let (lined_up, released) = join(lining_up, broker.release(&held)).await;
    assert_eq!(broker.count_of("evalsha"), 1);
    assert_eq!(released.unwrap(), ReleaseOutcome::Released);
    let mut lined_up = lined_up.into_iter().map(Result::unwrap);
    let granted: Vec<_> = lined_up.by_ref().take(3).collect();
    let [Enqueued::Granted(first), Enqueued::Granted(_), Enqueued::Granted(_)] = &granted[..]
    else {
        panic!("three are free, {granted:?}");
    };
    let place = |it| match it {
        Enqueued::Waiting(place) => (place.position, place.waiters),
        Enqueued::Granted(grant) => panic!("{grant:?} is lent twice"),
    };
    assert_eq!(lined_up.map(place).collect::<Vec<_>>(), [(1, 1), (2, 2)]);
    // What is freed beside one that comes is handed to the first in the line.
    let first = lease_id(&pool_name(POOL), first);
    broker.server.command(&["CONFIG", "RESETSTAT"]);
    let (last, released) = join(broker.enqueue(6), broker.release(&first)).await;
    assert_eq!((broker.count_of("evalsha"), place(last.unwrap())), (1, (3, 3)));
    assert_eq!(released.unwrap(), ReleaseOutcome::Released);
    let waiters = broker.store.list_waiters(&pool_name(POOL), 0, 10).await.unwrap();
    assert_eq!(waiters.iter().map(|waiter| waiter.seq).collect::<Vec<_>>(), [2, 3]);
}

#[tokio::test]
async fn whoever_joins_the_line_is_served_by_what_comes_in_the_same_run() {
    let Some(broker) = broker(1).await else { return };
    let (held, pool, ann) = (broker.lend().await, pool_name(POOL), key(ANN));
    let error = flood("messages.search", 600);
    broker.server.command(&["CONFIG", "RESETSTAT"]);
    let giving_back = broker.store.release(&held, &ann, Span::ZERO, Some(&error));
    let (place, released) = join(broker.enqueue(1), giving_back).await;
    assert_eq!(broker.count_of("evalsha"), 1);
    assert!(matches!(place.unwrap(), Enqueued::Waiting(_)));
    assert_eq!(released.unwrap().0, ReleaseOutcome::Released);
    assert_eq!(broker.store.list_waiters(&pool, 0, 10).await.unwrap().len(), 0);
    assert_eq!(broker.store.status(&pool).await.unwrap().counts.leased, 1);
}

#[tokio::test]
async fn a_refused_call_leaves_its_neighbours_alone() {
    let Some(broker) = broker(2).await else { return };
    let nobody = want().named("nobody").ask(|| broker.fresh_secret());
    let unknown = LeaseId { session: SessionName::parse("nobody").unwrap(), ..broker.lend().await };
    broker.server.command(&["CONFIG", "RESETSTAT"]);
    let pool = pool_name(POOL);
    let (nobody, (released, (granted, refused))) = join(
        broker.store.acquire(&pool, nobody),
        join(broker.release(&unknown), join(broker.acquire(), broker.acquire())),
    )
    .await;
    assert_eq!(broker.count_of("evalsha"), 1);
    let is = |error: Error, wanted: fn(&Refusal) -> bool| match error {
        Error::Refused(refusal) => assert!(wanted(&refusal), "{refusal:?}"),
        other => panic!("{other:?}"),
    };
    is(nobody.unwrap_err(), |it| matches!(it, Refusal::SessionNotFound { .. }));
    is(released.unwrap_err(), |it| matches!(it, Refusal::LeaseNotFound));
    assert!(granted.is_ok(), "{granted:?}");
    assert!(is_busy(&refused.unwrap_err()));
}

#[tokio::test]
async fn a_release_that_comes_twice_in_one_run_frees_once() {
    let Some(broker) = broker(1).await else { return };
    let lease = broker.lend().await;
    broker.server.command(&["CONFIG", "RESETSTAT"]);
    let giving_back = join(broker.release(&lease), broker.release(&lease));
    let (released, acquired) = join(giving_back, join(broker.acquire(), broker.acquire())).await;
    assert_eq!(broker.count_of("evalsha"), 1);
    assert_eq!(released.0.unwrap(), ReleaseOutcome::Released);
    assert_eq!(released.1.unwrap(), ReleaseOutcome::AlreadyEnded);
    // In the order in which they came: what was freed is lent to the next, and only once.
    assert!(acquired.0.unwrap().lease.epoch > 0);
    assert!(is_busy(&acquired.1.unwrap_err()));
}

#[tokio::test]
async fn a_part_that_fails_leaves_its_neighbours_alone() {
    let Some(broker) = broker(3).await else { return };
    let leases = broker.lend_many(2).await;
    let standing = format!("telegate:{{{POOL}}}:standing");
    broker.server.command(&["HSET", &standing, leases[0].session.as_str(), "nonsense"]);
    let giving_back = join_all(leases.iter().map(|lease| broker.release(lease)));
    let (released, acquired) = join(giving_back, broker.acquire()).await;
    let Err(Error::Broken(said)) = &released[0] else { panic!("{released:?}") };
    assert!(said.contains("user_script"), "{said}");
    assert_eq!(*released[1].as_ref().unwrap(), ReleaseOutcome::Released);
    assert!(acquired.is_ok(), "{acquired:?}");
}

#[tokio::test]
async fn whoever_hangs_up_takes_back_nothing_of_its_neighbours() {
    let Some(broker) = broker(4).await else { return };
    broker.server.command(&["CONFIG", "RESETSTAT"]);
    let mut calls: Vec<_> = (0..3).map(|_| broker.acquire().boxed()).collect();
    poll_fn(|cx| {
        assert!(calls.iter_mut().all(|call| call.poll_unpin(cx).is_pending()));
        Poll::Ready(())
    })
    .await;
    // The one in the middle is dropped when its run was sent and is not answered yet.
    tokio::task::yield_now().await;
    drop(calls.remove(1));
    let granted = join_all(calls).await;
    // The run, and what takes the middle one back.
    assert!((1..=2).contains(&broker.count_of("evalsha")));
    for grant in granted {
        let lease = lease_id(&pool_name(POOL), &grant.expect("its neighbour left, not it"));
        assert_eq!(broker.release(&lease).await.unwrap(), ReleaseOutcome::Released);
    }
    broker.all_are_free().await;
}

#[tokio::test]
async fn a_request_that_comes_twice_in_one_run_is_granted_once() {
    let Some(broker) = broker(2).await else { return };
    broker.server.command(&["CONFIG", "RESETSTAT"]);
    let ask = || want().request("r").ask(|| broker.fresh_secret());
    let pool = pool_name(POOL);
    let (first, second) =
        join(broker.store.acquire(&pool, ask()), broker.store.acquire(&pool, ask())).await;
    assert_eq!(broker.count_of("evalsha"), 1);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.replayed, second.replayed), (false, true));
    assert_eq!(lease_id(&pool, &first), lease_id(&pool, &second));
    assert_eq!(second.lease.deliveries, 2);
    assert_eq!(broker.store.status(&pool).await.unwrap().counts.free, 1);
}

#[tokio::test]
async fn a_run_whose_reply_is_lost_is_repeated_by_each_of_its_calls_and_runs_once() {
    let Some((broker, proxy)) = through_proxy(&["a", "b", "c", "d"]).await else { return };
    proxy.lose_reply(1);
    let leases = broker.lend_many(3).await;
    let sessions: BTreeSet<_> = leases.iter().map(|lease| &lease.session).collect();
    assert_eq!(sessions.len(), 3);
    let counts = broker.store.status(&pool_name(POOL)).await.unwrap().counts;
    assert_eq!((counts.leased, counts.free), (3, 1));
    proxy.lose_reply(1);
    let released = join_all(leases.iter().map(|lease| broker.release(lease))).await;
    // What ended meanwhile is taken for the call's own doing.
    assert!(released.iter().all(|it| matches!(it, Ok(ReleaseOutcome::Released))), "{released:?}");
    proxy.lose_reply(0);
    broker.all_are_free().await;
}

#[tokio::test]
async fn a_run_that_the_server_forgot_is_loaded_once_and_repeated() {
    let Some(broker) = broker(MOST).await else { return };
    broker.server.command(&["SCRIPT", "FLUSH"]);
    broker.server.command(&["CONFIG", "RESETSTAT"]);
    let leases = broker.lend_many(MOST).await;
    let sessions: BTreeSet<_> = leases.iter().map(|lease| &lease.session).collect();
    assert_eq!(sessions.len(), MOST);
    let loaded = broker.count_of("script|load");
    broker.server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(broker.release(&leases[0]).await.unwrap(), ReleaseOutcome::Released);
    assert_eq!(broker.count_of("script|load"), 2 * loaded);
}
