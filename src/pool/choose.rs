//! The choice: which session an ask gets, and when none, what comes free for it next.

use std::collections::BTreeSet;

use super::{
    Ask, NextRelease, Pool, Refusal, ReleaseCause, Requirement, Selector, SessionName, Standing,
    Time, WALK_LIMIT,
    seats::{Line, Seat},
};

/// Up to how many values of a label are looked at one by one where any would do.
const FEW_VALUES: usize = 64;

/// What an ask wishes of a session, worked out once.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    ask: &'a Ask,
    /// The keys of the scopes in which it must not cool down, in order.
    pub(super) scopes: Vec<String>,
}

/// The soonest release that was found so far, and what ends then.
type Soonest = Option<(Time, ReleaseCause)>;

impl<'a> Wish<'a> {
    /// What an ask wishes.
    pub(super) fn of(ask: &'a Ask) -> Self {
        Self { ask, scopes: ask.scopes().iter().map(super::verdict::Scope::key).collect() }
    }
}

impl Standing {
    /// The latest end of a cool-down in some scopes; none when there is no such cool-down.
    pub(super) fn cools_until(&self, scopes: &[String]) -> Option<Time> {
        if scopes.is_empty() {
            return None;
        }
        let asked = self.cool_downs.iter().filter(|entry| scopes.contains(&entry.scope.key()));
        asked.map(|entry| entry.until).max()
    }
}

impl Pool {
    /// The session that an ask gets.
    pub(super) fn choose(&self, wish: &Wish<'_>, now: Time) -> Result<SessionName, Refusal> {
        let braked = self.brakes_until(&wish.scopes, now);
        let found = self.first_fit(wish, now);
        let next = match (found, braked) {
            (Some(name), None) => return Ok(name),
            (Some(_), Some(until)) => Some((until, ReleaseCause::CoolDown)),
            // Nothing comes before the brake is over.
            (None, braked) => self.next_fit(wish).map(|(at, cause)| match braked {
                Some(until) if until > at => (until, ReleaseCause::CoolDown),
                _ => (at, cause),
            }),
        };
        Err(self.refusal(wish, next, now))
    }

    fn refusal(&self, wish: &Wish<'_>, next: Soonest, now: Time) -> Refusal {
        let (pool, counts, queue) = (self.name(), self.counts(now), self.queue(now));
        let next = next.map(|(at, cause)| NextRelease { after: at.since(now), cause });
        match next {
            Some(next) if next.cause == ReleaseCause::CoolDown => {
                Refusal::PoolFloodWait { pool, counts, next, queue }
            }
            Some(next) => Refusal::PoolBusy { pool, counts, next, queue },
            None if self.any_matches(wish.ask) => Refusal::PoolDepleted { pool, counts },
            None => {
                let selector = wish.ask.selector.clone();
                Refusal::NoMatchingSession { pool, selector, counts }
            }
        }
    }

    /// The first session that does now: a suspect one for a probe, else the least recently used.
    fn first_fit(&self, wish: &Wish<'_>, now: Time) -> Option<SessionName> {
        let ask = wish.ask;
        if let Some(name) = &ask.session {
            let does = match self.sessions.get(name)?.standing.seat()? {
                Seat::Free(_) => true,
                Seat::Suspect(from) => ask.probe && from <= now,
                Seat::Leased(_) | Seat::Flooded(_) | Seat::Resting(_) => false,
            };
            return (does && self.fits(name, wish)).then(|| name.clone());
        }
        if ask.probe {
            let due = self.seats.suspects.iter().take_while(|(from, _)| *from <= now);
            if let Some((_, name)) = due.into_iter().find(|(_, name)| self.fits(name, wish)) {
                return Some(name.clone());
            }
        }
        let Some(few) = self.rarest(&ask.selector) else {
            let mut open = self.seats.open(&wish.scopes);
            return open.find(|name| self.matches(name, &ask.selector)).cloned();
        };
        let free = |name: &SessionName| match self.sessions.get(name)?.standing.seat()? {
            Seat::Free(since) => Some((since, name.clone())),
            _ => None,
        };
        let fitting = few.into_iter().filter(|name| self.fits(name, wish));
        fitting.filter_map(free).min().map(|(_, name)| name)
    }

    /// Whether a session matches and cools down in no scope that is asked for. What is over but
    /// not settled counts, as it does everywhere.
    pub(super) fn fits(&self, name: &SessionName, wish: &Wish<'_>) -> bool {
        let cools = |standing: &Standing| standing.cools_until(&wish.scopes).is_some();
        self.matches(name, &wish.ask.selector)
            && self.sessions.get(name).is_some_and(|session| !cools(&session.standing))
    }

    /// The sessions that could match, when the selector names a label so rare that looking at each
    /// of them costs less than walking along the free ones.
    fn rarest(&self, selector: &Selector) -> Option<Vec<&SessionName>> {
        let few = self.labelled_for(selector)?;
        let count: usize = few.iter().map(|names| names.len()).sum();
        (count * count <= self.seats.free.len().max(256))
            .then(|| few.into_iter().flatten().collect())
    }

    /// The sessions with the labels of that requirement which fewest have, if one asks for labels.
    fn labelled_for(&self, selector: &Selector) -> Option<Vec<&BTreeSet<SessionName>>> {
        let labelled = |requirement: &Requirement| match requirement {
            Requirement::In(key, values) => {
                let of = |value: &String| self.labelled.get(&(key.clone(), value.clone()));
                Some(values.iter().filter_map(of).collect::<Vec<_>>())
            }
            Requirement::Exists(key) => {
                let from = self.labelled.range((key.clone(), String::new())..);
                let all = from.take_while(|((of, _), _)| of == key).map(|(_, names)| names);
                let few: Vec<_> = all.take(FEW_VALUES + 1).collect();
                (few.len() <= FEW_VALUES).then_some(few)
            }
            Requirement::NotIn(..) | Requirement::Missing(_) => None,
        };
        let count =
            |sets: &Vec<&BTreeSet<SessionName>>| sets.iter().map(|it| it.len()).sum::<usize>();
        selector.requirements().iter().filter_map(labelled).min_by_key(count)
    }

    pub(super) fn matches(&self, name: &SessionName, selector: &Selector) -> bool {
        selector.is_empty()
            || self.sessions.get(name).is_some_and(|s| selector.matches(&s.record.labels))
    }

    /// Whether any session would do, whatever its state.
    fn any_matches(&self, ask: &Ask) -> bool {
        match &ask.session {
            Some(name) => self.matches(name, &ask.selector),
            None => match self.labelled_for(&ask.selector) {
                Some(few) => few.into_iter().flatten().any(|it| self.matches(it, &ask.selector)),
                None => self.sessions.keys().any(|name| self.matches(name, &ask.selector)),
            },
        }
    }

    /// The soonest release in the whole pool. What is due but not settled counts as ending now.
    pub(super) fn next_release(&self, now: Time) -> Option<NextRelease> {
        let first = |line: &Line| line.first().map(|(at, _)| *at);
        let lists = [
            (first(&self.seats.rests), ReleaseCause::Rest),
            (first(&self.seats.leases), ReleaseCause::Lease),
            (first(&self.seats.floods), ReleaseCause::CoolDown),
        ];
        let found = lists.into_iter().filter_map(|(at, cause)| Some((at?, cause)));
        let (at, cause) = found.min_by_key(|(at, _)| *at)?;
        Some(NextRelease { after: at.since(now), cause })
    }

    /// The soonest moment at which a session does for an ask, when none does now.
    fn next_fit(&self, wish: &Wish<'_>) -> Soonest {
        let ask = wish.ask;
        if let Some(name) = &ask.session {
            return self.ready(name, wish).filter(|_| self.matches(name, &ask.selector));
        }
        let (seats, mut best) = (&self.seats, None);
        self.walk(seats.rests.iter(), ReleaseCause::Rest, wish, &mut best);
        self.walk(seats.leases.iter(), ReleaseCause::Lease, wish, &mut best);
        self.walk(seats.floods.iter(), ReleaseCause::CoolDown, wish, &mut best);
        if ask.probe {
            self.walk(seats.suspects.iter(), ReleaseCause::Rest, wish, &mut best);
        }
        for scope in &wish.scopes {
            self.walk(seats.line(scope), ReleaseCause::CoolDown, wish, &mut best);
        }
        best
    }

    /// Walks along sessions in the order of a time that none does before, and takes the soonest.
    ///
    /// An ask that names scopes looks at so many: then the time that comes next is taken, which is
    /// not too late. One that names none has its answer with the first that matches.
    fn walk<'a>(
        &self,
        line: impl Iterator<Item = &'a (Time, SessionName)>,
        cause: ReleaseCause,
        wish: &Wish<'_>,
        best: &mut Soonest,
    ) {
        let is_sooner = |at: Time, best: &Soonest| best.is_none_or(|(soonest, _)| at < soonest);
        for (looks, (at, name)) in line.enumerate() {
            if !is_sooner(*at, best) {
                return;
            }
            if !wish.scopes.is_empty() && looks == WALK_LIMIT {
                *best = Some((*at, cause));
                return;
            }
            let ready = self.ready(name, wish).filter(|_| self.matches(name, &wish.ask.selector));
            if let Some(ready) = ready.filter(|(at, _)| is_sooner(*at, best)) {
                *best = Some(ready);
            }
        }
    }

    /// When a session does for an ask, if it ever does by itself.
    fn ready(&self, name: &SessionName, wish: &Wish<'_>) -> Soonest {
        let standing = &self.sessions.get(name)?.standing;
        let base = match standing.seat()? {
            Seat::Leased(until) => (until, ReleaseCause::Lease),
            Seat::Resting(until) => (until, ReleaseCause::Rest),
            Seat::Flooded(until) => (until, ReleaseCause::CoolDown),
            Seat::Suspect(from) if wish.ask.probe => (from, ReleaseCause::Rest),
            Seat::Suspect(_) => return None,
            Seat::Free(_) => (Time::default(), ReleaseCause::CoolDown),
        };
        let cools = standing.cools_until(&wish.scopes);
        Some(cools.filter(|until| *until > base.0).map_or(base, |at| (at, ReleaseCause::CoolDown)))
    }
}
