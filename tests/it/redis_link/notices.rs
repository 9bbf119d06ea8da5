//! What one broker does, the others hear; what they could not hear, they know to have missed.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use telegate::{
    pool::{EndCause, Ending},
    store::{
        Error, Notice, Notices, Store,
        redis::{Options, RedisStore},
    },
};

use super::{Broker, RECOVERS_WITHIN};
use crate::harness::{
    redis::Keeps,
    stage::{POOL, name, pool_name, why},
};

async fn next(notices: &mut Notices) -> Notice {
    tokio::time::timeout(RECOVERS_WITHIN, notices.next())
        .await
        .expect("a notice comes")
        .expect("the store lives")
}

async fn another(broker: &Broker) -> Arc<RedisStore> {
    Arc::new(RedisStore::connect(Options::new(&broker.server.url())).await.expect("it will do"))
}

#[tokio::test]
async fn another_broker_hears_of_a_revoked_lease_soon_and_not_of_its_secret() {
    let Some(broker) = Broker::start(Keeps::Nothing, &["a"]).await else { return };
    let other = another(&broker).await;
    let mut notices = other.notices();
    let lease = broker.lend().await;
    let epoch = broker.store.get_session(&pool_name(POOL), &name("a")).await.unwrap();
    let epoch = epoch.standing.epoch;
    let began = Instant::now();
    broker.store.invalidate(&pool_name(POOL), &name("a"), why("op", "")).await.unwrap();
    let heard = next(&mut notices).await;
    let took = began.elapsed();
    eprintln!("a notice crossed two brokers in {took:?}");
    assert!(took < Duration::from_millis(100), "it took {took:?}");
    let (pool, session, cause) = (lease.pool, lease.session, EndCause::Invalidated);
    assert_eq!(heard, Notice::LeaseEnded(Ending { pool, session, epoch, cause }));
}

#[tokio::test]
async fn whoever_was_cut_off_knows_to_have_missed_something_and_hears_again() {
    let Some(broker) = Broker::start(Keeps::Nothing, &["a", "b"]).await else { return };
    let other = another(&broker).await;
    let mut notices = other.notices();
    for session in ["a", "b"] {
        broker.lend().await;
        broker.server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(next(&mut notices).await, Notice::Missed);
        broker.store.invalidate(&pool_name(POOL), &name(session), why("op", "")).await.unwrap();
        let heard = next(&mut notices).await;
        let Notice::LeaseEnded(ending) = heard else { panic!("{heard:?}") };
        assert_eq!(ending.session, name(session));
    }
}

#[tokio::test]
async fn nothing_is_published_while_leases_come_and_go() {
    let Some(broker) = Broker::start(Keeps::Nothing, &["a"]).await else { return };
    let before = broker.count_of("publish");
    for _ in 0..3 {
        let lease = broker.lend().await;
        let renewed = broker
            .store
            .renew_all(std::slice::from_ref(&lease), &super::key(super::ANN), None)
            .await;
        assert!(renewed[0].is_ok());
        broker.release(&lease).await.unwrap();
    }
    assert_eq!(broker.count_of("publish"), before);
    broker.lend().await;
    broker.store.invalidate(&pool_name(POOL), &name("a"), why("op", "")).await.unwrap();
    assert_eq!(broker.count_of("publish"), before + 1);
}

#[tokio::test]
async fn a_user_who_may_not_listen_or_not_publish_is_refused_at_the_start() {
    let Some(broker) = Broker::start(Keeps::Nothing, &["a"]).await else { return };
    for (user, may) in [("deaf", "resetchannels"), ("dumb", "-publish"), ("able", "allchannels")] {
        let set = ["ACL", "SETUSER", user, "on", ">pass", "~*", "allchannels", "+@all", may];
        assert_eq!(broker.server.command(&set), "OK");
        let url = broker.server.url().replace("redis://", &format!("redis://{user}:pass@"));
        match RedisStore::connect(Options::new(&url)).await {
            Ok(_) => assert_eq!(user, "able"),
            Err(Error::Broken(why)) => {
                assert!(user != "able" && why.contains("check user, password and ACL"), "{why}");
            }
            Err(other) => panic!("{user}: {other}"),
        }
    }
}
