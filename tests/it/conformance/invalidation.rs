//! Invalidate and restore: out of the pool by an operator or by the holder, and back.

use telegate::pool::{
    EndCause, InvalidReason, Invalidation, Policy, PoolMode, Refusal, SessionState, Span, Time,
};

use super::{DRAIN, TICK, TTL, ended, lost, no_pool, not_holder, sum};
use crate::harness::{
    mandate,
    stage::{ANN, key, lawful, name, pool_name, session, want, why},
};

/// The states that Restore wants, as its refusal tells them.
const RESTORABLE: &[SessionState] = &[SessionState::Invalid, SessionState::Suspect];

law! {
    async fn an_invalidated_session_is_not_lent_and_tells_who_why_and_when(t) {
        t.pool_of(&["a", "b"]).await;
        t.advance(Span::secs(5));
        let why = Invalidation {
            reason: InvalidReason::Banned,
            detail: "USER_DEACTIVATED_BAN, \"quoted\", ä\n\0".to_owned(),
            by: key("op"),
            at: Time(1),
        };
        let view = t.invalidate("a", why.clone()).await.unwrap();
        assert_eq!(view.standing.state(t.now()), SessionState::Invalid);
        assert_eq!(view.standing.state_until(t.now()), None);
        assert_eq!(view.standing.invalid, Some(Invalidation { at: t.now(), ..why }));
        assert_eq!(t.get("a").await.unwrap(), view);
        assert_eq!(t.all_that(&want()).await, ["b"]);
    }

    async fn the_first_reason_stays(t) {
        t.pool_of(&["a"]).await;
        let first = t.invalidate("a", why("op", "first")).await.unwrap();
        t.advance(Span::secs(1));
        let again = t.invalidate("a", why("other", "second")).await.unwrap();
        assert_eq!(again.standing, first.standing);
        assert_eq!(again.at, t.now());
    }

    async fn every_reason_survives_the_store(t) {
        t.pool(Policy::default()).await;
        let reasons = [
            InvalidReason::Banned,
            InvalidReason::Deactivated,
            InvalidReason::Revoked,
            InvalidReason::Expired,
            InvalidReason::KeyDuplicated,
            InvalidReason::KeyUnregistered,
            InvalidReason::Operator,
            InvalidReason::Other,
        ];
        for (number, reason) in reasons.into_iter().enumerate() {
            let name = format!("s{number}");
            t.add(session(&name)).await.unwrap();
            t.invalidate(&name, Invalidation { reason, ..why("op", "") }).await.unwrap();
            assert_eq!(t.standing(&name).await.invalid.unwrap().reason, reason);
        }
    }

    async fn an_operators_invalidate_ends_the_lease_and_its_drain_outlives_the_restore(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let epoch = t.now().0;
        t.advance(Span::secs(10));
        let at = t.now();
        let standing = t.invalidate("a", why("op", "")).await.unwrap().standing;
        let ended = ended(lease.secret, epoch, EndCause::Invalidated, at);
        assert_eq!((standing.lease, standing.ended), (None, Some(ended)));
        assert_eq!((standing.last_used, standing.rest_until), (at, at + DRAIN));
        t.advance(Span::secs(10));
        let restored = t.restore("a").await.unwrap();
        assert_eq!(restored.standing.state(t.now()), SessionState::Resting);
        assert_eq!(restored.standing.state_until(t.now()), Some(at + DRAIN));
        t.advance(Span(19_999));
        assert!(t.acquire(want()).await.is_err());
        t.advance(TICK);
        assert_eq!(t.next().await, "a");
    }

    async fn a_drain_that_is_over_before_the_restore_is_not_waited_for(t) {
        t.pool_of(&["a"]).await;
        t.lend(want()).await;
        t.invalidate("a", why("op", "")).await.unwrap();
        t.advance(DRAIN);
        let restored = t.restore("a").await.unwrap();
        assert_eq!(restored.standing.state(t.now()), SessionState::Ready);
        assert_eq!(restored.standing.rest_until, Time::default());
        assert_eq!(t.next().await, "a");
    }

    async fn without_a_drain_an_operators_invalidate_leaves_no_rest(t) {
        t.pool(Policy { drain: Span::ZERO, ..Policy::default() }).await;
        t.sessions(&["a"]).await;
        t.lend(want()).await;
        t.invalidate("a", why("op", "")).await.unwrap();
        assert_eq!(t.restore("a").await.unwrap().standing.state(t.now()), SessionState::Ready);
    }

    async fn a_rest_that_runs_outlives_invalidate_and_restore(t) {
        t.pool(Policy { rest: Span::secs(20), ..Policy::default() }).await;
        t.sessions(&["a"]).await;
        let lease = t.lend(want()).await;
        t.release(&lease).await.unwrap();
        let end = t.now() + Span::secs(20);
        t.advance(Span::secs(5));
        let standing = t.invalidate("a", why("op", "")).await.unwrap().standing;
        assert_eq!(standing.ended.unwrap().cause, EndCause::Released);
        t.advance(Span::secs(5));
        let restored = t.restore("a").await.unwrap();
        assert_eq!(restored.standing.state_until(t.now()), Some(end));
    }

    async fn an_expired_lease_is_expired_not_invalidated(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let (epoch, expiry) = (t.now().0, t.now() + TTL);
        t.advance(sum(TTL, TICK));
        let standing = t.invalidate("a", why("op", "")).await.unwrap().standing;
        assert_eq!(standing.rest_until, expiry + DRAIN);
        assert_eq!(t.renew(&lease).await, Err(lost(&lease, EndCause::Expired, epoch, expiry)));
    }

    async fn a_holder_takes_its_session_out_and_no_drain_follows(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let epoch = t.now().0;
        t.advance(Span::secs(7));
        let view = t.surrender(&lease, why(ANN, "banned")).await.unwrap();
        let at = t.now();
        assert_eq!(view.standing.state(at), SessionState::Invalid);
        assert_eq!(view.standing.invalid, Some(Invalidation { at, ..why(ANN, "banned") }));
        let ended = ended(lease.secret, epoch, EndCause::Surrendered, at);
        assert_eq!((view.standing.lease, view.standing.ended), (None, Some(ended)));
        assert_eq!((view.standing.last_used, view.standing.rest_until), (at, Time::default()));
        assert_eq!(t.restore("a").await.unwrap().standing.state(at), SessionState::Ready);
        assert_eq!(t.next().await, "a");
    }

    async fn a_holder_takes_its_session_out_once_and_its_first_reason_stays(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let first = t.surrender(&lease, why(ANN, "first")).await.unwrap();
        t.advance(TICK);
        let again = t.surrender(&lease, why(ANN, "second")).await.unwrap();
        assert_eq!(again.standing, first.standing);
        t.restore("a").await.unwrap();
        let repeated = t.surrender(&lease, why(ANN, "third")).await.unwrap();
        assert_eq!(repeated.standing.invalid, None);
    }

    async fn only_the_holder_takes_a_session_out_by_lease(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let before = t.standing("a").await;
        assert_eq!(t.surrender(&lease, why("bob", "")).await, Err(not_holder(&lease)));
        assert_eq!(t.standing("a").await, before);
    }

    async fn a_lost_lease_takes_nothing_out(t) {
        t.pool_of(&["a"]).await;
        let released = t.lend(want()).await;
        let epoch = t.now().0;
        t.release(&released).await.unwrap();
        let refusal = lost(&released, EndCause::Released, epoch, t.now());
        assert_eq!(t.surrender(&released, why(ANN, "")).await, Err(refusal));
        let expired = t.lend(want()).await;
        let (epoch, expiry) = (t.standing("a").await.epoch, t.now() + TTL);
        t.advance(TTL);
        let refusal = lost(&expired, EndCause::Expired, epoch, expiry);
        assert_eq!(t.surrender(&expired, why(ANN, "")).await, Err(refusal));
        let refusal = lost(&released, EndCause::Superseded, epoch, expiry);
        assert_eq!(t.surrender(&released, why(ANN, "")).await, Err(refusal));
        assert_eq!(t.state("a").await, SessionState::Resting);
    }

    async fn a_session_is_invalidated_and_restored_in_every_mode(t) {
        t.pool_of(&["a"]).await;
        for mode in [PoolMode::Paused, PoolMode::Draining] {
            t.set_mode(mode).await;
            t.invalidate("a", why("op", "")).await.unwrap();
            t.restore("a").await.unwrap();
        }
        assert_eq!(t.state("a").await, SessionState::Ready);
    }

    async fn only_an_invalid_session_is_restored(t) {
        t.pool_of(&["a"]).await;
        let forbidden = |state| {
            let (pool, session) = (pool_name("p"), name("a"));
            Err(Refusal::InappropriateState { pool, session, state, wanted: RESTORABLE })
        };
        assert_eq!(t.restore("a").await, forbidden(SessionState::Ready));
        let lease = t.lend(want()).await;
        assert_eq!(t.restore("a").await, forbidden(SessionState::Leased));
        t.release_to_rest(&lease, TICK).await.unwrap();
        assert_eq!(t.restore("a").await, forbidden(SessionState::Resting));
        t.advance(TICK);
        assert_eq!(t.restore("a").await, forbidden(SessionState::Ready));
        t.lend(want()).await;
        t.advance(TTL);
        assert_eq!(t.restore("a").await, forbidden(SessionState::Resting));
    }

    async fn a_restored_session_keeps_its_place_its_epoch_and_its_labels(t) {
        t.pool_of(&["a", "b"]).await;
        for session in ["a", "b"] {
            let lease = t.lend(want().named(session)).await;
            t.advance(TICK);
            t.release(&lease).await.unwrap();
        }
        let before = t.get("a").await.unwrap();
        t.invalidate("a", why("op", "")).await.unwrap();
        t.advance(Span::hours(1));
        let restored = t.restore("a").await.unwrap();
        assert_eq!((restored.record, restored.standing), (before.record, before.standing));
        assert_eq!(t.all_that(&want()).await, ["a", "b"]);
    }

    async fn what_is_not_there_is_neither_invalidated_nor_restored(t) {
        t.pool_of(&["a"]).await;
        let no_session =
            Refusal::SessionNotFound { pool: pool_name("p"), session: name("nobody") };
        assert_eq!(t.invalidate("nobody", why("op", "")).await, Err(no_session.clone()));
        assert_eq!(t.restore("nobody").await, Err(no_session));
        let (pool, session) = (pool_name("nowhere"), name("a"));
        let answer = lawful(t.store.invalidate(&pool, &session, why("op", "")).await);
        assert_eq!(answer, Err(no_pool("nowhere")));
        let restored = t.store.restore(&pool, &session, &mandate()).await;
        assert_eq!(lawful(restored), Err(no_pool("nowhere")));
    }
}
