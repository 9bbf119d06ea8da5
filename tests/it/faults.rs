//! Broken worlds, with real processes: the broker killed, Redis cut off, emptied of its scripts,
//! stopped and started again. Nothing may be lost and nothing lent twice.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use telegate::{
    client::{Client, Code, Error},
    proto::v1::{self, ErrorReason},
};
use tonic::transport::Channel;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    harness::{
        broker::{Broker, add_sessions, connect, counts, make_pool, wire},
        eventually,
        load::{Load, Manners},
        redis::{Keeps, RedisServer},
    },
    history::faults,
};

/// How long a condition may take to come true, on a slow machine.
const WITHIN: Duration = Duration::from_secs(120);
/// How soon a caller is told that the store is away.
const TOLD_WITHIN: Duration = Duration::from_secs(1);
/// How many clients hammer.
const CLIENTS: u64 = 16;
/// How many sessions they share.
const BUSY: usize = 8;
/// How many sessions are there to be kept.
const HOARD: usize = 600;
/// How many of them are kept before the broker is killed.
const KEPT: usize = 150;
/// How many clients keep them.
const HOARDERS: usize = 16;
/// How long a session rests after its holder vanished.
const DRAIN: Duration = Duration::from_millis(200);

/// A client that acquires and never gives back, until it has no answer. What it has is what the
/// broker acknowledged.
async fn hoard(address: String, kept: Arc<Mutex<Vec<v1::Lease>>>) {
    let client = connect(&address).await;
    loop {
        match client.acquire(ask("hoard", Duration::from_secs(600))).await {
            Ok(reply) => kept.lock().expect("no panic").push(reply.lease.expect("a lease")),
            Err(Error::Unreachable { .. }) => return,
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn ask(kind: &str, ttl: Duration) -> v1::AcquireRequest {
    v1::AcquireRequest {
        pool: "p".to_owned(),
        selector: format!("kind={kind}"),
        ttl: wire(ttl),
        ..v1::AcquireRequest::default()
    }
}

async fn renew(client: &Client, lease: &v1::Lease) -> Result<v1::Lease, Error> {
    let request = v1::RenewRequest { lease_id: lease.lease_id.clone(), ttl: lease.ttl };
    Ok(client.renew(request).await?.lease.expect("a renewed lease"))
}

/// Kills the broker in the middle of load, starts another on the same store, and sees that
/// everything acknowledged is known and nothing was lent twice.
async fn a_broker_is_killed_in_the_middle_of_load(store: &str, dir: &Path) {
    let broker = Broker::start(store, dir);
    let client = broker.client().await;
    make_pool(&client, "p", DRAIN).await;
    add_sessions(&client, "p", "busy", BUSY).await;
    add_sessions(&client, "p", "hoard", HOARD).await;

    let began = Instant::now();
    let (address, busy) = (broker.address.clone(), ("p", "busy"));
    let load = Load::start(&[&address], busy, CLIENTS, Manners::Good, began);
    let kept = Arc::default();
    let hoarders: Vec<_> =
        (0..HOARDERS).map(|_| tokio::spawn(hoard(address.clone(), Arc::clone(&kept)))).collect();
    eventually("the load is under way", WITHIN, async || {
        let kept = kept.lock().expect("no panic").len();
        (load.granted() > 20 && kept > KEPT).then_some(())
    })
    .await;
    broker.kill();
    let before = load.stop().await;
    for hoarder in hoarders {
        hoarder.await.expect("a hoarder does not panic");
    }
    let cut_off = |error: &Error| matches!(error, Error::Unreachable { .. });
    assert!(before.errors.iter().all(cut_off), "{:?}", before.errors);
    assert!(!before.errors.is_empty(), "nobody was in the middle of anything");

    let broker = Broker::start(store, dir);
    let client = broker.client().await;
    let kept = kept.lock().expect("no panic").clone();
    for lease in &kept {
        let renewed = renew(&client, lease).await;
        let renewed = renewed.unwrap_or_else(|error| panic!("{} is lost: {error}", lease.session));
        assert_eq!((renewed.epoch, &renewed.session), (lease.epoch, &lease.session));
    }
    assert_eq!(counts(&client, "p").await.expect("a status").total as usize, BUSY + HOARD);
    nothing_kept_is_lent_again(&client, &kept).await;

    let load = Load::start(&[&broker.address], busy, CLIENTS, Manners::Good, began);
    eventually("leases are granted again", WITHIN, async || (load.granted() > 200).then_some(()))
        .await;
    let after = load.stop().await;
    assert_eq!(after.errors.len(), 0, "{:?}", after.errors);
    let whole: Vec<_> = before.held.into_iter().chain(after.held).collect();
    assert_eq!(faults(&whole), [""; 0]);
    eventually("every busy session is free again", WITHIN, async || {
        (free_of(&client, "busy").await == BUSY).then_some(())
    })
    .await;
}

/// Acquires whatever is left of the hoard: none of it is what somebody has.
async fn nothing_kept_is_lent_again(client: &Client, kept: &[v1::Lease]) {
    let mut lent: BTreeMap<_, _> = kept.iter().map(|lease| (&lease.session, lease)).collect();
    assert_eq!(lent.len(), kept.len(), "a session was lent twice before the kill");
    let mut others = Vec::new();
    while let Ok(reply) = client.acquire(ask("hoard", Duration::from_secs(600))).await {
        others.push(reply.lease.expect("a lease"));
    }
    for lease in &others {
        assert!(lent.insert(&lease.session, lease).is_none(), "{} was lent twice", lease.session);
    }
    // At most what was under way at the kill is held by nobody, until it expires.
    assert!(lent.len() + HOARDERS >= HOARD, "{} of {HOARD} are lent", lent.len());
}

/// How many sessions of a kind can be had now. They are given back.
async fn free_of(client: &Client, kind: &str) -> usize {
    let mut leases = Vec::new();
    while let Ok(reply) = client.acquire(ask(kind, Duration::from_secs(5))).await {
        leases.push(reply.lease.expect("a lease").lease_id);
    }
    let free = leases.len();
    for lease_id in leases {
        let request = v1::ReleaseRequest { lease_id, ..v1::ReleaseRequest::default() };
        client.release(request).await.expect("it was just acquired");
    }
    free
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_nothing_that_the_embedded_store_acknowledged() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = format!("embedded:{}", dir.path().join("store").display());
    a_broker_is_killed_in_the_middle_of_load(&store, dir.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_nothing_that_redis_acknowledged() {
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    a_broker_is_killed_in_the_middle_of_load(&redis.url(), dir.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_sees_that_redis_forgets_scripts_and_cuts_connections() {
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(&redis.url(), dir.path());
    let client = broker.client().await;
    make_pool(&client, "p", DRAIN).await;
    add_sessions(&client, "p", "busy", BUSY).await;
    let (address, busy) = (broker.address.as_str(), ("p", "busy"));
    let load = Load::start(&[address], busy, CLIENTS, Manners::Good, Instant::now());
    for blow in 0..40 {
        let granted = load.granted();
        eventually("the load goes on", WITHIN, async || {
            (load.granted() > granted + 5).then_some(())
        })
        .await;
        let command: &[&str] = match blow % 3 {
            0 => &["SCRIPT", "FLUSH"],
            _ => &["CLIENT", "KILL", "TYPE", "normal"],
        };
        let answer = redis.command(command);
        assert!(!answer.starts_with("ERR"), "{answer}");
    }
    let diary = load.stop().await;
    assert_eq!(diary.errors.len(), 0, "{:?}", diary.errors);
    assert_eq!(faults(&diary.held), [""; 0]);
    eventually("every session is free again", WITHIN, async || {
        (counts(&client, "p").await?.free as usize == BUSY).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_redis_is_told_at_once_and_a_started_one_serves_again() {
    let Some(mut redis) = RedisServer::start(Keeps::Everything) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let broker = Broker::start(&redis.url(), dir.path());
    let client = broker.client().await;
    make_pool(&client, "p", DRAIN).await;
    add_sessions(&client, "p", "busy", 2).await;
    let reply = client.acquire(ask("busy", Duration::from_secs(600))).await.expect("a lease");
    let lease = reply.lease.expect("a lease");
    eventually("health says SERVING", WITHIN, async || {
        (health(&broker.address).await == ServingStatus::Serving).then_some(())
    })
    .await;

    redis.stop();
    for _ in 0..3 {
        told_that_the_store_is_away(client.acquire(ask("busy", Duration::from_secs(5)))).await;
        told_that_the_store_is_away(renew(&client, &lease)).await;
        let request = v1::ReleaseRequest { lease_id: lease.lease_id.clone(), ..Default::default() };
        told_that_the_store_is_away(client.release(request)).await;
        let request = v1::GetPoolStatusRequest { pool: "p".to_owned() };
        told_that_the_store_is_away(client.get_pool_status(request)).await;
    }
    eventually("health says NOT_SERVING", WITHIN, async || {
        (health(&broker.address).await == ServingStatus::NotServing).then_some(())
    })
    .await;

    assert!(redis.start_again(), "redis-server does not start again");
    let renewed =
        eventually("the broker serves again", WITHIN, async || renew(&client, &lease).await.ok())
            .await;
    assert_eq!(renewed.epoch, lease.epoch);
    let other = client.acquire(ask("busy", Duration::from_secs(5))).await.expect("a lease");
    assert_ne!(other.lease.expect("a lease").session, lease.session);
    eventually("health says SERVING again", WITHIN, async || {
        (health(&broker.address).await == ServingStatus::Serving).then_some(())
    })
    .await;
}

/// A call that must be refused, soon, with `STORE_UNAVAILABLE` and with a time to try again.
async fn told_that_the_store_is_away<T>(call: impl Future<Output = Result<T, Error>>) {
    let began = Instant::now();
    let answer = call.await;
    let took = began.elapsed();
    let Err(Error::Refused(no)) = answer else {
        panic!("the store is away, yet there was an answer")
    };
    let told = (no.code, no.reason, no.retry_after.is_some());
    assert_eq!(told, (Code::Unavailable, Some(ErrorReason::StoreUnavailable), true), "{no:?}");
    assert!(took < TOLD_WITHIN, "it took {took:?}");
}

/// What health says of the service for workers.
async fn health(address: &str) -> ServingStatus {
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
    let mut health = HealthClient::new(endpoint.connect().await.expect("the broker listens"));
    let request = HealthCheckRequest { service: "telegate.v1.SessionPool".to_owned() };
    health.check(request).await.expect("health always answers").into_inner().status()
}
