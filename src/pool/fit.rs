//! Why a session would not do for an ask, for people who wonder.

use super::{Ask, CoolDown, Holder, InvalidReason, SessionState, SessionView, Suspicion, Time};

/// Why an Acquire passes a session over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Another session is asked for by name.
    NotNamed,
    /// Its labels do not match.
    Unmatched,
    /// It is out of the pool.
    Invalid(InvalidReason),
    /// Somebody has it.
    Leased {
        /// Who.
        holder: Holder,
        /// Until when, unless renewed.
        until: Time,
    },
    /// It may be dead, and no probe is asked for.
    Suspect(Suspicion),
    /// It may be dead, and it is too early for a probe.
    NotYetProbed {
        /// From when it may be probed.
        from: Time,
    },
    /// It rests or drains.
    Resting {
        /// Until when.
        until: Time,
    },
    /// It cools down, as a whole or in a scope that is asked for.
    CoolingDown(CoolDown),
}

/// Why a session would not do, if it would not. The first reason counts that lasts longest: what
/// never passes, then what somebody must end, then what passes by itself.
#[must_use]
pub fn unfit(view: &SessionView, ask: &Ask) -> Option<Unfit> {
    let SessionView { record, standing, at } = view;
    if ask.session.as_ref().is_some_and(|name| *name != record.name) {
        return Some(Unfit::NotNamed);
    }
    if !ask.selector.matches(&record.labels) {
        return Some(Unfit::Unmatched);
    }
    if let Some(why) = &standing.invalid {
        return Some(Unfit::Invalid(why.reason));
    }
    if let Some(suspicion) = standing.suspect.as_ref().filter(|_| !ask.probe) {
        return Some(Unfit::Suspect(suspicion.clone()));
    }
    let running = standing.running(*at);
    let scopes: Vec<_> = ask.scopes().iter().map(super::verdict::Scope::key).collect();
    let narrow = running.iter().filter(|entry| scopes.contains(&entry.scope.key()));
    let narrow = narrow.max_by_key(|entry| entry.until).cloned();
    let whole = running.iter().filter(|entry| entry.scope.is_whole());
    let whole = whole.max_by_key(|entry| entry.until).cloned();
    let base = match standing.state(*at) {
        SessionState::Leased => standing.lease.as_ref().map(|lease| {
            let (holder, until) = (lease.holder.clone(), lease.expires_at);
            (until, Unfit::Leased { holder, until })
        }),
        SessionState::Suspect => {
            standing.state_until(*at).map(|from| (from, Unfit::NotYetProbed { from }))
        }
        SessionState::FloodWait => whole.map(|entry| (entry.until, Unfit::CoolingDown(entry))),
        SessionState::Resting => {
            Some((standing.rest_until, Unfit::Resting { until: standing.rest_until }))
        }
        SessionState::Ready | SessionState::Invalid => None,
    };
    match (base, narrow) {
        (Some((until, _)), Some(entry)) if entry.until > until => Some(Unfit::CoolingDown(entry)),
        (Some((_, why)), _) => Some(why),
        (None, narrow) => narrow.map(Unfit::CoolingDown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{
        Credential, EndCause, Fingerprint, Invalidation, KeyId, Labels, Lease, LeaseSecret,
        Selector, SessionName, SessionRecord, Span, Standing, verdict::Scope,
    };

    const NOW: Time = Time(1_000_000);

    fn view(change: impl FnOnce(&mut Standing)) -> SessionView {
        let mut standing = Standing::default();
        change(&mut standing);
        let record = SessionRecord {
            name: SessionName::parse("alice").unwrap(),
            labels: Labels::from([("country".into(), "de".into())]),
            fingerprint: Fingerprint::new("00"),
            account_id: None,
            proxy: None,
            device: None,
            credential: Credential(Vec::new()),
            created_at: Time::default(),
        };
        SessionView { record, standing, at: NOW }
    }

    fn ask() -> Ask {
        Ask {
            holder: Holder { key: KeyId::new("ann"), purpose: String::new() },
            ttl: None,
            selector: Selector::default(),
            session: None,
            methods: Vec::new(),
            peer: None,
            probe: false,
            request: None,
            secret: LeaseSecret::new([0; 16]),
            retried_for: None,
        }
    }

    fn cool_down(scope: Scope, secs: u64) -> CoolDown {
        let (rule, cause) = ("W1".to_owned(), "FLOOD_WAIT".to_owned());
        CoolDown { scope, until: NOW + Span::secs(secs), rule, cause }
    }

    fn suspicion() -> Suspicion {
        let (rule, cause) = ("D4".to_owned(), "AUTH_KEY_UNREGISTERED".to_owned());
        Suspicion { epoch: 1, rule, cause, by: KeyId::new("ann"), at: NOW }
    }

    fn leased(standing: &mut Standing) {
        standing.lease = Some(Lease {
            secret: LeaseSecret::new([1; 16]),
            epoch: 1,
            holder: Holder { key: KeyId::new("bob"), purpose: "news".into() },
            request: None,
            granted_at: NOW,
            expires_at: NOW + Span::secs(60),
            max_expires_at: NOW + Span::hours(1),
            ttl: Span::secs(60),
            deliveries: 1,
            renewals: 0,
        });
    }

    #[test]
    fn a_free_session_does_unless_it_cools_down_for_what_is_asked() {
        let history = Scope::Method("messages.getHistory".into());
        let cooling = view(|s| s.cool_downs = vec![cool_down(history, 60)]);
        assert_eq!(unfit(&cooling, &ask()), None, "no method is asked for");
        let other = Ask { methods: vec!["SendMessageRequest".into()], ..ask() };
        assert_eq!(unfit(&cooling, &other), None);
        let same = Ask { methods: vec!["GetHistoryRequest".into()], ..ask() };
        let Some(Unfit::CoolingDown(entry)) = unfit(&cooling, &same) else { panic!("it cools") };
        assert_eq!(entry.until, NOW + Span::secs(60));
        let over = SessionView { at: NOW + Span::secs(60), ..cooling };
        assert_eq!(unfit(&over, &same), None);
    }

    #[test]
    fn what_lasts_longest_is_told() {
        let peer = Ask { peer: Some("channel:1".into()), ..ask() };
        let entry = |secs| cool_down(Scope::Peer("channel:1".into()), secs);
        let with = |secs| {
            view(|s| {
                leased(s);
                s.cool_downs = vec![entry(secs)];
            })
        };
        assert!(matches!(unfit(&with(59), &peer), Some(Unfit::Leased { .. })));
        assert_eq!(unfit(&with(61), &peer), Some(Unfit::CoolingDown(entry(61))));
        let suspect = view(|s| {
            leased(s);
            s.suspect = Some(suspicion());
        });
        assert_eq!(unfit(&suspect, &ask()), Some(Unfit::Suspect(suspicion())));
        let probe = Ask { probe: true, ..ask() };
        assert!(matches!(unfit(&suspect, &probe), Some(Unfit::Leased { .. })));
    }

    #[test]
    fn every_other_reason_is_told_as_it_is() {
        let probe = Ask { probe: true, ..ask() };
        let rest = |s: &mut Standing| s.rest(NOW, Span::secs(5));
        let until = NOW + Span::secs(5);
        assert_eq!(unfit(&view(rest), &ask()), Some(Unfit::Resting { until }));
        let whole = cool_down(Scope::Session, 9);
        let flooded = view(|s| s.cool_downs = vec![whole.clone()]);
        assert_eq!(unfit(&flooded, &ask()), Some(Unfit::CoolingDown(whole)));
        let suspect = view(|s| {
            s.suspect = Some(suspicion());
            rest(s);
        });
        assert_eq!(unfit(&suspect, &probe), Some(Unfit::NotYetProbed { from: until }));
        let ready = view(|s| s.suspect = Some(suspicion()));
        assert_eq!(unfit(&ready, &probe), None);
        let invalid = view(|s| {
            leased(s);
            s.end_lease(EndCause::Surrendered, NOW);
            s.invalid = Some(Invalidation {
                reason: InvalidReason::Banned,
                detail: String::new(),
                by: KeyId::new("ann"),
                at: NOW,
            });
        });
        assert_eq!(unfit(&invalid, &probe), Some(Unfit::Invalid(InvalidReason::Banned)));
        let selector = Selector::parse("country=fr").unwrap();
        assert_eq!(unfit(&ready, &Ask { selector, ..ask() }), Some(Unfit::Unmatched));
        let session = SessionName::parse("bob");
        assert_eq!(unfit(&ready, &Ask { session, ..ask() }), Some(Unfit::NotNamed));
    }
}
