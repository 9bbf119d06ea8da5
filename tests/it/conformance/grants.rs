//! What a grant says: the lease, its times, its epoch, and what it lends.

use telegate::pool::{Credential, Lease, NewSession, Policy, PoolMode, SessionState, Span, Time};

use super::{TICK, TTL};
use crate::harness::stage::{holder, labelled, secret, session, want};

law! {
    async fn a_grant_tells_the_lease_in_full(t) {
        t.pool_of(&["a"]).await;
        let ask = want().by("bob").ttl(Span::secs(90)).request("r1");
        let grant = t.acquire(ask).await.unwrap();
        let expected = Lease {
            secret: secret(1),
            epoch: t.now().0,
            holder: holder("bob"),
            request: Some(telegate::pool::RequestTag { id: "r1".into(), digest: "digest".into() }),
            granted_at: t.now(),
            expires_at: t.now() + Span::secs(90),
            max_expires_at: t.now() + Span::hours(24),
            ttl: Span::secs(90),
            deliveries: 1,
            renewals: 0,
        };
        assert_eq!(grant.lease, expected);
        assert_eq!(grant.at, t.now());
        assert!(!grant.replayed);
    }

    async fn a_grant_lends_everything_that_is_known_of_the_session(t) {
        t.pool(Policy::default()).await;
        let new = NewSession {
            account_id: Some(-7_777_777_777),
            proxy: Some(Credential(b"socks5://u:p@host:1080".to_vec())),
            device: Some(Credential(vec![0, 1, 0xff, 0xfe])),
            credential: Credential((0..=255).collect()),
            ..labelled("a", &[("country", "de"), ("empty", "")])
        };
        let added_at = t.now();
        t.add(new.clone()).await.unwrap();
        t.advance(Span::secs(5));
        let grant = t.acquire(want()).await.unwrap();
        assert_eq!(grant.record, new.into_record(added_at));
    }

    async fn a_grant_without_request_and_selector_has_none(t) {
        t.pool_of(&["a"]).await;
        let lease = t.acquire(want()).await.unwrap().lease;
        assert_eq!(lease.request, None);
        assert_eq!(t.standing("a").await.lease, Some(lease));
    }

    async fn a_lease_without_a_wish_gets_the_pools_default_ttl(t) {
        t.pool(Policy { default_ttl: Span::secs(77), ..Policy::default() }).await;
        t.sessions(&["a"]).await;
        let lease = t.acquire(want()).await.unwrap().lease;
        assert_eq!((lease.ttl, lease.expires_at), (Span::secs(77), t.now() + Span::secs(77)));
    }

    async fn a_wished_ttl_is_clamped_to_the_pools_range(t) {
        t.pool(Policy::default()).await;
        let wishes = [
            (1, 5_000),
            (4_999, 5_000),
            (5_000, 5_000),
            (5_001, 5_001),
            (3_599_999, 3_599_999),
            (3_600_000, 3_600_000),
            (3_600_001, 3_600_000),
            (u64::MAX / 1_000_000, 3_600_000),
        ];
        for (number, (wish, granted)) in wishes.into_iter().enumerate() {
            t.add(session(&format!("s{number}"))).await.unwrap();
            let lease = t.acquire(want().ttl(Span(wish))).await.unwrap().lease;
            assert_eq!((wish, lease.ttl), (wish, Span(granted)));
            assert_eq!(lease.expires_at, t.now() + Span(granted));
        }
    }

    async fn the_longest_life_of_a_lease_counts_from_its_grant(t) {
        t.pool(Policy { max_lifetime: Span::hours(2), ..Policy::default() }).await;
        t.sessions(&["a"]).await;
        t.advance(Span::secs(11));
        let lease = t.acquire(want()).await.unwrap().lease;
        assert_eq!(lease.max_expires_at, t.now() + Span::hours(2));
    }

    async fn the_first_epoch_is_the_clock(t) {
        t.pool_of(&["a"]).await;
        t.advance(Span(123));
        assert_eq!(t.standing("a").await.epoch, 0);
        assert_eq!(t.acquire(want()).await.unwrap().lease.epoch, t.now().0);
    }

    async fn an_epoch_rises_by_one_when_the_clock_stands(t) {
        t.pool_of(&["a"]).await;
        for step in 0..4 {
            let lease = t.lend(want()).await;
            assert_eq!(t.standing("a").await.epoch, t.now().0 + step);
            t.release(&lease).await.unwrap();
        }
    }

    async fn an_epoch_is_the_greater_of_the_one_before_plus_one_and_the_clock(t) {
        t.pool_of(&["a"]).await;
        let begin = t.now().0;
        let mut epochs = Vec::new();
        // Three grants in the first millisecond put the epoch ahead of the clock.
        for pause in [Span::ZERO, Span::ZERO, TICK, TICK, TICK, Span::secs(1)] {
            let lease = t.lend(want()).await;
            epochs.push(t.standing("a").await.epoch - begin);
            t.release(&lease).await.unwrap();
            t.advance(pause);
        }
        assert_eq!(epochs, [0, 1, 2, 3, 4, 5]);
        let lease = t.lend(want()).await;
        assert_eq!(t.standing(lease.session.as_str()).await.epoch, t.now().0);
    }

    async fn epochs_rise_after_an_expiry_and_an_undo_too(t) {
        t.pool_of(&["a"]).await;
        let undone = t.lend(want()).await;
        assert!(t.undo(&undone, 1).await);
        let first = t.acquire(want()).await.unwrap().lease.epoch;
        assert_eq!(first, t.now().0 + 1);
        t.advance(Span::hours(1));
        let second = t.acquire(want()).await.unwrap().lease.epoch;
        assert_eq!(second, t.now().0);
        assert!(second > first);
    }

    async fn a_leased_session_shows_its_lease_and_the_end_of_it(t) {
        t.pool_of(&["a"]).await;
        let grant = t.acquire(want()).await.unwrap();
        let view = t.get("a").await.unwrap();
        assert_eq!(view.standing.state(t.now()), SessionState::Leased);
        assert_eq!(view.standing.state_until(t.now()), Some(t.now() + TTL));
        assert_eq!(view.standing.lease, Some(grant.lease));
        assert_eq!(view.standing.last_used, Time::default());
        assert_eq!(view.record, grant.record);
    }

    async fn a_resumed_pool_grants_again(t) {
        t.pool_of(&["a"]).await;
        t.set_mode(PoolMode::Paused).await;
        assert!(t.acquire(want()).await.is_err());
        t.set_mode(PoolMode::Active).await;
        assert_eq!(t.next().await, "a");
    }
}
