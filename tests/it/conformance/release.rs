//! Release: a session comes back, rests as long as it must, and is free.

use telegate::pool::{EndCause, Policy, PoolMode, ReleaseOutcome, SessionState, Span, Time};

use super::{DRAIN, TICK, TTL, ended, lost, not_holder, sum};
use crate::harness::stage::{ANN, LeaseIdExt as _, secret, want, why};

law! {
    async fn a_released_session_is_free_at_once_where_no_rest_is_due(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let epoch = t.now().0;
        t.advance(TICK);
        assert_eq!(t.release(&lease).await, Ok(ReleaseOutcome::Released));
        assert_eq!(t.state("a").await, SessionState::Ready);
        let standing = t.standing("a").await;
        let (cause, at) = (EndCause::Released, t.now());
        let ended = ended(lease.secret, epoch, cause, at);
        assert_eq!((standing.lease, standing.ended), (None, Some(ended)));
        assert_eq!((standing.last_used, standing.rest_until), (t.now(), Time::default()));
        assert_eq!(t.next().await, "a");
    }

    async fn a_released_session_rests_before_it_is_lent_again(t) {
        t.pool(Policy { rest: Span::secs(10), ..Policy::default() }).await;
        t.sessions(&["a"]).await;
        let lease = t.lend(want()).await;
        t.release(&lease).await.unwrap();
        let end = t.now() + Span::secs(10);
        let view = t.get("a").await.unwrap();
        assert_eq!(view.standing.state(t.now()), SessionState::Resting);
        assert_eq!(view.standing.state_until(t.now()), Some(end));
        t.advance(Span(9_999));
        assert_eq!(t.state("a").await, SessionState::Resting);
        assert!(t.acquire(want()).await.is_err());
        t.advance(TICK);
        assert_eq!(t.state("a").await, SessionState::Ready);
        assert_eq!(t.standing("a").await.rest_until, Time::default());
        assert_eq!(t.next().await, "a");
    }

    async fn the_longer_of_the_pools_rest_and_the_asked_one_holds(t) {
        t.pool(Policy { rest: Span::secs(10), ..Policy::default() }).await;
        t.sessions(&["a"]).await;
        for (asked, rest) in [(0, 10), (9, 10), (10, 10), (11, 11), (86_400, 86_400)] {
            let lease = t.lend(want()).await;
            let outcome = t.release_to_rest(&lease, Span::secs(asked)).await;
            assert_eq!(outcome, Ok(ReleaseOutcome::Released));
            assert_eq!(t.standing("a").await.rest_until, t.now() + Span::secs(rest));
            t.advance(Span(rest * 1000 - 1));
            assert_eq!(t.state("a").await, SessionState::Resting, "asked {asked} s");
            t.advance(TICK);
            assert_eq!(t.state("a").await, SessionState::Ready, "asked {asked} s");
        }
    }

    async fn a_rest_can_be_asked_for_where_the_pool_has_none(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.release_to_rest(&lease, TICK).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::Resting);
        t.advance(TICK);
        assert_eq!(t.state("a").await, SessionState::Ready);
    }

    async fn a_release_is_done_once_and_asked_for_as_often_as_one_likes(t) {
        t.pool(Policy { rest: Span::secs(10), ..Policy::default() }).await;
        t.sessions(&["a"]).await;
        let lease = t.lend(want()).await;
        t.release(&lease).await.unwrap();
        let before = t.standing("a").await;
        t.advance(Span::secs(1));
        for rest in [Span::ZERO, Span::hours(1)] {
            let again = t.release_to_rest(&lease, rest).await;
            assert_eq!(again, Ok(ReleaseOutcome::AlreadyEnded));
        }
        assert_eq!(t.standing("a").await, before);
    }

    async fn a_repeated_release_does_not_touch_the_next_lease(t) {
        t.pool_of(&["a"]).await;
        let first = t.lend(want()).await;
        t.release(&first).await.unwrap();
        let second = t.lend(want()).await;
        assert_eq!(t.release(&first).await, Ok(ReleaseOutcome::AlreadyEnded));
        assert_eq!(t.state("a").await, SessionState::Leased);
        t.renew(&second).await.unwrap();
    }

    async fn a_release_of_a_superseded_lease_finds_it_ended(t) {
        t.pool_of(&["a"]).await;
        let old = t.lend(want()).await;
        t.advance(sum(TTL, DRAIN));
        let newer = t.lend(want()).await;
        t.release(&newer).await.unwrap();
        assert_eq!(t.release(&old).await, Ok(ReleaseOutcome::AlreadyEnded));
        let newest = t.lend(want()).await;
        assert_eq!(t.release(&old).await, Ok(ReleaseOutcome::AlreadyEnded));
        assert_eq!(t.release(&old.with(secret(999))).await, Ok(ReleaseOutcome::AlreadyEnded));
        t.renew(&newest).await.unwrap();
    }

    async fn a_release_after_the_holders_own_invalidate_finds_it_ended(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.surrender(&lease, why(ANN, "banned")).await.unwrap();
        assert_eq!(t.release(&lease).await, Ok(ReleaseOutcome::AlreadyEnded));
        assert_eq!(t.state("a").await, SessionState::Invalid);
    }

    async fn an_expired_lease_cannot_be_released(t) {
        t.pool_of(&["a", "b"]).await;
        let (in_time, late) = (t.lend(want()).await, t.lend(want()).await);
        let (epoch, expiry) = (t.now().0, t.now() + TTL);
        t.advance(Span(TTL.0 - 1));
        assert_eq!(t.release(&in_time).await, Ok(ReleaseOutcome::Released));
        t.advance(TICK);
        let expired = lost(&late, EndCause::Expired, epoch, expiry);
        assert_eq!(t.release(&late).await, Err(expired.clone()));
        assert_eq!(t.standing("b").await.rest_until, expiry + DRAIN);
        t.advance(Span::hours(1));
        assert_eq!(t.release(&late).await, Err(expired));
    }

    async fn a_lease_whose_session_an_operator_invalidated_cannot_be_released(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let epoch = t.now().0;
        t.advance(TICK);
        t.invalidate("a", why("op", "")).await.unwrap();
        let invalidated = lost(&lease, EndCause::Invalidated, epoch, t.now());
        assert_eq!(t.release(&lease).await, Err(invalidated));
    }

    async fn another_key_cannot_release_a_lease(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let before = t.standing("a").await;
        t.advance(TICK);
        assert_eq!(t.release_as(&lease, "bob").await, Err(not_holder(&lease)));
        assert_eq!(t.standing("a").await, before);
    }

    async fn a_release_works_in_a_pool_that_grants_nothing(t) {
        t.pool_of(&["a", "b"]).await;
        for mode in [PoolMode::Paused, PoolMode::Draining] {
            t.set_mode(PoolMode::Active).await;
            let lease = t.lend(want()).await;
            t.set_mode(mode).await;
            assert_eq!(t.release(&lease).await, Ok(ReleaseOutcome::Released));
        }
        assert_eq!(t.status().await.counts.free, 2);
    }
}
