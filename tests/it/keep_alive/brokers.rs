//! Two brokers on one Redis: what one does, a stream at the other tells.

use telegate::client::Client;

use super::*;
use crate::harness::{
    broker::{Broker as Process, add_sessions, make_pool},
    redis::{Keeps, RedisServer},
};

/// A client of the contract to a broker process.
async fn pool_client(broker: &Process) -> SessionPoolClient<Channel> {
    broker.client().await;
    SessionPoolClient::connect(format!("http://{}", broker.address)).await.unwrap()
}

async fn lend_at(client: &Client) -> v1::Lease {
    client.acquire(acquire("demo")).await.unwrap().lease.unwrap()
}

#[tokio::test]
async fn a_revocation_at_one_broker_reaches_a_stream_at_the_other_at_once() {
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let dir = tempfile::tempdir().unwrap();
    let here = Process::start(&redis.url(), dir.path());
    let there = Process::start(&redis.url(), dir.path());
    let client = here.client().await;
    make_pool(&client, "demo", Duration::ZERO).await;
    add_sessions(&client, "demo", "s", 10).await;
    let mut upkeep = Upkeep::open(pool_client(&there).await).await;
    let mut operator = pool_client(&here).await;
    let mut leases = Vec::new();
    for _ in 0..10 {
        let lease = lend_at(&client).await;
        upkeep
            .ask(
                std::slice::from_ref(&lease.lease_id),
                v1::KeepAliveRequest { ttl: Some(secs(60)), ..plain() },
            )
            .await;
        upkeep.renewed().await;
        leases.push(lease);
    }
    let mut took = Vec::new();
    for lease in leases {
        let began = Instant::now();
        invalidate(&mut operator, "demo", &lease.session).await;
        let (named, lost) = upkeep.lost().await;
        took.push(began.elapsed());
        assert_eq!((named, lost.cause()), (lease.lease_id, v1::LossCause::Invalidated));
    }
    took.sort();
    eprintln!("across two brokers: median {:?}, longest {:?}", took[5], took[9]);
    assert!(took[5] < AT_ONCE, "{took:?}");
}

#[tokio::test]
async fn what_a_broker_could_not_hear_it_asks_for_when_it_hears_again() {
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let dir = tempfile::tempdir().unwrap();
    let here = Process::start(&redis.url(), dir.path());
    let there = Process::start(&redis.url(), dir.path());
    let client = here.client().await;
    make_pool(&client, "demo", Duration::ZERO).await;
    add_sessions(&client, "demo", "s", 1).await;
    let lease = lend_at(&client).await;
    let mut upkeep = Upkeep::open(pool_client(&there).await).await;
    let ttl = Some(secs(600));
    upkeep
        .ask(std::slice::from_ref(&lease.lease_id), v1::KeepAliveRequest { ttl, ..plain() })
        .await;
    upkeep.renewed().await;
    // A server that lets nobody in for a while, as a broken line would.
    redis.command(&["CONFIG", "SET", "maxclients", "1"]);
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    invalidate(&mut pool_client(&here).await, "demo", &lease.session).await;
    redis.command(&["CONFIG", "SET", "maxclients", "1000"]);
    let (named, lost) = upkeep.lost().await;
    assert_eq!((named, lost.cause()), (lease.lease_id, v1::LossCause::Invalidated));
}
