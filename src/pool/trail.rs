//! What was done to a session, by whom and why: a short trail, for people.
//!
//! Leasing, renewing and releasing are not in it: they happen too often to be told apart in a
//! trail, and the log has them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Change, InvalidReason, Invalidation, KeyId, Pool, Refusal, SessionName, Time};

/// How many events are kept of a session; the oldest go first.
pub const MAX_EVENTS: usize = 50;

/// Something that was done to a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Which of the session's events it is, from 1.
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

/// What can be done to a session, as far as its trail tells.
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
    /// One of its cool-downs was ended before its time.
    ClearCoolDown,
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
        }
    }
}

impl Invalidation {
    /// The reason and the detail in one.
    #[must_use]
    pub fn summary(&self) -> String {
        let reason = self.reason.name();
        if self.detail.is_empty() {
            reason.to_owned()
        } else {
            format!("{reason}: {}", self.detail)
        }
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
        let events = self.session(name)?.trail.iter().rev();
        let wanted = events.filter(|event| before.is_none_or(|before| event.number < before));
        Ok(wanted.take(most).cloned().collect())
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
        let number = session.trail.back().map_or(0, |event| event.number) + 1;
        if session.trail.len() == MAX_EVENTS {
            session.trail.pop_front();
        }
        let (by, detail) = (by.cloned(), detail.into());
        session.trail.push_back(Event { number, at, verb, by, detail });
        self.changes.push(Change::Event(name.clone(), number));
    }

    /// An event of a session.
    pub(super) fn event(&self, name: &SessionName, number: u64) -> Option<&Event> {
        self.sessions.get(name)?.trail.iter().find(|event| event.number == number)
    }
}

/// A session's events, the oldest first.
pub(super) type Trail = VecDeque<Event>;
