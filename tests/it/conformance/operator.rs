//! What an operator does about cool-downs: clears them, removes their sessions, has an Acquire
//! explained.

use telegate::pool::{Policy, Refusal, SessionState, Span, verdict::Scope};

use super::{DRAIN, TTL, no_pool, sum};
use crate::harness::{
    mandate,
    stage::{lawful, name, pool_name, want},
    trouble::{flood, method, whole},
};

/// The method that floods in most cases.
const SEARCH: &str = "messages.search";

law! {
    async fn a_cleared_cool_down_is_over_at_once(t) {
        t.pool_of(&["a"]).await;
        t.meets("a", &flood(SEARCH, 30)).await;
        t.meets("a", &whole(30)).await;
        let other = t.clear("a", &method("messages.getHistory")).await.unwrap();
        assert_eq!(other, t.get("a").await.unwrap());
        let view = t.clear("a", &Scope::Session).await.unwrap();
        assert_eq!(view.standing.state(view.at), SessionState::Ready);
        assert!(t.acquire(want().calling(SEARCH)).await.is_err());
        let view = t.clear("a", &method("SearchRequest")).await.unwrap();
        assert_eq!(view.standing.cool_downs, []);
        assert_eq!(t.clear("a", &method(SEARCH)).await, Ok(view));
        assert_eq!(t.lend(want().calling(SEARCH)).await.session, name("a"));
        t.clear_brake(SEARCH).await;
    }

    async fn nothing_is_cleared_where_nothing_is(t) {
        let scope = Scope::Session;
        let nowhere = t.store.clear_cool_down(&pool_name("p"), None, &scope, &mandate()).await;
        assert_eq!(lawful(nowhere), Err(no_pool("p")));
        t.pool_of(&["a"]).await;
        let missing = Refusal::SessionNotFound { pool: pool_name("p"), session: name("b") };
        assert_eq!(t.clear("b", &scope).await, Err(missing));
    }

    async fn what_cools_down_can_be_removed_unless_somebody_may_be_connected(t) {
        t.pool_of(&["a", "b"]).await;
        t.meets("a", &whole(600)).await;
        t.meets("b", &flood(SEARCH, 600)).await;
        t.remove("a").await.unwrap();
        t.remove("b").await.unwrap();
        t.sessions(&["a"]).await;
        let lease = t.lend(want().calling(SEARCH)).await;
        assert_eq!(lease.session, name("a"));
        t.report(&lease, &whole(600)).await.unwrap();
        t.advance(sum(TTL, Span::secs(1)));
        let refused = t.remove("a").await.unwrap_err();
        let resting = SessionState::Resting;
        assert!(matches!(&refused, Refusal::InappropriateState { state, .. } if *state == resting));
        t.advance(DRAIN);
        t.remove("a").await.unwrap();
    }

    async fn an_explanation_names_what_an_acquire_would_get_and_leases_nothing(t) {
        assert_eq!(t.explain(want()).await, Err(no_pool("p")));
        t.pool(Policy::default()).await;
        assert!(matches!(t.explain(want()).await, Err(Refusal::PoolEmpty { .. })));
        t.sessions(&["a", "b"]).await;
        t.meets("a", &flood(SEARCH, 30)).await;
        let asked = want().calling(SEARCH).request("r");
        for _ in 0..2 {
            assert_eq!(t.explain(want()).await, Ok(name("b")));
            assert_eq!(t.explain(asked.clone()).await, Ok(name("b")));
        }
        assert_eq!(t.status().await.counts.free, 2);
        let lease = t.lend(asked.clone()).await;
        assert_eq!(lease.session, name("b"));
        // What an Acquire would repeat, it explains as if it were new.
        let refusal = t.explain(asked).await.unwrap_err();
        assert_eq!(refusal, t.acquire(want().calling(SEARCH)).await.unwrap_err());
        assert!(matches!(refusal, Refusal::PoolFloodWait { .. }), "{refusal}");
    }
}
