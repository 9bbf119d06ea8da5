//! Two brokers on one Redis: what one does, a stream at the other tells.

use telegate::{
    client::Client,
    keys::Role::{Admin, Observer, Worker},
};

use super::*;
use crate::harness::{
    broker::{Broker as Process, add_sessions, connect_as, make_pool},
    redis::{Keeps, RedisServer},
};

/// Why leases are revoked.
const DETAIL: &str = "moving house";

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
async fn leases_that_are_revoked_at_another_broker_are_told_at_once_and_why() {
    use v1::revoke_leases_request::Target;
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let dir = tempfile::tempdir().unwrap();
    let here = Process::start(&redis.url(), dir.path());
    let there = Process::start(&redis.url(), dir.path());
    let (holder, operator) = (here.client().await, there.client().await);
    make_pool(&holder, "demo", Duration::ZERO).await;
    add_sessions(&holder, "demo", "s", 5).await;
    let mut upkeep = Upkeep::open(pool_client(&here).await).await;
    let mut leases = Vec::new();
    for _ in 0..5 {
        let lease = lend_at(&holder).await;
        let ttl = Some(secs(60));
        upkeep
            .ask(std::slice::from_ref(&lease.lease_id), v1::KeepAliveRequest { ttl, ..plain() })
            .await;
        upkeep.renewed().await;
        leases.push(lease);
    }
    let mut took = Vec::new();
    let session = Target::Session(leases[0].session.clone());
    let lease = Target::LeaseId(leases[1].lease_id.clone());
    // The last target is of all that are left.
    for (target, ended) in
        [(session, 0..1), (lease, 1..2), (Target::Selector("kind=s".to_owned()), 2..5)]
    {
        let request = v1::RevokeLeasesRequest {
            pool: "demo".into(),
            target: Some(target),
            detail: DETAIL.into(),
            page_token: String::new(),
        };
        let began = Instant::now();
        let revoked = operator.revoke_leases(request).await.unwrap().leases;
        assert_eq!(revoked.len(), ended.len());
        let mut told = std::collections::BTreeSet::new();
        for _ in ended.clone() {
            let (named, lost) = upkeep.lost().await;
            assert_eq!((lost.cause(), lost.detail.as_str()), (v1::LossCause::Revoked, DETAIL));
            told.insert(named);
        }
        took.push(began.elapsed());
        let wanted = leases[ended].iter().map(|lease| lease.lease_id.clone()).collect();
        assert!(told == wanted, "another lease was told");
    }
    eprintln!("revoked at the other broker: {took:?}");
    // The others are not told anything: the stream answers the next ask and nothing before it.
    let none = upkeep.answers.message();
    assert!(tokio::time::timeout(AT_ONCE, none).await.is_err(), "told twice");
}

#[tokio::test]
async fn a_keys_leases_are_revoked_at_another_broker_and_no_others() {
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let dir = tempfile::tempdir().unwrap();
    let every: &[&str] = &["*"];
    let keys =
        write_keys(&dir, &[(&[Worker], every), (&[Worker, Observer], every), (&[Admin], every)]);
    let file = dir.path().join("keys.toml");
    let with_keys = ["--keys", file.to_str().unwrap()];
    let here = Process::start_with(&redis.url(), dir.path(), &with_keys);
    let there = Process::start_with(&redis.url(), dir.path(), &with_keys);
    let operator = connect_as(&there.address, Some(&keys[2])).await;
    make_pool(&operator, "demo", Duration::ZERO).await;
    add_sessions(&operator, "demo", "s", 4).await;
    connect_as(&here.address, Some(&keys[2])).await;
    let url = format!("http://{}", here.address);
    let mut streams = Vec::new();
    for key in &keys[..2] {
        let mut client = SessionPoolClient::connect(url.clone()).await.unwrap();
        let (asks, asked) = mpsc::channel(16);
        let asked = keyed(key, ReceiverStream::new(asked));
        let answers = client.keep_alive(asked).await.unwrap().into_inner();
        let (mut upkeep, mut leases) = (Upkeep { asks, answers }, Vec::new());
        for _ in 0..2 {
            let granted = client.acquire(keyed(key, acquire("demo"))).await.unwrap();
            let lease = granted.into_inner().lease.unwrap();
            let ask = v1::KeepAliveRequest { ttl: Some(secs(60)), ..plain() };
            upkeep.ask(std::slice::from_ref(&lease.lease_id), ask).await;
            upkeep.renewed().await;
            leases.push(lease);
        }
        streams.push((upkeep, leases));
    }
    let (mut spared, kept) = streams.pop().unwrap();
    let (mut upkeep, leases) = streams.pop().unwrap();
    let key_id = leases[0].holder.as_ref().unwrap().key_id.clone();
    assert_ne!(kept[0].holder.as_ref().unwrap().key_id, key_id);
    let request = v1::RevokeLeasesRequest {
        pool: "demo".into(),
        target: Some(v1::revoke_leases_request::Target::KeyId(key_id.clone())),
        detail: DETAIL.into(),
        page_token: String::new(),
    };
    let revoked = operator.revoke_leases(request).await.unwrap().leases;
    let of = |lease: &v1::Lease| lease.holder.as_ref().map(|holder| holder.key_id.clone());
    assert_eq!(revoked.iter().map(of).collect::<Vec<_>>(), vec![Some(key_id); 2]);
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let (named, lost) = upkeep.lost().await;
        assert_eq!((lost.cause(), lost.detail.as_str()), (v1::LossCause::Revoked, DETAIL));
        told.insert(named);
    }
    assert!(told == leases.into_iter().map(|lease| lease.lease_id).collect(), "another was told");
    // The other key's stream is told nothing before the answer to its next ask.
    for lease in kept {
        spared.ask(std::slice::from_ref(&lease.lease_id), plain()).await;
        assert_eq!(spared.renewed().await.session, lease.session);
    }
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
