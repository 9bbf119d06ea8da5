//! The model: long random histories, played into the bare rulebook and into an engine, which must
//! answer alike to the last field.
//!
//! A difference prints its seed; `TELEGATE_SEED=<seed>` plays that history alone, and
//! `TELEGATE_STEPS=<steps>` makes every history that long.

mod deeds;
pub(crate) mod dice;
mod imagination;
mod mishaps;
mod queue;
mod turns;

use std::{
    collections::VecDeque,
    fmt::{Debug, Write as _},
    str::FromStr,
    time::Duration,
};

use futures_util::future::join_all;
use telegate::{
    pool::Ticket,
    store::{Notice, Notices},
};

use self::{
    deeds::{Deed, play, views},
    dice::Dice,
    imagination::Imagination,
};
use crate::harness::stage::{Engine, Stage};

/// How many deeds a history has.
const STEPS: u64 = 2_500;
/// How many histories may be played until every outcome was met.
const MOST_HISTORIES: u64 = 200;
/// After how many deeds everything that can be seen is compared.
const VIEWS_EVERY: u64 = 50;
/// How many deeds a difference shows.
const SHOWN: usize = 30;
/// How soon an engine tells whom it handed something.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// How often that is looked at.
const TOLD_EVERY: Duration = Duration::from_millis(1);
/// How many histories are under way at once: the engine is then never idle.
const AT_ONCE: u64 = 8;

#[tokio::test]
async fn embedded_answers_like_the_rulebook() {
    histories(Engine::Embedded, 60).await;
}

#[tokio::test]
async fn redis_answers_like_the_rulebook() {
    histories(Engine::Redis, 20).await;
}

#[tokio::test]
async fn a_redis_without_the_short_way_answers_like_the_rulebook() {
    histories(Engine::Ruled, 20).await;
}

#[tokio::test]
async fn a_history_is_the_same_each_time_its_seed_is_played() {
    let mut told = Vec::new();
    for _ in 0..2 {
        let mut stage = Stage::open(Engine::Rulebook).await.expect("the rulebook needs nothing");
        let mut told_by = Told::by(&stage);
        let mut imagination = Imagination::new(Dice::new(7));
        let mut deeds = String::new();
        for _ in 0..500 {
            let deed = imagination.next(stage.now());
            let outcome = play(&mut stage, &deed).await;
            let handed = told_by.already();
            imagination.remember(&deed, &outcome, &handed);
            writeln!(deeds, "{deed:?} -> {outcome:?}, {handed:?}").expect("text takes more text");
        }
        told.push(deeds);
    }
    assert_eq!(told[0], told[1]);
}

#[tokio::test]
async fn the_histories_meet_every_outcome() {
    let mut wanted = vec![
        "PoolExists",
        "PoolNotFound",
        "PolicyUnfit",
        "PoolNotEmpty",
        "PoolEmpty",
        "PoolPaused",
        "Granted(Err(PoolDraining",
        "Renewed(Err(PoolDraining",
        "cause: Lease }",
        // Only where more is due than one call settles.
        "after: 0ms, cause: Lease }",
        "cause: Rest }",
        "PoolDepleted",
        "NoMatchingSession",
        "Granted(Err(SessionNotFound",
        "SessionExists",
        "CredentialExists",
        "RequestIdReused",
        "Renewed(Err(LeaseNotFound",
        "Released(Err(LeaseNotFound",
        "Session(Err(LeaseNotFound",
        "Renewed(Err(NotHolder",
        "Released(Err(NotHolder",
        "Session(Err(NotHolder",
        "cause: Released",
        "cause: Undone",
        "cause: Surrendered",
        "cause: Expired",
        "cause: Invalidated",
        "cause: Superseded",
        "cause: Revoked",
        "state: Ready, wanted",
        "state: Leased, wanted",
        "state: Resting, wanted",
        "replayed: true",
        "deliveries: 3",
        "Undone(Ok(true))",
        "Undone(Ok(false))",
        "Removed(Ok(()))",
        "Abandoned([Ok(true)",
        "Abandoned([Ok(false)",
        "Abandoned([Err(LeaseLost",
        "Abandoned([Err(NotHolder",
        "Kept([Ok(Lease",
        "Resealed(Ok(true))",
        "Resealed(Ok(false))",
        "Released(Ok((Released, None)))",
        "Released(Ok((AlreadyEnded, None)))",
        "Released(Ok((AlreadyEnded, Some(",
        "Released(Ok((Released, Some(",
        "Enqueued(Ok(Granted",
        "Enqueued(Ok(Waiting(Place { position: 1,",
        "Enqueued(Ok(Waiting(Place { position: 2, waiters: 3,",
        "Enqueued(Err(WaitQueueFull",
        "Enqueued(Err(RequestIdReused",
        "Enqueued(Err(PoolBusy",
        "Enqueued(Err(PoolPaused",
        "Tended(Ok(None))",
        "Tended(Ok(Some(",
        "Waiters(Ok([WaiterView",
        "position: 2, holder",
        "handed: 1",
        "handed: 2",
        "handed: 64",
        "Granted(Err(PoolFloodWait",
        "Explained(Err(PoolFloodWait",
        "Explained(Ok(",
        "Reported(Err(LeaseLost",
        "Reported(Err(NotHolder",
        "Reported(Err(LeaseNotFound",
        "state: FloodWait, at",
        "state: Suspect, at",
        "state: FloodWait, wanted",
        "escalations: [E1",
        "escalations: [E2",
        "escalations: [E3",
        "escalations: [E4",
        "escalations: [E5",
        "breach: Some([Holder",
        "reason: KeyUnregistered",
        "Afflicted(Ok(2",
        "Cleared(Ok(None))",
        "Cleared(Ok(Some(",
    ];
    for seed in 0..MOST_HISTORIES {
        let met = outcomes_of(seed).await;
        wanted.retain(|outcome| !met.contains(*outcome));
        if wanted.is_empty() {
            return;
        }
    }
    panic!("no history came to {wanted:?}");
}

/// All outcomes of a history, as text.
async fn outcomes_of(seed: u64) -> String {
    let mut met = String::new();
    let mut stage = Stage::open(Engine::Rulebook).await.expect("the rulebook needs nothing");
    let mut told_by = Told::by(&stage);
    let mut imagination = Imagination::new(Dice::new(seed));
    for _ in 0..STEPS {
        let deed = imagination.next(stage.now());
        let outcome = play(&mut stage, &deed).await;
        let handed = told_by.already();
        imagination.remember(&deed, &outcome, &handed);
        writeln!(met, "{outcome:?}, handed: {}", handed.len()).expect("text takes more text");
    }
    met
}

/// Plays many histories, some at once.
async fn histories(engine: Engine, count: u64) {
    let steps = variable("TELEGATE_STEPS").unwrap_or(STEPS);
    if let Some(seed) = variable("TELEGATE_SEED") {
        history(engine, seed, steps).await;
        return;
    }
    let first = dice::first_seed();
    eprintln!("{engine:?}: histories {first} to {}, {steps} steps each", first + count - 1);
    let seeds: Vec<_> = (first..first + count).collect();
    for some in seeds.chunks(usize::try_from(AT_ONCE).unwrap_or(1)) {
        join_all(some.iter().map(|seed| history(engine, *seed, steps))).await;
    }
}

/// Plays one history and compares every answer.
async fn history(engine: Engine, seed: u64, steps: u64) {
    let Some(mut real) = Stage::open(engine).await else { return };
    let mut book = Stage::open(Engine::Rulebook).await.expect("the rulebook needs nothing");
    let mut imagination = Imagination::new(Dice::new(seed));
    let mut shown = VecDeque::new();
    let (mut by_book, mut by_real) = (Told::by(&book), Told::by(&real));
    for step in 0..steps {
        let deed = imagination.next(book.now());
        let expected = play(&mut book, &deed).await;
        let answered = play(&mut real, &deed).await;
        let handed = by_book.already();
        shown.push_back(format!("{step}: {deed:?} -> {expected:?}, handed {handed:?}"));
        if shown.len() > SHOWN {
            shown.pop_front();
        }
        alike(engine, seed, &shown, &expected, &answered);
        let told = by_real.so_many(handed.len()).await;
        alike(engine, seed, &shown, &handed, &told);
        if matches!(deed, Deed::Reopen(_)) {
            by_real = Told::by(&real);
        }
        imagination.remember(&deed, &expected, &handed);
        if step % VIEWS_EVERY == VIEWS_EVERY - 1 || step == steps - 1 {
            for (expected, answered) in views(&book).await.iter().zip(&views(&real).await) {
                alike(engine, seed, &shown, expected, answered);
            }
        }
    }
}

fn alike<T: PartialEq + Debug>(
    engine: Engine,
    seed: u64,
    shown: &VecDeque<String>,
    expected: &T,
    answered: &T,
) {
    if expected != answered {
        let deeds = shown.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        panic!(
            "{engine:?} differs, TELEGATE_SEED={seed}\n{deeds}\n\
             rulebook: {expected:?}\n{engine:?}: {answered:?}"
        );
    }
}

/// Whom a store has told that a session was handed to it.
struct Told(Notices);

impl Told {
    /// From now on.
    fn by(stage: &Stage) -> Self {
        Self(stage.store.notices())
    }

    /// Those that were told and not asked for yet.
    fn already(&mut self) -> Vec<Ticket> {
        let mut told = Vec::new();
        while let Some(notice) = self.0.try_next() {
            if let Notice::Handed(ticket) = notice {
                told.push(ticket);
            }
        }
        told
    }

    /// As those before, once they are so many, or when no more come.
    async fn so_many(&mut self, count: usize) -> Vec<Ticket> {
        let mut told = self.already();
        let enough = tokio::time::timeout(TOLD_WITHIN, async {
            while told.len() < count {
                tokio::time::sleep(TOLD_EVERY).await;
                told.extend(self.already());
            }
        });
        let _ = enough.await;
        told
    }
}

pub(crate) fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
