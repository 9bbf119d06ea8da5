//! Report: what an error does to the session that met it, and to the account's other sessions.

use super::{
    Assessment, Change, CoolDown, Effect, EndCause, Escalation, EventVerb, Holder, InvalidReason,
    Invalidation, KeyId, LeaseId, MAX_OF_ACCOUNT, Mandate, Pool, Refusal, SessionName, SessionView,
    Standing, Suspicion, Time,
    escalation::{Fired, Flood},
    reasoned,
    verdict::{Action, Reach, Scope},
};

/// The lease under which an error was met.
#[derive(Clone, Copy, Debug)]
struct Witness {
    /// Its fencing number.
    epoch: u64,
    /// Whether it runs, or is the last that the session remembers.
    is_running: bool,
}

impl Pool {
    /// Takes note of an error seen under a lease that runs, or that is the last of its session: a
    /// report may come after the release.
    ///
    /// # Errors
    ///
    /// `LeaseLost`, `LeaseNotFound`, `NotHolder`.
    pub fn report(
        &mut self,
        id: &LeaseId,
        key: &KeyId,
        error: &Assessment,
        now: Time,
    ) -> Result<Effect, Refusal> {
        self.settle(now);
        self.take_note(id, key, error, now)
    }

    /// As a report, when what is due is settled.
    pub(super) fn take_note(
        &mut self,
        id: &LeaseId,
        key: &KeyId,
        error: &Assessment,
        now: Time,
    ) -> Result<Effect, Refusal> {
        let witness = self.witness(id, key, now)?;
        let name = &id.session;
        let session = self.session(name)?;
        let breach = (error.action == Action::Invalidated(InvalidReason::KeyDuplicated))
            .then(|| session.standing.holders());
        let account = session.record.account_id.filter(|_| error.reach == Reach::Account);
        let mut fired = Fired::default();
        let until = match error.action {
            Action::CoolDown | Action::Restricted => {
                let until = self.close(name, account, error, &mut fired, now);
                self.clear(name, witness);
                until
            }
            Action::Verify => {
                self.suspect(name, witness, key, error, now);
                error.term.end(error.since(now), 0)
            }
            Action::Invalidated(reason) => {
                let why = why(reason, error, key, now);
                self.take_out(name, why.clone(), witness, now);
                for other in self.others_of(account, name) {
                    self.settle_session(&other, now);
                    self.condemn(&other, why.clone(), now);
                }
                None
            }
            Action::Denied | Action::FixRequest => {
                self.clear(name, witness);
                None
            }
            Action::Retry | Action::Migrate | Action::Login | Action::App => None,
        };
        let state = self.session(name)?.standing.state(now);
        Ok(Effect { until, escalations: fired.told(), state, at: now, account, breach })
    }

    /// What an error of a session in another pool does to the account's sessions in this one.
    /// Tells how many it touched. Nothing escalates.
    pub fn afflict(&mut self, account: i64, by: &KeyId, error: &Assessment, now: Time) -> u32 {
        self.settle(now);
        let mut touched = 0;
        for name in self.of_account(account) {
            self.settle_session(&name, now);
            let was_valid = self.sessions.get(&name).is_some_and(|s| s.standing.invalid.is_none());
            let reached = match error.action {
                Action::Invalidated(reason) => {
                    self.condemn(&name, why(reason, error, by, now), now);
                    true
                }
                _ => error.term.end(error.since(now), 0).filter(|_| error.closes()).is_some_and(
                    |until| {
                        self.enter(&name, cool_down(error, until), now);
                        until > now
                    },
                ),
            };
            touched += u32::from(reached && was_valid);
        }
        touched
    }

    /// Ends one cool-down of a session, or the brake on a method in the whole pool when no session
    /// is named, before its time. Idempotent.
    ///
    /// # Errors
    ///
    /// `SessionNotFound`.
    pub fn clear_cool_down(
        &mut self,
        session: Option<&SessionName>,
        scope: &Scope,
        on: &Mandate,
        now: Time,
    ) -> Result<Option<SessionView>, Refusal> {
        self.settle(now);
        let key = scope.key();
        let what = reasoned(&key, &on.detail);
        let is_it = |entry: &CoolDown| entry.scope.key() == key;
        let Some(name) = session else {
            let runs = self.record.brakes.iter().any(|brake| is_it(brake) && brake.until > now);
            if self.record.brakes.iter().any(is_it) {
                self.record.brakes.retain(|brake| !is_it(brake));
                self.changes.push(Change::Pool);
            }
            if runs {
                self.note_own(EventVerb::ClearCoolDown, &on.by, what, now);
            }
            self.reconsider = true;
            return Ok(None);
        };
        self.session(name)?;
        self.settle_session(name, now);
        if self.session(name)?.standing.cool_downs.iter().any(is_it) {
            self.restand(name, |standing| standing.cool_downs.retain(|entry| !is_it(entry)));
            self.note(name, EventVerb::ClearCoolDown, Some(&on.by), what, now);
            self.settle_session(name, now);
        }
        self.view(name, now).map(Some)
    }

    /// The lease, if this key may report under it.
    fn witness(&mut self, id: &LeaseId, key: &KeyId, now: Time) -> Result<Witness, Refusal> {
        match self.held(id, key, now) {
            Ok(lease) => Ok(Witness { epoch: lease.epoch, is_running: true }),
            Err(lost @ Refusal::LeaseLost { .. }) => {
                let ended = self.session(&id.session)?.standing.ended.as_ref();
                let Some(ended) = ended.filter(|ended| ended.secret == id.secret) else {
                    return Err(lost);
                };
                if ended.holder.as_ref().is_some_and(|holder| holder != key) {
                    let (pool, session) = (self.name(), id.session.clone());
                    return Err(Refusal::NotHolder { pool, session });
                }
                Ok(Witness { epoch: ended.epoch, is_running: false })
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Closes what a cool-down or restriction is about, for the session and where it reaches the
    /// account. Tells the end of what stands.
    fn close(
        &mut self,
        name: &SessionName,
        account: Option<i64>,
        error: &Assessment,
        fired: &mut Fired,
        now: Time,
    ) -> Option<Time> {
        if !error.closes() {
            return None;
        }
        let since = error.since(now);
        let policy = self.record.policy.escalation;
        let mut ends = None;
        let stood = self
            .session(name)
            .map_or(Time::default(), |session| session.standing.until_of(&error.scope));
        self.restand(name, |standing| {
            let Some(until) = standing.term_ends(error, since, &policy, fired) else { return };
            let entered = standing.enter(cool_down(error, until), now);
            if entered.overflowed {
                fired.note(Escalation::E5);
            }
            if let Some(flood) = Flood::of(error, since, until).filter(|_| !policy.disabled) {
                standing.escalate(&flood, &policy, fired, now);
            }
            ends = Some((until, entered.until));
        });
        let (until, stands) = ends?;
        self.count_flood(error, stood, until, now);
        for other in self.others_of(account, name) {
            self.settle_session(&other, now);
            self.enter(&other, cool_down(error, until), now);
        }
        if let Some(flood) = Flood::of(error, since, until).filter(|_| !policy.disabled) {
            self.brake(name, &flood, fired, now);
        }
        Some(stands)
    }

    fn enter(&mut self, name: &SessionName, entry: CoolDown, now: Time) {
        if entry.until > now {
            self.restand(name, |standing| {
                standing.enter(entry, now);
            });
        }
    }

    /// Puts a session under suspicion; one that a probe found so again is dead.
    fn suspect(
        &mut self,
        name: &SessionName,
        witness: Witness,
        by: &KeyId,
        error: &Assessment,
        now: Time,
    ) {
        let Ok(session) = self.session(name) else { return };
        if session.standing.invalid.is_some() {
            return;
        }
        match &session.standing.suspect {
            None => {
                let suspicion = Suspicion {
                    epoch: witness.epoch,
                    rule: error.rule.to_owned(),
                    cause: error.name.clone(),
                    by: by.clone(),
                    at: now,
                };
                self.restand(name, |standing| standing.suspect = Some(suspicion));
                self.note(name, EventVerb::Suspect, Some(by), error.name.as_str(), now);
            }
            Some(suspicion) if witness.epoch > suspicion.epoch => {
                let why = why(InvalidReason::KeyUnregistered, error, by, now);
                self.take_out(name, why, witness, now);
            }
            Some(_) => {}
        }
    }

    /// Lifts the suspicion when a probe was answered by what no dead key is answered.
    fn clear(&mut self, name: &SessionName, witness: Witness) {
        let session = self.sessions.get(name);
        if session.is_some_and(|session| session.standing.is_probed_by(witness.epoch)) {
            self.restand(name, |standing| standing.suspect = None);
        }
    }

    /// Takes the session of a report out of the pool, and ends the reporter's own lease.
    fn take_out(&mut self, name: &SessionName, why: Invalidation, witness: Witness, now: Time) {
        if witness.is_running {
            let (by, detail) = (why.by.clone(), why.summary());
            self.restand(name, |standing| {
                standing.end_lease(EndCause::Surrendered, now);
                standing.invalid = Some(why);
            });
            self.note(name, EventVerb::Surrender, Some(&by), detail, now);
        } else {
            self.condemn(name, why, now);
        }
    }

    /// The sessions of an account, boundedly.
    fn of_account(&self, account: i64) -> Vec<SessionName> {
        let names = self.accounts.get(&account).into_iter().flatten();
        names.take(MAX_OF_ACCOUNT).cloned().collect()
    }

    /// The other sessions of an account, where there is one.
    fn others_of(&self, account: Option<i64>, name: &SessionName) -> Vec<SessionName> {
        let mut names = account.map_or_else(Vec::new, |account| self.of_account(account));
        names.retain(|other| other != name);
        names
    }
}

impl Standing {
    /// Whether a lease of that fencing number is a probe.
    pub(super) fn is_probed_by(&self, epoch: u64) -> bool {
        self.suspect.as_ref().is_some_and(|suspicion| epoch > suspicion.epoch)
    }

    /// Who holds it, then who held it last, as far as that is known.
    fn holders(&self) -> Vec<Holder> {
        let holds = self.lease.as_ref().map(|lease| lease.holder.clone());
        let held = self.ended.as_ref().and_then(|ended| ended.holder.clone());
        let held = held.map(|key| Holder { key, purpose: String::new() });
        holds.into_iter().chain(held).collect()
    }
}

fn cool_down(error: &Assessment, until: Time) -> CoolDown {
    let (rule, cause) = (error.rule.to_owned(), error.name.clone());
    CoolDown { scope: error.scope.clone(), until, rule, cause }
}

fn why(reason: InvalidReason, error: &Assessment, by: &KeyId, at: Time) -> Invalidation {
    Invalidation { reason, detail: error.name.clone(), by: by.clone(), at }
}
