//! How a pool stands: counts, state, and what comes free next.

use telegate::pool::{
    NextRelease, Policy, PoolCounts, PoolMode, PoolState, PoolStatus, Queue, ReleaseCause,
    SETTLE_LIMIT, Span,
};

use super::{DRAIN, TICK, TTL, sum};
use crate::harness::stage::{ANN, Stage, session, want, why};

fn counts(free: u32, leased: u32, resting: u32, invalid: u32) -> PoolCounts {
    let total = free + leased + resting + invalid;
    PoolCounts { total, free, leased, resting, invalid, ..PoolCounts::default() }
}

#[expect(clippy::unnecessary_wraps, reason = "what a status has")]
fn lease_in(after: Span) -> Option<NextRelease> {
    Some(NextRelease { after, cause: ReleaseCause::Lease })
}

#[expect(clippy::unnecessary_wraps, reason = "what a status has")]
fn rest_in(after: Span) -> Option<NextRelease> {
    Some(NextRelease { after, cause: ReleaseCause::Rest })
}

/// Asserts the whole status, twice: reading it changes nothing.
async fn stands(t: &Stage, state: PoolState, counts: PoolCounts, next: Option<NextRelease>) {
    let expected = PoolStatus { state, counts, next, queue: Queue::default(), at: t.now() };
    assert_eq!(t.status().await, expected);
    assert_eq!(t.status().await, expected);
}

law! {
    async fn a_pool_without_sessions_is_empty(t) {
        t.pool(Policy::default()).await;
        stands(t, PoolState::Empty, counts(0, 0, 0, 0), None).await;
    }

    async fn a_pool_with_a_free_session_is_ready_and_waits_for_nothing(t) {
        t.pool_of(&["a", "b"]).await;
        stands(t, PoolState::Ready, counts(2, 0, 0, 0), None).await;
        t.lend(want()).await;
        stands(t, PoolState::Ready, counts(1, 1, 0, 0), None).await;
    }

    async fn a_pool_whose_sessions_are_all_leased_is_busy_until_the_soonest_expiry(t) {
        t.pool_of(&["a", "b"]).await;
        t.lend(want().ttl(Span::secs(90))).await;
        let lease = t.lend(want().ttl(Span::secs(70))).await;
        stands(t, PoolState::Busy, counts(0, 2, 0, 0), lease_in(Span::secs(70))).await;
        t.advance(Span(1_500));
        stands(t, PoolState::Busy, counts(0, 2, 0, 0), lease_in(Span(68_500))).await;
        t.renew_for(&lease, Span::secs(120)).await.unwrap();
        stands(t, PoolState::Busy, counts(0, 2, 0, 0), lease_in(Span(88_500))).await;
    }

    async fn a_pool_whose_sessions_rest_is_busy_until_the_soonest_end(t) {
        t.pool_of(&["a", "b"]).await;
        let (a, b) = (t.lend(want()).await, t.lend(want()).await);
        t.release_to_rest(&a, Span::secs(20)).await.unwrap();
        t.release_to_rest(&b, Span::secs(10)).await.unwrap();
        stands(t, PoolState::Busy, counts(0, 0, 2, 0), rest_in(Span::secs(10))).await;
        t.advance(Span(9_999));
        stands(t, PoolState::Busy, counts(0, 0, 2, 0), rest_in(TICK)).await;
        t.advance(TICK);
        stands(t, PoolState::Ready, counts(1, 0, 1, 0), None).await;
    }

    async fn the_sooner_of_a_lease_and_a_rest_is_told_and_the_rest_where_they_tie(t) {
        t.pool_of(&["a", "b"]).await;
        let rests = t.lend(want()).await;
        t.lend(want().ttl(Span::secs(20))).await;
        t.release_to_rest(&rests, Span::secs(30)).await.unwrap();
        stands(t, PoolState::Busy, counts(0, 1, 1, 0), lease_in(Span::secs(20))).await;
        t.advance(Span::secs(50));
        let tie = t.lend(want()).await;
        t.lend(want().ttl(Span::secs(20))).await;
        t.release_to_rest(&tie, Span::secs(20)).await.unwrap();
        stands(t, PoolState::Busy, counts(0, 1, 1, 0), rest_in(Span::secs(20))).await;
    }

    async fn an_expired_lease_counts_as_resting_until_it_has_drained(t) {
        t.pool_of(&["a"]).await;
        t.lend(want()).await;
        t.advance(TTL);
        stands(t, PoolState::Busy, counts(0, 0, 1, 0), rest_in(DRAIN)).await;
        t.advance(DRAIN);
        stands(t, PoolState::Ready, counts(1, 0, 0, 0), None).await;
    }

    async fn a_pool_whose_sessions_are_all_invalid_is_depleted(t) {
        t.pool_of(&["a", "b"]).await;
        t.invalidate("a", why("op", "")).await.unwrap();
        stands(t, PoolState::Ready, counts(1, 0, 0, 1), None).await;
        let lease = t.lend(want()).await;
        stands(t, PoolState::Busy, counts(0, 1, 0, 1), lease_in(TTL)).await;
        t.surrender(&lease, why(ANN, "")).await.unwrap();
        stands(t, PoolState::Depleted, counts(0, 0, 0, 2), None).await;
    }

    async fn an_invalid_session_that_drains_counts_as_invalid_only(t) {
        t.pool_of(&["a"]).await;
        t.lend(want()).await;
        t.invalidate("a", why("op", "")).await.unwrap();
        stands(t, PoolState::Depleted, counts(0, 0, 0, 1), None).await;
        t.advance(DRAIN);
        stands(t, PoolState::Depleted, counts(0, 0, 0, 1), None).await;
        t.restore("a").await.unwrap();
        stands(t, PoolState::Ready, counts(1, 0, 0, 0), None).await;
    }

    async fn every_state_is_counted_at_once(t) {
        t.pool_of(&["a", "b", "c", "d", "e", "f"]).await;
        for _ in 0..4 {
            t.lend(want()).await;
        }
        let rests = t.lend(want()).await;
        t.release_to_rest(&rests, Span::secs(5)).await.unwrap();
        t.invalidate("a", why("op", "")).await.unwrap();
        stands(t, PoolState::Ready, counts(1, 3, 1, 1), None).await;
    }

    async fn a_paused_and_a_draining_pool_say_so_and_count_on(t) {
        t.pool_of(&["a"]).await;
        t.set_mode(PoolMode::Paused).await;
        stands(t, PoolState::Paused, counts(1, 0, 0, 0), None).await;
        t.set_mode(PoolMode::Active).await;
        t.lend(want()).await;
        t.set_mode(PoolMode::Draining).await;
        stands(t, PoolState::Draining, counts(0, 1, 0, 0), lease_in(TTL)).await;
        t.advance(sum(TTL, DRAIN));
        stands(t, PoolState::Draining, counts(1, 0, 0, 0), None).await;
    }

    async fn an_empty_pool_that_is_paused_is_paused(t) {
        t.pool(Policy::default()).await;
        t.set_mode(PoolMode::Paused).await;
        stands(t, PoolState::Paused, counts(0, 0, 0, 0), None).await;
    }

    async fn a_backlog_of_every_kind_is_counted_right_before_it_is_settled(t) {
        t.pool_of(&[]).await;
        let many = SETTLE_LIMIT + 20;
        for number in 0..3 * many {
            t.add(session(&format!("s{number:03}"))).await.unwrap();
        }
        // A third rests, a third expires and drains before it is looked at, a third still drains.
        let mut rests = Vec::new();
        for _ in 0..many {
            rests.push(t.lend(want()).await);
        }
        for ttl in [Span::secs(10), Span::secs(30)] {
            for _ in 0..many {
                t.lend(want().ttl(ttl)).await;
            }
        }
        for lease in rests {
            t.release_to_rest(&lease, Span::secs(40)).await.unwrap();
        }
        t.advance(Span::secs(40));
        let many = u32::try_from(many).unwrap();
        for _ in 0..5 {
            let status = t.status().await;
            assert_eq!(status.counts, counts(2 * many, 0, many, 0));
            assert_eq!((status.state, status.next), (PoolState::Ready, None));
        }
    }

    async fn what_is_due_but_not_settled_counts_as_ending_now(t) {
        t.pool_of(&[]).await;
        for number in 0..2 * SETTLE_LIMIT {
            t.add(session(&format!("s{number:03}"))).await.unwrap();
        }
        for _ in 0..2 * SETTLE_LIMIT {
            t.lend(want()).await;
        }
        t.advance(TTL);
        let all = u32::try_from(2 * SETTLE_LIMIT).unwrap();
        let first = t.status().await;
        assert_eq!((first.counts, first.next), (counts(0, 0, all, 0), lease_in(Span::ZERO)));
        let second = t.status().await;
        assert_eq!((second.counts, second.next), (counts(0, 0, all, 0), rest_in(DRAIN)));
    }
}
