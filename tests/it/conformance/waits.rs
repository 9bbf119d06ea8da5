//! When something that would do comes free: the true soonest time, and what it waits for.

use telegate::pool::{
    Escalations, NextRelease, Policy, PoolState, Queue, Refusal, ReleaseCause, SETTLE_LIMIT, Span,
    WALK_LIMIT,
};

use ReleaseCause::{CoolDown, Lease, Rest};

use super::{TICK, TTL};
use crate::harness::{
    stage::{Stage, Want, labelled, pool_name, session, want, why},
    trouble::{at, flood, premium, slow_mode, unknown_key, whole},
};

/// A method that floods.
const SEARCH: &str = "messages.search";

/// A pool of many sessions that escalates nothing.
async fn crowd(t: &Stage, many: usize) {
    let escalation = Escalations { disabled: true, ..Escalations::default() };
    t.pool(Policy { escalation, ..Policy::default() }).await;
    for number in 0..many {
        t.add(session(&format!("s{number:03}"))).await.unwrap();
    }
}

/// Asserts what an Acquire that gets nothing waits for.
async fn waits(t: &Stage, want: Want, after: Span, cause: ReleaseCause) {
    let (pool, counts) = (pool_name("p"), t.status().await.counts);
    let next = NextRelease { after, cause };
    let refusal = match cause {
        ReleaseCause::CoolDown => {
            Refusal::PoolFloodWait { pool, counts, next, queue: Queue::default() }
        }
        ReleaseCause::Lease | ReleaseCause::Rest => {
            Refusal::PoolBusy { pool, counts, next, queue: Queue::default() }
        }
    };
    assert_eq!(t.explain(want.clone()).await, Err(refusal.clone()), "{want:?}");
    assert_eq!(t.acquire(want).await, Err(refusal));
}

law! {
    async fn a_pool_in_flood_wait_tells_the_soonest_end(t) {
        t.pool_of(&["a", "b", "c"]).await;
        t.meets("a", &whole(60)).await;
        t.meets("b", &whole(30)).await;
        t.lend(want().named("c").ttl(Span::secs(40))).await;
        waits(t, want(), Span::secs(30), CoolDown).await;
        let status = t.status().await;
        let next = NextRelease { after: Span::secs(30), cause: CoolDown };
        assert_eq!((status.state, status.next), (PoolState::FloodWait, Some(next)));
        t.advance(Span::secs(30));
        t.lend(want().named("b").ttl(Span::secs(60))).await;
        waits(t, want(), Span::secs(10), Lease).await;
        assert_eq!(t.status().await.state, PoolState::Busy);
        waits(t, want().named("a"), Span::secs(30), CoolDown).await;
    }

    async fn of_what_ends_together_a_rest_is_told_then_a_lease_then_a_cool_down(t) {
        t.pool_of(&["a", "b", "c"]).await;
        t.meets("a", &whole(30)).await;
        t.lend(want().named("b").ttl(Span::secs(30))).await;
        let lease = t.lend(want().named("c")).await;
        waits(t, want(), Span::secs(30), Lease).await;
        waits(t, want().calling(SEARCH), Span::secs(30), Lease).await;
        t.release_to_rest(&lease, Span::secs(30)).await.unwrap();
        waits(t, want(), Span::secs(30), Rest).await;
        waits(t, want().calling(SEARCH), Span::secs(30), Rest).await;
        assert_eq!(t.status().await.state, PoolState::Busy);
    }

    async fn a_free_session_that_cools_down_is_waited_for_until_the_last_of_the_asked_scopes(t) {
        t.pool_of(&["a", "b"]).await;
        for (session, met) in [
            ("a", flood(SEARCH, 30)),
            ("a", slow_mode("chat", 50)),
            ("a", premium(90)),
            ("b", flood(SEARCH, 40)),
        ] {
            t.meets(session, &met).await;
        }
        waits(t, want().calling(SEARCH), Span::secs(30), CoolDown).await;
        waits(t, want().calling(SEARCH).about("chat"), Span::secs(40), CoolDown).await;
        waits(t, want().named("a").calling(SEARCH).about("chat"), Span::secs(50), CoolDown).await;
        let all = want().named("a").about("chat").calling("upload.getFile").calling(SEARCH);
        waits(t, all, Span::secs(90), CoolDown).await;
        assert_eq!(t.status().await.state, PoolState::Ready);
        t.advance(Span::secs(30));
        assert!(t.acquire(want().calling(SEARCH)).await.is_ok());
    }

    async fn what_is_leased_or_rests_is_waited_for_until_both_are_over(t) {
        t.pool_of(&["a", "b", "c"]).await;
        let a = t.lend(want().named("a").ttl(Span::secs(40))).await;
        let b = t.lend(want().named("b")).await;
        let c = t.lend(want().named("c")).await;
        for (lease, cools) in [(&a, 70), (&b, 60), (&c, 50)] {
            t.report(lease, &flood(SEARCH, cools)).await.unwrap();
        }
        t.release_to_rest(&b, Span::secs(80)).await.unwrap();
        t.report(&c, &whole(90)).await.unwrap();
        t.release(&c).await.unwrap();
        waits(t, want(), Span::secs(40), Lease).await;
        waits(t, want().calling(SEARCH), Span::secs(70), CoolDown).await;
        waits(t, want().named("b").calling(SEARCH), Span::secs(80), Rest).await;
        waits(t, want().named("c").calling(SEARCH), Span::secs(90), CoolDown).await;
        waits(t, want().named("a").calling(SEARCH), Span::secs(70), CoolDown).await;
        waits(t, want().named("a").calling("messages.getHistory"), Span::secs(40), Lease).await;
    }

    async fn a_cool_down_that_ends_with_the_lease_is_no_longer_a_reason(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want().ttl(Span::secs(40))).await;
        t.report(&lease, &flood(SEARCH, 40)).await.unwrap();
        waits(t, want().calling(SEARCH), Span::secs(40), Lease).await;
        t.report(&lease, &flood(SEARCH, 41)).await.unwrap();
        waits(t, want().calling(SEARCH), Span::secs(41), CoolDown).await;
    }

    async fn only_sessions_that_match_are_waited_for(t) {
        t.pool(Policy::default()).await;
        for (session, country) in [("a", "de"), ("b", "fr"), ("c", "fr")] {
            t.add(labelled(session, &[("c", country)])).await.unwrap();
        }
        t.meets("a", &flood(SEARCH, 30)).await;
        t.meets("b", &flood(SEARCH, 60)).await;
        t.meets("c", &flood(SEARCH, 50)).await;
        t.meets("c", &whole(70)).await;
        waits(t, want().calling(SEARCH), Span::secs(30), CoolDown).await;
        waits(t, want().matching("c=fr").calling(SEARCH), Span::secs(60), CoolDown).await;
        waits(t, want().matching("c!=de").calling(SEARCH), Span::secs(60), CoolDown).await;
        let none = t.acquire(want().matching("c=it").calling(SEARCH)).await.unwrap_err();
        assert!(matches!(none, Refusal::NoMatchingSession { .. }), "{none}");
        let none = t.acquire(want().named("a").matching("c=fr").calling(SEARCH)).await.unwrap_err();
        assert!(matches!(none, Refusal::NoMatchingSession { .. }), "{none}");
    }

    async fn a_suspect_session_is_waited_for_by_a_probe_alone(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.report(&lease, &unknown_key()).await.unwrap();
        t.report(&lease, &flood(SEARCH, 40)).await.unwrap();
        t.release_to_rest(&lease, Span::secs(20)).await.unwrap();
        let none = t.acquire(want()).await.unwrap_err();
        assert!(matches!(none, Refusal::PoolDepleted { .. }), "{none}");
        waits(t, want().probing(), Span::secs(20), Rest).await;
        waits(t, want().probing().named("a"), Span::secs(20), Rest).await;
        waits(t, want().probing().calling(SEARCH), Span::secs(40), CoolDown).await;
        t.advance(Span::secs(20));
        waits(t, want().probing().calling(SEARCH), Span::secs(20), CoolDown).await;
        let lease = t.lend(want().probing()).await;
        waits(t, want().probing(), TTL, Lease).await;
        t.report(&lease, &whole(30)).await.unwrap();
        assert!(t.standing("a").await.suspect.is_none());
    }

    async fn a_pool_without_anything_usable_is_depleted_for_every_scope(t) {
        t.pool_of(&["a", "b"]).await;
        t.meets("a", &flood(SEARCH, 30)).await;
        t.invalidate("a", why("op", "out")).await.unwrap();
        t.meets("b", &flood(SEARCH, 30)).await;
        t.meets("b", &unknown_key()).await;
        let none = t.acquire(want().calling(SEARCH)).await.unwrap_err();
        let counts = t.status().await.counts;
        assert_eq!(none, Refusal::PoolDepleted { pool: pool_name("p"), counts });
    }

    async fn the_soonest_of_many_is_exact_or_never_too_late(t) {
        let many = WALK_LIMIT + 40;
        crowd(t, many).await;
        let mut leases = Vec::new();
        for _ in 0..many {
            leases.push(t.lend(want()).await);
        }
        // The leases end one after the other, and each session cools down for longer.
        for (number, lease) in leases.iter().enumerate() {
            let secs = 60 + number as u64;
            t.renew_for(lease, Span::secs(secs)).await.unwrap();
            let error = flood(SEARCH, if number == many - 1 { 2 } else { 4_000 });
            t.report(lease, &error).await.unwrap();
        }
        // As many are looked at as may be; the next lease ends then, and nothing comes before.
        let bound = Span::secs(60 + WALK_LIMIT as u64);
        waits(t, want().calling(SEARCH), bound, Lease).await;
        let last = Span::secs(60 + many as u64 - 1);
        waits(t, want().calling(SEARCH).named("s295"), last, Lease).await;
        waits(t, want().named("s000").calling(SEARCH), Span::secs(4_000), CoolDown).await;
        // With fewer it is exact.
        for lease in leases.iter().take(40) {
            t.release(lease).await.unwrap();
        }
        waits(t, want().calling(SEARCH), last, Lease).await;
    }

    async fn leased_ones_in_a_scope_hide_free_ones_beyond_the_limit_but_never_too_late(t) {
        let many = WALK_LIMIT + 2;
        crowd(t, many).await;
        let mut leases = Vec::new();
        for _ in 0..many {
            leases.push(t.lend(want().ttl(Span::hours(1))).await);
        }
        for (number, lease) in leases.iter().enumerate() {
            t.report(lease, &flood(SEARCH, 60 + number as u64)).await.unwrap();
        }
        t.release(&leases[WALK_LIMIT + 1]).await.unwrap();
        let bound = Span::secs(60 + WALK_LIMIT as u64);
        waits(t, want().calling(SEARCH), bound, CoolDown).await;
        t.release(&leases[WALK_LIMIT - 1]).await.unwrap();
        waits(t, want().calling(SEARCH), Span::secs(60 + WALK_LIMIT as u64 - 1), CoolDown).await;
    }

    async fn more_than_one_call_settles_is_counted_right_and_never_lent_early(t) {
        let many = 2 * SETTLE_LIMIT + 3;
        crowd(t, many).await;
        let mut leases = Vec::new();
        for _ in 0..many {
            leases.push(t.lend(want()).await);
        }
        for lease in &leases {
            t.report(lease, &flood(SEARCH, 50)).await.unwrap();
            t.release_over(lease, &whole(40)).await.unwrap();
        }
        let most = u32::try_from(many).unwrap();
        assert_eq!(t.status().await.counts.flood_wait, most);
        t.advance(Span::secs(40));
        let counts = t.status().await.counts;
        assert_eq!((counts.free, counts.flood_wait), (most, 0));
        waits(t, want().calling(SEARCH), Span::secs(10), CoolDown).await;
        t.advance(Span::secs(10));
        assert_eq!(t.all_that(&want().calling(SEARCH)).await.len(), many);
    }

    async fn an_error_of_long_ago_is_waited_for_as_long_as_is_left(t) {
        t.pool_of(&["a"]).await;
        t.meets("a", &at(flood(SEARCH, 30), t.now() - Span::secs(29))).await;
        waits(t, want().calling(SEARCH), Span::secs(1), CoolDown).await;
        t.advance(Span(999));
        waits(t, want().calling(SEARCH), TICK, CoolDown).await;
        t.advance(TICK);
        assert!(t.acquire(want().calling(SEARCH)).await.is_ok());
    }
}
