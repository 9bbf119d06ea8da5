//! What Redis alone can do to the broker: forget scripts, cut connections, hang, go away, come
//! back, be the wrong one. What a retry can hide reaches no caller, and nothing is lent twice.

mod gathered;
mod lost;
mod notices;
mod proxy;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use telegate::{
    pool::{
        Fingerprint, Grant, LeaseId, LeaseSecret, NewSession, Policy, Refusal, ReleaseOutcome,
        SessionName, SessionState, Span,
    },
    store::{
        Error, Health, Result, Store,
        redis::{Options, RedisStore},
    },
};

use crate::harness::{
    eventually, mandate,
    redis::{Keeps, RedisServer},
    stage::{ANN, POOL, key, lease_id, name, pool_name, secret, session, want},
    trouble::{flood, whole},
};

/// In what time a caller has its answer, whatever happens to Redis.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// In what time the broker finds its way back.
const RECOVERS_WITHIN: Duration = Duration::from_secs(10);

/// A store on a Redis of the test's own, by the server's clock.
struct Broker {
    server: RedisServer,
    store: Arc<RedisStore>,
    secrets: AtomicU64,
}

impl Broker {
    /// With one pool of some sessions. `None` when the machine has no Redis.
    async fn start(keeps: Keeps, sessions: &[&str]) -> Option<Self> {
        let server = RedisServer::start(keeps)?;
        let store = RedisStore::connect(Options::new(&server.url())).await.expect("it will do");
        let broker = Self { server, store: Arc::new(store), secrets: AtomicU64::new(1) };
        let policy = Policy { drain: Span::ZERO, ..Policy::default() };
        broker
            .store
            .create_pool(&pool_name(POOL), policy, &mandate())
            .await
            .expect("the pool is new");
        for name in sessions {
            let added = broker.store.add(&pool_name(POOL), session(name)).await;
            added.expect("the session is new");
        }
        Some(broker)
    }

    fn fresh_secret(&self) -> LeaseSecret {
        secret(self.secrets.fetch_add(1, Ordering::Relaxed))
    }

    async fn acquire(&self) -> Result<Grant> {
        let ask = want().ask(|| self.fresh_secret());
        self.store.acquire(&pool_name(POOL), ask).await
    }

    async fn lend(&self) -> LeaseId {
        lease_id(&pool_name(POOL), &self.acquire().await.expect("a session is free"))
    }

    async fn release(&self, lease: &LeaseId) -> Result<ReleaseOutcome> {
        let released = self.store.release(lease, &key(ANN), Span::ZERO, None).await;
        released.map(|(outcome, _)| outcome)
    }

    async fn all_are_free(&self) {
        eventually("all sessions are free", RECOVERS_WITHIN, async || {
            let counts = self.store.status(&pool_name(POOL)).await.ok()?.counts;
            (counts.free == counts.total).then_some(())
        })
        .await;
    }

    async fn health_is(&self, wanted: Health) {
        let health = self.store.health();
        eventually("the health has changed", RECOVERS_WITHIN, async || {
            (*health.borrow() == wanted).then_some(())
        })
        .await;
    }

    /// How often a command was done, in the server's own count.
    fn count_of(&self, command: &str) -> u64 {
        let stats = self.server.command(&["INFO", "commandstats"]);
        let line = format!("cmdstat_{command}:calls=");
        let calls = stats.lines().find_map(|stat| stat.strip_prefix(&line)?.split(',').next());
        calls.map_or(0, |calls| calls.parse().expect("a number"))
    }
}

/// Does something, and sees that it does not take long.
async fn soon<T>(deed: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = deed.await;
    assert!(began.elapsed() < ANSWERS_WITHIN, "it took {:?}", began.elapsed());
    done
}

fn is_busy(error: &Error) -> bool {
    matches!(error, Error::Refused(refusal) if matches!(**refusal, Refusal::PoolBusy { .. }))
}

#[tokio::test]
async fn acquire_and_release_are_one_round_trip_each_and_send_nothing_else() {
    let Some(broker) = Broker::start(Keeps::Nothing, &["a", "b"]).await else { return };
    broker.server.command(&["CONFIG", "RESETSTAT"]);
    let lease = broker.lend().await;
    assert_eq!(broker.count_of("evalsha"), 1);
    broker.release(&lease).await.unwrap();
    assert_eq!(broker.count_of("evalsha"), 2);
    let others = ["hello", "client|setinfo", "script|load", "ping", "select", "eval"];
    assert_eq!(others.map(|command| broker.count_of(command)), [0; 6]);
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let Some(broker) = Broker::start(Keeps::Nothing, &["a"]).await else { return };
    let lease = broker.lend().await;
    broker.server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(broker.release(&lease).await.unwrap(), ReleaseOutcome::Released);
    broker.server.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(broker.acquire().await.unwrap().lease.deliveries, 1);
}

/// What the workers of a load know of each other.
#[derive(Default)]
struct Ledger {
    grants: AtomicU64,
    held: Mutex<HashMap<SessionName, bool>>,
    epochs: Mutex<HashMap<SessionName, u64>>,
}

async fn work(broker: &Broker, ledger: &Ledger, rounds: usize) {
    for _ in 0..rounds {
        let grant = loop {
            match broker.acquire().await {
                Ok(grant) => break grant,
                Err(busy) if is_busy(&busy) => tokio::task::yield_now().await,
                Err(error) => panic!("an error reached a caller: {error}"),
            }
        };
        let (name, epoch) = (grant.record.name.clone(), grant.lease.epoch);
        let before = ledger.held.lock().unwrap().insert(name.clone(), true);
        assert_ne!(before, Some(true), "{name} was lent twice");
        let before = ledger.epochs.lock().unwrap().insert(name.clone(), epoch);
        assert!(before < Some(epoch), "the epoch of {name} went from {before:?} to {epoch}");
        ledger.grants.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        ledger.held.lock().unwrap().insert(name, false);
        let released = broker.release(&lease_id(&pool_name(POOL), &grant)).await;
        assert_eq!(released.expect("no error reaches a caller"), ReleaseOutcome::Released);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_and_forgotten_scripts_reach_no_caller_and_lend_nothing_twice() {
    let Some(broker) = Broker::start(Keeps::Nothing, &["a", "b", "c", "d"]).await else { return };
    let ledger = Ledger::default();
    let load = async {
        join_all((0..12).map(|_| work(&broker, &ledger, 100))).await;
    };
    let harm = async {
        for (round, deed) in (1..=40).zip(
            [&["CLIENT", "KILL", "TYPE", "normal"][..], &["SCRIPT", "FLUSH"]].into_iter().cycle(),
        ) {
            eventually("the load goes on", RECOVERS_WITHIN, async || {
                (ledger.grants.load(Ordering::Relaxed) >= round * 25).then_some(())
            })
            .await;
            broker.server.command(deed);
        }
    };
    tokio::join!(load, harm);
    broker.all_are_free().await;
}

#[tokio::test]
async fn a_stopped_redis_is_told_at_once_and_found_again_without_a_restart() {
    let Some(mut broker) = Broker::start(Keeps::Everything, &["a", "b"]).await else { return };
    let lease = broker.lend().await;
    broker.server.stop();
    for _ in 0..3 {
        let refused = soon(broker.acquire()).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    }
    broker.health_is(Health::Down).await;
    assert!(broker.server.start_again());
    broker.health_is(Health::Up).await;
    assert_eq!(broker.release(&lease).await.unwrap(), ReleaseOutcome::Released);
    broker.lend().await;
}

#[tokio::test]
async fn a_redis_that_hangs_is_told_in_time_and_costs_no_session() {
    let Some(broker) = Broker::start(Keeps::Nothing, &["a", "b", "c"]).await else { return };
    broker.server.command(&["CLIENT", "PAUSE", "2500", "ALL"]);
    let refused = join_all((0..3).map(|_| soon(broker.acquire()))).await;
    assert!(refused.iter().all(|said| matches!(said, Err(Error::Unavailable(_)))), "{refused:?}");
    broker.health_is(Health::Up).await;
    broker.all_are_free().await;
}

#[tokio::test]
async fn a_redis_that_became_a_replica_is_recovering_until_it_is_a_master_again() {
    let Some(broker) = Broker::start(Keeps::Nothing, &["a"]).await else { return };
    broker.server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let refused = soon(broker.acquire()).await;
    assert!(matches!(refused, Err(Error::Recovering(_))), "{refused:?}");
    broker.server.command(&["REPLICAOF", "NO", "ONE"]);
    broker.health_is(Health::Up).await;
    broker.lend().await;
}

#[tokio::test]
async fn a_redis_without_memory_takes_sessions_back_and_no_new_ones() {
    let Some(broker) = Broker::start(Keeps::Nothing, &["a"]).await else { return };
    let lease = broker.lend().await;
    broker.server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = broker.store.add(&pool_name(POOL), session("b")).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    let (ann, rest) = (key(ANN), Span::ZERO);
    let noted = broker.store.report(&lease, &ann, &flood("messages.search", 30)).await.unwrap();
    assert_eq!(noted.state, SessionState::Leased);
    let ended = broker.store.release(&lease, &ann, rest, Some(&whole(60))).await.unwrap();
    assert_eq!(ended.0, ReleaseOutcome::Released);
    let seen = broker.store.get_session(&pool_name(POOL), &name("a")).await.unwrap();
    assert_eq!(seen.standing.cool_downs.len(), 2);
    assert_eq!(seen.standing.state(seen.at), SessionState::FloodWait);
    broker.server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    broker.store.add(&pool_name(POOL), session("b")).await.unwrap();
}

#[tokio::test]
async fn a_redis_that_would_forget_leases_is_refused_with_what_to_do() {
    let Some(server) = RedisServer::start(Keeps::Nothing) else { return };
    server.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let refused = RedisStore::connect(Options::new(&server.url())).await.map(|_| ());
    let Err(Error::Broken(said)) = refused else { panic!("{refused:?}") };
    assert!(said.contains("CONFIG SET maxmemory-policy noeviction"), "{said}");
}

#[tokio::test]
async fn a_redis_is_entered_by_password_user_and_database() {
    let Some(server) = RedisServer::start(Keeps::Nothing) else { return };
    server.command(&["ACL", "SETUSER", "ann", "on", ">s3cr3t", "~tg:*", "&tg:*", "+@all"]);
    server.command(&["ACL", "SETUSER", "default", "off"]);
    let mut options = Options::new(&format!("{}/3", server.url()));
    options.prefix = "tg".to_owned();
    for (user, password) in [(None, None), (Some("ann"), Some("wrong-s3cr3t"))] {
        options.user = user.map(str::to_owned);
        options.password = password.map(str::to_owned);
        let refused = RedisStore::connect(options.clone()).await.map(|_| ());
        let Err(Error::Broken(said)) = refused else { panic!("{refused:?}") };
        assert!(said.contains("check user") && !said.contains("s3cr3t"), "{said}");
    }
    options.password = Some("s3cr3t".to_owned());
    let store = RedisStore::connect(options).await.expect("the password is right");
    store.create_pool(&pool_name(POOL), Policy::default(), &mandate()).await.unwrap();
    store.add(&pool_name(POOL), session("a")).await.unwrap();
    assert_eq!(store.list_pools(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_redis_that_is_not_there_or_not_named_right_is_told_apart() {
    let gone = Options::new("redis://127.0.0.1:1");
    let refused = soon(RedisStore::connect(gone)).await.map(|_| ());
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    let wrong = Options::new("http://127.0.0.1:6379");
    let refused = RedisStore::connect(wrong).await.map(|_| ());
    assert!(matches!(refused, Err(Error::Broken(_))), "{refused:?}");
}

fn with_credential(name: &str, fingerprint: &str) -> NewSession {
    NewSession { fingerprint: Fingerprint::new(fingerprint), ..session(name) }
}

#[tokio::test]
async fn a_claim_whose_broker_died_before_it_added_the_session_is_taken_over_when_it_is_old() {
    let Some(broker) = Broker::start(Keeps::Nothing, &["a"]).await else { return };
    let (fingerprints, pool) = ("telegate:fingerprints", pool_name(POOL));
    broker.server.command(&["HSET", fingerprints, "f1", "p/gone/claim/1"]);
    broker.store.add(&pool, with_credential("b", "f1")).await.unwrap();
    // A claim that is young may belong to a session that is about to be added.
    broker.server.command(&["HSET", fingerprints, "f2", "p/coming/claim/99999999999999"]);
    let refused = broker.store.add(&pool, with_credential("c", "f2")).await.unwrap_err();
    assert!(refused.to_string().contains("f2 is session coming"), "{refused}");
    broker.store.add(&pool, with_credential("coming", "f2")).await.unwrap();
    // A claim whose session has the credential is good at any age.
    broker.server.command(&["HSET", fingerprints, "fp-a", "p/a/claim/1"]);
    let refused = broker.store.add(&pool, with_credential("d", "fp-a")).await.unwrap_err();
    assert!(refused.to_string().contains("fp-a is session a"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_many_add_and_remove_at_once_is_in_one_session_at_most() {
    let Some(broker) = Broker::start(Keeps::Nothing, &[]).await else { return };
    let pools = [POOL, "q"].map(pool_name);
    broker.store.create_pool(&pools[1], Policy::default(), &mandate()).await.unwrap();
    let fight = async |worker: usize| {
        for round in 0..60 {
            let pool = &pools[worker % 2];
            let adds = ["a", "b"][(worker + round) % 2];
            match broker.store.add(pool, with_credential(adds, "f")).await {
                Ok(_) | Err(Error::Refused(_)) => {}
                Err(error) => panic!("an error reached a caller: {error}"),
            }
            let mut holders = 0;
            for pool in &pools {
                holders += broker.store.list_sessions(pool, None, 10).await.unwrap().len();
            }
            assert!(holders <= 2, "the credential is in {holders} sessions");
            if (worker + round).is_multiple_of(3) {
                let _ = broker.store.remove(pool, &name(adds), &mandate()).await;
            }
        }
    };
    let cuts = async {
        for _ in 0..10 {
            broker.server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
            broker.store.status(&pools[0]).await.unwrap();
        }
    };
    tokio::join!(join_all((0..6).map(fight)), cuts);
    let mut holders = Vec::new();
    for pool in &pools {
        holders.extend(broker.store.list_sessions(pool, None, 10).await.unwrap());
    }
    assert!(holders.len() <= 1, "{holders:?}");
    if let Some(holder) = holders.first() {
        let elsewhere = broker.store.add(&pools[0], with_credential("c", "f")).await.unwrap_err();
        assert!(elsewhere.to_string().contains(holder.record.name.as_str()), "{elsewhere}");
    }
}

/// A broker on a Redis that comes back from a snapshot without what was done since.
async fn with_a_lost_moment(lost: impl AsyncFnOnce(&Broker, LeaseId)) -> Option<Broker> {
    let mut broker = Broker::start(Keeps::Nothing, &["a", "b"]).await?;
    let policy = Policy {
        min_ttl: Span::secs(1),
        default_ttl: Span::secs(1),
        max_ttl: Span::secs(4),
        drain: Span::secs(2),
        ..Policy::default()
    };
    let brief = pool_name("brief");
    broker.store.create_pool(&brief, policy, &mandate()).await.expect("the pool is new");
    broker.store.add(&brief, session("c")).await.expect("the session is new");
    let lease = broker.lend().await;
    broker.server.command(&["SAVE"]);
    lost(&broker, lease).await;
    broker.server.stop();
    assert!(broker.server.start_again());
    eventually("the store answers again", RECOVERS_WITHIN, async || {
        broker.store.status(&pool_name(POOL)).await.ok()
    })
    .await;
    Some(broker)
}

#[tokio::test]
async fn a_redis_that_lost_a_grant_grants_nothing_until_the_lost_lease_is_over_and_drained() {
    let brief = || pool_name("brief");
    let lost = async |broker: &Broker, _| {
        let ask = want().ask(|| secret(99));
        broker.store.acquire(&brief(), ask).await.expect("it is free");
    };
    let Some(broker) = with_a_lost_moment(lost).await else { return };
    let back = Instant::now();
    let acquire = async || broker.store.acquire(&brief(), want().ask(|| secret(100))).await;
    let refused = acquire().await;
    assert!(matches!(refused, Err(Error::Recovering(_))), "{refused:?}");
    // The other pool has lost nothing.
    broker.lend().await;
    eventually("the pool grants again", RECOVERS_WITHIN, async || acquire().await.ok()).await;
    // The longest TTL and the drain, less what passed before the broker was back.
    assert!(back.elapsed() >= Duration::from_secs(4), "after {:?}", back.elapsed());
}

#[tokio::test]
async fn a_redis_that_lost_a_renewal_grants_nothing_either() {
    let lost = async |broker: &Broker, lease| {
        let renewed = broker.store.renew(&lease, &key(ANN), Some(Span::secs(300))).await;
        assert_eq!(renewed.expect("it lives").ttl, Span::secs(300));
    };
    let Some(broker) = with_a_lost_moment(lost).await else { return };
    let refused = broker.acquire().await;
    assert!(matches!(refused, Err(Error::Recovering(_))), "{refused:?}");
}

#[tokio::test]
async fn a_redis_that_lost_only_a_release_goes_on() {
    let lost = async |broker: &Broker, lease| {
        broker.release(&lease).await.expect("it lives");
    };
    let Some(broker) = with_a_lost_moment(lost).await else { return };
    broker.lend().await;
    assert!(broker.acquire().await.is_err_and(|error| is_busy(&error)));
}

#[tokio::test]
async fn a_session_that_was_removed_is_not_taken_for_lost() {
    let Some(mut broker) = Broker::start(Keeps::Everything, &["a", "b"]).await else { return };
    let lease = broker.lend().await;
    broker.release(&lease).await.expect("it lives");
    broker
        .store
        .remove(&pool_name(POOL), &lease.session, &mandate())
        .await
        .expect("nobody holds it");
    broker.server.stop();
    assert!(broker.server.start_again());
    eventually("the store answers again", RECOVERS_WITHIN, async || {
        broker.store.status(&pool_name(POOL)).await.ok()
    })
    .await;
    broker.lend().await;
}

/// Makes and fills the pool that Redis has forgotten.
async fn made_again(broker: &Broker) {
    let pool = pool_name(POOL);
    let policy = Policy { min_ttl: Span::secs(1), max_ttl: Span::secs(60), ..Policy::default() };
    broker.store.create_pool(&pool, policy, &mandate()).await.expect("it is gone");
    broker.store.add(&pool, session("a")).await.expect("it is gone");
}

#[tokio::test]
async fn a_pool_that_redis_forgot_and_that_is_made_again_grants_nothing_until_its_leases_are_over()
{
    let Some(mut broker) = Broker::start(Keeps::Everything, &["a"]).await else { return };
    broker.lend().await;
    broker.server.command(&["FLUSHALL"]);
    made_again(&broker).await;
    let refused = broker.acquire().await;
    assert!(matches!(refused, Err(Error::Recovering(_))), "{refused:?}");

    broker.server.command(&["FLUSHALL"]);
    broker.server.stop();
    assert!(broker.server.start_again());
    eventually("the store answers again", RECOVERS_WITHIN, async || {
        broker.store.list_pools(None, 1).await.ok()
    })
    .await;
    made_again(&broker).await;
    let refused = broker.acquire().await;
    assert!(matches!(refused, Err(Error::Recovering(_))), "{refused:?}");
}
