//! Renew: a lease counts from now again, within its longest life, for its holder.

use telegate::pool::{EndCause, Policy, PoolMode, Refusal, SessionState, Span};

use super::{TICK, TTL, lost, not_holder};
use crate::harness::stage::{ANN, LeaseIdExt as _, pool_name, secret, want, why};

law! {
    async fn a_renewal_counts_from_now(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let before = t.standing("a").await.lease.unwrap();
        t.advance(Span::secs(40));
        let renewed = t.renew_for(&lease, Span::secs(90)).await.unwrap();
        let mut expected = before;
        expected.ttl = Span::secs(90);
        expected.expires_at = t.now() + Span::secs(90);
        expected.renewals = 1;
        assert_eq!(renewed, expected);
        assert_eq!(t.standing("a").await.lease, Some(expected));
        t.advance(Span::secs(89));
        assert_eq!(t.state("a").await, SessionState::Leased);
    }

    async fn a_renewal_without_a_wish_gets_the_pools_default_ttl(t) {
        t.pool(Policy { default_ttl: Span::secs(44), ..Policy::default() }).await;
        t.sessions(&["a"]).await;
        let lease = t.lend(want().ttl(Span::secs(20))).await;
        t.advance(Span::secs(10));
        let renewed = t.renew(&lease).await.unwrap();
        assert_eq!((renewed.ttl, renewed.expires_at), (Span::secs(44), t.now() + Span::secs(44)));
    }

    async fn a_wished_renewal_is_clamped_to_the_pools_range(t) {
        t.pool_of(&["a", "b"]).await;
        let short = t.lend(want().ttl(Span::secs(5))).await;
        t.advance(Span::secs(3));
        let renewed = t.renew_for(&short, Span(1)).await.unwrap();
        assert_eq!((renewed.ttl, renewed.expires_at), (Span::secs(5), t.now() + Span::secs(5)));
        let long = t.lend(want()).await;
        let renewed = t.renew_for(&long, Span::hours(2)).await.unwrap();
        assert_eq!((renewed.ttl, renewed.expires_at), (Span::hours(1), t.now() + Span::hours(1)));
    }

    async fn a_renewal_never_shortens_a_lease(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want().ttl(Span::secs(100))).await;
        let expires_at = t.now() + Span::secs(100);
        t.advance(Span::secs(10));
        let renewed = t.renew_for(&lease, Span::secs(20)).await.unwrap();
        assert_eq!((renewed.ttl, renewed.expires_at), (Span::secs(90), expires_at));
        t.advance(Span::secs(70));
        let renewed = t.renew_for(&lease, Span::secs(20)).await.unwrap();
        assert_eq!((renewed.ttl, renewed.expires_at), (Span::secs(20), expires_at));
        t.advance(TICK);
        let renewed = t.renew_for(&lease, Span::secs(20)).await.unwrap();
        assert_eq!((renewed.ttl, renewed.expires_at), (Span::secs(20), expires_at + TICK));
    }

    async fn no_renewal_reaches_beyond_the_longest_life(t) {
        let policy = Policy {
            max_ttl: Span::secs(100),
            max_lifetime: Span::secs(150),
            ..Policy::default()
        };
        t.pool(policy).await;
        t.sessions(&["a"]).await;
        let lease = t.lend(want()).await;
        let (epoch, last) = (t.now().0, t.now() + Span::secs(150));
        t.advance(Span::secs(50));
        let renewed = t.renew_for(&lease, Span::secs(100)).await.unwrap();
        assert_eq!((renewed.ttl, renewed.expires_at), (Span::secs(100), last));
        t.advance(Span::secs(1));
        let renewed = t.renew_for(&lease, Span::secs(100)).await.unwrap();
        assert_eq!((renewed.ttl, renewed.expires_at), (Span::secs(99), last));
        assert_eq!(renewed.max_expires_at, last);
        t.advance(Span(98_999));
        assert_eq!(t.renew(&lease).await.unwrap().ttl, TICK);
        t.advance(TICK);
        assert_eq!(t.renew(&lease).await, Err(lost(&lease, EndCause::Expired, epoch, last)));
    }

    async fn a_lease_can_be_renewed_until_the_very_moment_of_its_expiry(t) {
        t.pool_of(&["a", "b"]).await;
        let (kept, missed) = (t.lend(want()).await, t.lend(want()).await);
        let (epoch, expiry) = (t.standing("b").await.epoch, t.now() + TTL);
        t.advance(Span(TTL.0 - 1));
        assert_eq!(t.renew(&kept).await.unwrap().expires_at, t.now() + TTL);
        t.advance(TICK);
        let expired = lost(&missed, EndCause::Expired, epoch, expiry);
        assert_eq!(t.renew(&missed).await, Err(expired.clone()));
        t.advance(Span::hours(2));
        assert_eq!(t.renew(&missed).await, Err(expired));
    }

    async fn a_lost_lease_tells_how_it_was_lost_until_a_newer_one_has_ended(t) {
        t.pool_of(&["a"]).await;
        let old = t.lend(want()).await;
        let (epoch, expiry) = (t.standing("a").await.epoch, t.now() + TTL);
        t.advance(Span::hours(1));
        let new = t.lend(want()).await;
        assert_eq!(t.renew(&old).await, Err(lost(&old, EndCause::Expired, epoch, expiry)));
        let newest = t.standing("a").await.epoch;
        t.advance(Span::secs(3));
        let released_at = t.now();
        t.release(&new).await.unwrap();
        t.advance(TICK);
        let superseded = lost(&old, EndCause::Superseded, newest, released_at);
        assert_eq!(t.renew(&old).await, Err(superseded));
        t.lend(want()).await;
        let (granted_at, newest) = (t.now(), t.standing("a").await.epoch);
        t.advance(TICK);
        let superseded = lost(&old, EndCause::Superseded, newest, granted_at);
        assert_eq!(t.renew(&old).await, Err(superseded));
    }

    async fn a_released_an_invalidated_and_a_surrendered_lease_are_lost(t) {
        t.pool_of(&["a", "b", "c"]).await;
        let mut leases = Vec::new();
        for _ in 0..3 {
            leases.push(t.lend(want()).await);
        }
        let epoch = t.now().0;
        t.advance(Span::secs(1));
        t.release(&leases[0]).await.unwrap();
        t.invalidate("b", why("op", "")).await.unwrap();
        t.surrender(&leases[2], why(ANN, "")).await.unwrap();
        let ended_at = t.now();
        t.advance(Span::secs(1));
        let causes = [EndCause::Released, EndCause::Invalidated, EndCause::Surrendered];
        for (lease, cause) in leases.iter().zip(causes) {
            assert_eq!(t.renew(lease).await, Err(lost(lease, cause, epoch, ended_at)));
        }
    }

    async fn a_lease_that_nobody_was_given_is_not_known(t) {
        t.pool_of(&["a", "b"]).await;
        let lease = t.lend(want()).await;
        for unknown in [
            lease.of_session("b"),
            lease.of_session("nobody"),
            lease.of_pool("nowhere"),
            // The first lease of a session: nothing older is remembered that it could be.
            lease.with(secret(999)),
        ] {
            assert_eq!(t.renew(&unknown).await, Err(Refusal::LeaseNotFound));
            assert_eq!(t.release(&unknown).await, Err(Refusal::LeaseNotFound));
            assert_eq!(t.surrender(&unknown, why(ANN, "")).await, Err(Refusal::LeaseNotFound));
        }
        assert_eq!(t.standing("a").await.lease.unwrap().secret, lease.secret);
    }

    async fn another_key_cannot_renew_a_lease(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let before = t.standing("a").await;
        t.advance(Span::secs(1));
        assert_eq!(t.renew_as(&lease, "bob").await, Err(not_holder(&lease)));
        t.set_mode(PoolMode::Draining).await;
        assert_eq!(t.renew_as(&lease, "bob").await, Err(not_holder(&lease)));
        assert_eq!(t.standing("a").await, before);
    }

    async fn a_paused_pool_renews(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.set_mode(PoolMode::Paused).await;
        t.advance(Span::secs(30));
        assert_eq!(t.renew(&lease).await.unwrap().expires_at, t.now() + TTL);
    }

    async fn a_draining_pool_does_not_renew(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let before = t.standing("a").await;
        t.set_mode(PoolMode::Draining).await;
        t.advance(Span::secs(30));
        let draining = Refusal::PoolDraining { pool: pool_name("p") };
        assert_eq!(t.renew(&lease).await, Err(draining));
        assert_eq!(t.standing("a").await, before);
    }

    async fn a_lost_lease_is_told_lost_in_a_draining_pool_too(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let (epoch, expiry) = (t.now().0, t.now() + TTL);
        t.set_mode(PoolMode::Draining).await;
        t.advance(TTL);
        assert_eq!(t.renew(&lease).await, Err(lost(&lease, EndCause::Expired, epoch, expiry)));
    }
}
