//! What was done to a session, and to a pool as a whole, by whom and why: short trails, for people.
//!
//! Leasing, renewing and releasing are not in it: they happen too often to be told apart in a
//! trail, and the log has them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Change, InvalidReason, Invalidation, KeyId, Pool, Refusal, SessionName, Time};

/// How many events are kept of a session, and of a pool; the oldest go first.
pub const MAX_EVENTS: usize = 50;

/// Something that was done to a session, or to a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Which of its events it is, from 1.
    pub number: u64,
    /// When.
    pub at: Time,
    /// What.
    pub verb: EventVerb,
    /// The key that did it; nothing when a rule did.
    pub by: Option<KeyId>,
    /// Why, or what of it.
    pub detail: String,
}

/// On whose word something is done to a pool or a session, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mandate {
    /// The key that does it.
    pub by: KeyId,
    /// Why, in its words.
    pub detail: String,
}

/// What can be done to a session or a pool, as far as trails tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventVerb {
    /// It was added.
    Add,
    /// What is known of it was changed.
    Update,
    /// Its holder took it out of the pool.
    Surrender,
    /// Somebody took it out of the pool by name.
    Invalidate,
    /// It was brought back.
    Restore,
    /// Its lease was ended before its time.
    Revoke,
    /// Its lease ran out.
    Expire,
    /// Its holder reported an error that often, not always, means that it is dead.
    Suspect,
    /// One of its cool-downs was ended before its time; of a pool, the brake on a method.
    ClearCoolDown,
    /// The pool was made.
    Create,
    /// The pool was paused.
    Pause,
    /// The pool grants leases again.
    Resume,
    /// The pool was told to run empty.
    Drain,
    /// The pool was deleted.
    Delete,
    /// One of the pool's sessions was removed, and why was said.
    Remove,
}

/// What was done, and why if that was said.
#[must_use]
pub fn reasoned(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

impl EventVerb {
    /// The verb's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Update => "update",
            Self::Surrender => "surrender",
            Self::Invalidate => "invalidate",
            Self::Restore => "restore",
            Self::Revoke => "revoke",
            Self::Expire => "expire",
            Self::Suspect => "suspect",
            Self::ClearCoolDown => "clear_cool_down",
            Self::Create => "create",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Drain => "drain",
            Self::Delete => "delete",
            Self::Remove => "remove",
        }
    }
}

impl Invalidation {
    /// The reason and the detail in one.
    #[must_use]
    pub fn summary(&self) -> String {
        reasoned(self.reason.name(), &self.detail)
    }
}

impl InvalidReason {
    /// The reason's name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Banned => "BANNED",
            Self::Deactivated => "DEACTIVATED",
            Self::Revoked => "REVOKED",
            Self::Expired => "EXPIRED",
            Self::KeyDuplicated => "KEY_DUPLICATED",
            Self::KeyUnregistered => "KEY_UNREGISTERED",
            Self::Operator => "OPERATOR",
            Self::Other => "OTHER",
        }
    }
}

impl Pool {
    /// Reads what was done to a session, newest first, from the first before a number.
    ///
    /// # Errors
    ///
    /// `SessionNotFound`.
    pub fn history(
        &mut self,
        name: &SessionName,
        before: Option<u64>,
        most: usize,
        now: Time,
    ) -> Result<Vec<Event>, Refusal> {
        self.session(name)?;
        self.settle_session(name, now);
        Ok(self.session(name)?.trail.before(before, most))
    }

    /// Adds an event to the trail of a session.
    pub(super) fn note(
        &mut self,
        name: &SessionName,
        verb: EventVerb,
        by: Option<&KeyId>,
        detail: impl Into<String>,
        at: Time,
    ) {
        let Some(session) = self.sessions.get_mut(name) else { return };
        let number = session.trail.note(verb, by, detail.into(), at);
        self.changes.push(Change::Event(Some(name.clone()), number));
    }

    /// Adds an event to the trail of the pool itself.
    pub(super) fn note_own(
        &mut self,
        verb: EventVerb,
        by: &KeyId,
        detail: impl Into<String>,
        at: Time,
    ) {
        let number = self.trail.note(verb, Some(by), detail.into(), at);
        self.changes.push(Change::Event(None, number));
    }

    /// An event of a session, or of the pool itself.
    pub(super) fn event(&self, name: Option<&SessionName>, number: u64) -> Option<&Event> {
        let trail = match name {
            Some(name) => &self.sessions.get(name)?.trail,
            None => &self.trail,
        };
        trail.0.iter().find(|event| event.number == number)
    }
}

/// The events of a session or a pool, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Trail(VecDeque<Event>);

impl From<Vec<Event>> for Trail {
    fn from(events: Vec<Event>) -> Self {
        Self(events.into())
    }
}

impl Trail {
    /// The events, newest first, from the first before a number.
    pub(super) fn before(&self, before: Option<u64>, most: usize) -> Vec<Event> {
        let events = self.0.iter().rev();
        let wanted = events.filter(|event| before.is_none_or(|before| event.number < before));
        wanted.take(most).cloned().collect()
    }

    /// The newest event.
    pub(super) fn last(&self) -> Option<&Event> {
        self.0.back()
    }

    /// Adds an event, and tells its number.
    pub(super) fn note(
        &mut self,
        verb: EventVerb,
        by: Option<&KeyId>,
        detail: String,
        at: Time,
    ) -> u64 {
        let number = self.last().map_or(0, |event| event.number) + 1;
        if self.0.len() == MAX_EVENTS {
            self.0.pop_front();
        }
        self.0.push_back(Event { number, at, verb, by: by.cloned(), detail });
        number
    }
}
