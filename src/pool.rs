//! The rules: who gets which session, for how long, and who does not.
//!
//! A pure state machine. No clock, no I/O, no randomness: the moment, fresh secrets and names come
//! in as arguments, state and answers come out. `store::embedded` runs it in process;
//! `store::redis` says the same in Lua, and one conformance suite holds both to it.

mod acquire;
mod amend;
mod choose;
mod escalation;
mod fit;
mod flood;
mod keep;
mod lease;
mod leases;
mod line;
mod members;
mod name;
mod policy;
mod ranked;
mod realm;
mod refusal;
mod report;
mod seats;
mod selector;
mod serve;
mod session;
mod settle;
mod status;
mod tally;
mod time;
mod trail;
pub mod verdict;
mod waiter;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use self::{
    seats::{Seat, Seats},
    trail::Trail,
};

pub use acquire::{Ask, Grant};
pub use amend::{Edit, SessionChange, changed, policy_changed};
pub use fit::{Unfit, unfit};
pub use flood::{
    Burst, CoolDown, Effect, Escalation, Growth, MAX_BRAKES, MAX_COOL_DOWNS, MAX_OF_ACCOUNT,
    Suspicion, WALK_LIMIT,
};
pub use keep::ReleaseOutcome;
pub use lease::{EndCause, Ended, Ending, Holder, Lease, LeaseId, LeaseSecret, Mark, RequestTag};
pub use leases::{LeaseMark, Lent, Progress, REVOKE_STEP, Revocation, Revoked, Target};
pub use members::NewSession;
pub use name::{Fingerprint, KeyId, PoolName, SessionName};
pub use policy::{Escalations, Policy, PolicyChange, PolicyFault};
pub use realm::{PoolChange, PoolView, Realm};
pub use refusal::Refusal;
pub use selector::{
    LABEL_KEY_RULE, LABEL_VALUE_RULE, Labels, MAX_LABELS, Requirement, Selector, is_label_key,
    is_label_value,
};
pub use session::{
    Credential, InvalidReason, Invalidation, Secrets, SessionRecord, SessionState, SessionView,
    Standing,
};
pub use settle::SETTLE_LIMIT;
pub use status::{NextRelease, PoolCounts, PoolState, PoolStatus, Queue, ReleaseCause};
pub use tally::{FLOODS_KEPT, FloodSlot, MAX_FLOODED, MethodFloods, floods_of};
pub use time::{Span, Time};
pub use trail::{Event, EventVerb, MAX_EVENTS, Mandate, reasoned};
pub use verdict::{Assessment, Report, Verdict, assess, judge};
pub use waiter::{
    AGEING, Departure, Enqueued, HAND_OVER, MAX_LINES, News, Patience, Place, Priority,
    SERVE_LIMIT, Ticket, WaiterView,
};

/// Whether a pool grants leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolMode {
    /// Leases are granted.
    #[default]
    Active,
    /// No lease is granted; running ones can be renewed.
    Paused,
    /// No lease is granted and none is renewed.
    Draining,
}

impl PoolMode {
    /// What brings a pool into this mode.
    #[must_use]
    pub const fn verb(self) -> EventVerb {
        match self {
            Self::Active => EventVerb::Resume,
            Self::Paused => EventVerb::Pause,
            Self::Draining => EventVerb::Drain,
        }
    }
}

/// What a pool is besides its sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRecord {
    /// Its name.
    pub name: PoolName,
    /// How its leases are given and kept.
    pub policy: Policy,
    /// Whether it grants leases.
    pub mode: PoolMode,
    /// When it was created.
    pub created_at: Time,
    /// When its policy or mode last changed.
    pub updated_at: Time,
    /// The highest fencing number of a session that was removed. One that is added starts there,
    /// so that a name which comes back goes on rising.
    #[serde(default)]
    pub past_epoch: u64,
    /// The methods that no session of the pool may call until a time, by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub brakes: Vec<CoolDown>,
    /// The methods that sessions of the pool flooded on lately, by key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bursts: Vec<Burst>,
    /// The floods of the last hour, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub floods: Vec<FloodSlot>,
}

/// What a verb touched.
#[derive(Debug)]
enum Change {
    Pool,
    /// A session is new, or what is known of it changed.
    Session(SessionName),
    Standing(SessionName),
    /// Something was done to a session, or to the pool itself.
    Event(Option<SessionName>, u64),
    Removed(SessionName),
}

/// A named set of sessions with one policy.
#[derive(Debug)]
pub struct Pool {
    record: PoolRecord,
    /// What was done to the pool itself.
    trail: Trail,
    sessions: BTreeMap<SessionName, Session>,
    /// How they stand, in every order that a verb looks for them.
    seats: Seats,
    /// Living leases by the request that they answer.
    requests: HashMap<(KeyId, String), SessionName>,
    /// Sessions by label, for selectors that few match.
    labelled: BTreeMap<(String, String), BTreeSet<SessionName>>,
    /// Sessions by account, where that is known.
    accounts: BTreeMap<i64, BTreeSet<SessionName>>,
    /// Acquires that wait. Not kept: they end with the broker.
    line: line::Line,
    /// Sessions that became free while somebody waited, to be offered.
    freed: Vec<SessionName>,
    /// Whether all that is free must be offered to all that wait.
    reconsider: bool,
    /// Those whom something was handed to and who were not told yet.
    handed: Vec<Ticket>,
    /// When those who keep the timers were told that something is due.
    announced: Time,
    changes: Vec<Change>,
    /// The leases that were ended against their holders' will, and nobody was told of yet.
    endings: Vec<Ending>,
}

#[derive(Clone, Debug)]
struct Session {
    record: SessionRecord,
    standing: Standing,
    trail: Trail,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(name: PoolName, policy: Policy, now: Time) -> Self {
        let record = PoolRecord {
            name,
            policy,
            mode: PoolMode::Active,
            created_at: now,
            updated_at: now,
            past_epoch: 0,
            brakes: Vec::new(),
            bursts: Vec::new(),
            floods: Vec::new(),
        };
        let mut pool = Self::restored(record, []);
        pool.changes.push(Change::Pool);
        pool
    }

    /// A pool as it was kept.
    pub fn restored(
        record: PoolRecord,
        sessions: impl IntoIterator<Item = (SessionRecord, Standing, Vec<Event>)>,
    ) -> Self {
        let mut pool = Self {
            record,
            trail: Trail::default(),
            sessions: BTreeMap::new(),
            seats: Seats::default(),
            requests: HashMap::new(),
            labelled: BTreeMap::new(),
            accounts: BTreeMap::new(),
            line: line::Line::default(),
            freed: Vec::new(),
            reconsider: false,
            handed: Vec::new(),
            announced: Time::default(),
            changes: Vec::new(),
            endings: Vec::new(),
        };
        for (record, standing, trail) in sessions {
            pool.insert(Session { record, standing, trail: trail.into() });
        }
        pool
    }

    /// The pool with what was done to it, as that was kept.
    #[must_use]
    pub fn with_trail(mut self, events: Vec<Event>) -> Self {
        self.trail = events.into();
        self
    }

    /// What the pool is besides its sessions.
    #[must_use]
    pub fn record(&self) -> &PoolRecord {
        &self.record
    }

    fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// What the changes come to: each session once, as it is now.
    fn current(&self, changes: Vec<Change>) -> Vec<PoolChange<'_>> {
        let pool = &self.record.name;
        let whole = |change: &Change| match change {
            Change::Session(name) => Some(name.clone()),
            _ => None,
        };
        let whole: BTreeSet<_> = changes.iter().filter_map(whole).collect();
        let mut told = BTreeSet::new();
        let current = |change| match change {
            Change::Pool => Some(PoolChange::Pool(&self.record)),
            Change::Removed(name) => Some(PoolChange::Removed(pool, name)),
            Change::Event(name, number) => {
                let event = self.event(name.as_ref(), number)?;
                Some(PoolChange::Event(pool, name, event))
            }
            Change::Session(name) | Change::Standing(name) if told.insert(name.clone()) => {
                let session = self.sessions.get(&name)?;
                Some(if whole.contains(&name) {
                    PoolChange::Session(pool, &session.record, &session.standing)
                } else {
                    PoolChange::Standing(pool, name, &session.standing)
                })
            }
            Change::Session(_) | Change::Standing(_) => None,
        };
        changes.into_iter().filter_map(current).collect()
    }

    /// Pauses, drains or resumes the pool. Idempotent.
    pub fn set_mode(&mut self, mode: PoolMode, on: &Mandate, now: Time) {
        if self.record.mode != mode {
            self.record.mode = mode;
            self.record.updated_at = now;
            self.reconsider = mode == PoolMode::Active;
            self.changes.push(Change::Pool);
            self.note_own(mode.verb(), &on.by, on.detail.as_str(), now);
        }
    }

    fn name(&self) -> PoolName {
        self.record.name.clone()
    }

    fn session(&self, name: &SessionName) -> Result<&Session, Refusal> {
        self.sessions.get(name).ok_or_else(|| self.no_session(name))
    }

    fn no_session(&self, name: &SessionName) -> Refusal {
        Refusal::SessionNotFound { pool: self.name(), session: name.clone() }
    }

    fn view(&self, name: &SessionName, now: Time) -> Result<SessionView, Refusal> {
        let session = self.session(name)?;
        Ok(SessionView {
            record: session.record.clone(),
            standing: session.standing.clone(),
            at: now,
        })
    }

    /// Changes how a session stands, and keeps the indexes true. The only way to do so.
    fn restand(&mut self, name: &SessionName, change: impl FnOnce(&mut Standing)) {
        let Some(session) = self.sessions.get_mut(name) else { return };
        // Taken out instead of cloned: no index looks at it in its place.
        let mut standing = std::mem::take(&mut session.standing);
        self.unindex(name, &standing);
        let held = standing.lease.is_some();
        change(&mut standing);
        if let (true, Some(Ended { epoch, cause, .. })) =
            (held && standing.lease.is_none(), &standing.ended)
            && cause.against_holder()
        {
            let (pool, session) = (self.name(), name.clone());
            self.endings.push(Ending { pool, session, epoch: *epoch, cause: *cause });
        }
        self.index(name, &standing);
        if let Some(session) = self.sessions.get_mut(name) {
            session.standing = standing;
        }
        self.changes.push(Change::Standing(name.clone()));
    }

    fn insert(&mut self, session: Session) {
        let name = session.record.name.clone();
        self.index(&name, &session.standing);
        self.enlist(&session.record);
        self.sessions.insert(name, session);
    }

    /// Puts a session under its labels and its account.
    fn enlist(&mut self, record: &SessionRecord) {
        for (key, value) in record.labels.clone() {
            self.labelled.entry((key, value)).or_default().insert(record.name.clone());
        }
        if let Some(account) = record.account_id {
            self.accounts.entry(account).or_default().insert(record.name.clone());
        }
    }

    /// Takes it from under them.
    fn delist(&mut self, record: &SessionRecord) {
        for label in record.labels.clone() {
            forget(&mut self.labelled, &label, &record.name);
        }
        if let Some(account) = record.account_id {
            forget(&mut self.accounts, &account, &record.name);
        }
    }

    fn index(&mut self, name: &SessionName, standing: &Standing) {
        self.seats.put(name, standing);
        if let Some(request) = standing.lease.as_ref().and_then(Lease::request_key) {
            self.requests.insert(request, name.clone());
        }
        self.put_up(name, standing);
    }

    /// Puts a session up to be offered to those who wait, if it is open to anybody.
    fn put_up(&mut self, name: &SessionName, standing: &Standing) {
        if !self.line.is_empty()
            && matches!(standing.seat(), Some(Seat::Free(_) | Seat::Suspect(_)))
        {
            self.freed.push(name.clone());
        }
    }

    fn unindex(&mut self, name: &SessionName, standing: &Standing) {
        self.seats.take(name, standing);
        if let Some(request) = standing.lease.as_ref().and_then(Lease::request_key) {
            self.requests.remove(&request);
        }
    }
}

/// Takes a session out of an index; nothing empty stays there.
fn forget<K: Ord>(index: &mut BTreeMap<K, BTreeSet<SessionName>>, key: &K, name: &SessionName) {
    if let Some(names) = index.get_mut(key) {
        names.remove(name);
        if names.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
