//! Errors as workers meet them under a lease, and what a stage does with them.

use telegate::{
    pool::{
        Assessment, CoolDown, Effect, KeyId, LeaseId, NewSession, ReleaseOutcome, Report,
        SessionName, SessionState, SessionView, Span, Time, assess, verdict::Scope,
    },
    store,
};

use super::stage::{ANN, Answer, POOL, Stage, Want, key, lawful, name, pool_name, session};

/// What an error means that says no more than its code and its message.
pub(crate) fn error(code: i32, message: &str) -> Assessment {
    assess(&Report { code, message: message.to_owned(), ..Report::default() })
}

/// A flood wait on a method, of at least two seconds: Telegram rounds them down.
pub(crate) fn flood(method: &str, secs: u64) -> Assessment {
    let message = format!("FLOOD_WAIT_{}", secs - 1);
    assess(&Report { code: 420, message, method: method.to_owned(), ..Report::default() })
}

/// A flood wait that tells no method and so closes the whole session.
pub(crate) fn whole(secs: u64) -> Assessment {
    flood("", secs)
}

/// A chat in slow mode.
pub(crate) fn slow_mode(peer: &str, secs: u64) -> Assessment {
    let message = format!("SLOWMODE_WAIT_{secs}");
    assess(&Report { code: 420, message, peer: peer.to_owned(), ..Report::default() })
}

/// A wait on a capability: transfer.
pub(crate) fn premium(secs: u64) -> Assessment {
    error(420, &format!("FLOOD_PREMIUM_WAIT_{secs}"))
}

/// The same error, at that moment.
pub(crate) fn at(error: Assessment, time: Time) -> Assessment {
    Assessment { occurred_at: Some(time), ..error }
}

/// Too many connections from one address: ten seconds at first, ten minutes at most.
pub(crate) fn crowded() -> Assessment {
    assess(&Report { transport_code: -429, ..Report::default() })
}

/// A restriction of the account that grows: a day at first, a week at most.
pub(crate) fn peer_flood() -> Assessment {
    error(400, "PEER_FLOOD")
}

/// A session that may be dead.
pub(crate) fn unknown_key() -> Assessment {
    error(401, "AUTH_KEY_UNREGISTERED")
}

/// An error that no dead session is answered, and that closes nothing.
pub(crate) fn wrong() -> Assessment {
    error(400, "MESSAGE_EMPTY")
}

/// A session to add, of an account.
pub(crate) fn of_account(name: &str, account: i64) -> NewSession {
    NewSession { account_id: Some(account), ..session(name) }
}

/// What a report did that closed something.
pub(crate) fn closed(t: &Stage, until: Time, state: SessionState) -> Effect {
    let until = Some(until);
    let (escalations, at) = (Vec::new(), t.now());
    Effect { until, escalations, state, at, account: None, breach: None }
}

/// An entry of a session's cool-downs.
pub(crate) fn cool_down(scope: Scope, until: Time, rule: &str, cause: &str) -> CoolDown {
    CoolDown { scope, until, rule: rule.to_owned(), cause: cause.to_owned() }
}

/// A method as a scope.
pub(crate) fn method(name: &str) -> Scope {
    Scope::Method(name.to_owned())
}

impl Stage {
    /// Reports an error.
    pub(crate) async fn report(&self, lease: &LeaseId, error: &Assessment) -> Answer<Effect> {
        self.report_as(lease, ANN, error).await
    }

    /// Reports an error with somebody's key.
    pub(crate) async fn report_as(
        &self,
        lease: &LeaseId,
        by: &str,
        error: &Assessment,
    ) -> Answer<Effect> {
        lawful(self.store.report(lease, &key(by), error).await)
    }

    /// Gives back with the error that ended the work.
    pub(crate) async fn release_over(
        &self,
        lease: &LeaseId,
        error: &Assessment,
    ) -> Answer<(ReleaseOutcome, Option<Effect>)> {
        lawful(self.store.release(lease, &key(ANN), Span::ZERO, Some(error)).await)
    }

    /// Lends a session by name, meets an error, gives it back.
    pub(crate) async fn meets(&self, session: &'static str, error: &Assessment) -> Effect {
        let lease = self.lend(super::stage::want().named(session)).await;
        let (outcome, effect) = self.release_over(&lease, error).await.expect("the lease runs");
        assert_eq!(outcome, ReleaseOutcome::Released);
        effect.expect("a report has an effect")
    }

    /// Tells the case's pool of an account's trouble elsewhere.
    pub(crate) async fn afflict(&self, account: i64, error: &Assessment) -> Answer<u32> {
        let by: KeyId = key(ANN);
        lawful(self.store.afflict(&pool_name(POOL), account, &by, error).await)
    }

    /// Ends a cool-down of a session.
    pub(crate) async fn clear(&self, session: &str, scope: &Scope) -> Answer<SessionView> {
        let session = name(session);
        let cleared = self
            .store
            .clear_cool_down(&pool_name(POOL), Some(&session), scope, &super::mandate())
            .await;
        lawful(cleared).map(|view| view.expect("a session was named"))
    }

    /// Ends a brake.
    pub(crate) async fn clear_brake(&self, method: &str) {
        let scope = Scope::Method(method.to_owned());
        let cleared: store::Result<_> =
            self.store.clear_cool_down(&pool_name(POOL), None, &scope, &super::mandate()).await;
        assert_eq!(lawful(cleared), Ok(None));
    }

    /// Which session an Acquire would get.
    pub(crate) async fn explain(&self, want: Want) -> Answer<SessionName> {
        let ask = want.ask(|| self.fresh_secret());
        lawful(self.store.explain(&pool_name(POOL), ask).await)
    }
}
