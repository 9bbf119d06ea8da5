//! Calls that wait, through real brokers: whose turn it is over two of them, and what is left of
//! those that go.

mod leaving;

use std::time::Duration;

use telegate::{client::Client, proto::v1};
use tokio::task::JoinHandle;

use crate::harness::{
    broker::{Broker, add_sessions, make_pool, wire},
    eventually,
    redis::{Keeps, RedisServer},
};

/// How long something may take, on a slow machine.
const WITHIN: Duration = Duration::from_secs(20);
/// How long calls wait that nobody serves.
const LONG: Duration = Duration::from_secs(60);

/// A call that waits, and what became of it.
type Waiting = JoinHandle<Result<v1::AcquireResponse, telegate::client::Error>>;

fn ask(wait: Duration) -> v1::AcquireRequest {
    v1::AcquireRequest { pool: "p".into(), wait: wire(wait), ..v1::AcquireRequest::default() }
}

/// Starts a call that waits, and sees it stand in line as the last of so many.
async fn wait_in_line(client: &Client, place: usize, request: v1::AcquireRequest) -> Waiting {
    let caller = client.clone();
    let waiting = tokio::spawn(async move { caller.acquire(request).await });
    line_of(client, place).await;
    waiting
}

/// Sees that so many stand in line.
async fn line_of(client: &Client, count: usize) {
    let what = format!("{count} wait");
    eventually(&what, WITHIN, async || {
        let request = v1::ListWaitersRequest { pool: "p".into(), ..Default::default() };
        let waiters = client.list_waiters(request).await.expect("the line is shown").waiters;
        (waiters.len() == count).then_some(())
    })
    .await;
}

async fn take(client: &Client) -> v1::Lease {
    client.acquire(ask(Duration::ZERO)).await.expect("a session is free").lease.expect("a lease")
}

async fn give_back(client: &Client, lease: &v1::Lease) {
    let request =
        v1::ReleaseRequest { lease_id: lease.lease_id.clone(), ..v1::ReleaseRequest::default() };
    client.release(request).await.expect("it is held");
}

async fn lease_of(waiting: Waiting) -> v1::Lease {
    let answered = tokio::time::timeout(WITHIN, waiting).await.expect("it is served in time");
    answered.expect("the call ends").expect("it is served").lease.expect("a lease")
}

/// Two brokers on one Redis with a pool of one session.
async fn two_brokers(redis: &RedisServer, dir: &std::path::Path) -> ([Broker; 2], [Client; 2]) {
    let brokers = [Broker::start(&redis.url(), dir), Broker::start(&redis.url(), dir)];
    let clients = [brokers[0].client().await, brokers[1].client().await];
    make_pool(&clients[0], "p", Duration::from_secs(60)).await;
    add_sessions(&clients[0], "p", "only", 1).await;
    (brokers, clients)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freed_session_goes_to_the_first_in_line_whatever_broker_it_asked() {
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_brokers, clients) = two_brokers(&redis, dir.path()).await;
    let mut held = take(&clients[0]).await;
    let mut waiting = Vec::new();
    for place in 1..=6 {
        waiting.push(wait_in_line(&clients[place % 2], place, ask(LONG)).await);
    }
    for next in waiting {
        assert!(!next.is_finished(), "it was served while the session was held");
        give_back(&clients[0], &held).await;
        let lease = lease_of(next).await;
        assert!(lease.epoch > held.epoch, "{} after {}", lease.epoch, held.epoch);
        held = lease;
    }
    line_of(&clients[0], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_leaves_the_line() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = format!("embedded:{}", dir.path().join("store").display());
    let broker = Broker::start(&store, dir.path());
    let client = broker.client().await;
    make_pool(&client, "p", Duration::from_secs(60)).await;
    add_sessions(&client, "p", "only", 1).await;
    let held = take(&client).await;
    let gone = wait_in_line(&client, 1, ask(LONG)).await;
    let next = wait_in_line(&client, 2, ask(LONG)).await;
    gone.abort();
    line_of(&client, 1).await;
    give_back(&client, &held).await;
    give_back(&client, &lease_of(next).await).await;
    take(&client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_brokers_waiters_hold_up_nobody() {
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ([killed, _living], clients) = two_brokers(&redis, dir.path()).await;
    let held = take(&clients[1]).await;
    for place in 1..=3 {
        drop(wait_in_line(&clients[0], place, ask(LONG)).await);
    }
    let next = wait_in_line(&clients[1], 4, ask(LONG)).await;
    killed.kill();
    give_back(&clients[1], &held).await;
    lease_of(next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_runs_out_answers_as_if_it_had_not_waited() {
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_brokers, clients) = two_brokers(&redis, dir.path()).await;
    let _held = take(&clients[0]).await;
    let started = std::time::Instant::now();
    let refused = clients[1].acquire(ask(Duration::from_millis(300))).await.unwrap_err();
    assert!(started.elapsed() >= Duration::from_millis(300));
    let telegate::client::Error::Refused(refused) = refused else { panic!("{refused}") };
    assert_eq!(refused.reason_name, "POOL_BUSY");
    line_of(&clients[0], 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_comes_back_keeps_its_place() {
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_brokers, clients) = two_brokers(&redis, dir.path()).await;
    let held = take(&clients[0]).await;
    let tagged = || v1::AcquireRequest { request_id: "job-7".into(), ..ask(LONG) };
    let first = wait_in_line(&clients[0], 1, tagged()).await;
    let second = wait_in_line(&clients[1], 2, ask(LONG)).await;
    first.abort();
    line_of(&clients[0], 1).await;
    let again = wait_in_line(&clients[1], 2, tagged()).await;
    give_back(&clients[0], &held).await;
    let lease = lease_of(again).await;
    assert!(!second.is_finished());
    give_back(&clients[1], &lease).await;
    lease_of(second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expiry_serves_the_line_though_nobody_calls() {
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let brokers =
        [Broker::start(&redis.url(), dir.path()), Broker::start(&redis.url(), dir.path())];
    let clients = [brokers[0].client().await, brokers[1].client().await];
    make_pool(&clients[0], "p", Duration::from_millis(100)).await;
    add_sessions(&clients[0], "p", "only", 1).await;
    let short = v1::AcquireRequest { ttl: wire(Duration::from_secs(1)), ..ask(Duration::ZERO) };
    clients[0].acquire(short).await.expect("a session is free");
    let waiting = wait_in_line(&clients[1], 1, ask(LONG)).await;
    lease_of(waiting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_while_the_store_is_away_leaves_the_line_when_it_is_back() {
    let Some(mut redis) = RedisServer::start(Keeps::Everything) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ([_broker, _other], [client, _]) = two_brokers(&redis, dir.path()).await;
    let held = take(&client).await;
    let gone = wait_in_line(&client, 1, ask(LONG)).await;
    let next = wait_in_line(&client, 2, ask(LONG)).await;
    redis.stop();
    gone.abort();
    // Each takes as long as the broker has patience: then it has also tried to leave.
    for _ in 0..3 {
        client.acquire(ask(Duration::ZERO)).await.expect_err("the store is away");
    }
    assert!(redis.start_again(), "redis-server does not start again");
    eventually("the broker serves again", WITHIN, async || {
        let request = v1::ListWaitersRequest { pool: "p".into(), ..Default::default() };
        client.list_waiters(request).await.ok()
    })
    .await;
    line_of(&client, 1).await;
    give_back(&client, &held).await;
    lease_of(next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_pool_that_is_deleted_is_told() {
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (_brokers, clients) = two_brokers(&redis, dir.path()).await;
    let held = take(&clients[0]).await;
    let waiting = wait_in_line(&clients[1], 1, ask(LONG)).await;
    let request = v1::InvalidateRequest {
        target: Some(v1::invalidate_request::Target::LeaseId(held.lease_id)),
        reason: v1::InvalidReason::Banned.into(),
        ..v1::InvalidateRequest::default()
    };
    clients[0].invalidate(request).await.expect("it is held");
    let request =
        v1::RemoveSessionRequest { pool: "p".into(), session: held.session, detail: String::new() };
    eventually("the session is removed", WITHIN, async || {
        clients[0].remove_session(request.clone()).await.ok()
    })
    .await;
    let request = v1::DeletePoolRequest { pool: "p".into(), detail: String::new() };
    clients[0].delete_pool(request).await.expect("the pool is empty");
    let told = tokio::time::timeout(WITHIN, waiting).await.expect("it is told in time");
    let refused = told.expect("the call ends").unwrap_err();
    let telegate::client::Error::Refused(refused) = refused else { panic!("{refused}") };
    assert_eq!(refused.reason_name, "POOL_NOT_FOUND");
}
