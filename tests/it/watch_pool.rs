//! `WatchPool` over the wire: the present status, then each change, and the newest one for whoever
//! reads slowly.

use std::time::{Duration, Instant};

use telegate::{
    pool::{PoolName, Span},
    proto::v1,
    store::{Error, Store as _},
};
use tonic::{Status, Streaming, transport::Endpoint};

use crate::{
    broker::{Broker, reason},
    harness::{
        broker::{Broker as Process, add_sessions, make_pool},
        redis::{Keeps, RedisServer},
    },
};

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

struct Watch(Streaming<v1::WatchPoolResponse>);

impl Watch {
    async fn open(broker: &Broker, pool: &str) -> Result<Self, Status> {
        let request = v1::WatchPoolRequest { pool: pool.into() };
        Ok(Self(broker.pool().watch_pool(request).await?.into_inner()))
    }

    async fn next(&mut self) -> Result<Option<v1::WatchPoolResponse>, Status> {
        tokio::time::timeout(PATIENCE, self.0.message()).await.expect("something is shown")
    }

    /// The counts that are shown next, and how many were missed.
    async fn shown(&mut self) -> (v1::SessionCounts, u64) {
        let shown = self.next().await.unwrap().expect("the watch goes on");
        (shown.status.unwrap().counts.unwrap(), shown.missed)
    }

    /// Waits until so many are leased.
    async fn until_leased(&mut self, leased: u32) {
        while self.shown().await.0.leased != leased {}
    }
}

#[tokio::test]
async fn a_watch_begins_with_the_present_and_shows_each_change_soon() {
    let broker = Broker::start().await;
    broker.fill("demo", &["a", "b"]).await;
    let mut watch = Watch::open(&broker, "demo").await.unwrap();
    let (counts, missed) = watch.shown().await;
    assert_eq!((counts.total, counts.free, missed), (2, 2, 0));
    let began = Instant::now();
    let lease = broker.acquire("demo").await.unwrap().lease.unwrap();
    watch.until_leased(1).await;
    eprintln!("a change was shown after {:?}", began.elapsed());
    broker.acquire("demo").await.unwrap();
    watch.until_leased(2).await;
    let request = v1::ReleaseRequest { lease_id: lease.lease_id, ..Default::default() };
    broker.pool().release(request).await.unwrap();
    watch.until_leased(1).await;
    // Time alone ends leases too, though nobody does anything.
    broker.clock.advance(Span::secs(60));
    let (counts, _) = watch.shown().await;
    assert_eq!((counts.leased, counts.resting), (0, 1));
}

#[tokio::test]
async fn many_changes_come_as_few() {
    let broker = Broker::start().await;
    broker.fill("demo", &["a"]).await;
    let mut watch = Watch::open(&broker, "demo").await.unwrap();
    watch.shown().await;
    let began = Instant::now();
    let mut shown = 0_u128;
    let changes = async {
        for _ in 0..200 {
            let lease_id = broker.acquire("demo").await.unwrap().lease.unwrap().lease_id;
            let request = v1::ReleaseRequest { lease_id, ..Default::default() };
            broker.pool().release(request).await.unwrap();
        }
        let lease_id = broker.acquire("demo").await.unwrap().lease.unwrap().lease_id;
        let rest = Some(pbjson_types::Duration { seconds: 60, nanos: 0 });
        let request = v1::ReleaseRequest { lease_id, rest, ..Default::default() };
        broker.pool().release(request).await.unwrap();
    };
    let watching = async {
        loop {
            let (counts, _) = watch.shown().await;
            shown += 1;
            if counts.resting == 1 {
                return;
            }
        }
    };
    tokio::join!(changes, watching);
    let most = began.elapsed().as_millis() / 250 + 2;
    eprintln!("402 changes were shown as {shown}");
    assert!(shown <= most, "{shown} in {:?}", began.elapsed());
}

#[tokio::test]
async fn a_slow_watcher_gets_the_newest_and_is_told_how_many_it_missed() {
    let broker = Broker::start().await;
    broker.fill("demo", &["a", "b", "c", "d"]).await;
    // A window so narrow that one status fills it: the connection has no room for a second.
    let narrow = Endpoint::from_shared(format!("http://{}", broker.address)).unwrap();
    let channel = narrow.initial_stream_window_size(16).connect_lazy();
    let mut client = v1::session_pool_client::SessionPoolClient::new(channel);
    let request = v1::WatchPoolRequest { pool: "demo".into() };
    let mut slow = Watch(client.watch_pool(request).await.unwrap().into_inner());
    let mut quick = Watch::open(&broker, "demo").await.unwrap();
    quick.shown().await;
    for leased in 1..=4 {
        broker.acquire("demo").await.unwrap();
        quick.until_leased(leased).await;
    }
    let (mut missed, mut leased, mut read) = (0, 0, 0);
    while leased < 4 {
        let (counts, gap) = slow.shown().await;
        assert!(counts.leased >= leased);
        (missed, leased, read) = (missed + gap, counts.leased, read + 1);
    }
    assert!(missed > 0, "nothing was missed");
    assert_eq!(read + missed, 5, "what it read and what it missed is all there was");
}

#[tokio::test]
async fn a_watch_ends_with_its_pool_its_store_and_its_broker() {
    let mut broker = Broker::start().await;
    let unknown = Watch::open(&broker, "demo").await.err().unwrap();
    assert_eq!(reason(&unknown), "POOL_NOT_FOUND");
    broker.fill("demo", &[]).await;
    let mut watches = Vec::new();
    for _ in 0..2 {
        let mut watch = Watch::open(&broker, "demo").await.unwrap();
        watch.shown().await;
        watches.push(watch);
    }
    broker
        .store
        .delete_pool(&PoolName::parse("demo").unwrap(), &crate::harness::mandate())
        .await
        .unwrap();
    for mut watch in watches {
        assert_eq!(reason(&watch.next().await.unwrap_err()), "POOL_NOT_FOUND");
    }

    broker.fill("again", &["a"]).await;
    let mut watch = Watch::open(&broker, "again").await.unwrap();
    watch.shown().await;
    broker.store.fail_next(Error::Unavailable("gone".into()));
    assert_eq!(reason(&watch.next().await.unwrap_err()), "STORE_UNAVAILABLE");
    let mut watch = Watch::open(&broker, "again").await.unwrap();
    watch.shown().await;
    broker.stop();
    assert_eq!(reason(&watch.next().await.unwrap_err()), "SHUTTING_DOWN");
    drop(watch);
    broker.served.take().unwrap().await.unwrap().unwrap();
}

#[tokio::test]
async fn what_another_broker_does_is_shown_too_and_an_unwatched_pool_costs_redis_nothing() {
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let dir = tempfile::tempdir().unwrap();
    let here = Process::start(&redis.url(), dir.path());
    let there = Process::start(&redis.url(), dir.path());
    let client = here.client().await;
    make_pool(&client, "demo", Duration::ZERO).await;
    add_sessions(&client, "demo", "s", 1).await;
    there.client().await;
    let channel = Endpoint::from_shared(format!("http://{}", there.address)).unwrap();
    let mut pool = v1::session_pool_client::SessionPoolClient::new(channel.connect_lazy());
    let request = v1::WatchPoolRequest { pool: "demo".into() };
    let mut watch = Watch(pool.watch_pool(request.clone()).await.unwrap().into_inner());
    let mut second = Watch(pool.watch_pool(request).await.unwrap().into_inner());
    watch.shown().await;
    second.shown().await;
    client.acquire(crate::grpc::acquire("demo")).await.unwrap();
    watch.until_leased(1).await;
    second.until_leased(1).await;
    drop((watch, second));
    let scripts = || {
        let stats = redis.command(&["INFO", "commandstats"]);
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        calls.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0_u64)
    };
    // The poller of an abandoned watch ends: then two looks in a row, longer apart than its pace,
    // find the same count.
    let mut before = scripts();
    crate::harness::eventually("nothing is asked any more", PATIENCE, async || {
        tokio::time::sleep(Duration::from_millis(600)).await;
        let now = scripts();
        let is_quiet = now == before;
        before = now;
        is_quiet.then_some(())
    })
    .await;
}
