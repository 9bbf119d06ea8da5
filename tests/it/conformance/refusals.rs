//! Why there is no lease: each no, its facts, and which comes first.

use telegate::pool::{NextRelease, Policy, PoolMode, Queue, Refusal, ReleaseCause, Selector, Span};

use super::{TICK, TTL, no_pool};
use crate::harness::stage::{Stage, labelled, name, pool_name, want, why};

async fn busy(t: &Stage, after: Span, cause: ReleaseCause) -> Refusal {
    let (pool, counts) = (pool_name("p"), t.status().await.counts);
    Refusal::PoolBusy { pool, counts, next: NextRelease { after, cause }, queue: Queue::default() }
}

async fn depleted(t: &Stage) -> Refusal {
    Refusal::PoolDepleted { pool: pool_name("p"), counts: t.status().await.counts }
}

async fn no_match(t: &Stage, selector: &str) -> Refusal {
    let (pool, counts) = (pool_name("p"), t.status().await.counts);
    Refusal::NoMatchingSession { pool, selector: Selector::parse(selector).unwrap(), counts }
}

/// A pool with two German sessions and a French one.
async fn labelled_pool(t: &Stage) {
    t.pool(Policy::default()).await;
    for (session, country) in [("de-1", "de"), ("de-2", "de"), ("fr", "fr")] {
        t.add(labelled(session, &[("country", country)])).await.unwrap();
    }
}

law! {
    async fn a_missing_pool_is_told_before_all_else(t) {
        assert_eq!(t.acquire(want().named("a").request("r1")).await, Err(no_pool("p")));
    }

    async fn the_mode_is_told_before_the_emptiness_and_that_before_a_missing_session(t) {
        t.pool(Policy::default()).await;
        let (pool, want) = (pool_name("p"), want().named("nobody").matching("x"));
        t.set_mode(PoolMode::Paused).await;
        assert_eq!(t.acquire(want.clone()).await, Err(Refusal::PoolPaused { pool: pool.clone() }));
        t.set_mode(PoolMode::Draining).await;
        let draining = Refusal::PoolDraining { pool: pool.clone() };
        assert_eq!(t.acquire(want.clone()).await, Err(draining));
        t.set_mode(PoolMode::Active).await;
        assert_eq!(t.acquire(want.clone()).await, Err(Refusal::PoolEmpty { pool: pool.clone() }));
        t.sessions(&["a"]).await;
        let missing = Refusal::SessionNotFound { pool, session: name("nobody") };
        assert_eq!(t.acquire(want).await, Err(missing));
    }

    async fn a_missing_session_is_told_even_when_the_pool_is_busy(t) {
        t.pool_of(&["a"]).await;
        t.lend(want()).await;
        let missing = Refusal::SessionNotFound { pool: pool_name("p"), session: name("b") };
        assert_eq!(t.acquire(want().named("b")).await, Err(missing));
    }

    async fn a_busy_pool_tells_the_soonest_release(t) {
        t.pool_of(&["a", "b"]).await;
        t.lend(want()).await;
        let rests = t.lend(want()).await;
        let expected = busy(t, TTL, ReleaseCause::Lease).await;
        assert_eq!(t.acquire(want()).await, Err(expected));
        t.release_to_rest(&rests, Span::secs(10)).await.unwrap();
        let expected = busy(t, Span::secs(10), ReleaseCause::Rest).await;
        assert_eq!(t.acquire(want()).await, Err(expected));
        t.advance(Span(9_999));
        let expected = busy(t, TICK, ReleaseCause::Rest).await;
        assert_eq!(t.acquire(want()).await, Err(expected));
    }

    async fn the_soonest_release_is_that_of_a_session_that_would_do(t) {
        labelled_pool(t).await;
        t.lend(want().matching("country=fr").ttl(Span::secs(10))).await;
        t.lend(want().ttl(Span::secs(50))).await;
        let rests = t.lend(want().ttl(Span::secs(70))).await;
        let de = want().matching("country=de");
        let expected = busy(t, Span::secs(50), ReleaseCause::Lease).await;
        assert_eq!(t.acquire(de.clone()).await, Err(expected));
        let expected = busy(t, Span::secs(70), ReleaseCause::Lease).await;
        assert_eq!(t.acquire(want().named("de-2")).await, Err(expected));
        t.release_to_rest(&rests, Span::secs(45)).await.unwrap();
        let expected = busy(t, Span::secs(45), ReleaseCause::Rest).await;
        assert_eq!(t.acquire(de).await, Err(expected));
        let expected = busy(t, Span::secs(10), ReleaseCause::Lease).await;
        assert_eq!(t.acquire(want()).await, Err(expected));
    }

    async fn the_counts_of_a_refusal_are_those_of_the_whole_pool(t) {
        labelled_pool(t).await;
        t.lend(want().named("de-1")).await;
        t.invalidate("de-2", why("op", "")).await.unwrap();
        let refusal = t.acquire(want().matching("country=de")).await.unwrap_err();
        let Refusal::PoolBusy { counts, .. } = refusal else { panic!("{refusal}") };
        let told = (counts.total, counts.free, counts.leased, counts.invalid);
        assert_eq!(told, (3, 1, 1, 1));
    }

    async fn a_pool_is_depleted_when_a_person_must_help(t) {
        t.pool_of(&["a", "b"]).await;
        t.invalidate("a", why("op", "")).await.unwrap();
        let lease = t.lend(want()).await;
        let expected = busy(t, TTL, ReleaseCause::Lease).await;
        assert_eq!(t.acquire(want()).await, Err(expected));
        t.release(&lease).await.unwrap();
        t.invalidate("b", why("op", "")).await.unwrap();
        let expected = depleted(t).await;
        assert_eq!(t.acquire(want()).await, Err(expected));
    }

    async fn a_pool_is_depleted_for_those_whom_only_its_invalid_sessions_would_do(t) {
        labelled_pool(t).await;
        t.invalidate("de-1", why("op", "")).await.unwrap();
        t.invalidate("de-2", why("op", "")).await.unwrap();
        let expected = depleted(t).await;
        assert_eq!(t.acquire(want().matching("country=de")).await, Err(expected.clone()));
        assert_eq!(t.acquire(want().named("de-1")).await, Err(expected));
        t.lend(want()).await;
        let expected = depleted(t).await;
        assert_eq!(t.acquire(want().matching("country=de")).await, Err(expected));
    }

    async fn a_selector_that_nothing_can_ever_match_is_told_as_such(t) {
        labelled_pool(t).await;
        let want = want().matching("country=it,tier in (a,b),!banned");
        let expected = no_match(t, "country=it,tier in (a,b),!banned").await;
        assert_eq!(t.acquire(want.clone()).await, Err(expected));
        for session in ["de-1", "de-2", "fr"] {
            t.invalidate(session, why("op", "")).await.unwrap();
        }
        let expected = no_match(t, "country=it,tier in (a,b),!banned").await;
        assert_eq!(t.acquire(want).await, Err(expected));
    }

    async fn a_refusal_costs_nothing(t) {
        t.pool_of(&["a"]).await;
        t.lend(want()).await;
        let before = t.standing("a").await;
        t.acquire(want().request("r1")).await.unwrap_err();
        t.acquire(want().request("r1").digest("other")).await.unwrap_err();
        assert_eq!(t.standing("a").await, before);
    }
}
