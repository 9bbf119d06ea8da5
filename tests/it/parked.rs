//! Many in line: what it costs the store and the brokers that many wait.
//!
//! `TELEGATE_PARKED=10000` makes it the full size, on 100 sessions. Commands are counted and must
//! not grow with their number; times and memory are only told.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use telegate::{
    client::{Client, Error, Kind},
    proto::v1,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use crate::harness::{
    broker::{Broker, add_sessions, connect, wire},
    eventually,
    redis::{Keeps, RedisServer},
};

/// How many wait at first, at the end, and for how many sessions, unless more is asked for.
const SMALL: (usize, usize, usize) = (20, 300, 10);
/// How many sessions the full size has, and how many wait at first.
const FULL: (usize, usize) = (100, 100);
/// How many calls share a connection.
const TOGETHER: usize = 500;
/// How many sessions are given back and handed over, one after the other.
const HAND_OVERS: usize = 100;
/// For how long nothing happens.
const STILL: Duration = Duration::from_secs(2);
/// How many such times it may take until what was due is done.
const SETTLES: u32 = 3;
/// How long something may take, on a slow machine.
const WITHIN: Duration = Duration::from_secs(300);
/// How long the leases last, and the waits.
const LONG: Duration = Duration::from_secs(3_600);

/// A lease that somebody in line was handed, and when.
type Handed = (Instant, v1::Lease);

/// Two brokers on one Redis, and who waits there.
struct Room {
    redis: RedisServer,
    brokers: [Broker; 2],
    clients: Vec<Client>,
    waiting: JoinSet<()>,
    parked: usize,
    tell: UnboundedSender<Handed>,
    told: UnboundedReceiver<Handed>,
    held: Vec<v1::Lease>,
}

/// What some hand-overs cost.
#[derive(Debug)]
struct Cost {
    /// The commands of each kind, those inside scripts too.
    commands: BTreeMap<String, u64>,
    /// From the sending of the Release to the answer to who waited.
    took: Vec<Duration>,
}

fn ask(wait: Duration) -> v1::AcquireRequest {
    let (wait, ttl) = (wire(wait), wire(LONG));
    v1::AcquireRequest { pool: "p".into(), wait, ttl, ..v1::AcquireRequest::default() }
}

impl Room {
    async fn open(redis: RedisServer, dir: &std::path::Path, sessions: usize) -> Self {
        let brokers = [Broker::start(&redis.url(), dir), Broker::start(&redis.url(), dir)];
        let client = brokers[0].client().await;
        let policy = v1::PoolPolicy {
            max_ttl: wire(LONG),
            max_waiters: Some(100_000),
            ..v1::PoolPolicy::default()
        };
        let pool = v1::Pool { name: "p".into(), policy: Some(policy), ..v1::Pool::default() };
        let request = v1::CreatePoolRequest { pool: Some(pool), detail: String::new() };
        client.create_pool(request).await.expect("the pool is new");
        add_sessions(&client, "p", "any", sessions).await;
        let (tell, told) = unbounded_channel();
        let (clients, waiting, held) = (vec![client], JoinSet::new(), Vec::new());
        Self { redis, brokers, clients, waiting, parked: 0, tell, told, held }
    }

    /// Lets so many wait, half of them at each broker.
    async fn park(&mut self, count: usize) {
        while self.parked < count {
            let broker = &self.brokers[(self.parked / TOGETHER) % 2];
            let client = connect(&broker.address).await;
            for _ in 0..TOGETHER.min(count - self.parked) {
                let (client, tell) = (client.clone(), self.tell.clone());
                self.waiting.spawn(async move {
                    // On a machine that stands still for a moment a store is away for a moment.
                    let reply = loop {
                        match client.acquire(ask(LONG)).await {
                            Ok(reply) => break reply,
                            Err(Error::Refused(no)) if no.kind() == Kind::Unavailable => {}
                            Err(_) => return,
                        }
                    };
                    let _ = tell.send((Instant::now(), reply.lease.unwrap_or_default()));
                });
                self.parked += 1;
            }
            self.clients.push(client);
            let parked = self.parked;
            self.line_is(parked).await;
        }
    }

    async fn line_is(&self, count: usize) {
        eventually("all stand in line", WITHIN, async || {
            let request = v1::GetPoolStatusRequest { pool: "p".into() };
            let status = self.clients[0].get_pool_status(request).await.ok()?.status?;
            (status.waiters as usize == count).then_some(())
        })
        .await;
    }

    /// Gives one session back after another, and sees to whom it goes.
    async fn hand_over(&mut self) -> Cost {
        self.redis.command(&["CONFIG", "RESETSTAT"]);
        let mut took = Vec::new();
        for _ in 0..HAND_OVERS {
            let lease_id = self.held.remove(0).lease_id;
            let request = v1::ReleaseRequest { lease_id, ..v1::ReleaseRequest::default() };
            let sent = Instant::now();
            self.clients[0].release(request).await.expect("it is held");
            let handed = tokio::time::timeout(WITHIN, self.told.recv()).await;
            let (at, lease) = handed.expect("it is handed over in time").expect("somebody waits");
            took.push(at.duration_since(sent));
            self.held.push(lease);
            self.parked -= 1;
        }
        Cost { commands: self.commands(), took }
    }

    /// Acquires and gives back, with nobody in line.
    async fn acquire(&mut self) -> Vec<Duration> {
        let mut took = Vec::new();
        for _ in 0..HAND_OVERS {
            let sent = Instant::now();
            let reply = self.clients[0].acquire(ask(Duration::ZERO)).await.expect("one is free");
            took.push(sent.elapsed());
            let lease_id = reply.lease.expect("a lease").lease_id;
            let request = v1::ReleaseRequest { lease_id, ..v1::ReleaseRequest::default() };
            self.clients[0].release(request).await.expect("it is held");
        }
        took
    }

    async fn hold_all(&mut self) {
        while let Ok(reply) = self.clients[0].acquire(ask(Duration::ZERO)).await {
            self.held.push(reply.lease.expect("a lease"));
        }
    }

    /// What Redis has done since its counters were reset, without what asks for that.
    fn commands(&self) -> BTreeMap<String, u64> {
        let info = self.redis.command(&["INFO", "commandstats"]);
        let count = |line: &str| {
            let (name, facts) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), facts.split(',').next()?.parse().ok()?))
        };
        let mut commands: BTreeMap<_, _> = info.lines().filter_map(count).collect();
        commands.retain(|name, _| !name.starts_with("config") && name != "info");
        commands
    }

    /// What Redis does while nothing happens. What the last hand-over has made due is done first.
    async fn idle(&self) -> BTreeMap<String, u64> {
        let mut idle = BTreeMap::new();
        for _ in 0..SETTLES {
            self.redis.command(&["CONFIG", "RESETSTAT"]);
            tokio::time::sleep(STILL).await;
            idle = self.commands();
            if idle.is_empty() {
                break;
            }
        }
        idle
    }

    fn memory(&mut self) -> (u64, u64) {
        let info = self.redis.command(&["INFO", "memory"]);
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.parse().ok());
        (self.brokers.iter_mut().map(Broker::memory).sum(), used.unwrap_or_default())
    }
}

impl Cost {
    fn total(&self) -> u64 {
        self.commands.values().sum()
    }
}

/// The latency that so many of a hundred do not exceed.
fn percentile(took: &[Duration], of: usize) -> Duration {
    let mut took = took.to_vec();
    took.sort();
    took[(took.len() * of).div_ceil(100) - 1]
}

fn ratio(took: &[Duration], plain: &[Duration], of: usize) -> f64 {
    percentile(took, of).as_secs_f64() / percentile(plain, of).as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_costs_the_same_however_many_wait_and_waiting_costs_nothing() {
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let (few, many, sessions) = match crate::model::variable::<usize>("TELEGATE_PARKED") {
        Some(many) => (FULL.1, many, FULL.0),
        None => SMALL,
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut room = Room::open(redis, dir.path(), sessions).await;
    room.acquire().await;
    let plain = room.acquire().await;
    room.hold_all().await;
    assert_eq!(room.held.len(), sessions);

    room.park(few + HAND_OVERS).await;
    let small = room.hand_over().await;
    let before = room.memory();
    let began = room.parked;
    room.park(many + HAND_OVERS).await;
    let after = room.memory();
    let came = u64::try_from(room.parked - began).expect("not so many");

    let idle = room.idle().await;
    let large = room.hand_over().await;

    let each = |before: u64, after: u64| after.saturating_sub(before) / came;
    eprintln!(
        "{few} and {many} wait for {sessions} sessions, {HAND_OVERS} hand-overs each\n\
         commands of a hand-over: {:.1} and {:.1}; while nothing happens for {STILL:?}: {idle:?}\n\
         memory of a waiter: {} bytes in its broker, {} in Redis\n\
         plain Acquire p50 {:?} p99 {:?}\n\
         hand-over p50 {:?} and {:?} ({:.1} and {:.1} times), p99 {:?} and {:?} ({:.1} and {:.1})",
        count(&small),
        count(&large),
        each(before.0, after.0),
        each(before.1, after.1),
        percentile(&plain, 50),
        percentile(&plain, 99),
        percentile(&small.took, 50),
        percentile(&large.took, 50),
        ratio(&small.took, &plain, 50),
        ratio(&large.took, &plain, 50),
        percentile(&small.took, 99),
        percentile(&large.took, 99),
        ratio(&small.took, &plain, 99),
        ratio(&large.took, &plain, 99),
    );
    assert_eq!(idle, BTreeMap::new(), "parked calls cost commands");
    // One command more or less each, for what is due now and then.
    let most = small.total() + u64::try_from(HAND_OVERS).expect("few");
    assert!(large.total() <= most, "{:?}\n{:?}", small.commands, large.commands);
    room.waiting.abort_all();
}

/// The commands of one hand-over.
fn count(cost: &Cost) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "small numbers, for people")]
    let (total, count) = (cost.total() as f64, HAND_OVERS as f64);
    total / count
}
