//! Verdicts: what Telegram's errors mean for a session, and what a worker should do about them.
//!
//! [`judge`] reads a [`Report`] as far as the worker's library can tell it, finds the one [`Rule`]
//! that matches, and says what to do. Pure: the same report at the same moment has one verdict.
//! What the broker remembers of it is the store's to decide.

mod capability;
mod known;
mod name;
mod pattern;
mod rules;
mod sentences;
mod table;

pub use capability::{Capability, method_key};
pub use rules::{Codes, Place, Rule, Ruling, Wait, When};

use serde::{Deserialize, Serialize};

use super::{InvalidReason, Span, Time};

/// The shortest wait.
const SHORTEST_WAIT: Span = Span::secs(1);
/// The longest wait that is believed when it comes as a length of time.
pub const LONGEST_WAIT: Span = Span::hours(14 * 24);
/// The farthest date that is believed when the wait comes as a date.
pub const FARTHEST_DATE: Span = Span::hours(366 * 24);
/// How long to wait when an error that should tell its length does not.
const UNTOLD_WAIT: Span = Span::secs(60);
/// A number above this is a Unix date in seconds.
const FIRST_DATE: i64 = 1_000_000_000;
/// The longest method or peer that a verdict names, in bytes.
const MAX_SUBJECT: usize = 128;

/// An error of Telegram as far as the worker's library can tell it. What it cannot is left empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The library, for example `telethon`.
    pub library: String,
    /// The code; zero when not known. Some libraries put their own in.
    pub code: i32,
    /// The name, with its number or without, or the class of the exception.
    pub type_name: String,
    /// The number that was in the name.
    pub argument: Option<i64>,
    /// The message as Telegram or the library wrote it.
    pub message: String,
    /// An error of the transport, for example -404; zero when it was none.
    pub transport_code: i32,
    /// The method that was called, for example `messages.getHistory`.
    pub method: String,
    /// The chat or user that it was about.
    pub peer: String,
    /// The data centre that answered; zero when not known.
    pub dc: u32,
    /// The session's home data centre; zero when not known.
    pub home_dc: u32,
    /// Whether the library made the wait up from an earlier one, without asking Telegram. It
    /// counts the same: what is left of a wait never ends sooner than the wait.
    pub local: bool,
    /// When it happened; none is now.
    pub occurred_at: Option<Time>,
}

/// What an error means, before the store's clock says from when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// What to do.
    pub action: Action,
    /// What it is about.
    pub scope: Scope,
    /// Whose sessions it concerns.
    pub reach: Reach,
    /// For how long.
    pub term: Term,
    /// Whether another session would help.
    pub other_session: OtherSession,
    /// The id of the rule that decided.
    pub rule: &'static str,
    /// Why, in one sentence.
    pub why: &'static str,
    /// The data centre to go to.
    pub dc: Option<u32>,
    /// How long to wait before the same is tried again.
    pub retry_after: Option<Span>,
    /// Where Telegram told to wait, the method that was called; empty when that is not known. None
    /// for another error, and for a wait that the library made up.
    pub flooded: Option<String>,
    /// The canonical name of the error, without its number: `FLOOD_WAIT`. For an error without
    /// one, its code: `CODE_555`.
    pub name: String,
    /// When it happened, as the caller says; none is now.
    pub occurred_at: Option<Time>,
}

/// How long something lasts, counted from the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// There is no end, or it is not known.
    Open,
    /// So long; within reason already.
    Length(Span),
    /// Until a date, which is believed within reason only.
    Date(Time),
    /// The first time so long; each time that it comes back after it was over, twice as long.
    Growing {
        /// The first length.
        first: Span,
        /// The greatest length.
        most: Span,
    },
}

/// What to do about an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What to do.
    pub action: Action,
    /// What it is about.
    pub scope: Scope,
    /// Whose sessions it concerns.
    pub reach: Reach,
    /// Until when; none when no end is known.
    pub until: Option<Time>,
    /// Whether another session would help.
    pub other_session: OtherSession,
    /// The id of the rule that decided.
    pub rule: &'static str,
    /// Why, in one sentence.
    pub why: &'static str,
    /// The data centre to go to.
    pub dc: Option<u32>,
    /// How long to wait before the same is tried again.
    pub retry_after: Option<Span>,
    /// The canonical name of the error, without its number: `FLOOD_WAIT`. For an error without
    /// one, its code: `CODE_555`.
    pub name: String,
}

/// What a worker should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Try the same again on the same session.
    Retry,
    /// Leave the scope alone until its time.
    CoolDown,
    /// Ask another data centre.
    Migrate,
    /// Mend the request; the session is fine.
    FixRequest,
    /// Let another session do it; this one cannot do this here.
    Denied,
    /// Leave a capability alone; nobody tells until when.
    Restricted,
    /// Stop; a probe must tell whether the session is dead.
    Verify,
    /// Stop; the session is dead.
    Invalidated(InvalidReason),
    /// Tell whoever logs in; it concerns nothing else.
    Login,
    /// Tell whoever runs the application: its id or device profile is wrong.
    App,
}

/// What a verdict is about, with its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// The request alone.
    Request,
    /// The whole session.
    Session,
    /// One method of the session.
    Method(String),
    /// One chat or user of the session.
    Peer(String),
    /// One kind of deed of the session.
    Capability(Capability),
    /// The way out to Telegram: the session's proxy.
    Egress,
}

/// Whose sessions a verdict concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// This one.
    Session,
    /// Every session of the account.
    Account,
}

/// Whether another session would help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OtherSession {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Perhaps.
    Maybe,
    /// One with Telegram Premium would.
    Premium,
    /// One of another kind would: a bot instead of a user, or the reverse.
    OtherKind,
    /// One behind another proxy would.
    OtherEgress,
}

/// Says what a report means, whenever it happened.
#[must_use]
pub fn assess(report: &Report) -> Assessment {
    let seen = name::sight(report);
    let rule = Rule::find(&seen.name, seen.code);
    let ruling = rule.ruling(&seen.name, &seen.method, report);
    let retries = ruling.action == Action::Retry;
    let scope = Scope::of(ruling.place, ruling.action, &seen.method, &report.peer);
    let floods = ruling.action == Action::CoolDown && scope != Scope::Egress && !report.local;
    Assessment {
        action: ruling.action,
        flooded: floods.then(|| name::clip(&seen.method, MAX_SUBJECT).to_owned()),
        scope,
        reach: ruling.reach,
        term: if retries { Term::Open } else { ruling.wait.term(seen.argument) },
        other_session: ruling.other,
        rule: rule.id,
        why: ruling.why,
        dc: target(ruling.action, &seen, report),
        retry_after: if retries { ruling.wait.first() } else { None },
        name: if seen.name.is_empty() { format!("CODE_{}", seen.code) } else { seen.name },
        occurred_at: report.occurred_at,
    }
}

/// Judges a report at a moment.
#[must_use]
pub fn judge(report: &Report, now: Time) -> Verdict {
    assess(report).at(now)
}

impl Assessment {
    /// The verdict at a moment, for a session that meets the error for the first time.
    #[must_use]
    pub fn at(self, now: Time) -> Verdict {
        let until = self.term.end(self.since(now), 0);
        Verdict {
            action: self.action,
            scope: self.scope,
            reach: self.reach,
            until,
            other_session: self.other_session,
            rule: self.rule,
            why: self.why,
            dc: self.dc,
            retry_after: self.retry_after,
            name: self.name,
        }
    }

    /// The moment that waits count from. It is that of the error, however late it is reported; no
    /// error is of tomorrow.
    #[must_use]
    pub fn since(&self, now: Time) -> Time {
        self.occurred_at.map_or(now, |at| at.min(now))
    }

    /// Whether something must be kept closed until an end.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.action.closes() && self.scope != Scope::Request && self.term != Term::Open
    }
}

impl Term {
    /// When it ends if it began at `since`, having come back so many times.
    #[must_use]
    pub fn end(self, since: Time, times: u32) -> Option<Time> {
        Some(match self {
            Self::Open => return None,
            Self::Length(length) => since + length,
            Self::Date(date) => since + date.since(since).clamp(SHORTEST_WAIT, FARTHEST_DATE),
            Self::Growing { first, most } => {
                let grown = first.0.saturating_mul(2_u64.saturating_pow(times));
                since + Span(grown).min(most)
            }
        })
    }
}

impl Verdict {
    /// What the broker must keep closed and until when, if anything.
    #[must_use]
    pub fn closes(&self) -> Option<(&Scope, Time)> {
        let closes = self.action.closes();
        self.until.filter(|_| closes && self.scope != Scope::Request).map(|at| (&self.scope, at))
    }

    /// Whether a rule knew the error; otherwise a default for its code decided.
    #[must_use]
    pub fn is_by_default(&self) -> bool {
        Rule::all().iter().any(|rule| rule.id == self.rule && rule.is_default())
    }
}

impl Action {
    /// The name in the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retry => "RETRY",
            Self::CoolDown => "COOL_DOWN",
            Self::Migrate => "MIGRATE",
            Self::FixRequest => "FIX_REQUEST",
            Self::Denied => "DENIED",
            Self::Restricted => "RESTRICTED",
            Self::Verify => "VERIFY",
            Self::Invalidated(_) => "INVALIDATED",
            Self::Login => "LOGIN",
            Self::App => "APP",
        }
    }

    /// Whether the broker keeps the scope closed for it.
    #[must_use]
    pub const fn closes(self) -> bool {
        matches!(self, Self::CoolDown | Self::Restricted)
    }
}

impl Scope {
    /// The method, peer or capability; empty where there is none.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self {
            Self::Request | Self::Session | Self::Egress => "",
            Self::Method(name) | Self::Peer(name) => name,
            Self::Capability(capability) => capability.name(),
        }
    }

    /// What tells scopes apart, however their subjects were spelled.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Request => "request".to_owned(),
            Self::Session => "session".to_owned(),
            Self::Egress => "egress".to_owned(),
            Self::Method(name) => format!("method:{}", method_key(name)),
            Self::Peer(name) => format!("peer:{name}"),
            Self::Capability(capability) => format!("capability:{}", capability.name()),
        }
    }

    /// Whether it closes the whole session.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        matches!(self, Self::Session | Self::Egress)
    }

    /// Fills a place with the report's names.
    ///
    /// What must be closed but is not named widens: from the peer to the method, from the method
    /// to the session. When in doubt, no grant. What closes nothing does not widen.
    fn of(place: Place, action: Action, method: &str, peer: &str) -> Self {
        let name = |text: &str| name::clip(text, MAX_SUBJECT).to_owned();
        let widest = if action == Action::CoolDown { Self::Session } else { Self::Request };
        let method_or = |wider: Self| match method {
            "" => wider,
            method => Self::Method(name(method)),
        };
        match place {
            Place::Request => Self::Request,
            Place::Session => Self::Session,
            Place::Egress => Self::Egress,
            Place::Capability(capability) => Self::Capability(capability),
            Place::MethodOr(capability) => method_or(Self::Capability(capability)),
            Place::Peer if !peer.is_empty() => Self::Peer(name(peer)),
            Place::Peer if action != Action::CoolDown => Self::Request,
            Place::Peer | Place::Method => method_or(widest),
        }
    }
}

impl Wait {
    /// How long it is at first, when the argument does not say it.
    fn first(self) -> Option<Span> {
        match self {
            Self::Unknown => None,
            Self::Seconds { .. } | Self::Minutes | Self::DateOrSeconds => Some(UNTOLD_WAIT),
            Self::Fixed(span) | Self::Growing { first: span, .. } => Some(span),
        }
    }

    /// How long it is, within reason.
    fn term(self, argument: Option<i64>) -> Term {
        let length = match (self, argument) {
            (Self::Growing { first, most }, _) => return Term::Growing { first, most },
            (Self::Unknown | Self::Fixed(_), _) | (_, None) => match self.first() {
                Some(length) => length,
                None => return Term::Open,
            },
            (Self::DateOrSeconds, Some(date)) if date > FIRST_DATE => {
                let secs = u64::try_from(date).unwrap_or(u64::MAX);
                return Term::Date(Time(secs.saturating_mul(1000)));
            }
            (Self::Seconds { margin }, Some(count)) => Span(length_of(count, 1).0 + margin.0),
            (Self::Minutes, Some(count)) => length_of(count, 60),
            (Self::DateOrSeconds, Some(count)) => length_of(count, 1),
        };
        Term::Length(length.clamp(SHORTEST_WAIT, LONGEST_WAIT))
    }
}

/// So many units of so many seconds, within reason.
fn length_of(count: i64, secs: u64) -> Span {
    let count = u64::try_from(count).unwrap_or(0).min(LONGEST_WAIT.0);
    Span::secs(count * secs).clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

/// The data centre to go to, where the verdict sends somewhere: the one that the error names, and
/// home when the transport says no more than that this one is wrong.
fn target(action: Action, seen: &name::Sighting, report: &Report) -> Option<u32> {
    let dc = match action {
        Action::Migrate if seen.is_transport() => Some(report.home_dc),
        Action::Migrate => seen.argument.and_then(|dc| u32::try_from(dc).ok()),
        _ => None,
    };
    dc.filter(|dc| (1..=MAX_DC).contains(dc))
}

/// The highest number of a data centre that is believed; 203 is one.
const MAX_DC: u32 = 9999;

#[cfg(test)]
mod tests;
