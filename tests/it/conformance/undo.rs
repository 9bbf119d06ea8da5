//! Taking back a grant that could not be delivered.

use telegate::pool::{EndCause, Policy, ReleaseOutcome, SessionState, Span, Time};

use super::{TICK, TTL, lost};
use crate::harness::stage::{ANN, LeaseIdExt as _, lease_id, pool_name, secret, want, why};

law! {
    async fn an_undone_grant_frees_its_session_at_once_even_where_others_rest(t) {
        t.pool(Policy { rest: Span::secs(10), ..Policy::default() }).await;
        t.sessions(&["a"]).await;
        let lease = t.lend(want()).await;
        assert!(t.undo(&lease, 1).await);
        assert_eq!(t.state("a").await, SessionState::Ready);
        assert_eq!(t.next().await, "a");
    }

    async fn an_undone_grant_leaves_its_session_its_place_in_the_order(t) {
        t.pool_of(&["a", "b", "c"]).await;
        for session in ["b", "a", "c"] {
            let lease = t.lend(want().named(session)).await;
            t.advance(TICK);
            t.release(&lease).await.unwrap();
        }
        let used = t.standing("b").await.last_used;
        t.advance(TICK);
        let lease = t.lend(want()).await;
        assert_eq!(lease.session.as_str(), "b");
        t.advance(TICK);
        assert!(t.undo(&lease, 1).await);
        assert_eq!(t.standing("b").await.last_used, used);
        assert_eq!(t.all_that(&want()).await, ["b", "a", "c"]);
    }

    async fn an_undone_grant_of_a_session_never_used_leaves_it_never_used(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.advance(TICK);
        assert!(t.undo(&lease, 1).await);
        assert_eq!(t.standing("a").await.last_used, Time::default());
    }

    async fn a_grant_that_two_calls_were_given_is_not_undone_when_one_was_not_delivered(t) {
        t.pool_of(&["a", "b"]).await;
        // The first call was cut off, and the second has the lease; or the other way round.
        for (request, cut_off) in [("r1", 1), ("r2", 2)] {
            let lease = t.lend(want().request(request)).await;
            t.acquire(want().request(request)).await.unwrap();
            assert!(!t.undo(&lease, cut_off).await);
            assert_eq!(t.renew(&lease).await.unwrap().deliveries, 2);
        }
        assert_eq!(t.status().await.counts.leased, 2);
    }

    async fn an_undo_names_the_delivery(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        assert!(!t.undo(&lease, 0).await);
        assert!(!t.undo(&lease, 2).await);
        assert!(t.undo(&lease, 1).await);
    }

    async fn an_ask_that_the_broker_repeats_itself_is_one_delivery(t) {
        t.pool_of(&["a"]).await;
        let lost = t.acquire(want()).await.unwrap();
        let retry = want().retried(lost.lease.secret, Span(250));
        assert_eq!(t.acquire(retry.clone()).await.unwrap().lease.deliveries, 1);
        assert_eq!(t.acquire(retry).await.unwrap().lease.deliveries, 1);
        assert!(t.undo(&lease_id(&pool_name("p"), &lost), 1).await);
    }

    async fn an_undo_of_another_lease_does_nothing(t) {
        t.pool_of(&["a", "b"]).await;
        let lease = t.lend(want()).await;
        assert!(!t.undo(&lease.with(secret(999)), 1).await);
        assert!(!t.undo(&lease.of_session("b"), 1).await);
        assert!(!t.undo(&lease.of_session("nobody"), 1).await);
        assert!(!t.undo(&lease.of_pool("nowhere"), 1).await);
        assert_eq!(t.state("a").await, SessionState::Leased);
        t.renew(&lease).await.unwrap();
    }

    async fn an_undo_of_a_lease_that_is_over_does_nothing(t) {
        t.pool_of(&["a", "b"]).await;
        let released = t.lend(want()).await;
        t.release_to_rest(&released, Span::secs(5)).await.unwrap();
        assert!(!t.undo(&released, 1).await);
        assert_eq!(t.state("a").await, SessionState::Resting);
        let expired = t.lend(want()).await;
        t.advance(TTL);
        assert!(!t.undo(&expired, 1).await);
        assert_eq!(t.state("b").await, SessionState::Resting);
    }

    async fn an_undo_is_done_once(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        assert!(t.undo(&lease, 1).await);
        assert!(!t.undo(&lease, 1).await);
        let next = t.lend(want()).await;
        assert!(!t.undo(&lease, 1).await);
        t.renew(&next).await.unwrap();
    }

    async fn an_undone_lease_is_lost_to_whoever_still_has_it(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let epoch = t.standing("a").await.epoch;
        t.advance(TICK);
        assert!(t.undo(&lease, 1).await);
        let undone = lost(&lease, EndCause::Undone, epoch, t.now());
        t.advance(TICK);
        assert_eq!(t.renew(&lease).await, Err(undone.clone()));
        assert_eq!(t.surrender(&lease, why(ANN, "")).await, Err(undone));
        assert_eq!(t.release(&lease).await, Ok(ReleaseOutcome::AlreadyEnded));
    }

    async fn an_undo_works_in_a_pool_that_grants_nothing(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.set_mode(telegate::pool::PoolMode::Draining).await;
        assert!(t.undo(&lease, 1).await);
        let status = t.store.status(&pool_name("p")).await.unwrap();
        assert_eq!((status.counts.free, status.counts.leased), (1, 0));
    }
}
