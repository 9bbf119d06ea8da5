//! The Rust client's leases: kept in the background, lost in time, given back, waited for.

use std::time::{Duration, Instant};

use telegate::{
    client::{Client, Endpoint, LendError},
    pool::{Policy, PoolName, SessionName, SessionState, Span},
    proto::v1::{self, ErrorReason, LossCause},
    store::Store as _,
};

use crate::{
    broker::{Broker, eventually},
    grpc::acquire,
};

async fn connect(broker: &Broker) -> Client {
    let endpoint = Endpoint { address: broker.address.clone(), ..Endpoint::default() };
    Client::connect(endpoint).await.unwrap()
}

/// A broker with a pool of short leases.
async fn start() -> (Broker, Client) {
    let broker = Broker::start().await;
    let policy = Policy { min_ttl: Span::secs(1), ..Policy::default() };
    broker
        .store
        .create_pool(&PoolName::parse("demo").unwrap(), policy, &crate::harness::mandate())
        .await
        .unwrap();
    broker.admin().add_session(crate::broker::new_session("demo", "a")).await.unwrap();
    let client = connect(&broker).await;
    (broker, client)
}

fn short() -> v1::AcquireRequest {
    let ttl = Some(pbjson_types::Duration { seconds: 1, nanos: 0 });
    v1::AcquireRequest { ttl, ..acquire("demo") }
}

async fn standing(broker: &Broker) -> telegate::pool::Standing {
    let (pool, session) = (PoolName::parse("demo").unwrap(), SessionName::parse("a").unwrap());
    broker.store.get_session(&pool, &session).await.unwrap().standing
}

async fn renewals(broker: &Broker) -> u64 {
    standing(broker).await.lease.map_or(0, |lease| lease.renewals)
}

#[tokio::test]
async fn a_guard_renews_its_lease_and_gives_it_back() {
    let (broker, client) = start().await;
    let lease = client.lend(short(), Duration::ZERO).await.unwrap();
    assert_eq!((lease.lease().session.as_str(), lease.session().name.as_str()), ("a", "a"));
    assert!(lease.credential().value.is_some());
    let secret = lease.lease().lease_id.rsplit('/').next().unwrap().to_owned();
    assert!(!format!("{lease:?}").contains(&secret));
    eventually("it is renewed again and again", async || renewals(&broker).await >= 4).await;
    assert!(!lease.is_lost());
    assert_eq!(lease.run(async { 7 }).await, Ok(7));
    let released = lease.release().await.unwrap();
    assert_eq!(released.outcome(), v1::ReleaseOutcome::Released);
    drop(client.lend(short(), Duration::ZERO).await.unwrap());
    eventually("a dropped guard gives it back", async || broker.free("demo").await == 1).await;
}

#[tokio::test]
async fn work_is_dropped_as_soon_as_its_lease_is_lost() {
    let (broker, client) = start().await;
    let lease = client.lend(acquire("demo"), Duration::ZERO).await.unwrap();
    let epoch = lease.lease().epoch;
    // Named to the broker, it can be told of.
    eventually("the stream knows it", async || renewals(&broker).await >= 1).await;
    let working = lease.run(std::future::pending::<()>());
    let began = Instant::now();
    let (pool, session) = (PoolName::parse("demo").unwrap(), SessionName::parse("a").unwrap());
    let why = crate::harness::stage::why("op", "");
    let (loss, _) = tokio::join!(working, broker.store.invalidate(&pool, &session, why));
    let took = began.elapsed();
    eprintln!("the work was dropped after {took:?}");
    let loss = loss.unwrap_err();
    assert_eq!((loss.cause, loss.epoch), (LossCause::Invalidated, epoch));
    assert_eq!((loss.session.as_str(), loss.reason.as_str()), ("a", "LEASE_LOST"));
    assert!(took < Duration::from_millis(200), "{took:?}");
    assert!(lease.is_lost());
}

#[tokio::test]
async fn a_lease_whose_broker_is_gone_is_lost_when_it_may_have_run_out() {
    let (mut broker, client) = start().await;
    let lease = client.lend(short(), Duration::ZERO).await.unwrap();
    eventually("it is kept", async || renewals(&broker).await >= 1).await;
    broker.stop();
    broker.served.take().unwrap().await.unwrap().unwrap();
    let gone = Instant::now();
    let loss = tokio::time::timeout(Duration::from_secs(10), lease.lost()).await.unwrap();
    assert_eq!(loss.cause, LossCause::Expired);
    // Never later than the TTL after the last moment at which it could be renewed.
    assert!(gone.elapsed() <= Duration::from_millis(1100), "{:?}", gone.elapsed());
}

#[tokio::test]
async fn leases_are_kept_by_calls_where_there_is_no_stream() {
    let (broker, client) = start().await;
    // All streams that the connection may have are taken.
    let mut watches = Vec::new();
    for _ in 0..64 {
        let request = v1::WatchPoolRequest { pool: "demo".into() };
        watches.push(client.watch_pool(request).await.unwrap());
    }
    let lease = client.lend(short(), Duration::ZERO).await.unwrap();
    eventually("it is renewed all the same", async || renewals(&broker).await >= 3).await;
    let (pool, session) = (PoolName::parse("demo").unwrap(), SessionName::parse("a").unwrap());
    let why = crate::harness::stage::why("op", "");
    broker.store.invalidate(&pool, &session, why).await.unwrap();
    let loss = tokio::time::timeout(Duration::from_secs(10), lease.lost()).await.unwrap();
    assert_eq!(loss.cause, LossCause::Invalidated);
}

#[tokio::test]
async fn many_leases_share_one_stream() {
    let (broker, client) = start().await;
    for name in ["b", "c", "d"] {
        broker.admin().add_session(crate::broker::new_session("demo", name)).await.unwrap();
    }
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(client.lend(short(), Duration::ZERO).await.unwrap());
    }
    eventually("all are kept", async || {
        let pool = PoolName::parse("demo").unwrap();
        let sessions = broker.store.list_sessions(&pool, None, 10).await.unwrap();
        let kept = |lease: &telegate::pool::Lease| lease.renewals >= 3;
        sessions.iter().all(|view| view.standing.lease.as_ref().is_some_and(kept))
    })
    .await;
    // Only so many more fit on the connection as one stream leaves free.
    let mut watches = Vec::new();
    loop {
        let request = v1::WatchPoolRequest { pool: "demo".into() };
        match client.watch_pool(request).await {
            Ok(watch) => watches.push(watch),
            Err(_) => break,
        }
    }
    assert_eq!(watches.len(), 63);
}

#[tokio::test]
async fn a_busy_pool_is_waited_for_as_it_says_or_told_with_its_next_release() {
    let (broker, client) = start().await;
    let held = client.lend(acquire("demo"), Duration::ZERO).await.unwrap();
    let none = client.lend(acquire("demo"), Duration::from_millis(50)).await.unwrap_err();
    let LendError::NoSessionAvailable(none) = none else { panic!("{none}") };
    assert_eq!(none.next_release, Some(Duration::from_secs(60)));
    assert_eq!((none.waiting, none.estimated_wait), (Some(0), Some(Duration::from_secs(60))));
    assert_eq!(none.refused.reason, Some(ErrorReason::PoolBusy));
    let rest = Some(pbjson_types::Duration { seconds: 0, nanos: 200_000_000 });
    let request = v1::ReleaseRequest { rest, ..v1::ReleaseRequest::default() };
    held.release_with(request).await.unwrap();
    assert_eq!(standing(&broker).await.state(broker.clock.now()), SessionState::Resting);
    let waiting = client.lend(acquire("demo"), Duration::from_secs(10));
    let (lease, ()) = tokio::join!(waiting, async { broker.clock.advance(Span(200)) });
    assert_eq!(lease.unwrap().lease().session, "a");
    let futile = client.lend(acquire("nowhere"), Duration::from_secs(10)).await.unwrap_err();
    assert!(matches!(futile, LendError::Other(_)), "{futile}");
}

#[tokio::test]
async fn who_waits_has_the_session_as_soon_as_it_is_given_back() {
    let (broker, client) = start().await;
    let held = client.lend(acquire("demo"), Duration::ZERO).await.unwrap();
    let patient = client.clone();
    let waiting = tokio::spawn(async move { patient.lend(short(), Duration::from_secs(60)).await });
    let pool = PoolName::parse("demo").unwrap();
    eventually("it stands in line", async || {
        broker.store.status(&pool).await.unwrap().queue.waiters == 1
    })
    .await;
    let began = Instant::now();
    held.release().await.unwrap();
    let lease = waiting.await.unwrap().unwrap();
    eprintln!("handed over after {:?}", began.elapsed());
    assert_eq!(lease.lease().session, "a");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // And the guard of one that waited is kept like any other.
    let before = renewals(&broker).await;
    eventually("it is renewed", async || renewals(&broker).await > before).await;
}
