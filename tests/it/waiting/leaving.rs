//! Those who have gone are seen off some at a time, and only so many of them; those who wait when
//! the broker closes are told.

use std::time::Duration;

use telegate::{
    config::{Limits, ServerConfig},
    pool::Span,
    proto::v1::{self, session_pool_client::SessionPoolClient},
    store::Store as _,
};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::wire;
use crate::{
    broker::{Broker, Lines, new_session, reason},
    harness::{eventually, stage::pool_name},
    unruly::Unruly,
};

/// How many leave at once.
const AT_ONCE: usize = 64;
/// How many may wait to leave.
const MOST_GONE: usize = 16_384;
/// How many calls share a connection.
const TOGETHER: usize = 1_000;
/// How long they would wait.
const WAIT: Duration = Duration::from_secs(3_600);
/// How long something may take, on a slow machine.
const WITHIN: Duration = Duration::from_secs(300);

/// Asks again and again until the answer is yes: very many calls take their time.
async fn soon(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    eventually(what, WITHIN, async || ask().await.then_some(())).await;
}

/// A broker whose only session is lent.
async fn all_lent() -> Broker {
    let limits = Limits { call_timeout: Duration::from_secs(600), ..Limits::default() };
    let broker = Broker::with(|_, config| ServerConfig { limits, ..config }).await;
    let policy = v1::PoolPolicy {
        max_ttl: wire(2 * WAIT),
        max_lifetime: wire(2 * WAIT),
        max_waiters: Some(100_000),
        ..v1::PoolPolicy::default()
    };
    let pool = v1::Pool { name: "p".into(), policy: Some(policy), ..v1::Pool::default() };
    let request = v1::CreatePoolRequest { pool: Some(pool), detail: String::new() };
    broker.admin().create_pool(request).await.unwrap();
    broker.admin().add_session(new_session("p", "only")).await.unwrap();
    let ttl = wire(2 * WAIT);
    broker.pool().acquire(v1::AcquireRequest { ttl, ..super::ask(Duration::ZERO) }).await.unwrap();
    broker
}

/// How many stand in line, as the store has it.
async fn waiters(client: &mut SessionPoolClient<Channel>) -> usize {
    let request = v1::GetPoolStatusRequest { pool: "p".into() };
    let status = client.get_pool_status(request).await.unwrap().into_inner().status.unwrap();
    status.waiters as usize
}

/// So many more calls that stand in line, until they are dropped.
async fn park(broker: &Broker, count: usize) -> JoinSet<()> {
    let (mut waiting, mut looks) = (JoinSet::new(), broker.pool());
    let already = waiters(&mut looks).await;
    let mut client = broker.pool();
    for number in 0..count {
        if number % TOGETHER == 0 {
            client = broker.pool();
        }
        let mut client = client.clone();
        waiting.spawn(async move {
            client.acquire(super::ask(WAIT)).await.expect_err("nobody gives back");
        });
    }
    soon("all stand in line", async || waiters(&mut looks).await == already + count).await;
    waiting
}

/// A broker whose store lets nobody leave the line, with so many who wait, and one who has gone.
async fn held_up(count: usize, failing: usize) -> (Broker, JoinSet<()>) {
    let broker = all_lent().await;
    let waiting = park(&broker, count).await;
    let first = park(&broker, 1).await;
    broker.store.hold_leaving(failing);
    drop(first);
    soon("the first leaves", async || broker.store.leaving()[0] == 1).await;
    (broker, waiting)
}

#[tokio::test]
async fn those_who_have_gone_leave_the_line_64_at_a_time_until_all_have_left() {
    const MANY: usize = 500;
    let (broker, waiting) = held_up(MANY, 100).await;
    drop(waiting);
    let mut looks = broker.pool();
    // The broker has one thread here, so it learns of all of them before it answers so often.
    for _ in 0..MANY {
        assert_eq!(waiters(&mut looks).await, MANY + 1, "one has left past the store");
    }
    assert_eq!(broker.store.leaving(), [1, 1, 0], "the others do not wait for the first");
    // The first fails and is of the next round.
    broker.store.let_leave(1);
    soon("a round leaves", async || broker.store.leaving()[0] == AT_ONCE).await;
    broker.store.let_leave(Unruly::MANY);
    soon("all have left", async || waiters(&mut looks).await == 0).await;
    assert_eq!(broker.store.leaving(), [0, AT_ONCE, MANY + 1]);
}

#[tokio::test]
async fn of_those_who_have_gone_so_many_wait_to_leave_and_the_store_drops_the_others() {
    const BEYOND: usize = 100;
    let (lines, _guard) = Lines::capture_of("telegate::server::waiting=debug");
    let (broker, waiting) = held_up(MOST_GONE + BEYOND, 0).await;
    drop(waiting);
    let told = || lines.with("too many have gone to leave the line at once").len();
    soon("those beyond are told", async || told() >= BEYOND).await;
    let mut looks = broker.pool();
    assert_eq!(waiters(&mut looks).await, MOST_GONE + BEYOND + 1);
    broker.store.let_leave(Unruly::MANY);
    let left = || broker.store.leaving()[2];
    soon("those before have left", async || left() == MOST_GONE + 1).await;
    assert_eq!((waiters(&mut looks).await, told()), (BEYOND, BEYOND));
    broker.clock.advance(Span::hours(1));
    soon("their wait is over", async || waiters(&mut looks).await == 0).await;
}

#[tokio::test]
async fn who_waits_when_the_broker_closes_is_told_and_leaves_the_line() {
    let mut broker = all_lent().await;
    let mut client = broker.pool();
    let waiting = tokio::spawn(async move { client.acquire(super::ask(WAIT)).await });
    let mut looks = broker.pool();
    soon("it stands in line", async || waiters(&mut looks).await == 1).await;
    broker.stop();
    let told = tokio::time::timeout(super::WITHIN, waiting).await.expect("it is told soon");
    assert_eq!(reason(&told.unwrap().unwrap_err()), "SHUTTING_DOWN");
    let pool = pool_name("p");
    soon("it has left", async || {
        broker.store.list_waiters(&pool, 0, 10).await.is_ok_and(|waiters| waiters.is_empty())
    })
    .await;
}
