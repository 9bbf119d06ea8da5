//! What an onlooker writes down of a pool: when each session may be lent again, by its own count.

use std::collections::{BTreeMap, BTreeSet};

use telegate::pool::{
    Grant, PoolView, ReleaseCause, SessionState, Span, Standing, Time, verdict::Scope,
};

/// What is known of each session, and of the brakes.
#[derive(Default)]
pub(super) struct Ledger {
    sessions: BTreeMap<String, Card>,
    brakes: BTreeMap<String, Time>,
}

/// What is known of a session.
#[derive(Clone, Debug, Default)]
struct Card {
    account: Option<i64>,
    last_used: Time,
    leased_until: Option<Time>,
    rests_until: Time,
    /// Each scope that is closed, by its key, and until when at least.
    closed: BTreeMap<String, Time>,
    is_suspect: bool,
    is_out: bool,
}

/// When a session does, and what ends then.
type Ready = (Time, ReleaseCause);

impl Card {
    fn whole(&self) -> Time {
        let whole = ["session", "egress"].iter().filter_map(|key| self.closed.get(*key));
        whole.copied().max().unwrap_or_default()
    }

    fn ready(&self, scopes: &[String], probes: bool) -> Option<Ready> {
        if self.is_out || self.leased_until.is_none() && self.is_suspect && !probes {
            return None;
        }
        let base = match self.leased_until {
            Some(until) => (until, ReleaseCause::Lease),
            None if self.is_suspect => (self.rests_until.max(self.whole()), ReleaseCause::Rest),
            None if self.whole() >= self.rests_until => (self.whole(), ReleaseCause::CoolDown),
            None => (self.rests_until, ReleaseCause::Rest),
        };
        let closed = scopes.iter().filter_map(|scope| self.closed.get(scope)).max().copied();
        let later = closed.filter(|until| *until > base.0);
        Some(later.map_or(base, |until| (until, ReleaseCause::CoolDown)))
    }
}

impl Ledger {
    /// Lets leases run out, and forgets what is over.
    pub(super) fn pass(&mut self, now: Time, drain: Span) {
        for card in self.sessions.values_mut() {
            if let Some(expiry) = card.leased_until.filter(|expiry| *expiry <= now) {
                (card.leased_until, card.last_used) = (None, expiry);
                card.rests_until = expiry + drain;
            }
            card.closed.retain(|_, until| *until > now);
        }
        self.brakes.retain(|_, until| *until > now);
    }

    /// The sessions of which one must be lent now: the one that was used longest ago, or any of
    /// the suspect ones to a probe, since what orders those is over.
    pub(super) fn open(&self, scopes: &[String], probes: bool, now: Time) -> Vec<&str> {
        if scopes.iter().any(|scope| self.brakes.contains_key(scope)) {
            return Vec::new();
        }
        let does = |card: &Card| card.ready(scopes, probes).is_some_and(|(at, _)| at <= now);
        let open = || self.sessions.iter().filter(|(_, card)| does(card));
        let suspects: Vec<_> = open().filter(|(_, card)| card.is_suspect).collect();
        let first = open().min_by_key(|(name, card)| (card.last_used, *name));
        let lent = if suspects.is_empty() { first.into_iter().collect() } else { suspects };
        lent.into_iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The soonest moment at which a session does, and all that may be said to end then.
    pub(super) fn soonest(
        &self,
        scopes: &[String],
        probes: bool,
    ) -> Option<(Time, Vec<ReleaseCause>)> {
        let ready: Vec<Ready> =
            self.sessions.values().filter_map(|card| card.ready(scopes, probes)).collect();
        let at = ready.iter().map(|(at, _)| *at).min()?;
        match scopes.iter().filter_map(|scope| self.brakes.get(scope)).max() {
            Some(brake) if *brake > at => Some((*brake, vec![ReleaseCause::CoolDown])),
            _ => {
                let soonest = ready.iter().filter(|ready| ready.0 == at);
                Some((at, soonest.map(|(_, cause)| *cause).collect()))
            }
        }
    }

    /// There is a session.
    pub(super) fn opened(&mut self, session: &str, account: Option<i64>) {
        self.sessions.insert(session.to_owned(), Card { account, ..Card::default() });
    }

    /// All sessions.
    pub(super) fn names(&self) -> Vec<String> {
        self.sessions.keys().cloned().collect()
    }

    /// A session was lent.
    pub(super) fn lent(&mut self, grant: &Grant) {
        self.card(grant.record.name.as_str()).leased_until = Some(grant.lease.expires_at);
    }

    /// A lease was renewed.
    pub(super) fn renewed(&mut self, session: &str, expires_at: Time) {
        self.card(session).leased_until = Some(expires_at);
    }

    /// A session came back; a probe without an error clears it.
    pub(super) fn released(&mut self, session: &str, now: Time, clears: bool) {
        let card = self.card(session);
        (card.leased_until, card.last_used, card.rests_until) = (None, now, Time::default());
        card.is_suspect &= !clears;
    }

    /// Something was closed for a session.
    pub(super) fn closed(&mut self, session: &str, scope: &str, until: Time, now: Time) {
        if until > now {
            let known = self.card(session).closed.entry(scope.to_owned()).or_default();
            *known = until.max(*known);
        }
    }

    /// An operator restored a session.
    pub(super) fn restored(&mut self, session: &str) {
        let card = self.card(session);
        (card.is_out, card.is_suspect) = (false, false);
    }

    /// Compares with how the store says that a session stands, and takes over what only the store
    /// can know: what escalated, and what grew. Nothing that is known may have become shorter.
    pub(super) fn compare(&mut self, session: &str, standing: &Standing, now: Time) {
        let card = self.card(session);
        let running = standing.running(now);
        let shown: BTreeMap<_, _> =
            running.iter().map(|entry| (entry.scope.key(), entry.until)).collect();
        for (scope, until) in &card.closed {
            let shown = shown.get(scope).copied().unwrap_or_default();
            assert!(shown >= *until, "{session}: {scope} shrank from {until} to {shown}");
        }
        let by_escalation = ["E1", "E2", "R1"];
        for entry in &running {
            let (key, rule) = (entry.scope.key(), entry.rule.as_str());
            let known = card.closed.get(&key).copied().unwrap_or_default();
            let is_explained = known == entry.until || by_escalation.contains(&rule);
            assert!(is_explained, "{session}: {key} closed until {} by {rule}", entry.until);
            card.closed.insert(key, entry.until);
        }
        let was_out = card.is_out;
        card.is_suspect = standing.suspect.is_some();
        card.is_out = standing.state(now) == SessionState::Invalid;
        let leased_until = standing.lease.as_ref().map(|lease| lease.expires_at);
        if card.is_out && !was_out {
            // Its lease ended with it.
            (card.leased_until, card.last_used) = (leased_until, standing.last_used);
            card.rests_until = standing.rest_until;
        }
        assert_eq!(card.leased_until, leased_until, "{session}");
        assert_eq!(card.last_used, standing.last_used, "{session}");
        let rests_until = Some(card.rests_until).filter(|until| *until > now);
        assert_eq!(rests_until, Some(standing.rest_until).filter(|at| *at > now), "{session}");
    }

    /// What is closed for a session.
    pub(super) fn of(&self, session: &str) -> &BTreeMap<String, Time> {
        &self.sessions[session].closed
    }

    /// Takes over the brakes, which never become shorter.
    pub(super) fn brakes(&mut self, view: &PoolView) {
        let shown = view.brakes.iter().map(|brake| (brake.scope.key(), brake.until));
        let shown: BTreeMap<_, _> = shown.collect();
        for (method, until) in &self.brakes {
            let shown = shown.get(method).copied().unwrap_or_default();
            assert!(shown >= *until, "the brake on {method} shrank from {until} to {shown}");
        }
        self.brakes = shown;
    }

    /// The others of a session's account.
    pub(super) fn kin(&self, session: &str) -> BTreeSet<String> {
        let Some(account) = self.sessions[session].account else { return BTreeSet::new() };
        let kin = self.sessions.iter().filter(|(_, card)| card.account == Some(account));
        kin.map(|(name, _)| name.clone()).filter(|name| name != session).collect()
    }

    fn card(&mut self, session: &str) -> &mut Card {
        self.sessions.get_mut(session).expect("a session of the pool")
    }
}

/// The keys of what an Acquire asks for: by the law, a method needs its capability, too.
pub(super) fn scopes(methods: &[&str], chat: Option<&str>) -> Vec<String> {
    let keys = methods.iter().flat_map(|method| {
        let capability = match *method {
            "upload.getFile" => Some("capability:transfer".to_owned()),
            "messages.sendMessage" => Some("capability:strangers".to_owned()),
            _ => None,
        };
        let name = method.split('.').next_back().unwrap_or_default().to_lowercase();
        capability.into_iter().chain([format!("method:{name}")])
    });
    keys.chain(chat.map(|chat| Scope::Peer(chat.to_owned()).key())).collect()
}
