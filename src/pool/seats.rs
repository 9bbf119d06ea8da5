//! Where the sessions of a pool stand, in every order that a verb looks for them.

use std::collections::{BTreeSet, HashMap};

use super::{SessionName, Standing, Time, ranked::Ranked};

/// Sessions by a time that is due once.
pub(super) type Line = BTreeSet<(Time, SessionName)>;
/// Free sessions; the least recently used is first.
pub(super) type Bench = Ranked<(Time, SessionName)>;

/// Where a session stands that is not INVALID, and the time that it stands there by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// Leased until then.
    Leased(Time),
    /// Suspect; a probe may have it from then on.
    Suspect(Time),
    /// Cooling down as a whole until then.
    Flooded(Time),
    /// Resting until then.
    Resting(Time),
    /// Free since its last use.
    Free(Time),
}

/// The sessions that are not INVALID, each in one of the first five.
#[derive(Debug, Default)]
pub(super) struct Seats {
    /// Free sessions.
    pub(super) free: Bench,
    /// Leased sessions by expiry.
    pub(super) leases: Line,
    /// Resting sessions by the end of their rest.
    pub(super) rests: Line,
    /// Sessions that cool down as a whole, by the end of it.
    pub(super) floods: Line,
    /// Suspect sessions by the moment from which they may be probed.
    pub(super) suspects: Line,
    /// Sessions with narrow cool-downs by the soonest end of one.
    pub(super) thaws: Line,
    /// Sessions with a narrow cool-down by its end, for each scope's key.
    scopes: HashMap<String, Line>,
    /// Free sessions with a narrow cool-down, for each scope's key, in the order of `free`.
    cooling: HashMap<String, Bench>,
}

impl Standing {
    /// Where it stands; nowhere when it is INVALID.
    pub(super) fn seat(&self) -> Option<Seat> {
        let whole = self.whole();
        Some(if self.invalid.is_some() {
            return None;
        } else if let Some(lease) = &self.lease {
            Seat::Leased(lease.expires_at)
        } else if self.suspect.is_some() {
            Seat::Suspect(self.rest_until.max(whole))
        } else if whole > Time::default() && whole >= self.rest_until {
            Seat::Flooded(whole)
        } else if self.rest_until > Time::default() {
            Seat::Resting(self.rest_until)
        } else {
            Seat::Free(self.last_used)
        })
    }

    /// The soonest end of a narrow cool-down.
    fn thaws_at(&self) -> Option<Time> {
        let narrow = self.cool_downs.iter().filter(|entry| !entry.scope.is_whole());
        narrow.map(|entry| entry.until).min()
    }
}

impl Seats {
    /// Puts a session where it stands.
    pub(super) fn put(&mut self, name: &SessionName, standing: &Standing) {
        let Some(seat) = standing.seat() else { return };
        let at = |time: Time| (time, name.clone());
        match seat {
            Seat::Leased(until) => self.leases.insert(at(until)),
            Seat::Suspect(from) => self.suspects.insert(at(from)),
            Seat::Flooded(until) => self.floods.insert(at(until)),
            Seat::Resting(until) => self.rests.insert(at(until)),
            Seat::Free(since) => self.free.insert(at(since)),
        };
        let Some(thaws_at) = standing.thaws_at() else { return };
        self.thaws.insert(at(thaws_at));
        for entry in standing.cool_downs.iter().filter(|entry| !entry.scope.is_whole()) {
            let key = entry.scope.key();
            if let Seat::Free(since) = seat {
                self.cooling.entry(key.clone()).or_default().insert(at(since));
            }
            self.scopes.entry(key).or_default().insert(at(entry.until));
        }
    }

    /// Takes a session out of where it stood.
    pub(super) fn take(&mut self, name: &SessionName, standing: &Standing) {
        let Some(seat) = standing.seat() else { return };
        let at = |time: Time| (time, name.clone());
        match seat {
            Seat::Leased(until) => self.leases.remove(&at(until)),
            Seat::Suspect(from) => self.suspects.remove(&at(from)),
            Seat::Flooded(until) => self.floods.remove(&at(until)),
            Seat::Resting(until) => self.rests.remove(&at(until)),
            Seat::Free(since) => self.free.remove(&at(since)),
        };
        let Some(thaws_at) = standing.thaws_at() else { return };
        self.thaws.remove(&at(thaws_at));
        for entry in standing.cool_downs.iter().filter(|entry| !entry.scope.is_whole()) {
            let key = entry.scope.key();
            if let (Seat::Free(since), Some(bench)) = (seat, self.cooling.get_mut(&key)) {
                bench.remove(&at(since));
                if bench.is_empty() {
                    self.cooling.remove(&key);
                }
            }
            if let Some(line) = self.scopes.get_mut(&key) {
                line.remove(&at(entry.until));
                if line.is_empty() {
                    self.scopes.remove(&key);
                }
            }
        }
    }

    /// The free sessions, in order, that cool down for none of some scopes.
    pub(super) fn open<'a>(
        &'a self,
        scopes: &[String],
    ) -> Box<dyn Iterator<Item = &'a SessionName> + 'a> {
        let cooling: Vec<_> = scopes.iter().filter_map(|scope| self.cooling.get(scope)).collect();
        if cooling.is_empty() {
            return Box::new(self.free.iter().map(|(_, name)| name));
        }
        Box::new(self.free.outside(cooling).map(|(_, name)| name))
    }

    /// The sessions that cool down for a scope, by the end of it.
    pub(super) fn line(&self, scope: &str) -> impl Iterator<Item = &(Time, SessionName)> {
        self.scopes.get(scope).into_iter().flatten()
    }
}
