//! Cool-downs and suspicion: what must be left alone until when, and what is in doubt.

use serde::{Deserialize, Serialize};

use super::{Holder, KeyId, SessionName, SessionState, Standing, Time, verdict::Scope};

/// The most cool-downs that a session has at once. When one more comes, the narrow one that ends
/// first is dropped and the whole session cools down until its end.
pub const MAX_COOL_DOWNS: usize = 64;
/// The most methods of a pool whose floods are counted, and the most that are braked.
pub const MAX_BRAKES: usize = 256;
/// The most sessions of an account that one error reaches.
pub const MAX_OF_ACCOUNT: usize = 1000;
/// The most entries of one list that are looked at for the soonest release. What lies beyond is
/// answered with a moment that is never too late.
pub const WALK_LIMIT: usize = 256;

/// A scope that must be left alone until a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoolDown {
    /// What must be left alone. Its subject is spelled as it was first reported.
    pub scope: Scope,
    /// Until when.
    pub until: Time,
    /// The id of the rule that decided: of a verdict or of an escalation.
    pub rule: String,
    /// The canonical name of the error that caused it.
    pub cause: String,
}

/// That a session may be dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// The fencing number of the lease that saw it. A later lease is a probe.
    pub epoch: u64,
    /// The id of the rule that decided.
    pub rule: String,
    /// The canonical name of the error that caused it.
    pub cause: String,
    /// The key that reported it.
    pub by: KeyId,
    /// When it was reported.
    pub at: Time,
}

/// How often a growing wait has come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    /// The id of its rule.
    pub rule: String,
    /// How often it came back after it was over.
    pub times: u32,
    /// When it is over.
    pub until: Time,
}

/// The sessions that flooded on one method lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burst {
    /// The key of the method.
    pub method: String,
    /// The sessions, by name, and when each flooded last.
    pub sessions: Vec<(SessionName, Time)>,
}

/// A rule by which many small cool-downs become a large one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Escalation {
    /// Several methods of the session flooded.
    E1,
    /// One wait was very long.
    E2,
    /// Several sessions flooded on the method.
    E3,
    /// A growing wait came back.
    E4,
    /// The session has more cool-downs than are kept.
    E5,
}

/// What a report did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The end of what it closed; for a suspicion, when a probe makes sense. None when neither.
    pub until: Option<Time>,
    /// The escalations that fired.
    pub escalations: Vec<Escalation>,
    /// The state of the session after it.
    pub state: SessionState,
    /// The moment.
    pub at: Time,
    /// The account, when the error concerns all its sessions: those in other pools are the
    /// broker's to tell.
    pub account: Option<i64>,
    /// When the session was used over two connections at once: who holds it, then who held it
    /// last, as far as that is known.
    pub breach: Option<Vec<Holder>>,
}

impl Escalation {
    /// Every escalation, in the order in which they are told.
    pub const ALL: [Self; 5] = [Self::E4, Self::E5, Self::E1, Self::E2, Self::E3];

    /// Its id, beside those of the verdicts' rules.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::E1 => "E1",
            Self::E2 => "E2",
            Self::E3 => "E3",
            Self::E4 => "E4",
            Self::E5 => "E5",
        }
    }

    /// Why, in one sentence.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::E1 => {
                "Several methods of this session flooded within minutes: the whole session rests."
            }
            Self::E2 => "The wait is so long that the whole session rests at its beginning.",
            Self::E3 => {
                "Several sessions flooded on this method within minutes: it rests in the whole \
                 pool."
            }
            Self::E4 => {
                "The restriction came back after it was over: it is now taken twice as long."
            }
            Self::E5 => {
                "The session has more cool-downs than are kept: it rests until the soonest end."
            }
        }
    }
}

/// What entering a cool-down came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    /// The end of what now stands for the scope.
    pub(super) until: Time,
    /// Whether there were too many.
    pub(super) overflowed: bool,
}

impl Standing {
    /// Enters a cool-down: for each scope the one that ends later stays. One that is over is not
    /// entered.
    pub(super) fn enter(&mut self, entry: CoolDown, now: Time) -> Entered {
        let until = if entry.until > now {
            lengthen(&mut self.cool_downs, entry)
        } else {
            self.until_of(&entry.scope).max(entry.until)
        };
        let overflowed = self.cool_downs.len() > MAX_COOL_DOWNS;
        while self.cool_downs.len() > MAX_COOL_DOWNS {
            self.widen();
        }
        Entered { until, overflowed }
    }

    /// The end of what stands for a scope; zero where nothing does.
    pub(super) fn until_of(&self, scope: &Scope) -> Time {
        let key = scope.key();
        let standing = self.cool_downs.iter().find(|entry| entry.scope.key() == key);
        standing.map_or(Time::default(), |entry| entry.until)
    }

    /// Makes room: the narrow cool-down that ends first becomes one of the whole session.
    fn widen(&mut self) {
        let narrow = |entry: &&CoolDown| !entry.scope.is_whole();
        let first = self.cool_downs.iter().filter(narrow).min_by_key(|entry| entry.until).cloned();
        let Some(first) = first else { return };
        self.cool_downs.retain(|entry| entry.scope != first.scope);
        let rule = Escalation::E5.id().to_owned();
        lengthen(&mut self.cool_downs, CoolDown { scope: Scope::Session, rule, ..first });
    }
}

/// Enters a cool-down into some that are sorted by key, and tells the end of the one that stands:
/// the one that ends later, with its rule and cause.
pub(super) fn lengthen(entries: &mut Vec<CoolDown>, entry: CoolDown) -> Time {
    let key = entry.scope.key();
    match entries.binary_search_by(|standing| standing.scope.key().cmp(&key)) {
        Ok(at) => {
            let standing = &mut entries[at];
            if entry.until > standing.until {
                *standing = CoolDown { scope: standing.scope.clone(), ..entry };
            }
            standing.until
        }
        Err(at) => {
            let until = entry.until;
            entries.insert(at, entry);
            until
        }
    }
}
