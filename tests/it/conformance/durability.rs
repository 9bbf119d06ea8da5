//! What a store keeps when it is let go and opened again: everything.

use telegate::pool::{
    Credential, EndCause, NewSession, Policy, PoolMode, PoolView, Refusal, ReleaseOutcome,
    SessionState, SessionView, Span,
};

use super::{DRAIN, TICK, TTL, lost};
use crate::harness::stage::{ANN, Stage, labelled, lawful, name, pool_name, session, want, why};

/// Everything that can be seen of a store.
async fn everything(t: &Stage) -> Vec<(PoolView, Vec<SessionView>)> {
    let mut seen = Vec::new();
    for view in lawful(t.store.list_pools(None, 100).await).unwrap() {
        let sessions = t.store.list_sessions(&view.record.name, None, 1000).await;
        seen.push((view, lawful(sessions).unwrap()));
    }
    seen
}

law! {
    async fn everything_is_as_it_was_after_a_restart(t) {
        let policy = Policy { rest: Span::secs(3), max_waiters: 9, ..Policy::default() };
        t.pool(policy).await;
        t.pool_named("empty", Policy::default()).await.unwrap();
        let rich = NewSession {
            account_id: Some(-1),
            proxy: Some(Credential(b"proxy".to_vec())),
            device: Some(Credential(vec![0xff, 0])),
            ..labelled("rich", &[("k", "v"), ("e", "")])
        };
        t.add(rich).await.unwrap();
        t.sessions(&["a", "b", "c", "d", "e", "f"]).await;
        t.lend(want().named("rich").request("r1")).await;
        let b = t.lend(want().named("b")).await;
        t.release(&b).await.unwrap();
        t.lend(want().named("c").ttl(Span::secs(5))).await;
        t.invalidate("d", why("op", "gone")).await.unwrap();
        let e = t.lend(want().named("e")).await;
        t.surrender(&e, why(ANN, "banned")).await.unwrap();
        t.advance(Span::secs(1));
        let f = t.lend(want().named("f")).await;
        assert!(t.undo(&f, 1).await);
        t.set_mode(PoolMode::Draining).await;
        let before = everything(t).await;
        t.reopen().await;
        assert_eq!(everything(t).await, before);
        t.reopen().await;
        assert_eq!(everything(t).await, before);
    }

    async fn a_lease_lives_on_after_a_restart(t) {
        t.pool_of(&["a", "b"]).await;
        let lease = t.lend(want()).await;
        t.reopen().await;
        assert_eq!(t.state("a").await, SessionState::Leased);
        t.advance(Span::secs(50));
        assert_eq!(t.renew(&lease).await.unwrap().expires_at, t.now() + TTL);
        t.reopen().await;
        t.advance(Span::secs(59));
        assert_eq!(t.release(&lease).await, Ok(ReleaseOutcome::Released));
        t.reopen().await;
        assert_eq!(t.release(&lease).await, Ok(ReleaseOutcome::AlreadyEnded));
    }

    async fn a_lease_that_expired_while_the_store_was_away_drains(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let (epoch, expiry) = (t.now().0, t.now() + TTL);
        t.advance(TTL);
        t.reopen().await;
        assert_eq!(t.renew(&lease).await, Err(lost(&lease, EndCause::Expired, epoch, expiry)));
        t.advance(Span(DRAIN.0 - 1));
        assert!(t.acquire(want()).await.is_err());
        t.advance(TICK);
        assert_eq!(t.next().await, "a");
    }

    async fn a_request_is_repeated_after_a_restart(t) {
        t.pool_of(&["a", "b"]).await;
        let first = t.acquire(want().request("r1")).await.unwrap();
        t.reopen().await;
        let again = t.acquire(want().request("r1")).await.unwrap();
        assert_eq!((again.replayed, again.lease.deliveries), (true, 2));
        assert_eq!(again.lease.secret, first.lease.secret);
        t.reopen().await;
        let reused = t.acquire(want().request("r1").digest("other")).await.unwrap_err();
        assert!(matches!(reused, Refusal::RequestIdReused { .. }), "{reused}");
        let retried = t.acquire(want().retried(first.lease.secret, Span::ZERO)).await.unwrap();
        assert_eq!((retried.replayed, retried.lease.deliveries), (false, 2));
    }

    async fn the_order_of_use_outlives_a_restart(t) {
        t.pool_of(&["a", "b", "c"]).await;
        let mut leases = Vec::new();
        for _ in 0..3 {
            leases.push(t.lend(want()).await);
        }
        for number in [1, 2, 0] {
            t.advance(TICK);
            t.release(&leases[number]).await.unwrap();
        }
        t.reopen().await;
        assert_eq!(t.all_that(&want()).await, ["b", "c", "a"]);
    }

    async fn epochs_go_on_rising_after_a_restart(t) {
        t.pool_of(&["a"]).await;
        let mut last = 0;
        for _ in 0..4 {
            let grant = t.acquire(want()).await.unwrap();
            assert!(grant.lease.epoch > last);
            last = grant.lease.epoch;
            let lease = crate::harness::stage::lease_id(&pool_name("p"), &grant);
            t.release(&lease).await.unwrap();
            t.reopen().await;
        }
    }

    async fn credentials_stay_unique_after_a_restart(t) {
        t.pool_of(&["a", "b"]).await;
        t.remove("b").await.unwrap();
        t.reopen().await;
        let twin = NewSession { fingerprint: session("a").fingerprint, ..session("c") };
        let exists = Refusal::CredentialExists {
            pool: pool_name("p"),
            session: name("a"),
            fingerprint: twin.fingerprint.clone(),
        };
        assert_eq!(t.add(twin).await, Err(exists));
        t.sessions(&["b"]).await;
    }

    async fn labels_are_found_after_a_restart(t) {
        t.pool(Policy::default()).await;
        t.add(labelled("a", &[("country", "de")])).await.unwrap();
        t.add(labelled("b", &[("country", "fr")])).await.unwrap();
        t.reopen().await;
        assert_eq!(t.all_that(&want().matching("country=fr")).await, ["b"]);
        assert_eq!(t.all_that(&want().matching("country!=fr")).await, ["a"]);
    }

    async fn what_was_removed_stays_removed_after_a_restart(t) {
        t.pool_of(&["a", "b"]).await;
        t.remove("a").await.unwrap();
        t.reopen().await;
        assert!(matches!(t.get("a").await, Err(Refusal::SessionNotFound { .. })));
        assert_eq!(t.status().await.counts.total, 1);
    }
}
