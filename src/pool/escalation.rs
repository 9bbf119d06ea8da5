//! Escalation: when many small cool-downs become one for the whole session, or for a method in the
//! pool.

use super::{
    Assessment, Burst, Change, CoolDown, Escalation, Escalations, Growth, MAX_BRAKES, Pool,
    SessionName, Standing, Time,
    flood::lengthen,
    verdict::{Action, Scope, Term, method_key},
};

/// Which escalations fired.
#[derive(Debug, Default)]
pub(super) struct Fired(Vec<Escalation>);

impl Fired {
    /// Notes that one did.
    pub(super) fn note(&mut self, escalation: Escalation) {
        self.0.push(escalation);
    }

    /// Each that did, once, in the order in which they are told.
    pub(super) fn told(self) -> Vec<Escalation> {
        Escalation::ALL.into_iter().filter(|escalation| self.0.contains(escalation)).collect()
    }
}

/// A method that flooded, and for how long it must be left alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flood<'a> {
    /// The method.
    pub(super) scope: &'a Scope,
    /// The canonical name of the error.
    pub(super) cause: &'a str,
    /// When it flooded.
    pub(super) since: Time,
    /// Until when.
    pub(super) until: Time,
}

impl<'a> Flood<'a> {
    /// The flood that an error is, if it is one that may escalate.
    pub(super) fn of(error: &'a Assessment, since: Time, until: Time) -> Option<Self> {
        let floods = error.action == Action::CoolDown && matches!(error.scope, Scope::Method(_));
        floods.then_some(Self { scope: &error.scope, cause: &error.name, since, until })
    }

    fn method(&self) -> String {
        method_key(self.scope.subject())
    }

    fn cool_down(&self, scope: Scope, until: Time, rule: Escalation) -> CoolDown {
        CoolDown { scope, until, rule: rule.id().to_owned(), cause: self.cause.to_owned() }
    }
}

impl Standing {
    /// When an error's term ends. A growing one is twice as long each time that it comes back
    /// after it was over, and as at first when it stays away for its longest term (E4).
    pub(super) fn term_ends(
        &mut self,
        error: &Assessment,
        since: Time,
        policy: &Escalations,
        fired: &mut Fired,
    ) -> Option<Time> {
        let Term::Growing { most, .. } = error.term else { return error.term.end(since, 0) };
        let known = self.growth.iter().position(|growth| growth.rule == error.rule);
        let times = match known.map(|at| &self.growth[at]) {
            None => 0,
            Some(growth) if since >= growth.until + most => 0,
            Some(growth) if since < growth.until => growth.times,
            Some(_) if policy.disabled => 0,
            Some(growth) => {
                fired.note(Escalation::E4);
                growth.times.saturating_add(1)
            }
        };
        let until = error.term.end(since, times)?;
        match known {
            Some(at) => {
                let growth = &mut self.growth[at];
                growth.times = times;
                growth.until = growth.until.max(until);
            }
            None => self.growth.push(Growth { rule: error.rule.to_owned(), times, until }),
        }
        Some(until)
    }

    /// Rests the whole session when several of its methods flood (E1) or one for very long (E2).
    pub(super) fn escalate(
        &mut self,
        flood: &Flood<'_>,
        policy: &Escalations,
        fired: &mut Fired,
        now: Time,
    ) {
        let longest = now + policy.session_rest;
        let mut rest = |standing: &mut Self, until: Time, rule| {
            fired.note(rule);
            let entry = flood.cool_down(Scope::Session, until.min(longest), rule);
            if standing.enter(entry, now).overflowed {
                fired.note(Escalation::E5);
            }
        };
        remember(&mut self.floods, flood.method(), flood.since, now - policy.session_window);
        if self.floods.len() >= policy.session_methods as usize {
            self.floods.clear();
            let methods = self.cool_downs.iter().filter(|e| matches!(e.scope, Scope::Method(_)));
            let until = methods.map(|entry| entry.until).max().unwrap_or_default();
            rest(self, until, Escalation::E1);
        }
        if flood.until.since(flood.since) >= policy.session_wait {
            rest(self, flood.until, Escalation::E2);
        }
    }
}

impl Pool {
    /// Brakes a method in the whole pool when several sessions flood on it for long (E3).
    pub(super) fn brake(
        &mut self,
        session: &SessionName,
        flood: &Flood<'_>,
        fired: &mut Fired,
        now: Time,
    ) {
        let policy = &self.record.policy.escalation;
        if flood.until.since(flood.since) < policy.method_wait {
            return;
        }
        let (enough, longest) = (policy.method_sessions as usize, now + policy.method_brake);
        let window_start = now - policy.method_window;
        self.changes.push(Change::Pool);
        let Some(mut burst) = self.take_burst(&flood.method(), window_start) else { return };
        remember(&mut burst.sessions, session.clone(), flood.since, window_start);
        if burst.sessions.len() >= enough {
            fired.note(Escalation::E3);
            let until = flood.until.min(longest);
            self.enter_brake(flood.cool_down(flood.scope.clone(), until, Escalation::E3), now);
        } else if !burst.sessions.is_empty() {
            let bursts = &mut self.record.bursts;
            let at = bursts.partition_point(|other| other.method < burst.method);
            bursts.insert(at, burst);
        }
    }

    /// Takes out what is remembered of a method's floods. None when no more can be remembered.
    fn take_burst(&mut self, method: &str, window_start: Time) -> Option<Burst> {
        let bursts = &mut self.record.bursts;
        if let Some(at) = bursts.iter().position(|burst| burst.method == method) {
            return Some(bursts.remove(at));
        }
        if bursts.len() >= MAX_BRAKES {
            bursts.retain(|burst| burst.sessions.iter().any(|(_, at)| *at >= window_start));
        }
        (bursts.len() < MAX_BRAKES)
            .then(|| Burst { method: method.to_owned(), sessions: Vec::new() })
    }

    fn enter_brake(&mut self, brake: CoolDown, now: Time) {
        let brakes = &mut self.record.brakes;
        let key = brake.scope.key();
        if brakes.len() >= MAX_BRAKES && !brakes.iter().any(|other| other.scope.key() == key) {
            brakes.retain(|other| other.until > now);
        }
        let is_known = brakes.iter().any(|other| other.scope.key() == key);
        if brake.until > now && (is_known || brakes.len() < MAX_BRAKES) {
            lengthen(brakes, brake);
        }
    }

    /// The latest end of a running brake on some methods.
    pub(super) fn brakes_until(&self, scopes: &[String], now: Time) -> Option<Time> {
        let brakes = self.record.brakes.iter().filter(|brake| brake.until > now);
        brakes.filter(|b| scopes.contains(&b.scope.key())).map(|brake| brake.until).max()
    }
}

/// Notes that something happened, in a list sorted by name, and forgets what is too long ago.
fn remember<T: Ord>(happened: &mut Vec<(T, Time)>, what: T, at: Time, window_start: Time) {
    match happened.binary_search_by(|(other, _)| other.cmp(&what)) {
        Ok(place) => happened[place].1 = happened[place].1.max(at),
        Err(place) => happened.insert(place, (what, at)),
    }
    happened.retain(|(_, at)| *at >= window_start);
}
