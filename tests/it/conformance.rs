//! The law: a case for every rule, run against every engine, with no exceptions.

/// Runs each case once per engine, on an empty store of its own.
macro_rules! law {
    ($($(#[$meta:meta])* async fn $case:ident($t:ident) $body:block)+) => {$(
        $(#[$meta])*
        mod $case {
            use super::*;
            use $crate::harness::stage::{Engine, Stage};

            async fn play($t: &mut Stage) $body

            #[tokio::test]
            async fn embedded() {
                if let Some(mut stage) = Stage::open(Engine::Embedded).await {
                    play(&mut stage).await;
                }
            }

            #[tokio::test]
            async fn redis() {
                if let Some(mut stage) = Stage::open(Engine::Redis).await {
                    play(&mut stage).await;
                }
            }

            #[tokio::test]
            async fn by_the_rules() {
                if let Some(mut stage) = Stage::open(Engine::Ruled).await {
                    play(&mut stage).await;
                }
            }
        }
    )+};
}

mod accounts;
mod amends;
mod batches;
mod choice;
mod cool_downs;
mod durability;
mod escalation;
mod expiry;
mod flood_wait;
mod grants;
mod invalidation;
mod leases;
mod members;
mod notices;
mod operator;
mod own_trail;
mod pools;
mod refusals;
mod release;
mod renewal;
mod repeats;
mod reports;
mod room;
mod sealing;
mod standing;
mod suspicion;
mod tally;
mod trail;
mod undo;
mod waiting;
mod waits;

use telegate::pool::{EndCause, Ended, LeaseId, LeaseSecret, Refusal, Span, Time};

use crate::harness::stage::{ANN, key, pool_name};

/// One millisecond: the smallest step of the store's clock.
const TICK: Span = Span(1);
/// The default policy's TTL.
const TTL: Span = Span::secs(60);
/// The default policy's drain.
const DRAIN: Span = Span::secs(30);

/// One span after the other.
const fn sum(first: Span, then: Span) -> Span {
    Span(first.0 + then.0)
}

/// The refusal that tells how a lease was lost.
fn lost(lease: &LeaseId, cause: EndCause, epoch: u64, at: Time) -> Refusal {
    let (pool, session) = (lease.pool.clone(), lease.session.clone());
    Refusal::LeaseLost { pool, session, cause, epoch, at, detail: String::new() }
}

/// What is remembered of a lease of Ann's that nobody ended with words.
fn ended(secret: LeaseSecret, epoch: u64, cause: EndCause, at: Time) -> Ended {
    Ended { secret, epoch, cause, at, holder: Some(key(ANN)), detail: String::new() }
}

/// The refusal for another key's lease.
fn not_holder(lease: &LeaseId) -> Refusal {
    Refusal::NotHolder { pool: lease.pool.clone(), session: lease.session.clone() }
}

/// The refusal for a pool that is not there.
fn no_pool(name: &str) -> Refusal {
    Refusal::PoolNotFound { pool: pool_name(name) }
}
