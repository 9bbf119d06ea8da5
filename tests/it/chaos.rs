//! Random kills under load: callers wait, work, report, vanish and hang up, while brokers are
//! killed, Redis is stopped and frozen, and wires are cut, slowed and half closed. What callers and
//! a watcher wrote down must be a history in order.
//!
//! `TELEGATE_CHAOS_SECONDS` says for how long; `TELEGATE_SEED` repeats the blows of a run, though
//! not what came of them.

mod blows;
mod callers;
mod watcher;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use telegate::{client::Client, clock::Clock, keys::Role, proto::v1};
use tokio::task::JoinSet;

use self::blows::{Site, Wielded};
use crate::{
    broker::write_keys,
    harness::{
        broker::{add_sessions, connect_as, wire},
        eventually,
        redis::{Keeps, RedisServer},
    },
    history::{Held, faults, line::History},
    model::dice::{Dice, first_seed},
};

/// For how long things break, unless more is asked for.
const SECONDS: u64 = 12;
/// How many callers there are.
const CALLERS: u64 = 32;
/// The kinds of sessions, and how many there are of each.
const KINDS: [&str; 2] = ["a", "b"];
const EACH: usize = 3;
/// How long everything may take to be well again.
const WELL_WITHIN: Duration = Duration::from_secs(90);

/// What a run writes down, and what its callers share.
struct World {
    began: Instant,
    /// The same moment, by the clock of the stores.
    began_ms: u64,
    history: Mutex<History>,
    held: Mutex<Vec<Held>>,
    /// What no blow explains.
    surprises: Mutex<Vec<String>>,
    stopped: AtomicBool,
    names: AtomicU64,
    tally: Tally,
}

/// What happened how often.
#[derive(Debug, Default)]
struct Tally {
    granted: AtomicU64,
    refused: AtomicU64,
    hung_up: AtomicU64,
    cut_off: AtomicU64,
    came_back: AtomicU64,
    looks: AtomicU64,
}

impl World {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            began_ms: Clock::system().now().0,
            history: Mutex::default(),
            held: Mutex::default(),
            surprises: Mutex::default(),
            stopped: AtomicBool::new(false),
            names: AtomicU64::new(0),
            tally: Tally::default(),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// A moment of the store's clock. One of before the run counts as its beginning.
    fn at_ms(&self, ms: u64) -> Duration {
        Duration::from_millis(ms.saturating_sub(self.began_ms))
    }

    fn at(&self, time: Option<&pbjson_types::Timestamp>) -> Duration {
        let time = time.copied().unwrap_or_default();
        let ms = time.seconds * 1000 + i64::from(time.nanos / 1_000_000);
        self.at_ms(u64::try_from(ms).unwrap_or_default())
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn surprise(&self, what: String) {
        self.surprises.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

fn count(what: &AtomicU64) {
    what.fetch_add(1, Ordering::Relaxed);
}

async fn make_pool(client: &Client) {
    let policy = v1::PoolPolicy {
        min_ttl: wire(Duration::from_secs(1)),
        default_ttl: wire(Duration::from_secs(5)),
        max_ttl: wire(Duration::from_secs(10)),
        drain: wire(Duration::from_millis(200)),
        escalation: Some(v1::EscalationPolicy { disabled: true, ..Default::default() }),
        ..v1::PoolPolicy::default()
    };
    let pool = v1::Pool { name: "p".to_owned(), policy: Some(policy), ..v1::Pool::default() };
    let request = v1::CreatePoolRequest { pool: Some(pool), detail: String::new() };
    client.create_pool(request).await.expect("the pool is new");
    for kind in KINDS {
        add_sessions(client, "p", kind, EACH).await;
    }
}

/// Lets callers loose on brokers, breaks things for a while, and sees that the history is in order
/// and that everything becomes well again.
async fn chaos(redis: Option<RedisServer>, brokers: usize) {
    let seconds = crate::model::variable("TELEGATE_CHAOS_SECONDS").unwrap_or(SECONDS);
    let seed = crate::model::variable("TELEGATE_SEED").unwrap_or_else(first_seed);
    eprintln!("chaos for {seconds} s, TELEGATE_SEED={seed}");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let worker: &[Role] = &[Role::Worker, Role::Observer];
    let keys = write_keys(&dir, &[(worker, &["*"]), (worker, &["*"]), (&[Role::Admin], &["*"])]);
    let mut site = Site::open(redis, brokers, dir.path()).await;
    let admin = site.connect(&keys[2]).await;
    make_pool(&admin).await;

    let world = Arc::new(World::new());
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let addresses = site.addresses();
        // One key has more callers than the other.
        let key = &keys[usize::from(number % 4 == 0)];
        let address = addresses[usize::try_from(number).expect("few") % addresses.len()].clone();
        let client = connect_as(&address, Some(key)).await;
        let key = if number % 4 == 0 { "few" } else { "many" };
        callers.spawn(callers::call(Arc::clone(&world), client, key, Dice::new(seed + number)));
    }
    let watching = tokio::spawn(watcher::watch(
        Arc::clone(&world),
        site.straight_addresses(),
        keys[2].clone(),
    ));
    let blows = site.break_things(&world, Duration::from_secs(seconds), Dice::new(seed)).await;
    world.stopped.store(true, Ordering::Relaxed);
    while let Some(ended) = callers.join_next().await {
        ended.expect("a caller does not panic");
    }
    watching.await.expect("the watcher does not panic");
    well_again(&site.connect(&keys[2]).await).await;
    judge(&world, &blows);
}

/// Everything comes back by itself: no session stays lent, nobody stays in line.
async fn well_again(client: &Client) {
    eventually("all sessions are free and nobody waits", WELL_WITHIN, async || {
        let request = v1::GetPoolStatusRequest { pool: "p".to_owned() };
        let status = client.get_pool_status(request).await.ok()?.status?;
        let free = status.counts?.free as usize == EACH * KINDS.len();
        (free && status.waiters == 0).then_some(())
    })
    .await;
}

fn judge(world: &World, blows: &[Wielded]) {
    let history = world.history();
    let mut found = history.faults();
    let held = world.held.lock().unwrap_or_else(PoisonError::into_inner);
    found.extend(faults(&held));
    let told = world.surprises.lock().unwrap_or_else(PoisonError::into_inner);
    found.extend(told.iter().cloned());
    eprintln!("{:?}, {} pairs judged, {} blows", world.tally, history.judged(), blows.len());
    if !found.is_empty() {
        let (count, found) = (found.len(), found.into_iter().take(20).collect::<Vec<_>>());
        let blows: Vec<_> = blows.iter().map(|blow| format!("{blow:?}")).collect();
        panic!("{count} faults\n{}\nblows:\n{}", found.join("\n"), blows.join("\n"));
    }
    assert!(world.tally.granted.load(Ordering::Relaxed) > 50, "hardly anything happened");
    assert!(history.judged() > 0, "no order was judged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_brokers_on_redis_keep_the_line_in_order_whatever_breaks() {
    let Some(redis) = RedisServer::start(Keeps::Everything) else { return };
    chaos(Some(redis), 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_on_the_embedded_store_keeps_the_line_in_order_whatever_breaks() {
    chaos(None, 1).await;
}
