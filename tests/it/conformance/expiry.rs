//! Expiry: a holder that vanished may still be connected, so its session drains first.

use telegate::pool::{EndCause, Policy, SETTLE_LIMIT, SessionState, Span, Time};

use super::{DRAIN, TICK, TTL, ended, sum};
use crate::harness::stage::{Stage, session, want};

/// Sessions of which more are due at once than one call settles.
const MANY: usize = 2 * SETTLE_LIMIT + 3;

/// A pool of many sessions, all leased, all for the same TTL.
async fn many_leased(t: &Stage, policy: Policy) {
    t.pool(policy).await;
    for number in 0..MANY {
        t.add(session(&format!("s{number:03}"))).await.unwrap();
    }
    for _ in 0..MANY {
        t.lend(want()).await;
    }
}

law! {
    async fn an_expired_lease_drains_for_exactly_the_pools_drain(t) {
        t.pool_of(&["a"]).await;
        t.lend(want()).await;
        for (pause, state) in [
            (Span(TTL.0 - 1), SessionState::Leased),
            (TICK, SessionState::Resting),
            (TICK, SessionState::Resting),
            (Span(DRAIN.0 - 2), SessionState::Resting),
            (TICK, SessionState::Ready),
        ] {
            t.advance(pause);
            assert_eq!(t.state("a").await, state, "at {:?}", t.now());
        }
        assert_eq!(t.next().await, "a");
    }

    async fn a_drain_counts_from_the_expiry_however_late_it_is_noticed(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let (epoch, expiry) = (t.now().0, t.now() + TTL);
        t.advance(sum(TTL, Span::secs(20)));
        let view = t.get("a").await.unwrap();
        assert_eq!(view.standing.state_until(t.now()), Some(expiry + DRAIN));
        let ended = ended(lease.secret, epoch, EndCause::Expired, expiry);
        assert_eq!((view.standing.lease, view.standing.ended), (None, Some(ended)));
        assert_eq!(view.standing.last_used, expiry);
        t.advance(Span(9_999));
        assert!(t.acquire(want()).await.is_err());
        t.advance(TICK);
        assert_eq!(t.next().await, "a");
    }

    async fn a_lease_and_a_drain_that_are_both_long_over_leave_a_free_session(t) {
        t.pool_of(&["a"]).await;
        t.lend(want()).await;
        let expiry = t.now() + TTL;
        t.advance(sum(TTL, DRAIN));
        let standing = t.standing("a").await;
        assert_eq!(standing.state(t.now()), SessionState::Ready);
        assert_eq!((standing.last_used, standing.rest_until), (expiry, Time::default()));
        assert_eq!(t.next().await, "a");
    }

    async fn acquire_notices_a_lease_and_a_drain_that_are_over(t) {
        t.pool_of(&["a"]).await;
        t.lend(want()).await;
        t.advance(Span(TTL.0 + DRAIN.0 - 1));
        assert!(t.acquire(want()).await.is_err());
        t.advance(TICK);
        assert_eq!(t.next().await, "a");
        t.advance(Span::hours(2));
        assert_eq!(t.next().await, "a");
    }

    async fn without_a_drain_an_expired_lease_frees_its_session_at_once(t) {
        t.pool(Policy { drain: Span::ZERO, ..Policy::default() }).await;
        t.sessions(&["a"]).await;
        t.lend(want()).await;
        t.advance(Span(TTL.0 - 1));
        assert!(t.acquire(want()).await.is_err());
        t.advance(TICK);
        assert_eq!(t.state("a").await, SessionState::Ready);
        assert_eq!(t.next().await, "a");
    }

    async fn the_pools_rest_does_not_follow_an_expiry(t) {
        t.pool(Policy { rest: Span::hours(1), ..Policy::default() }).await;
        t.sessions(&["a"]).await;
        t.lend(want()).await;
        t.advance(sum(TTL, DRAIN));
        assert_eq!(t.state("a").await, SessionState::Ready);
    }

    async fn more_expired_leases_than_one_call_settles_are_counted_right(t) {
        many_leased(t, Policy::default()).await;
        t.advance(Span(TTL.0 - 1));
        let counts = t.status().await.counts;
        assert_eq!((counts.leased as usize, counts.resting, counts.free), (MANY, 0, 0));
        t.advance(TICK);
        for _ in 0..4 {
            let counts = t.status().await.counts;
            assert_eq!((counts.leased, counts.resting as usize, counts.free), (0, MANY, 0));
        }
    }

    async fn more_expired_leases_than_one_call_settles_drain_and_are_counted_free(t) {
        many_leased(t, Policy::default()).await;
        t.advance(Span(TTL.0 + DRAIN.0 - 1));
        assert_eq!(t.status().await.counts.resting as usize, MANY);
        t.advance(TICK);
        let counts = t.status().await.counts;
        assert_eq!((counts.leased, counts.resting, counts.free as usize), (0, 0, MANY));
    }

    async fn more_leases_than_one_call_settles_are_counted_free_even_when_none_was_settled(t) {
        many_leased(t, Policy::default()).await;
        t.advance(sum(TTL, DRAIN));
        for _ in 0..4 {
            let counts = t.status().await.counts;
            assert_eq!((counts.leased, counts.resting, counts.free as usize), (0, 0, MANY));
        }
        assert_eq!(t.all_that(&want()).await.len(), MANY);
    }

    async fn more_leases_than_one_call_settles_are_counted_free_without_a_drain(t) {
        many_leased(t, Policy { drain: Span::ZERO, ..Policy::default() }).await;
        t.advance(TTL);
        let counts = t.status().await.counts;
        assert_eq!((counts.leased, counts.resting, counts.free as usize), (0, 0, MANY));
        assert_eq!(t.all_that(&want()).await.len(), MANY);
    }

    async fn more_rests_than_one_call_settles_are_counted_free_and_lent(t) {
        t.pool(Policy { rest: Span::secs(10), ..Policy::default() }).await;
        for number in 0..MANY {
            t.add(session(&format!("s{number:03}"))).await.unwrap();
        }
        let mut leases = Vec::new();
        for _ in 0..MANY {
            leases.push(t.lend(want()).await);
        }
        for lease in &leases {
            t.release(lease).await.unwrap();
        }
        assert_eq!(t.status().await.counts.resting as usize, MANY);
        t.advance(Span::secs(10));
        let counts = t.status().await.counts;
        assert_eq!((counts.resting, counts.free as usize), (0, MANY));
        let by_name: Vec<_> = leases.iter().map(|lease| lease.session.to_string()).collect();
        assert_eq!(t.all_that(&want()).await, by_name);
    }

    async fn a_session_that_is_named_is_settled_before_its_turn(t) {
        many_leased(t, Policy::default()).await;
        t.advance(sum(TTL, DRAIN));
        let last = format!("s{:03}", MANY - 1);
        assert_eq!(t.state(&last).await, SessionState::Ready);
        let second_to_last = "s129";
        assert_eq!(MANY - 2, 129);
        let lease = t.lend(want().named(second_to_last)).await;
        assert_eq!(lease.session.as_str(), second_to_last);
    }

    async fn every_view_of_a_list_is_settled(t) {
        many_leased(t, Policy::default()).await;
        t.advance(sum(TTL, DRAIN));
        let pool = crate::harness::stage::pool_name("p");
        let views = t.store.list_sessions(&pool, None, MANY + 1).await.unwrap();
        assert_eq!(views.len(), MANY);
        for view in views {
            assert_eq!(view.standing.state(view.at), SessionState::Ready);
            assert_eq!(view.standing.lease, None);
        }
    }
}
