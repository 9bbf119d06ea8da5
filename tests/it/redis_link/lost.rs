//! Replies that nobody hears and requests that come too late: each verb answers as if it had run
//! once, and a grant that reached nobody is taken back.

use std::sync::Arc;

use telegate::{
    pool::{
        Edit, Policy, PolicyChange, PoolMode, ReleaseOutcome, SessionChange, SessionState, Span,
    },
    store::{
        Error, Health, Store,
        redis::{Options, RedisStore},
    },
};

use super::{Broker, RECOVERS_WITHIN, proxy::Proxy, soon};
use crate::harness::{
    eventually, mandate,
    redis::Keeps,
    stage::{ANN, POOL, key, lease_id, name, pool_name, session, why},
};

/// With a proxy between the broker and its Redis.
pub(super) async fn through_proxy(sessions: &[&str]) -> Option<(Broker, Proxy)> {
    let mut broker = Broker::start(Keeps::Nothing, sessions).await?;
    let proxy = Proxy::start(broker.server.url().trim_start_matches("redis://")).await;
    let store = RedisStore::connect(Options::new(&proxy.url())).await.expect("it will do");
    broker.store = Arc::new(store);
    Some((broker, proxy))
}

#[tokio::test]
async fn an_operator_whose_reply_is_lost_hears_as_if_the_deed_was_done_once() {
    let Some((broker, proxy)) = through_proxy(&["a"]).await else { return };
    let (store, pool) = (&broker.store, pool_name(POOL));
    // Each verb once for each of its steps.
    for step in 1..=3 {
        let made = pool_name(&format!("made{step}"));
        proxy.lose_reply(step);
        let view = store.create_pool(&made, Policy::default(), &mandate()).await.unwrap();
        assert_eq!(view.record.name, made);
        let again = store.create_pool(&made, Policy::default(), &mandate()).await.unwrap_err();
        assert_eq!(again.to_string(), format!("pool {made} exists"));
        proxy.lose_reply(step);
        store.delete_pool(&made, &mandate()).await.unwrap();
        let again = store.delete_pool(&made, &mandate()).await.unwrap_err();
        assert_eq!(again.to_string(), format!("pool {made} does not exist"));
        proxy.lose_reply(0);
        store.create_pool(&made, Policy::default(), &mandate()).await.unwrap();
        proxy.lose_reply(1);
        let view = store.set_mode(&made, PoolMode::Paused, &mandate()).await.unwrap();
        assert_eq!(view.record.mode, PoolMode::Paused);
        proxy.lose_reply(step.min(2));
        let (rest, change) = (Some(Span::secs(7)), PolicyChange::default());
        let view =
            store.update_pool(&made, PolicyChange { rest, ..change }, &mandate()).await.unwrap();
        assert_eq!(Some(view.record.policy.rest), rest);
    }
    for step in 1..=3 {
        let new = session(&format!("new{step}"));
        if step < 3 {
            proxy.lose_reply(step);
        }
        assert_eq!(store.add(&pool, new.clone()).await.unwrap().record.name, new.name);
        let again = store.add(&pool, new.clone()).await.unwrap_err();
        assert_eq!(again.to_string(), format!("pool {POOL} has a session {}", new.name));
        proxy.lose_reply(step.min(2));
        let change = SessionChange { account_id: Edit::Set(7), ..SessionChange::default() };
        let changed = store.update_session(&pool, &new.name, change, &mandate()).await.unwrap();
        assert_eq!(changed.record.account_id, Some(7));
        proxy.lose_reply(step);
        store.remove(&pool, &new.name, &mandate()).await.unwrap();
        let again = store.remove(&pool, &new.name, &mandate()).await.unwrap_err();
        assert_eq!(again.to_string(), format!("pool {POOL} has no session {}", new.name));
        let elsewhere = store.add(&pool_name("made1"), new).await;
        elsewhere.expect("its credential went with it");
    }
    let only = name("a");
    proxy.lose_reply(1);
    let gone = store.invalidate(&pool, &only, why(ANN, "dead")).await.unwrap();
    assert_eq!(gone.standing.state(gone.at), SessionState::Invalid);
    proxy.lose_reply(1);
    let back = store.restore(&pool, &only, &mandate()).await.unwrap();
    assert_eq!(back.standing.state(back.at), SessionState::Ready);
    let again = store.restore(&pool, &only, &mandate()).await.unwrap_err();
    assert_eq!(again.to_string(), format!("session a of pool {POOL} is READY"));
    proxy.lose_reply(0);
}

#[tokio::test]
async fn a_pool_that_another_broker_deleted_is_not_taken_for_lost() {
    let Some(mut broker) = Broker::start(Keeps::Everything, &["a"]).await else { return };
    let (pool, lease) = (pool_name(POOL), broker.lend().await);
    broker.release(&lease).await.expect("it lives");
    let url = Options::new(&broker.server.url());
    let other = RedisStore::connect(url).await.expect("it will do");
    other.remove(&pool, &lease.session, &mandate()).await.expect("nobody holds it");
    other.delete_pool(&pool, &mandate()).await.expect("it is empty");
    broker.server.stop();
    assert!(broker.server.start_again());
    eventually("the store answers again", RECOVERS_WITHIN, async || {
        broker.store.list_pools(None, 1).await.ok()
    })
    .await;
    broker.store.create_pool(&pool, Policy::default(), &mandate()).await.expect("it is gone");
    broker.store.add(&pool, session("a")).await.expect("it is gone");
    let again = broker.lend().await;
    assert_eq!(again.session, lease.session);
}

#[tokio::test]
async fn a_worker_whose_reply_is_lost_hears_as_if_the_deed_was_done_once() {
    let Some((broker, proxy)) = through_proxy(&["a", "b"]).await else { return };
    let (store, pool) = (&broker.store, pool_name(POOL));
    proxy.lose_reply(1);
    let grant = broker.acquire().await.unwrap();
    assert_eq!((grant.replayed, grant.lease.deliveries), (false, 1));
    assert_eq!(store.status(&pool).await.unwrap().counts.leased, 1);
    let lease = lease_id(&pool, &grant);
    proxy.lose_reply(1);
    assert_eq!(store.renew(&lease, &key(ANN), None).await.unwrap().epoch, grant.lease.epoch);
    proxy.lose_reply(1);
    assert_eq!(broker.release(&lease).await.unwrap(), ReleaseOutcome::Released);
    assert_eq!(broker.release(&lease).await.unwrap(), ReleaseOutcome::AlreadyEnded);

    let lease = broker.lend().await;
    proxy.lose_reply(1);
    assert!(store.undo(&lease, 1).await.unwrap());
    assert!(!store.undo(&lease, 1).await.unwrap());

    let lease = broker.lend().await;
    proxy.lose_reply(1);
    let gone = store.surrender(&lease, why(ANN, "dead")).await.unwrap();
    assert_eq!(gone.standing.state(gone.at), SessionState::Invalid);
    proxy.lose_reply(0);
}

#[tokio::test]
async fn what_is_stuck_on_its_way_to_redis_does_not_run_after_it_was_repeated() {
    let Some((broker, proxy)) = through_proxy(&["a", "b"]).await else { return };
    proxy.hold_next_request();
    let grant = soon(broker.acquire()).await.unwrap();
    assert_eq!((grant.replayed, grant.lease.deliveries), (false, 1));
    proxy.deliver().await;
    let counts = broker.store.status(&pool_name(POOL)).await.unwrap().counts;
    assert_eq!((counts.leased, counts.free), (1, 1));
}

#[tokio::test]
async fn a_caller_that_hangs_up_costs_no_session() {
    let Some((broker, proxy)) = through_proxy(&["a"]).await else { return };
    proxy.hold_next_request();
    let mut call = Box::pin(broker.acquire());
    tokio::select! {
        answer = &mut call => panic!("an answer to what was held back: {answer:?}"),
        () = eventually("the request is on its way", RECOVERS_WITHIN, async || {
            proxy.holds_a_request().then_some(())
        }) => {}
    }
    drop(call);
    proxy.deliver().await;
    broker.all_are_free().await;
}

#[tokio::test]
async fn what_was_granted_to_a_caller_that_was_told_otherwise_is_taken_back() {
    let Some((broker, proxy)) = through_proxy(&["a"]).await else { return };
    proxy.break_with_next_reply();
    let refused = soon(broker.acquire()).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    proxy.repair();
    broker.health_is(Health::Up).await;
    broker.all_are_free().await;
    assert!(broker.acquire().await.unwrap().lease.epoch > 0);
}
