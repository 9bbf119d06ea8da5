//! The lawful ways to say no.

use thiserror::Error;

use super::{
    EndCause, Fingerprint, NextRelease, PolicyFault, PoolCounts, PoolName, Queue, Selector,
    SessionName, SessionState, Time,
};

/// A lawful no: the rules were asked for something that they do not give now, or never. Each
/// carries the facts that its caller needs; the transport chooses code and words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There is no such pool.
    #[error("pool {pool} does not exist")]
    PoolNotFound {
        /// The pool that was asked for.
        pool: PoolName,
    },
    /// There is a pool of that name.
    #[error("pool {pool} exists")]
    PoolExists {
        /// The pool that was to be made.
        pool: PoolName,
    },
    /// The pool has sessions.
    #[error("pool {pool} has {total} sessions")]
    PoolNotEmpty {
        /// The pool that was to be deleted.
        pool: PoolName,
        /// How many it has.
        total: u32,
    },
    /// What would come of the pool's policy may not be.
    #[error("the policy of pool {pool} would not do")]
    PolicyUnfit {
        /// The pool.
        pool: PoolName,
        /// Everything that would be wrong with it.
        faults: Vec<PolicyFault>,
    },
    /// The pool has no sessions.
    #[error("pool {pool} has no sessions")]
    PoolEmpty {
        /// The pool that was asked for.
        pool: PoolName,
    },
    /// The operator paused the pool.
    #[error("pool {pool} is paused")]
    PoolPaused {
        /// The pool that was asked for.
        pool: PoolName,
    },
    /// The operator is draining the pool.
    #[error("pool {pool} is draining")]
    PoolDraining {
        /// The pool that was asked for.
        pool: PoolName,
    },
    /// Nothing that would do is free; something will be at a known time.
    #[error("nothing is free in pool {pool}")]
    PoolBusy {
        /// The pool that was asked for.
        pool: PoolName,
        /// How all its sessions stand.
        counts: PoolCounts,
        /// The soonest release of a session that would do.
        next: NextRelease,
        /// Who waits already.
        queue: Queue,
    },
    /// Nothing that would do is free, and the soonest comes out of a cool-down.
    #[error("nothing is free in pool {pool} before a cool-down ends")]
    PoolFloodWait {
        /// The pool that was asked for.
        pool: PoolName,
        /// How all its sessions stand.
        counts: PoolCounts,
        /// The soonest end of what keeps a session that would do.
        next: NextRelease,
        /// Who waits already.
        queue: Queue,
    },
    /// Sessions that would do exist, but none is usable without a person.
    #[error("no session of pool {pool} is usable")]
    PoolDepleted {
        /// The pool that was asked for.
        pool: PoolName,
        /// How all its sessions stand.
        counts: PoolCounts,
    },
    /// No session of the pool can ever match.
    #[error("no session of pool {pool} matches {selector}")]
    NoMatchingSession {
        /// The pool that was asked for.
        pool: PoolName,
        /// What nothing matches.
        selector: Selector,
        /// How all its sessions stand.
        counts: PoolCounts,
    },
    /// As many calls wait for the pool as may.
    #[error("the waiting room of pool {pool} is full")]
    WaitQueueFull {
        /// The pool that was asked for.
        pool: PoolName,
        /// How many wait, those who may come back for their place included.
        waiters: u32,
        /// How many may.
        most: u32,
        /// How all its sessions stand.
        counts: PoolCounts,
        /// The soonest release of a session that would do.
        next: NextRelease,
        /// Who waits already.
        queue: Queue,
    },
    /// The pool has no session of that name.
    #[error("pool {pool} has no session {session}")]
    SessionNotFound {
        /// The pool that was asked for.
        pool: PoolName,
        /// The session that was asked for.
        session: SessionName,
    },
    /// The session would have more labels than it can.
    #[error("session {session} of pool {pool} would have {count} labels")]
    TooManyLabels {
        /// The pool of the session.
        pool: PoolName,
        /// The session.
        session: SessionName,
        /// How many it would have.
        count: usize,
    },
    /// The pool has a session of that name.
    #[error("pool {pool} has a session {session}")]
    SessionExists {
        /// The pool that it was to be added to.
        pool: PoolName,
        /// The name that is taken.
        session: SessionName,
    },
    /// The same credential is held already.
    #[error("credential {fingerprint} is session {session} of pool {pool}")]
    CredentialExists {
        /// The pool that holds it.
        pool: PoolName,
        /// The session that holds it.
        session: SessionName,
        /// The credential's fingerprint.
        fingerprint: Fingerprint,
    },
    /// The request id belongs to a living lease that was asked for with other parameters.
    #[error("request id {request_id} was used with other parameters")]
    RequestIdReused {
        /// The pool that was asked for.
        pool: PoolName,
        /// The caller's id of the request.
        request_id: String,
    },
    /// No lease of that name is known.
    #[error("the lease is not known")]
    LeaseNotFound,
    /// The lease ended before.
    #[error("the lease of session {session} of pool {pool} is lost")]
    LeaseLost {
        /// The pool of the lease.
        pool: PoolName,
        /// The session of the lease.
        session: SessionName,
        /// How it ended.
        cause: EndCause,
        /// Its fencing number, or that of the lease that superseded it.
        epoch: u64,
        /// When it ended, at the latest.
        at: Time,
        /// Why an operator ended it, in the operator's words; mostly empty.
        detail: String,
    },
    /// The lease belongs to another key.
    #[error("the lease of session {session} of pool {pool} belongs to another key")]
    NotHolder {
        /// The pool of the lease.
        pool: PoolName,
        /// The session of the lease.
        session: SessionName,
    },
    /// The session's state forbids it.
    #[error("session {session} of pool {pool} is {}", state.name())]
    InappropriateState {
        /// The pool of the session.
        pool: PoolName,
        /// The session.
        session: SessionName,
        /// Its state.
        state: SessionState,
        /// The states that would do.
        wanted: &'static [SessionState],
    },
}
