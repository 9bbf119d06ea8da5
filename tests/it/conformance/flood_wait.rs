//! Cool-downs of whole sessions: `FLOOD_WAIT`, and what else a session may be meanwhile.

use telegate::pool::{PoolState, SessionState, Span, Time, verdict::Scope};

use super::{DRAIN, TICK, TTL};
use crate::harness::{
    stage::{want, why},
    trouble::{closed, cool_down, crowded, flood, slow_mode, whole},
};

/// The method that floods in most cases.
const SEARCH: &str = "messages.search";

law! {
    async fn a_session_that_cools_down_as_a_whole_is_in_flood_wait(t) {
        t.pool_of(&["a"]).await;
        let effect = t.meets("a", &whole(30)).await;
        assert_eq!(effect.state, SessionState::Leased);
        let view = t.get("a").await.unwrap();
        assert_eq!(view.standing.state(view.at), SessionState::FloodWait);
        assert_eq!(view.standing.state_until(view.at), Some(t.now() + Span::secs(30)));
        let status = t.status().await;
        assert_eq!((status.state, status.counts.flood_wait), (PoolState::FloodWait, 1));
        assert!(t.acquire(want().probing()).await.is_err());
        t.advance(Span(29_999));
        assert_eq!(t.state("a").await, SessionState::FloodWait);
        assert!(t.acquire(want()).await.is_err());
        t.advance(TICK);
        let view = t.get("a").await.unwrap();
        assert_eq!(view.standing.state(view.at), SessionState::Ready);
        assert_eq!((view.standing.cool_downs.len(), view.standing.rest_until), (0, Time(0)));
        assert_eq!(t.status().await.counts.free, 1);
        assert_eq!(t.next().await, "a");
    }

    async fn a_crowded_egress_closes_the_whole_session_beside_its_own_cool_down(t) {
        t.pool_of(&["a"]).await;
        t.meets("a", &crowded()).await;
        t.get("a").await.unwrap();
        let lease_less = t.standing("a").await;
        let until = t.now() + Span::secs(10);
        let entry = cool_down(Scope::Egress, until, "N429", "TRANSPORT_429");
        assert_eq!(lease_less.cool_downs, [entry]);
        assert_eq!(t.state("a").await, SessionState::FloodWait);
        t.clear("a", &Scope::Session).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::FloodWait);
        t.clear("a", &Scope::Egress).await.unwrap();
        assert_eq!(t.next().await, "a");
    }

    async fn a_session_is_resting_or_in_flood_wait_by_what_lasts_longer(t) {
        t.pool_of(&["a", "b", "c"]).await;
        for (session, cools, state, until) in [
            ("a", 30, SessionState::FloodWait, 30),
            ("b", 20, SessionState::FloodWait, 20),
            ("c", 19, SessionState::Resting, 20),
        ] {
            let lease = t.lend(want().named(session)).await;
            t.report(&lease, &whole(cools)).await.unwrap();
            t.release_to_rest(&lease, Span::secs(20)).await.unwrap();
            let view = t.get(session).await.unwrap();
            assert_eq!(view.standing.state(view.at), state, "{session}");
            let until = Some(t.now() + Span::secs(until));
            assert_eq!(view.standing.state_until(view.at), until, "{session}");
        }
        let counts = t.status().await.counts;
        assert_eq!((counts.flood_wait, counts.resting), (2, 1));
        t.advance(Span::secs(20));
        assert_eq!(t.all_that(&want()).await, ["b", "c"]);
    }

    async fn a_cool_down_outlasts_the_drain_of_a_lease_that_expired(t) {
        t.pool_of(&["a", "b"]).await;
        for (session, cools) in [("a", 3_600), ("b", 70)] {
            let lease = t.lend(want().named(session)).await;
            t.report(&lease, &whole(cools)).await.unwrap();
        }
        t.advance(TTL);
        assert_eq!(t.state("a").await, SessionState::FloodWait);
        assert_eq!(t.state("b").await, SessionState::Resting);
        t.advance(DRAIN);
        assert_eq!(t.state("a").await, SessionState::FloodWait);
        assert_eq!(t.state("b").await, SessionState::Ready);
        t.advance(Span::secs(3_510));
        assert_eq!(t.all_that(&want()).await, ["a", "b"]);
    }

    async fn a_holder_may_go_on_with_a_session_that_cools_down(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want().ttl(Span::secs(100))).await;
        t.report(&lease, &whole(60)).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::Leased);
        assert!(t.renew(&lease).await.is_ok());
        t.advance(Span::secs(70));
        t.release(&lease).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::Ready);
        assert_eq!(t.next().await, "a");
        assert_eq!(t.standing("a").await.cool_downs, []);
    }

    async fn a_restored_session_still_cools_down(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.report(&lease, &whole(60)).await.unwrap();
        t.report(&lease, &flood(SEARCH, 90)).await.unwrap();
        t.report(&lease, &slow_mode("chat", 10)).await.unwrap();
        t.release(&lease).await.unwrap();
        t.invalidate("a", why("op", "out")).await.unwrap();
        t.advance(Span::secs(50));
        let view = t.restore("a").await.unwrap();
        assert_eq!(view.standing.state(view.at), SessionState::FloodWait);
        assert_eq!(view.standing.cool_downs.len(), 2);
        t.advance(Span::secs(10));
        assert!(t.acquire(want().calling(SEARCH)).await.is_err());
        assert_eq!(t.next().await, "a");
    }

    async fn a_session_that_is_not_lent_cools_down_for_a_late_report(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.release(&lease).await.unwrap();
        let effect = t.report(&lease, &whole(30)).await.unwrap();
        assert_eq!(effect, closed(t, t.now() + Span::secs(30), SessionState::FloodWait));
        assert!(t.acquire(want()).await.is_err());
        t.invalidate("a", why("op", "out")).await.unwrap();
        let effect = t.report(&lease, &whole(60)).await.unwrap();
        assert_eq!(effect, closed(t, t.now() + Span::secs(60), SessionState::Invalid));
        t.restore("a").await.unwrap();
        t.advance(Span(59_999));
        assert!(t.acquire(want()).await.is_err());
    }
}
