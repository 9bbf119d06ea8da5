//! A crowd: an Acquire for a method that all sessions but one cool down for looks at few of them.
//!
//! `TELEGATE_CROWD=<sessions>` makes the crowd larger.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use telegate::{
    clock::Clock,
    pool::{Ask, Assessment, Escalations, NewSession, Policy, Refusal, SessionName, Span},
    store::{
        Error, Store,
        embedded::{Durability, EmbeddedStore},
        redis::{ClockSource, Options, RedisStore},
    },
};

use crate::harness::{
    mandate,
    redis::{Keeps, RedisServer},
    stage::{ANN, BEGINNING, Want, key, lease_id, name, pool_name, secret, session, want},
    trouble::{flood, of_account, slow_mode},
};

/// How many sessions there are unless the environment says otherwise.
const CROWD: usize = 10_000;
/// How many sessions of an account one error reaches.
const KIN: usize = 1_000;
/// How many calls are under way at once while the crowd gathers.
const AT_ONCE: usize = 500;
/// How often each kind of Acquire is measured.
const TIMES: u32 = 100;
/// How many more commands than a plain one an Acquire with scopes may run inside Redis: twice a
/// few for each doubling of the crowd, and what settling and refusing take.
const COMMANDS_MORE: u64 = 150;

/// The method that all but one cool down for.
const SEARCH: &str = "messages.search";
/// The chat that every second one cools down for.
const CHAT: &str = "chat";

#[tokio::test]
async fn the_embedded_store_finds_the_one_that_is_open() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let clock = Clock::manual(BEGINNING);
    let store = EmbeddedStore::open(&dir.path().join("store"), clock, Durability::Process);
    let store: Arc<dyn Store> = Arc::new(store.expect("the file can be opened"));
    let only = gather(&*store).await;
    let (plain, narrow) = (time(&store, want(), None).await, time_narrow(&store, &only).await);
    eprintln!("{} in the embedded store: {plain:?} plain, {narrow:?} narrow", crowd());
    store.close().await;
}

#[tokio::test]
async fn redis_finds_the_one_that_is_open_with_few_commands() {
    let Some(server) = RedisServer::start(Keeps::Nothing) else { return };
    server.command(&["SET", "telegate:clock", &BEGINNING.0.to_string()]);
    let mut options = Options::new(&server.url());
    options.clock = ClockSource::Key;
    // An error that reaches a thousand sessions takes its time on a busy machine.
    options.reply_within = Duration::from_secs(20);
    let store = RedisStore::connect(options).await.expect("Redis can be reached");
    let store: Arc<dyn Store> = Arc::new(store);
    let only = gather(&*store).await;

    let plain = commands(&server, &store, want()).await;
    let asked = want().calling(SEARCH);
    for asked in [asked.clone(), asked.clone().about(CHAT), want().about(CHAT)] {
        let narrow = commands(&server, &store, asked.clone()).await;
        eprintln!("{} in Redis: {plain} commands plain, {narrow} for {asked:?}", crowd());
        assert!(narrow <= plain + COMMANDS_MORE, "{narrow} commands, and {plain} plain");
    }
    let (plain_time, narrow_time) =
        (time(&store, want(), None).await, time_narrow(&store, &only).await);
    eprintln!("{} in Redis: {plain_time:?} plain, {narrow_time:?} narrow", crowd());

    // When that one is lent, the refusal is found with few commands, too.
    let lease = store.acquire(&pool_name("p"), ask(asked.clone(), 1)).await.expect("it is open");
    let refused = commands(&server, &store, asked.clone()).await;
    eprintln!("{} in Redis: {refused} commands for a refusal", crowd());
    assert!(refused <= plain + COMMANDS_MORE, "{refused} commands, and {plain} plain");
    let refusal = store.explain(&pool_name("p"), ask(asked, 2)).await.unwrap_err();
    let Error::Refused(refusal) = refusal else { panic!("{refusal}") };
    assert!(matches!(*refusal, Refusal::PoolBusy { .. }), "{refusal}");
    let lease = lease_id(&pool_name("p"), &lease);
    store.release(&lease, &key(ANN), Span::ZERO, None).await.expect("it runs");
    store.close().await;
}

fn crowd() -> usize {
    std::env::var("TELEGATE_CROWD").ok().and_then(|n| n.parse().ok()).unwrap_or(CROWD)
}

/// Makes a pool in which all cool down for the method but one in the middle, and every second one
/// for the chat besides.
async fn gather(store: &dyn Store) -> SessionName {
    let (pool, crowd) = (pool_name("p"), crowd());
    let escalation = Escalations { disabled: true, ..Escalations::default() };
    let policy = Policy { escalation, ..Policy::default() };
    store.create_pool(&pool, policy, &mandate()).await.expect("it is new");
    let only = format!("s{:07}", crowd / 2);
    // Each account has a thousand sessions, those of even accounts alternating with the odd ones'.
    let new = |number: usize| -> NewSession {
        let name = format!("s{number:07}");
        let account = number / (2 * KIN) * 2 + number % 2;
        let account = i64::try_from(account).expect("few accounts");
        if name == only { session(&name) } else { of_account(&name, account) }
    };
    let numbers: Vec<usize> = (0..crowd).collect();
    for some in numbers.chunks(AT_ONCE) {
        let added = join_all(some.iter().map(|number| store.add(&pool, new(*number)))).await;
        assert!(added.iter().all(Result::is_ok));
    }
    let close = async |account: usize, error: Assessment| {
        let account = i64::try_from(account).expect("few accounts");
        store.afflict(&pool, account, &key(ANN), &error).await.expect("the pool is there")
    };
    let mut closed = 0;
    for account in 0..=crowd / KIN {
        closed += close(account, flood(SEARCH, 3_000 + account as u64)).await;
        if account % 2 == 0 {
            close(account, slow_mode(CHAT, 3_000)).await;
        }
    }
    assert_eq!(closed as usize, crowd - 1);
    let found = store.explain(&pool, ask(want().calling(SEARCH), 0)).await.expect("one is open");
    assert_eq!(found, name(&only));
    found
}

fn ask(want: Want, number: u64) -> Ask {
    want.ask(|| secret(number))
}

/// How many commands an Acquire runs inside Redis.
async fn commands(server: &RedisServer, store: &Arc<dyn Store>, want: Want) -> u64 {
    let count = || -> u64 {
        let stats = server.command(&["INFO", "commandstats"]);
        let calls = stats.lines().filter(|line| !line.starts_with("cmdstat_info"));
        let calls = calls.filter_map(|line| line.split_once("calls=")?.1.split_once(','));
        calls.filter_map(|(calls, _)| calls.parse::<u64>().ok()).sum()
    };
    let before = count();
    // Whether it is granted or refused.
    let _ = store.explain(&pool_name("p"), ask(want, 0)).await;
    count() - before
}

async fn time_narrow(store: &Arc<dyn Store>, only: &SessionName) -> Duration {
    time(store, want().calling(SEARCH), Some(only)).await
}

/// How long an Acquire and the Release after it take.
async fn time(store: &Arc<dyn Store>, want: Want, wanted: Option<&SessionName>) -> Duration {
    let begun = Instant::now();
    for number in 0..TIMES {
        let asked = ask(want.clone(), u64::from(number) + 10);
        let grant = store.acquire(&pool_name("p"), asked).await.expect("one is open");
        assert!(wanted.is_none_or(|wanted| *wanted == grant.record.name));
        let lease = lease_id(&pool_name("p"), &grant);
        store.release(&lease, &key(ANN), Span::ZERO, None).await.expect("it runs");
    }
    begun.elapsed() / TIMES
}
