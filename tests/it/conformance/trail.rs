//! What was done to a session, by whom and why.

use telegate::pool::{
    Edit, Event, EventVerb, MAX_EVENTS, Mandate, Refusal, Revocation, SessionChange, Span, Target,
    Time, verdict::Scope,
};

use super::{TICK, TTL, no_pool};
use crate::harness::{
    stage::{ANN, Answer, Stage, key, lawful, name, pool_name, session, want, why},
    trouble::flood,
};

async fn history(t: &Stage, session: &str, before: Option<u64>, most: usize) -> Answer<Vec<Event>> {
    lawful(t.store.history(&pool_name("p"), Some(&name(session)), before, most).await)
}

/// All events of a session, the oldest first: what, who, why.
async fn told(t: &Stage, session: &str) -> Vec<(EventVerb, Option<String>, String)> {
    let events = history(t, session, None, 1000).await.unwrap().into_iter().rev();
    events.map(|e| (e.verb, e.by.map(|by| by.to_string()), e.detail)).collect()
}

fn event(verb: EventVerb, by: &str, detail: &str) -> (EventVerb, Option<String>, String) {
    let by = (!by.is_empty()).then(|| by.to_owned());
    (verb, by, detail.to_owned())
}

fn on(by: &str, detail: &str) -> Mandate {
    Mandate { by: key(by), detail: detail.to_owned() }
}

async fn account(t: &Stage, session: &str, id: i64, on: &Mandate) {
    let change = SessionChange { account_id: Edit::Set(id), ..SessionChange::default() };
    let changed = t.store.update_session(&pool_name("p"), &name(session), change, on).await;
    lawful(changed).unwrap();
}

async fn revoke(t: &Stage, session: &str, detail: &str) {
    let target = Target::Session(name(session));
    let which = Revocation { target, detail: detail.to_owned(), by: key("boss"), from: None };
    lawful(t.store.revoke_leases(&pool_name("p"), &which).await).unwrap();
}

law! {
    async fn every_change_of_a_session_is_told_with_who_when_and_why(t) {
        t.pool_of(&["a"]).await;
        let mut moments = vec![t.now()];
        let mut pass = async |t: &mut Stage| {
            t.advance(TICK);
            moments.push(t.now());
        };
        pass(t).await;
        account(t, "a", 7, &on("bob", "it was sold")).await;
        t.lend(want()).await;
        pass(t).await;
        revoke(t, "a", "moving").await;
        pass(t).await;
        t.invalidate("a", why("carl", "gone")).await.unwrap();
        pass(t).await;
        let (pool, a) = (pool_name("p"), name("a"));
        let appealed = on("dora", "the appeal was granted");
        lawful(t.store.restore(&pool, &a, &appealed).await).unwrap();
        t.advance(Span::secs(30));
        let lease = t.lend(want()).await;
        t.renew(&lease).await.unwrap();
        pass(t).await;
        t.surrender(&lease, why(ANN, "")).await.unwrap();
        let wanted = [
            event(EventVerb::Add, "op", ""),
            event(EventVerb::Update, "bob", "account_id: it was sold"),
            event(EventVerb::Revoke, "boss", "moving"),
            event(EventVerb::Invalidate, "carl", "OPERATOR: gone"),
            event(EventVerb::Restore, "dora", "the appeal was granted"),
            event(EventVerb::Surrender, ANN, "OPERATOR"),
        ];
        assert_eq!(told(t, "a").await, wanted);
        t.reopen().await;
        assert_eq!(told(t, "a").await, wanted);
        let events = history(t, "a", None, 9).await.unwrap();
        let at: Vec<_> = events.iter().rev().map(|event| event.at).collect();
        assert_eq!(at, moments);
        let numbers: Vec<_> = events.iter().map(|event| event.number).collect();
        assert_eq!(numbers, [6, 5, 4, 3, 2, 1]);
    }

    async fn the_end_of_a_cool_down_is_told_with_why(t) {
        t.pool_of(&["a"]).await;
        let (pool, a, scope) = (pool_name("p"), name("a"), Scope::Method("a.search".to_owned()));
        for why in ["a false alarm", "nothing is left of it", ""] {
            if why != "nothing is left of it" {
                t.meets("a", &flood("a.search", 900)).await;
            }
            let cleared = t.store.clear_cool_down(&pool, Some(&a), &scope, &on("bob", why)).await;
            lawful(cleared).unwrap();
        }
        let wanted = [
            event(EventVerb::Add, "op", ""),
            event(EventVerb::ClearCoolDown, "bob", "method:search: a false alarm"),
            event(EventVerb::ClearCoolDown, "bob", "method:search"),
        ];
        assert_eq!(told(t, "a").await, wanted);
    }

    async fn a_lease_that_ran_out_is_told_at_its_moment_and_done_by_nobody(t) {
        t.pool_of(&["a"]).await;
        t.lend(want()).await;
        let expiry = t.now() + TTL;
        t.advance(Span::hours(5));
        let events = history(t, "a", None, 1).await.unwrap();
        let detail = "held by ann".to_owned();
        let expired =
            Event { number: 2, at: expiry, verb: EventVerb::Expire, by: None, detail };
        assert_eq!(events, [expired]);
    }

    async fn what_changed_nothing_is_not_told(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.renew(&lease).await.unwrap();
        t.release(&lease).await.unwrap();
        revoke(t, "a", "").await;
        account(t, "a", 7, &on("bob", "")).await;
        account(t, "a", 7, &on("bob", "")).await;
        t.restore("a").await.unwrap_err();
        t.invalidate("a", why("op", "first")).await.unwrap();
        t.invalidate("a", why("op", "second")).await.unwrap();
        t.remove("b").await.unwrap_err();
        let verbs: Vec<_> = told(t, "a").await.into_iter().map(|(verb, ..)| verb).collect();
        assert_eq!(verbs, [EventVerb::Add, EventVerb::Update, EventVerb::Invalidate]);
    }

    async fn only_the_last_events_are_kept_and_their_numbers_go_on(t) {
        t.pool_of(&["a"]).await;
        let most = u64::try_from(MAX_EVENTS).unwrap();
        for id in 1..most {
            account(t, "a", i64::try_from(id).unwrap(), &on("bob", "")).await;
        }
        let numbers = async |t: &Stage, before, most| -> Vec<u64> {
            let events = history(t, "a", before, most).await.unwrap();
            events.iter().map(|event| event.number).collect()
        };
        assert_eq!(numbers(t, None, 1000).await, (1..=most).rev().collect::<Vec<_>>());
        account(t, "a", 1000, &on("bob", "")).await;
        account(t, "a", 1001, &on("bob", "")).await;
        let kept: Vec<_> = (3..=most + 2).rev().collect();
        for _ in 0..2 {
            assert_eq!(numbers(t, None, 1000).await, kept);
            assert_eq!(numbers(t, Some(most), 2).await, [most - 1, most - 2]);
            assert_eq!(numbers(t, Some(3), 2).await, [0; 0]);
            assert_eq!(numbers(t, None, 0).await, [0; 0]);
            t.reopen().await;
        }
        account(t, "a", 1002, &on("bob", "")).await;
        assert_eq!(numbers(t, None, 1).await, [most + 3]);
    }

    async fn a_removed_session_takes_its_history_with_it(t) {
        t.pool_of(&["a"]).await;
        account(t, "a", 7, &on("bob", "")).await;
        t.remove("a").await.unwrap();
        let gone = Refusal::SessionNotFound { pool: pool_name("p"), session: name("a") };
        assert_eq!(history(t, "a", None, 9).await, Err(gone));
        t.advance(TICK);
        t.add(session("a")).await.unwrap();
        t.reopen().await;
        let events = history(t, "a", None, 9).await.unwrap();
        let heads: Vec<(u64, Time)> = events.iter().map(|e| (e.number, e.at)).collect();
        assert_eq!(heads, [(1, t.now())]);
    }

    async fn the_history_of_what_is_not_there_cannot_be_read(t) {
        assert_eq!(history(t, "a", None, 9).await, Err(no_pool("p")));
        t.pool_of(&["a"]).await;
        let none = Refusal::SessionNotFound { pool: pool_name("p"), session: name("b") };
        assert_eq!(history(t, "b", None, 9).await, Err(none));
    }
}
