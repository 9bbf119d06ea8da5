//! Sessions: what is lent, and how each stands.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    CoolDown, Ended, Fingerprint, Growth, KeyId, Labels, Lease, SessionName, Suspicion, Time,
};

/// A secret, as bytes that the rules never look into. Its `Debug` hides it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Credential(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// What is known of a session and changes seldom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Its name in the pool.
    pub name: SessionName,
    /// Free labels that selectors match.
    pub labels: Labels,
    /// A fingerprint of the credential; unique in the whole store.
    pub fingerprint: Fingerprint,
    /// The account that it belongs to, where known.
    pub account_id: Option<i64>,
    /// The proxy that its clients should use; may contain a password.
    pub proxy: Option<Credential>,
    /// How its clients present themselves, encoded by the transport; may contain a secret.
    pub device: Option<Credential>,
    /// The secret that is lent, encoded by the credential's codec.
    pub credential: Credential,
    /// When it was added.
    pub created_at: Time,
}

/// The secret parts of a session, as they are kept: sealed or not, the rules cannot tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// The secret that is lent.
    pub credential: Credential,
    /// The proxy that its clients should use.
    pub proxy: Option<Credential>,
    /// How its clients present themselves.
    pub device: Option<Credential>,
}

impl SessionRecord {
    /// Its secret parts.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        Secrets {
            credential: self.credential.clone(),
            proxy: self.proxy.clone(),
            device: self.device.clone(),
        }
    }

    /// The same session with other secret parts.
    #[must_use]
    pub fn with_secrets(self, secrets: Secrets) -> Self {
        let Secrets { credential, proxy, device } = secrets;
        Self { proxy, device, credential, ..self }
    }
}

/// How a session stands: all that changes as it is lent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The fencing number of its newest lease; before the first it is the pool's `past_epoch`.
    pub epoch: u64,
    /// When its last lease ended; zero before the first. The least goes out first.
    pub last_used: Time,
    /// The running lease.
    pub lease: Option<Lease>,
    /// Until when it rests or drains; past or zero when it does not.
    pub rest_until: Time,
    /// Why it is out of the pool.
    pub invalid: Option<Invalidation>,
    /// The lease before, to tell a late caller what became of it.
    pub ended: Option<Ended>,
    /// What must be left alone until when, by [`Scope::key`](super::verdict::Scope::key). What is
    /// over may still stand here until it is settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cool_downs: Vec<CoolDown>,
    /// That it may be dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspect: Option<Suspicion>,
    /// The methods that flooded lately, by key, and when each did last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub floods: Vec<(String, Time)>,
    /// The growing waits that it met, in the order in which it first did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub growth: Vec<Growth>,
}

/// What a session can be used for. Derived from its standing, never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// Free to be leased.
    Ready,
    /// Held under a lease.
    Leased,
    /// Resting after a release, or draining after an expiry.
    Resting,
    /// A cool-down of the whole session runs.
    FloodWait,
    /// Maybe dead; a probe must decide.
    Suspect,
    /// Out of the pool until an operator restores it.
    Invalid,
}

impl SessionState {
    /// The state's name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Leased => "LEASED",
            Self::Resting => "RESTING",
            Self::FloodWait => "FLOOD_WAIT",
            Self::Suspect => "SUSPECT",
            Self::Invalid => "INVALID",
        }
    }
}

impl Standing {
    /// The state at a moment.
    #[must_use]
    pub fn state(&self, now: Time) -> SessionState {
        let whole = self.whole();
        if self.invalid.is_some() {
            SessionState::Invalid
        } else if self.lease.is_some() {
            SessionState::Leased
        } else if self.suspect.is_some() {
            SessionState::Suspect
        } else if whole > now && whole >= self.rest_until {
            SessionState::FloodWait
        } else if self.rest_until > now {
            SessionState::Resting
        } else {
            SessionState::Ready
        }
    }

    /// When the state at `now` ends by itself, if it does.
    #[must_use]
    pub fn state_until(&self, now: Time) -> Option<Time> {
        match self.state(now) {
            SessionState::Leased => self.lease.as_ref().map(|lease| lease.expires_at),
            SessionState::Suspect => Some(self.whole().max(self.rest_until)).filter(|at| *at > now),
            SessionState::FloodWait => Some(self.whole()),
            SessionState::Resting => Some(self.rest_until),
            SessionState::Ready | SessionState::Invalid => None,
        }
    }

    /// The latest end of a cool-down of the whole session; zero when there is none.
    #[must_use]
    pub fn whole(&self) -> Time {
        let whole = self.cool_downs.iter().filter(|entry| entry.scope.is_whole());
        whole.map(|entry| entry.until).max().unwrap_or_default()
    }

    /// The cool-downs that run at a moment.
    #[must_use]
    pub fn running(&self, now: Time) -> Vec<CoolDown> {
        self.cool_downs.iter().filter(|entry| entry.until > now).cloned().collect()
    }
}

/// Why a session is out of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalidation {
    /// The kind of cause.
    pub reason: InvalidReason,
    /// Free text.
    pub detail: String,
    /// The key that did it.
    pub by: KeyId,
    /// When.
    pub at: Time,
}

/// The kinds of cause for which a session is taken out of its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InvalidReason {
    /// Telegram banned the account.
    Banned,
    /// The account was deleted.
    Deactivated,
    /// The owner ended the session.
    Revoked,
    /// The session expired.
    Expired,
    /// The session was used over two connections at once.
    KeyDuplicated,
    /// Telegram no longer knows the key.
    KeyUnregistered,
    /// An operator decided so.
    Operator,
    /// Something else; the detail says what.
    Other,
}

/// A session as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// What changes seldom.
    pub record: SessionRecord,
    /// What changes as it is lent.
    pub standing: Standing,
    /// The moment.
    pub at: Time,
}
