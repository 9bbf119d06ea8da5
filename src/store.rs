//! Where pools are kept: one trait, one method per verb, and two engines under one law.
//!
//! An engine runs the rules of [`crate::pool`] atomically, one verb at a time per pool, by its own
//! clock, and answers only when what it answers is durable. What the rules refuse comes back as
//! [`Error::Refused`]; everything else in [`Error`] is a broken world.

mod batch;
pub mod embedded;
mod notice;
pub mod redis;
pub mod sealed;

use std::collections::BTreeMap;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::watch;

use self::sealed::StoreKeyId;
use crate::pool::{
    Ask, Assessment, Departure, Effect, Enqueued, Event, Grant, Invalidation, KeyId, Lease,
    LeaseId, LeaseMark, Lent, Mandate, Mark, NewSession, Patience, Policy, PolicyChange, PoolMode,
    PoolName, PoolStatus, PoolView, Refusal, ReleaseOutcome, Revocation, Revoked, Secrets,
    SessionChange, SessionName, SessionView, Span, WaiterView, verdict::Scope,
};

pub use self::{
    batch::BATCH,
    notice::{Crier, Notice, Notices},
};

/// What every verb answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a verb has no answer.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// The rules say no.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The store cannot be reached, or did not answer in time. Nothing was granted to this call.
    /// Passes by itself.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    /// The store is back and does not grant yet. Passes by itself.
    #[error("the store is recovering: {0}")]
    Recovering(String),
    /// The store holds or answers what it must not. Needs a person.
    #[error("the store is broken: {0}")]
    Broken(String),
    /// There is no store key to seal a credential with, and it is not kept in plain text. Needs a
    /// person.
    #[error("there is no store key to seal credentials with")]
    NoKey,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl Error {
    /// Whether the same call can succeed later without anybody's help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Recovering(_))
    }
}

/// Whether a store can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It has not answered yet, or has stopped answering.
    Down,
    /// It serves.
    Up,
}

/// What came of sealing some sessions anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// How many were sealed anew.
    pub resealed: u32,
    /// How many were sealed with the first store key already.
    pub unchanged: u32,
    /// Those that stay as they are, and why.
    pub left: Vec<(SessionName, String)>,
    /// How many of the sessions need each store key now.
    pub needed: BTreeMap<StoreKeyId, u32>,
    /// The store keys that there are; the first seals.
    pub held: Vec<StoreKeyId>,
    /// Where to go on: after this name. None at the end.
    pub next: Option<SessionName>,
}

/// A place where pools are kept. Each verb is atomic, and durable when it answers.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes an empty pool. Refuses: `PoolExists`.
    async fn create_pool(&self, pool: &PoolName, policy: Policy, on: &Mandate) -> Result<PoolView>;

    /// Reads a pool and how it stands. Refuses: `PoolNotFound`.
    async fn get_pool(&self, pool: &PoolName) -> Result<PoolView>;

    /// Reads up to `most` pools by name, from the first after a name.
    async fn list_pools(&self, after: Option<&PoolName>, most: usize) -> Result<Vec<PoolView>>;

    /// Changes a pool's policy; what runs keeps what it was given. Idempotent. Refuses:
    /// `PoolNotFound`, `PolicyUnfit`.
    async fn update_pool(
        &self,
        pool: &PoolName,
        change: PolicyChange,
        on: &Mandate,
    ) -> Result<PoolView>;

    /// Deletes a pool without sessions. A pool that is made under its name begins with its past
    /// epoch, and goes on with its trail. Refuses: `PoolNotFound`, `PoolNotEmpty`.
    async fn delete_pool(&self, pool: &PoolName, on: &Mandate) -> Result<()>;

    /// Pauses, drains or resumes a pool. Idempotent. Refuses: `PoolNotFound`.
    async fn set_mode(&self, pool: &PoolName, mode: PoolMode, on: &Mandate) -> Result<PoolView>;

    /// Counts a pool's sessions by state. Refuses: `PoolNotFound`.
    async fn status(&self, pool: &PoolName) -> Result<PoolStatus>;

    /// Adds a session. Refuses: `PoolNotFound`, `SessionExists`, `CredentialExists`.
    async fn add(&self, pool: &PoolName, session: NewSession) -> Result<SessionView>;

    /// Changes what is known of a session, however it stands. Refuses: `PoolNotFound`,
    /// `SessionNotFound`, `TooManyLabels`.
    async fn update_session(
        &self,
        pool: &PoolName,
        session: &SessionName,
        change: SessionChange,
        on: &Mandate,
    ) -> Result<SessionView>;

    /// Removes a session; the pool's trail tells why, if that is said. Refuses: `PoolNotFound`,
    /// `SessionNotFound`, `InappropriateState`.
    async fn remove(&self, pool: &PoolName, session: &SessionName, on: &Mandate) -> Result<()>;

    /// Reads a session. Refuses: `PoolNotFound`, `SessionNotFound`.
    async fn get_session(&self, pool: &PoolName, session: &SessionName) -> Result<SessionView>;

    /// Reads up to `most` sessions by name, from the first after a name. Refuses: `PoolNotFound`.
    async fn list_sessions(
        &self,
        pool: &PoolName,
        after: Option<&SessionName>,
        most: usize,
    ) -> Result<Vec<SessionView>>;

    /// Replaces the secret parts of a session if they are still those that were `read`, and tells
    /// whether they are the `new` ones now. Idempotent. Refuses: `PoolNotFound`,
    /// `SessionNotFound`.
    async fn reseal(
        &self,
        pool: &PoolName,
        session: &SessionName,
        read: &Secrets,
        new: Secrets,
    ) -> Result<bool>;

    /// Seals up to `most` sessions with the first store key, by name, from the first after a name.
    /// Idempotent. Only [`sealed`] can; others have no key. Refuses: `PoolNotFound`.
    async fn reseal_sessions(
        &self,
        _pool: &PoolName,
        _after: Option<&SessionName>,
        _most: usize,
    ) -> Result<Resealed> {
        Err(Error::NoKey)
    }

    /// Leases the least recently used session that matches. Refuses as
    /// [`crate::pool::Pool::acquire`].
    async fn acquire(&self, pool: &PoolName, ask: Ask) -> Result<Grant>;

    /// Acquires, and takes a place in the line when that is refused and waiting can help. Repeated
    /// with the same secret it keeps its place, or collects what was handed over. Refuses as
    /// [`Store::acquire`], and `WaitQueueFull`.
    async fn enqueue(&self, pool: &PoolName, ask: Ask, patience: Patience) -> Result<Enqueued>;

    /// Takes a waiter whose caller has gone out of the line, or keeps its place for a while. What
    /// it was handed meanwhile is taken back. Idempotent.
    async fn leave(&self, pool: &PoolName, departure: &Departure) -> Result<()>;

    /// Does what is due in a pool and serves its line. Tells in how long the next thing is due;
    /// nothing when nobody waits. Refuses: `PoolNotFound`.
    async fn tend(&self, pool: &PoolName) -> Result<Option<Span>>;

    /// Reads up to `most` waiters in order of arrival, from the first after a number. Refuses:
    /// `PoolNotFound`.
    async fn list_waiters(
        &self,
        pool: &PoolName,
        after: u64,
        most: usize,
    ) -> Result<Vec<WaiterView>>;

    /// Takes back a grant whose `delivery` failed, unless it was the second or there was a second:
    /// its caller may have the other. Tells whether it did.
    async fn undo(&self, lease: &LeaseId, delivery: u32) -> Result<bool>;

    /// Extends a lease. Refuses: `LeaseLost`, `LeaseNotFound`, `NotHolder`, `PoolDraining`.
    async fn renew(&self, lease: &LeaseId, key: &KeyId, ttl: Option<Span>) -> Result<Lease>;

    /// Gives a session back, after taking note of the error that ended the work, if one did: as
    /// [`Store::report`], and also where the release itself is refused. Refuses: `LeaseLost`,
    /// `LeaseNotFound`, `NotHolder`.
    async fn release(
        &self,
        lease: &LeaseId,
        key: &KeyId,
        rest: Span,
        error: Option<&Assessment>,
    ) -> Result<(ReleaseOutcome, Option<Effect>)>;

    /// Takes note of an error seen under a lease that runs, or that is the last of its session.
    /// Refuses: `LeaseLost`, `LeaseNotFound`, `NotHolder`.
    async fn report(&self, lease: &LeaseId, key: &KeyId, error: &Assessment) -> Result<Effect>;

    /// What an error of one session does to the account's sessions in another pool. Tells how many
    /// it touched. Refuses: `PoolNotFound`.
    async fn afflict(
        &self,
        pool: &PoolName,
        account: i64,
        by: &KeyId,
        error: &Assessment,
    ) -> Result<u32>;

    /// Ends one cool-down of a session, or the brake on a method in the whole pool when no session
    /// is named, before its time. Idempotent. Refuses: `PoolNotFound`, `SessionNotFound`.
    async fn clear_cool_down(
        &self,
        pool: &PoolName,
        session: Option<&SessionName>,
        scope: &Scope,
        on: &Mandate,
    ) -> Result<Option<SessionView>>;

    /// Which session an Acquire would get. Leases nothing, and ignores what makes the ask safe to
    /// repeat. Refuses as [`crate::pool::Pool::acquire`].
    async fn explain(&self, pool: &PoolName, ask: Ask) -> Result<SessionName>;

    /// Takes a lease's session out of the pool, for its holder; `why.at` is set by the store.
    /// Refuses: `LeaseLost`, `LeaseNotFound`, `NotHolder`.
    async fn surrender(&self, lease: &LeaseId, why: Invalidation) -> Result<SessionView>;

    /// Takes a session out of the pool by name; `why.at` is set by the store. Refuses:
    /// `PoolNotFound`, `SessionNotFound`.
    async fn invalidate(
        &self,
        pool: &PoolName,
        session: &SessionName,
        why: Invalidation,
    ) -> Result<SessionView>;

    /// Brings an INVALID session back. Refuses: `PoolNotFound`, `SessionNotFound`,
    /// `InappropriateState`.
    async fn restore(
        &self,
        pool: &PoolName,
        session: &SessionName,
        on: &Mandate,
    ) -> Result<SessionView>;

    /// Reads up to `most` running leases in the order in which they expire, from the first after
    /// a mark. A renewal moves a lease on. Refuses: `PoolNotFound`.
    async fn list_leases(
        &self,
        pool: &PoolName,
        after: Option<&LeaseMark>,
        most: usize,
    ) -> Result<Vec<Lent>>;

    /// Ends running leases before their time; their sessions drain. Of many, one call looks at
    /// [`crate::pool::REVOKE_STEP`]. Idempotent; the one whose reply was lost may have ended leases
    /// that its repetition does not tell. Refuses: `PoolNotFound`, `SessionNotFound`.
    async fn revoke_leases(&self, pool: &PoolName, which: &Revocation) -> Result<Revoked>;

    /// Reads up to `most` of the events of a session, or of the pool itself when none is named,
    /// newest first, from the first before a number. Those of a deleted pool can be read for at
    /// least thirty days. Refuses: `PoolNotFound`, `SessionNotFound`.
    async fn history(
        &self,
        pool: &PoolName,
        session: Option<&SessionName>,
        before: Option<u64>,
        most: usize,
    ) -> Result<Vec<Event>>;

    /// Extends leases, each as [`Store::renew`] does, and answers in their order: with one round
    /// trip for up to [`BATCH`] leases of a pool.
    async fn renew_all(
        &self,
        leases: &[LeaseId],
        key: &KeyId,
        ttl: Option<Span>,
    ) -> Vec<Result<Lease>>;

    /// Tells of each lease whether its key still holds it, with what is left of it as its TTL.
    /// Batched like [`Store::renew_all`]. Refuses: `LeaseLost`, `LeaseNotFound`, `NotHolder`.
    async fn inspect_all(&self, leases: &[LeaseId], key: &KeyId) -> Vec<Result<Lease>>;

    /// Gives back, for a holder that has vanished, each lease that has not been taken up since it
    /// was marked, and tells whether it did; the sessions drain. Batched like
    /// [`Store::renew_all`]. Refuses: `LeaseLost`, `LeaseNotFound`, `NotHolder`.
    async fn abandon_all(&self, leases: &[(LeaseId, Mark)], key: &KeyId) -> Vec<Result<bool>>;

    /// What this broker hears from now on, whoever did it.
    fn notices(&self) -> Notices;

    /// Whether the store can serve, as it changes.
    fn health(&self) -> watch::Receiver<Health>;

    /// Finishes what is under way and lets go.
    async fn close(&self);
}
