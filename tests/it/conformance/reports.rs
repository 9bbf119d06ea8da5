//! Who may report, until when, and what a Release does with the error that ended the work.

use telegate::pool::{EndCause, Policy, Refusal, ReleaseOutcome, SessionState, Span};

use super::{DRAIN, TTL, lost, not_holder};
use crate::harness::{
    stage::{LeaseIdExt as _, secret, want, why},
    trouble::{closed, error, flood, unknown_key, whole, wrong},
};

/// The method that floods.
const SEARCH: &str = "messages.search";

law! {
    async fn only_the_holder_reports(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let before = t.standing("a").await;
        assert_eq!(t.report_as(&lease, "bob", &whole(30)).await, Err(not_holder(&lease)));
        assert_eq!(t.standing("a").await, before);
        t.release(&lease).await.unwrap();
        let before = t.standing("a").await;
        assert_eq!(t.report_as(&lease, "bob", &whole(30)).await, Err(not_holder(&lease)));
        assert_eq!(t.standing("a").await, before);
    }

    async fn a_lease_that_never_was_reports_nothing(t) {
        t.pool_of(&["a", "b"]).await;
        let lease = t.lend(want().named("a")).await;
        let unknown = [lease.of_pool("q"), lease.of_session("b"), lease.of_session("c")];
        for lease in unknown.into_iter().chain([lease.with(secret(99))]) {
            assert_eq!(t.report(&lease, &whole(30)).await, Err(Refusal::LeaseNotFound));
        }
        t.release(&lease).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::Ready);
    }

    async fn a_report_counts_until_another_lease_of_the_session_has_ended(t) {
        t.pool_of(&["a"]).await;
        let first = t.lend(want()).await;
        t.release(&first).await.unwrap();
        let until = t.now() + Span::secs(30);
        let effect = t.report(&first, &flood(SEARCH, 30)).await.unwrap();
        assert_eq!(effect, closed(t, until, SessionState::Ready));
        let second = t.lend(want()).await;
        let effect = t.report(&first, &flood(SEARCH, 20)).await.unwrap();
        assert_eq!(effect, closed(t, until, SessionState::Leased));
        t.release(&second).await.unwrap();
        let epoch = t.standing("a").await.epoch;
        let superseded = lost(&first, EndCause::Superseded, epoch, t.now());
        assert_eq!(t.report(&first, &whole(30)).await, Err(superseded));
        assert_eq!(t.state("a").await, SessionState::Ready);
    }

    async fn a_report_counts_after_expiry_and_after_an_operator_took_the_session_out(t) {
        t.pool_of(&["a", "b"]).await;
        let (a, b) = (t.lend(want()).await, t.lend(want()).await);
        t.invalidate("b", why("op", "out")).await.unwrap();
        t.advance(TTL);
        let until = t.now() + Span::secs(60);
        let effect = t.report(&a, &whole(60)).await.unwrap();
        assert_eq!(effect, closed(t, until, SessionState::FloodWait));
        let effect = t.report(&b, &whole(60)).await.unwrap();
        assert_eq!(effect, closed(t, until, SessionState::Invalid));
        t.advance(DRAIN);
        assert!(t.acquire(want()).await.is_err());
        t.advance(DRAIN);
        assert!(t.acquire(want()).await.is_ok());
    }

    async fn a_release_takes_note_of_the_error_that_ended_the_work(t) {
        t.pool(Policy { rest: Span::secs(10), ..Policy::default() }).await;
        t.sessions(&["a"]).await;
        let lease = t.lend(want()).await;
        let (outcome, effect) = t.release_over(&lease, &flood(SEARCH, 30)).await.unwrap();
        // Told as it was after the report and before the release.
        let closed = closed(t, t.now() + Span::secs(30), SessionState::Leased);
        assert_eq!((outcome, effect), (ReleaseOutcome::Released, Some(closed)));
        assert_eq!(t.state("a").await, SessionState::Resting);
        t.advance(Span::secs(10));
        assert!(t.acquire(want().calling(SEARCH)).await.is_err());
        assert!(t.acquire(want()).await.is_ok());
    }

    async fn a_release_without_an_error_has_no_effect_to_tell(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let key = crate::harness::stage::key("ann");
        let released = t.store.release(&lease, &key, Span::ZERO, None).await.unwrap();
        assert_eq!(released, (ReleaseOutcome::Released, None));
    }

    async fn a_repeated_release_takes_note_of_its_error_until_the_lease_is_superseded(t) {
        t.pool_of(&["a"]).await;
        let first = t.lend(want()).await;
        t.release(&first).await.unwrap();
        let (outcome, effect) = t.release_over(&first, &whole(30)).await.unwrap();
        let closed = closed(t, t.now() + Span::secs(30), SessionState::FloodWait);
        assert_eq!((outcome, effect), (ReleaseOutcome::AlreadyEnded, Some(closed)));
        t.advance(Span::secs(30));
        let second = t.lend(want()).await;
        t.release(&second).await.unwrap();
        let superseded = t.release_over(&first, &whole(30)).await;
        assert_eq!(superseded, Ok((ReleaseOutcome::AlreadyEnded, None)));
        assert_eq!(t.state("a").await, SessionState::Ready);
    }

    async fn the_error_of_a_lost_lease_counts_though_its_release_is_refused(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let epoch = t.standing("a").await.epoch;
        t.advance(TTL);
        let refused = lost(&lease, EndCause::Expired, epoch, t.now());
        assert_eq!(t.release_over(&lease, &whole(60)).await, Err(refused));
        assert_eq!(t.state("a").await, SessionState::FloodWait);
        t.advance(Span(59_999));
        assert!(t.acquire(want()).await.is_err());
    }

    async fn the_error_of_another_key_counts_nowhere(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want().by("bob")).await;
        assert_eq!(t.release_over(&lease, &whole(30)).await, Err(not_holder(&lease)));
        t.release_as(&lease, "bob").await.unwrap();
        let late = t.release_over(&lease, &whole(30)).await;
        assert_eq!(late, Ok((ReleaseOutcome::AlreadyEnded, None)));
        assert_eq!(t.state("a").await, SessionState::Ready);
    }

    async fn a_release_over_a_death_finds_the_lease_ended_by_it(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let revoked = error(401, "SESSION_REVOKED");
        let (outcome, effect) = t.release_over(&lease, &revoked).await.unwrap();
        assert_eq!(outcome, ReleaseOutcome::AlreadyEnded);
        assert_eq!(effect.unwrap().state, SessionState::Invalid);
        assert_eq!(t.state("a").await, SessionState::Invalid);
    }

    async fn a_release_over_a_doubt_leaves_the_session_suspect(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let (outcome, _) = t.release_over(&lease, &unknown_key()).await.unwrap();
        assert_eq!(outcome, ReleaseOutcome::Released);
        assert_eq!(t.state("a").await, SessionState::Suspect);
        let probe = t.lend(want().probing()).await;
        t.release_over(&probe, &wrong()).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::Ready);
    }

    async fn a_repeated_report_changes_nothing(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        for met in [flood(SEARCH, 30), whole(20), unknown_key(), error(400, "PEER_FLOOD")] {
            let first = t.report(&lease, &met).await.unwrap();
            let standing = t.standing("a").await;
            assert_eq!(t.report(&lease, &met).await, Ok(first));
            assert_eq!(t.standing("a").await, standing, "{}", met.name);
        }
    }
}
