//! What operators change of pools and sessions that are in use.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use telegate::pool::{
    Credential, Edit, EndCause, Escalations, Labels, MAX_LABELS, Policy, PolicyChange, PolicyFault,
    PoolMode, PoolRecord, PoolView, Refusal, SessionChange, SessionRecord, SessionView, Span,
};

use super::{DRAIN, TICK, TTL, lost, no_pool};
use crate::harness::{
    mandate,
    stage::{Answer, Stage, labelled, lawful, name, pool_name, session, want, why},
};

async fn update_pool(t: &Stage, change: PolicyChange) -> Answer<PoolView> {
    lawful(t.store.update_pool(&pool_name("p"), change, &mandate()).await)
}

async fn delete_pool(t: &Stage) -> Answer<()> {
    lawful(t.store.delete_pool(&pool_name("p"), &mandate()).await)
}

async fn update(t: &Stage, session: &str, change: SessionChange) -> Answer<SessionView> {
    lawful(t.store.update_session(&pool_name("p"), &name(session), change, &mandate()).await)
}

fn edits(edits: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    edits.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect()
}

fn labels(some: &[(&str, Option<&str>)]) -> SessionChange {
    SessionChange { edits: edits(some), ..SessionChange::default() }
}

fn resting(rest: Span) -> PolicyChange {
    PolicyChange { rest: Some(rest), ..PolicyChange::default() }
}

fn draining(drain: Span) -> PolicyChange {
    PolicyChange { drain: Some(drain), ..PolicyChange::default() }
}

law! {
    async fn a_change_of_policy_changes_what_it_names_and_is_dated(t) {
        let before = t.pool(Policy::default()).await.record;
        t.advance(Span::secs(1));
        let changed = update_pool(t, resting(Span::secs(7))).await.unwrap().record;
        let policy = Policy { rest: Span::secs(7), ..Policy::default() };
        assert_eq!(changed, PoolRecord { policy, updated_at: t.now(), ..before });
        t.reopen().await;
        let kept = lawful(t.store.get_pool(&pool_name("p")).await).unwrap();
        assert_eq!(kept.record, changed);
    }

    async fn every_field_of_a_policy_can_be_changed(t) {
        t.pool(Policy::default()).await;
        let policy = Policy {
            min_ttl: Span::secs(1),
            default_ttl: Span::secs(2),
            max_ttl: Span::secs(3),
            max_lifetime: Span::secs(4),
            rest: Span::secs(5),
            drain: Span::secs(6),
            max_waiters: 7,
            escalation: Escalations { method_sessions: 8, ..Escalations::default() },
        };
        let change = PolicyChange {
            min_ttl: Some(policy.min_ttl),
            default_ttl: Some(policy.default_ttl),
            max_ttl: Some(policy.max_ttl),
            max_lifetime: Some(policy.max_lifetime),
            rest: Some(policy.rest),
            drain: Some(policy.drain),
            max_waiters: Some(policy.max_waiters),
            escalation: Some(policy.escalation),
        };
        assert_eq!(update_pool(t, change).await.unwrap().record.policy, policy);
    }

    async fn a_change_that_changes_nothing_is_not_dated(t) {
        let before = t.pool(Policy::default()).await.record;
        t.advance(Span::secs(1));
        for change in [PolicyChange::default(), resting(Span::ZERO)] {
            assert_eq!(update_pool(t, change).await.unwrap().record, before);
        }
    }

    async fn a_policy_that_would_not_do_is_refused_with_all_its_faults(t) {
        let before = t.pool(Policy::default()).await.record;
        let change = PolicyChange {
            max_ttl: Some(Span::secs(30)),
            drain: Some(Span::hours(25)),
            ..PolicyChange::default()
        };
        let Err(Refusal::PolicyUnfit { pool, faults }) = update_pool(t, change).await else {
            panic!("it was taken")
        };
        assert_eq!(pool, pool_name("p"));
        let wrong = |field, fault: &str| PolicyFault { field, fault: fault.to_owned() };
        assert_eq!(faults, [
            wrong("default_ttl", "is 60s; it must be from 5s to 30s"),
            wrong("drain", "is 90000s; it must be from 0s to 86400s"),
        ]);
        let kept = lawful(t.store.get_pool(&pool_name("p")).await).unwrap();
        assert_eq!(kept.record, before);
    }

    async fn the_policy_of_a_pool_that_is_not_there_cannot_be_changed(t) {
        assert_eq!(update_pool(t, resting(TICK)).await, Err(no_pool("p")));
    }

    async fn a_running_lease_keeps_what_it_was_granted(t) {
        t.pool_of(&["a"]).await;
        let granted = t.acquire(want()).await.unwrap().lease;
        let change = PolicyChange {
            default_ttl: Some(Span::secs(10)),
            max_ttl: Some(Span::secs(20)),
            max_lifetime: Some(Span::secs(30)),
            ..PolicyChange::default()
        };
        update_pool(t, change).await.unwrap();
        assert_eq!(t.standing("a").await.lease, Some(granted));
    }

    async fn a_renewal_follows_the_new_policy_but_never_shortens(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let before = t.standing("a").await.lease.unwrap();
        let change = PolicyChange {
            default_ttl: Some(Span::secs(10)),
            max_ttl: Some(Span::secs(20)),
            ..PolicyChange::default()
        };
        update_pool(t, change).await.unwrap();
        assert_eq!(t.renew(&lease).await.unwrap().expires_at, before.expires_at);
        t.advance(Span(TTL.0 - 1));
        let renewed = t.renew_for(&lease, Span::hours(1)).await.unwrap();
        assert_eq!(renewed.expires_at, t.now() + Span::secs(20));
        assert_eq!(renewed.max_expires_at, before.max_expires_at);
    }

    async fn a_release_rests_by_the_new_policy(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        update_pool(t, resting(Span::secs(5))).await.unwrap();
        t.release(&lease).await.unwrap();
        assert_eq!(t.standing("a").await.rest_until, t.now() + Span::secs(5));
        update_pool(t, resting(Span::ZERO)).await.unwrap();
        assert_eq!(t.standing("a").await.rest_until, t.now() + Span::secs(5));
    }

    async fn a_lease_that_had_expired_drains_by_the_policy_of_that_time(t) {
        t.pool_of(&["a", "b"]).await;
        let lease = t.lend(want().named("a")).await;
        t.lend(want().named("b").ttl(Span::secs(70))).await;
        t.advance(TTL);
        let expiry = t.now();
        update_pool(t, draining(TICK)).await.unwrap();
        assert_eq!(t.standing("a").await.rest_until, expiry + DRAIN);
        let epoch = t.standing("a").await.epoch;
        assert_eq!(t.renew(&lease).await, Err(lost(&lease, EndCause::Expired, epoch, expiry)));
        t.advance(Span::secs(10));
        t.advance(TICK);
        assert_eq!(t.next().await, name("b").to_string());
    }

    async fn only_a_pool_without_sessions_can_be_deleted(t) {
        t.pool_of(&["a", "b"]).await;
        t.invalidate("b", why("op", "")).await.unwrap();
        let not_empty = |total| Err(Refusal::PoolNotEmpty { pool: pool_name("p"), total });
        assert_eq!(delete_pool(t).await, not_empty(2));
        t.remove("a").await.unwrap();
        assert_eq!(delete_pool(t).await, not_empty(1));
        t.remove("b").await.unwrap();
        assert_eq!(delete_pool(t).await, Ok(()));
        assert_eq!(delete_pool(t).await, Err(no_pool("p")));
    }

    async fn a_deleted_pool_is_gone_from_everywhere_and_for_good(t) {
        t.pool_of(&["a"]).await;
        t.pool_named("q", Policy::default()).await.unwrap();
        let lease = t.lend(want().request("r")).await;
        t.release(&lease).await.unwrap();
        t.remove("a").await.unwrap();
        delete_pool(t).await.unwrap();
        for _ in 0..2 {
            assert_eq!(lawful(t.store.get_pool(&pool_name("p")).await), Err(no_pool("p")));
            assert_eq!(t.acquire(want()).await, Err(no_pool("p")));
            assert_eq!(t.add(session("a")).await, Err(no_pool("p")));
            assert_eq!(t.release(&lease).await, Err(Refusal::LeaseNotFound));
            let listed = lawful(t.store.list_pools(None, 9).await).unwrap();
            let names: Vec<_> = listed.iter().map(|view| view.record.name.as_str()).collect();
            assert_eq!(names, ["q"]);
            t.reopen().await;
        }
    }

    async fn a_pool_that_is_made_again_is_new(t) {
        t.pool(Policy { rest: Span::secs(5), ..Policy::default() }).await;
        t.set_mode(PoolMode::Paused).await;
        delete_pool(t).await.unwrap();
        t.advance(TICK);
        let again = t.pool(Policy::default()).await;
        assert_eq!((again.record.policy, again.record.mode), (Policy::default(), PoolMode::Active));
        assert_eq!(again.record.created_at, t.now());
        let listed = lawful(t.store.list_pools(None, 9).await).unwrap();
        assert_eq!(listed.len(), 1);
    }

    async fn epochs_go_on_rising_in_a_pool_that_is_made_again(t) {
        let mut before = 0;
        // All in the same millisecond, and with a restart between.
        for round in 0..3 {
            t.pool_of(&["a"]).await;
            assert_eq!(t.standing("a").await.epoch, before);
            let lease = t.lend(want()).await;
            let epoch = t.standing("a").await.epoch;
            assert!(epoch > before, "{epoch} is not above {before}");
            before = epoch;
            t.release(&lease).await.unwrap();
            t.remove("a").await.unwrap();
            delete_pool(t).await.unwrap();
            if round == 1 {
                t.reopen().await;
            }
        }
    }

    async fn the_credentials_of_a_deleted_pool_can_be_added_elsewhere(t) {
        t.pool_of(&["a"]).await;
        t.remove("a").await.unwrap();
        delete_pool(t).await.unwrap();
        t.pool_named("q", Policy::default()).await.unwrap();
        lawful(t.store.add(&pool_name("q"), session("a")).await).unwrap();
    }

    async fn what_is_known_of_a_session_can_be_changed_and_emptied(t) {
        t.pool(Policy::default()).await;
        let before = t.add(labelled("a", &[("c", "de"), ("d", "")])).await.unwrap().record;
        t.advance(TICK);
        let change = SessionChange {
            labels: Some(Labels::from([("e".to_owned(), "1".to_owned())])),
            proxy: Edit::Set(Credential((0..=255).collect())),
            device: Edit::Set(Credential(Vec::new())),
            account_id: Edit::Set(i64::MIN),
            ..SessionChange::default()
        };
        let view = update(t, "a", change).await.unwrap();
        let changed = SessionRecord {
            labels: Labels::from([("e".to_owned(), "1".to_owned())]),
            proxy: Some(Credential((0..=255).collect())),
            device: Some(Credential(Vec::new())),
            account_id: Some(i64::MIN),
            ..before.clone()
        };
        assert_eq!(view.record, changed);
        t.reopen().await;
        assert_eq!(t.get("a").await.unwrap().record, changed);
        assert_eq!(update(t, "a", SessionChange::default()).await.unwrap().record, changed);
        let change = SessionChange {
            labels: Some(Labels::new()),
            edits: edits(&[("c", Some("de")), ("d", Some("")), ("e", None)]),
            proxy: Edit::Clear,
            device: Edit::Clear,
            account_id: Edit::Clear,
            fingerprint: None,
        };
        assert_eq!(update(t, "a", change).await.unwrap().record, before);
        assert_eq!(t.acquire(want()).await.unwrap().record, before);
    }

    async fn one_label_is_set_or_taken_off_and_the_others_stay(t) {
        t.pool(Policy::default()).await;
        t.add(labelled("a", &[("c", "de"), ("d", "")])).await.unwrap();
        let change = labels(&[("c", Some("fr")), ("e", Some("1")), ("nowhere", None)]);
        let view = update(t, "a", change).await.unwrap();
        let wanted = [("c", "fr"), ("d", ""), ("e", "1")];
        assert_eq!(view.record.labels, labelled("a", &wanted).labels);
        let view = update(t, "a", labels(&[("d", None)])).await.unwrap();
        assert_eq!(view.record.labels, labelled("a", &[("c", "fr"), ("e", "1")]).labels);
    }

    async fn of_changes_that_come_together_none_undoes_another(t) {
        t.pool(Policy::default()).await;
        t.add(session("a")).await.unwrap();
        let keys = ["b", "c", "d", "e", "f", "g"];
        let set = |key| update(t, "a", labels(&[(key, Some("1"))]));
        for changed in join_all(keys.map(set)).await {
            changed.unwrap();
        }
        let kept = lawful(t.store.get_session(&pool_name("p"), &name("a")).await).unwrap();
        let all = keys.map(|key| (key.to_owned(), "1".to_owned()));
        assert_eq!(kept.record.labels, Labels::from(all));
    }

    async fn a_selector_follows_the_labels_however_the_session_stands(t) {
        t.pool(Policy { rest: Span::secs(5), ..Policy::default() }).await;
        for name in ["free", "leased", "resting", "invalid"] {
            t.add(labelled(name, &[("c", "old")])).await.unwrap();
        }
        let leased = t.lend(want().named("leased")).await;
        let resting = t.lend(want().named("resting")).await;
        t.release(&resting).await.unwrap();
        t.invalidate("invalid", why("op", "")).await.unwrap();
        for name in ["free", "leased", "resting", "invalid"] {
            let standing = t.standing(name).await;
            let view = update(t, name, labels(&[("c", Some("new"))])).await.unwrap();
            assert_eq!(view.standing, standing, "{name}");
        }
        t.release(&leased).await.unwrap();
        t.restore("invalid").await.unwrap();
        t.advance(Span::secs(5));
        let none = t.acquire(want().matching("c=old")).await;
        assert!(matches!(none, Err(Refusal::NoMatchingSession { .. })), "{none:?}");
        let all = t.all_that(&want().matching("c=new")).await;
        assert_eq!(all, ["free", "invalid", "leased", "resting"]);
    }

    async fn a_rare_label_is_found_after_it_was_given(t) {
        t.pool(Policy::default()).await;
        for number in 0..40 {
            t.add(labelled(&format!("s{number}"), &[("c", "many")])).await.unwrap();
        }
        update(t, "s7", labels(&[("rare", Some("yes"))])).await.unwrap();
        let lease = t.lend(want().matching("rare=yes")).await;
        assert_eq!(lease.session, name("s7"));
        update(t, "s7", labels(&[("rare", None)])).await.unwrap();
        t.release(&lease).await.unwrap();
        let none = t.acquire(want().matching("rare=yes")).await;
        assert!(matches!(none, Err(Refusal::NoMatchingSession { .. })), "{none:?}");
        t.remove("s7").await.unwrap();
        assert_eq!(t.all_that(&want().matching("c=many")).await.len(), 39);
    }

    async fn a_change_lets_the_lease_go_on_and_is_lent_with_the_next(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let proxy = Edit::Set(Credential(b"socks5://new".to_vec()));
        update(t, "a", SessionChange { proxy, ..SessionChange::default() }).await.unwrap();
        t.renew(&lease).await.unwrap();
        t.release(&lease).await.unwrap();
        let next = t.acquire(want()).await.unwrap();
        assert_eq!(next.record.proxy, Some(Credential(b"socks5://new".to_vec())));
    }

    async fn a_change_meant_for_another_credential_does_nothing(t) {
        t.pool_of(&["a"]).await;
        let before = t.get("a").await;
        let change = |fingerprint| SessionChange {
            account_id: Edit::Set(7),
            fingerprint: Some(fingerprint),
            ..SessionChange::default()
        };
        let none = Refusal::SessionNotFound { pool: pool_name("p"), session: name("a") };
        assert_eq!(update(t, "a", change(session("b").fingerprint)).await, Err(none));
        assert_eq!(t.get("a").await, before);
        let changed = update(t, "a", change(session("a").fingerprint)).await.unwrap();
        assert_eq!(changed.record.account_id, Some(7));
    }

    async fn a_session_that_is_not_there_cannot_be_changed(t) {
        assert_eq!(update(t, "a", SessionChange::default()).await, Err(no_pool("p")));
        t.pool_of(&["a"]).await;
        let none = Refusal::SessionNotFound { pool: pool_name("p"), session: name("b") };
        assert_eq!(update(t, "b", labels(&[("c", None)])).await, Err(none));
    }

    async fn a_session_has_no_more_labels_than_it_can(t) {
        t.pool_of(&["a"]).await;
        let many = |from: usize, to: usize| SessionChange {
            edits: (from..to).map(|n| (format!("k{n}"), Some(String::new()))).collect(),
            ..SessionChange::default()
        };
        let full = update(t, "a", many(0, MAX_LABELS)).await.unwrap();
        let (pool, session) = (pool_name("p"), name("a"));
        let refused = Refusal::TooManyLabels { pool, session, count: MAX_LABELS + 1 };
        assert_eq!(update(t, "a", many(MAX_LABELS, MAX_LABELS + 1)).await, Err(refused));
        assert_eq!(t.get("a").await.unwrap(), full);
    }
}
