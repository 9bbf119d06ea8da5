//! Errors that concern an account: what they do to its other sessions, here and in other pools.

use telegate::pool::{
    CoolDown, Edit, Policy, SessionChange, SessionState, Span,
    verdict::{Capability, Scope},
};

use super::no_pool;
use crate::harness::{
    mandate,
    stage::{lawful, name, pool_name, want, why},
    trouble::{at, flood, of_account, peer_flood, whole, wrong},
};

/// A method that needs what the restriction closes.
const SEND: &str = "messages.sendMessage";
/// One that does not.
const SEARCH: &str = "messages.search";

law! {
    async fn a_restriction_of_the_account_reaches_its_other_sessions(t) {
        t.pool(Policy::default()).await;
        for (name, account) in [("a", 7), ("b", 7), ("c", 8), ("out", 7)] {
            t.add(of_account(name, account)).await.unwrap();
        }
        t.sessions(&["d"]).await;
        t.invalidate("out", why("op", "out")).await.unwrap();
        let effect = t.meets("a", &peer_flood()).await;
        assert_eq!((effect.account, effect.state), (Some(7), SessionState::Leased));
        let entry = CoolDown {
            scope: Scope::Capability(Capability::Strangers),
            until: t.now() + Span::hours(24),
            rule: "R1".to_owned(),
            cause: "PEER_FLOOD".to_owned(),
        };
        assert_eq!(t.all_that(&want().calling(SEND)).await, ["c", "d"]);
        for session in ["a", "b", "out"] {
            let cools = t.standing(session).await.cool_downs;
            assert_eq!(cools, std::slice::from_ref(&entry), "{session}");
        }
        assert_eq!(t.meets("b", &flood(SEARCH, 30)).await.account, None);
        assert_eq!(t.standing("a").await.cool_downs.len(), 1);
    }

    async fn an_error_reaches_the_sessions_whose_account_was_changed_to_it(t) {
        t.pool(Policy::default()).await;
        for (name, account) in [("a", 7), ("b", 7), ("c", 8)] {
            t.add(of_account(name, account)).await.unwrap();
        }
        for (session, account_id) in [("b", Edit::Clear), ("c", Edit::Set(7))] {
            let change = SessionChange { account_id, ..SessionChange::default() };
            let pool = pool_name("p");
            let changed = t.store.update_session(&pool, &name(session), change, &mandate()).await;
            lawful(changed).unwrap();
        }
        assert_eq!(t.meets("a", &peer_flood()).await.account, Some(7));
        assert_eq!(t.all_that(&want().calling(SEND)).await, ["b"]);
        t.remove("c").await.unwrap();
        assert_eq!(t.afflict(7, &peer_flood()).await, Ok(1));
    }

    async fn an_account_that_is_not_known_has_no_other_sessions(t) {
        t.pool_of(&["a", "b"]).await;
        assert_eq!(t.meets("a", &peer_flood()).await.account, None);
        assert_eq!(t.all_that(&want().calling(SEND)).await, ["b"]);
    }

    async fn an_account_is_afflicted_in_another_pool(t) {
        assert_eq!(t.afflict(7, &peer_flood()).await, Err(no_pool("p")));
        t.pool(Policy::default()).await;
        for (name, account) in [("a", 7), ("b", 7), ("c", -7), ("out", 7)] {
            t.add(of_account(name, account)).await.unwrap();
        }
        t.invalidate("out", why("op", "out")).await.unwrap();
        assert_eq!(t.afflict(7, &peer_flood()).await, Ok(2));
        assert_eq!(t.standing("out").await.cool_downs.len(), 1);
        assert_eq!(t.all_that(&want().calling(SEND)).await, ["c"]);
        assert_eq!(t.afflict(9, &peer_flood()).await, Ok(0));
        assert_eq!(t.afflict(7, &wrong()).await, Ok(0));
        let over = at(whole(30), t.now() - Span::secs(30));
        assert_eq!(t.afflict(7, &over).await, Ok(0));
        // Nothing escalates, and no wait grows, where the error was not met.
        assert_eq!(t.afflict(7, &flood(SEARCH, 86_400)).await, Ok(2));
        let standing = t.standing("a").await;
        assert_eq!((standing.growth, standing.floods), (Vec::new(), Vec::new()));
        assert_eq!(standing.cool_downs.len(), 2);
    }
}
