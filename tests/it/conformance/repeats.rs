//! Asking twice: the same request is answered by the same lease while it lives.

use telegate::pool::{NextRelease, Policy, PoolMode, Refusal, ReleaseCause, SETTLE_LIMIT, Span};

use super::{DRAIN, TICK, TTL, sum};
use crate::harness::stage::{lease_id, pool_name, session, want};

law! {
    async fn a_repeated_request_gets_the_same_lease_and_does_not_extend_it(t) {
        t.pool_of(&["a", "b"]).await;
        let first = t.acquire(want().request("r1")).await.unwrap();
        t.advance(Span::secs(10));
        let again = t.acquire(want().request("r1")).await.unwrap();
        assert!(again.replayed);
        assert_eq!(again.at, t.now());
        assert_eq!(again.record, first.record);
        let mut expected = first.lease;
        expected.deliveries = 2;
        assert_eq!(again.lease, expected);
        assert_eq!(t.acquire(want().request("r1")).await.unwrap().lease.deliveries, 3);
        assert_eq!(t.standing("a").await.lease.unwrap().deliveries, 3);
        assert_eq!(t.status().await.counts.leased, 1);
    }

    async fn a_request_is_repeated_in_a_paused_and_in_a_draining_pool_too(t) {
        t.pool_of(&["a", "b"]).await;
        let first = t.acquire(want().request("r1")).await.unwrap();
        for (mode, refusal) in [
            (PoolMode::Paused, Refusal::PoolPaused { pool: pool_name("p") }),
            (PoolMode::Draining, Refusal::PoolDraining { pool: pool_name("p") }),
        ] {
            t.set_mode(mode).await;
            let again = t.acquire(want().request("r1")).await.unwrap();
            assert_eq!((again.replayed, again.lease.secret), (true, first.lease.secret));
            assert_eq!(t.acquire(want().request("r2")).await, Err(refusal));
        }
    }

    async fn a_request_is_repeated_when_nothing_else_is_free(t) {
        t.pool_of(&["a"]).await;
        let first = t.acquire(want().request("r1")).await.unwrap();
        let again = t.acquire(want().request("r1")).await.unwrap();
        assert_eq!(again.lease.secret, first.lease.secret);
    }

    async fn a_request_id_with_other_parameters_is_refused_while_its_lease_lives(t) {
        t.pool_of(&["a", "b"]).await;
        let lease = t.lend(want().request("r1")).await;
        let other = want().request("r1").digest("other");
        let reused =
            Refusal::RequestIdReused { pool: pool_name("p"), request_id: "r1".to_owned() };
        assert_eq!(t.acquire(other.clone()).await, Err(reused.clone()));
        t.set_mode(PoolMode::Paused).await;
        assert_eq!(t.acquire(other.clone()).await, Err(reused));
        t.set_mode(PoolMode::Active).await;
        assert_eq!(t.standing("a").await.lease.unwrap().deliveries, 1);
        t.release(&lease).await.unwrap();
        assert!(!t.acquire(other).await.unwrap().replayed);
    }

    async fn another_key_with_the_same_request_id_gets_its_own_lease(t) {
        t.pool_of(&["a", "b"]).await;
        let anns = t.acquire(want().request("r1")).await.unwrap();
        let bobs = t.acquire(want().request("r1").digest("other").by("bob")).await.unwrap();
        assert_eq!((anns.replayed, bobs.replayed), (false, false));
        assert_ne!(anns.record.name, bobs.record.name);
        let again = t.acquire(want().request("r1").digest("other").by("bob")).await.unwrap();
        assert_eq!(again.record.name, bobs.record.name);
    }

    async fn the_same_request_id_in_another_pool_gets_its_own_lease(t) {
        t.pool_of(&["a"]).await;
        t.pool_named("q", Policy::default()).await.unwrap();
        t.store.add(&pool_name("q"), session("z")).await.unwrap();
        t.lend(want().request("r1")).await;
        let other = t.acquire(want().request("r1").digest("q").from("q")).await.unwrap();
        assert_eq!((other.replayed, other.record.name.as_str()), (false, "z"));
    }

    async fn a_request_repeated_after_its_lease_was_released_gets_a_new_one(t) {
        t.pool_of(&["a"]).await;
        let first = t.lend(want().request("r1")).await;
        t.release(&first).await.unwrap();
        let second = t.acquire(want().request("r1")).await.unwrap();
        assert_eq!((second.replayed, second.lease.deliveries), (false, 1));
        assert_ne!(second.lease.secret, first.secret);
    }

    async fn a_request_repeated_after_its_grant_was_undone_gets_a_new_one(t) {
        t.pool_of(&["a"]).await;
        let first = t.lend(want().request("r1")).await;
        assert!(t.undo(&first, 1).await);
        assert!(!t.acquire(want().request("r1")).await.unwrap().replayed);
    }

    async fn a_request_repeated_after_its_session_was_invalidated_gets_a_new_lease(t) {
        t.pool_of(&["a", "b"]).await;
        t.lend(want().request("r1")).await;
        t.invalidate("a", crate::harness::stage::why("op", "gone")).await.unwrap();
        let again = t.acquire(want().request("r1")).await.unwrap();
        assert_eq!((again.replayed, again.record.name.as_str()), (false, "b"));
    }

    async fn a_request_is_repeated_until_the_very_end_of_its_lease(t) {
        t.pool_of(&["a", "b"]).await;
        t.lend(want().request("r1")).await;
        t.advance(Span(TTL.0 - 1));
        assert!(t.acquire(want().request("r1")).await.unwrap().replayed);
        t.advance(TICK);
        let after = t.acquire(want().request("r1")).await.unwrap();
        assert_eq!((after.replayed, after.record.name.as_str()), (false, "b"));
    }

    async fn a_renewed_lease_still_answers_its_request(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want().request("r1")).await;
        t.advance(Span(TTL.0 - 1));
        let renewed = t.renew(&lease).await.unwrap();
        t.advance(TICK);
        let again = t.acquire(want().request("r1")).await.unwrap();
        assert_eq!((again.replayed, again.lease.expires_at), (true, renewed.expires_at));
    }

    async fn a_request_whose_lease_is_due_but_not_settled_is_not_repeated(t) {
        t.pool(Policy::default()).await;
        for number in 0..SETTLE_LIMIT + 2 {
            t.add(session(&format!("s{number:03}"))).await.unwrap();
        }
        for _ in 0..=SETTLE_LIMIT {
            t.lend(want()).await;
        }
        t.lend(want().request("r1").ttl(sum(TTL, TICK))).await;
        t.advance(sum(TTL, TICK));
        let refusal = t.acquire(want().request("r1")).await.unwrap_err();
        let counts = t.status().await.counts;
        let next = NextRelease { after: Span(DRAIN.0 - 1), cause: ReleaseCause::Rest };
        assert!(matches!(refusal, Refusal::PoolBusy { .. }), "{refusal}");
        assert_eq!(counts.resting as usize, SETTLE_LIMIT + 2);
        assert_eq!(t.status().await.next, Some(next));
    }

    async fn an_ask_that_the_broker_repeats_gets_the_grant_whose_reply_was_lost(t) {
        t.pool_of(&["a", "b"]).await;
        let lost = t.acquire(want()).await.unwrap();
        t.advance(Span(250));
        let retry = want().retried(lost.lease.secret, Span(250));
        let again = t.acquire(retry.clone()).await.unwrap();
        // To its caller it is the first answer.
        assert_eq!((again.replayed, again.lease.secret), (false, lost.lease.secret));
        assert_eq!((again.lease.deliveries, again.at), (1, t.now()));
        assert_eq!(again.lease.expires_at, lost.lease.expires_at);
        assert_eq!(again.record, lost.record);
        assert_eq!(t.acquire(retry).await.unwrap().lease, again.lease);
        assert_eq!(t.status().await.counts.leased, 1);
    }

    async fn an_ask_that_the_broker_repeats_finds_its_grant_among_many_leases(t) {
        t.pool(Policy::default()).await;
        for number in 0..80 {
            t.add(session(&format!("s{number:02}"))).await.unwrap();
        }
        for _ in 0..40 {
            t.lend(want().ttl(Span::secs(50))).await;
        }
        let lost = t.acquire(want().named("s60")).await.unwrap();
        for _ in 0..30 {
            t.advance(TICK);
            t.lend(want().ttl(Span::secs(70))).await;
        }
        let retry = want().named("s60").retried(lost.lease.secret, Span(30));
        let again = t.acquire(retry).await.unwrap();
        assert_eq!(again.record.name.as_str(), "s60");
        assert_eq!((again.replayed, again.lease.secret), (false, lost.lease.secret));
    }

    async fn an_ask_that_the_broker_repeats_is_granted_when_the_first_never_arrived(t) {
        t.pool_of(&["a"]).await;
        let secret = t.fresh_secret();
        let grant = t.acquire(want().retried(secret, Span(250))).await.unwrap();
        assert_eq!((grant.replayed, grant.lease.deliveries), (false, 1));
        assert_eq!(grant.lease.secret, secret);
    }

    async fn an_ask_that_the_broker_repeats_is_granted_anew_when_its_grant_is_over(t) {
        t.pool_of(&["a", "b"]).await;
        let first = t.acquire(want()).await.unwrap();
        t.advance(TTL);
        let again = t.acquire(want().retried(first.lease.secret, TTL)).await.unwrap();
        assert_eq!((again.replayed, again.record.name.as_str()), (false, "b"));
    }

    async fn an_ask_that_the_broker_repeats_does_not_get_a_lease_that_is_due_but_not_settled(t) {
        t.pool(Policy::default()).await;
        for number in 0..SETTLE_LIMIT + 2 {
            t.add(session(&format!("s{number:03}"))).await.unwrap();
        }
        for _ in 0..=SETTLE_LIMIT {
            t.lend(want()).await;
        }
        let last = t.acquire(want()).await.unwrap();
        t.advance(TTL);
        let again = t.acquire(want().retried(last.lease.secret, TTL)).await;
        assert!(matches!(again, Err(Refusal::PoolBusy { .. })), "{again:?}");
    }

    async fn an_ask_that_the_broker_repeats_is_answered_in_a_paused_pool_too(t) {
        t.pool_of(&["a"]).await;
        let lost = t.acquire(want().request("r1")).await.unwrap();
        t.set_mode(PoolMode::Paused).await;
        let retry = want().request("r1").retried(lost.lease.secret, Span::ZERO);
        let again = t.acquire(retry).await.unwrap();
        assert_eq!((again.replayed, again.lease.secret), (false, lost.lease.secret));
        let unknown = want().retried(t.fresh_secret(), Span::ZERO);
        let paused = Refusal::PoolPaused { pool: pool_name("p") };
        assert_eq!(t.acquire(unknown).await, Err(paused));
    }

    async fn an_ask_that_the_broker_repeats_finds_a_renewed_lease(t) {
        t.pool_of(&["a", "b"]).await;
        let first = t.acquire(want()).await.unwrap();
        let renewed = t.renew_for(&lease_id(&pool_name("p"), &first), Span::hours(1)).await;
        let again = t.acquire(want().retried(first.lease.secret, Span::ZERO)).await.unwrap();
        assert_eq!((again.replayed, again.lease.secret), (false, first.lease.secret));
        assert_eq!(again.lease.expires_at, renewed.unwrap().expires_at);
    }
}
