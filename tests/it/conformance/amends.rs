//! What operators change of pools and sessions that are in use.

use telegate::pool::{
    EndCause, Escalations, Policy, PolicyChange, PolicyFault, PoolMode, PoolRecord, PoolView,
    Refusal, Span,
};

use super::{DRAIN, TICK, TTL, lost, no_pool};
use crate::harness::stage::{Answer, Stage, lawful, name, pool_name, session, want, why};

async fn update_pool(t: &Stage, change: PolicyChange) -> Answer<PoolView> {
    lawful(t.store.update_pool(&pool_name("p"), change).await)
}

async fn delete_pool(t: &Stage) -> Answer<()> {
    lawful(t.store.delete_pool(&pool_name("p")).await)
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
}
