//! What was done to a pool itself, by whom and why.

use telegate::pool::{
    Escalations, Event, EventVerb, MAX_EVENTS, Mandate, Policy, PolicyChange, PoolMode, Refusal,
    Span, Time, verdict::Scope,
};

use super::{TICK, no_pool};
use crate::harness::{
    mandate,
    stage::{Answer, POOL, Stage, key, lawful, name, pool_name, want},
    trouble::flood,
};

/// Events of the case's pool, newest first.
async fn history(t: &Stage, before: Option<u64>, most: usize) -> Answer<Vec<Event>> {
    lawful(t.store.history(&pool_name(POOL), None, before, most).await)
}

/// All events of the case's pool, the oldest first: what, who, why.
async fn told(t: &Stage) -> Vec<(EventVerb, String, String)> {
    let events = history(t, None, 1000).await.unwrap().into_iter().rev();
    events.map(|e| (e.verb, e.by.unwrap().to_string(), e.detail)).collect()
}

fn event(verb: EventVerb, by: &str, detail: &str) -> (EventVerb, String, String) {
    (verb, by.to_owned(), detail.to_owned())
}

fn on(by: &str, detail: &str) -> Mandate {
    Mandate { by: key(by), detail: detail.to_owned() }
}

async fn create(t: &Stage, on: &Mandate) -> Answer<()> {
    let made = t.store.create_pool(&pool_name(POOL), Policy::default(), on).await;
    lawful(made).map(drop)
}

async fn delete(t: &Stage, on: &Mandate) -> Answer<()> {
    lawful(t.store.delete_pool(&pool_name(POOL), on).await)
}

async fn set_mode(t: &Stage, mode: PoolMode, on: &Mandate) {
    lawful(t.store.set_mode(&pool_name(POOL), mode, on).await).unwrap();
}

async fn update(t: &Stage, change: PolicyChange, on: &Mandate) -> Answer<()> {
    lawful(t.store.update_pool(&pool_name(POOL), change, on).await).map(drop)
}

fn resting(secs: u64) -> PolicyChange {
    PolicyChange { rest: Some(Span::secs(secs)), ..PolicyChange::default() }
}

law! {
    async fn every_change_of_a_pool_is_told_with_who_when_and_why(t) {
        create(t, &on("ann", "for the crawler")).await.unwrap();
        let mut moments = vec![t.now()];
        for (mode, by, why) in [
            (PoolMode::Paused, "bob", "too many floods"),
            (PoolMode::Draining, "carl", ""),
            (PoolMode::Active, "bob", "they are over"),
        ] {
            t.advance(TICK);
            moments.push(t.now());
            set_mode(t, mode, &on(by, why)).await;
        }
        t.advance(TICK);
        moments.push(t.now());
        let escalation = Escalations { session_methods: 5, ..Escalations::default() };
        let change =
            PolicyChange { max_waiters: Some(7), escalation: Some(escalation), ..resting(5) };
        update(t, change, &on("dora", "by the book")).await.unwrap();
        t.advance(TICK);
        moments.push(t.now());
        update(t, resting(0), &on("dora", "")).await.unwrap();
        let what = "rest 0s -> 5s, max_waiters 1000 -> 7, escalation.session_methods 3 -> 5: by \
                    the book";
        let wanted = [
            event(EventVerb::Create, "ann", "for the crawler"),
            event(EventVerb::Pause, "bob", "too many floods"),
            event(EventVerb::Drain, "carl", ""),
            event(EventVerb::Resume, "bob", "they are over"),
            event(EventVerb::Update, "dora", what),
            event(EventVerb::Update, "dora", "rest 5s -> 0s"),
        ];
        assert_eq!(told(t).await, wanted);
        t.reopen().await;
        assert_eq!(told(t).await, wanted);
        let events = history(t, None, 9).await.unwrap();
        let at: Vec<_> = events.iter().rev().map(|event| event.at).collect();
        assert_eq!(at, moments);
    }

    async fn what_changed_nothing_of_a_pool_is_not_told(t) {
        create(t, &mandate()).await.unwrap();
        create(t, &on("eve", "again")).await.unwrap_err();
        set_mode(t, PoolMode::Active, &on("eve", "as it is")).await;
        update(t, resting(0), &on("eve", "as it is")).await.unwrap();
        let unfit = PolicyChange { max_waiters: Some(0), ..PolicyChange::default() };
        update(t, unfit, &on("eve", "unfit")).await.unwrap_err();
        t.sessions(&["a"]).await;
        delete(t, &on("eve", "not empty")).await.unwrap_err();
        t.clear_brake("a.search").await;
        t.meets("a", &flood("a.search", 2)).await;
        assert_eq!(told(t).await, [event(EventVerb::Create, "op", "")]);
    }

    async fn the_end_of_a_brake_is_told(t) {
        t.pool_of(&["a", "b"]).await;
        for session in ["a", "b"] {
            t.meets(session, &flood("a.Search", 3000)).await;
        }
        let (pool, brake) = (pool_name(POOL), Scope::Method("a.search".to_owned()));
        for why in ["enough", "again"] {
            let on = on("bob", why);
            lawful(t.store.clear_cool_down(&pool, None, &brake, &on).await).unwrap();
        }
        let cleared = event(EventVerb::ClearCoolDown, "bob", "method:search: enough");
        assert_eq!(told(t).await, [event(EventVerb::Create, "op", ""), cleared]);
    }

    async fn why_a_session_was_removed_is_told_of_its_pool(t) {
        t.pool_of(&["a", "b", "c"]).await;
        let lease = t.lend(want().named("c")).await;
        let remove = async |t: &Stage, session: &str, on: &Mandate| {
            lawful(t.store.remove(&pool_name(POOL), &name(session), on).await)
        };
        remove(t, "a", &on("bob", "sold")).await.unwrap();
        remove(t, "a", &on("bob", "sold")).await.unwrap_err();
        remove(t, "b", &on("bob", "")).await.unwrap();
        remove(t, "c", &on("bob", "it is lent")).await.unwrap_err();
        t.release(&lease).await.unwrap();
        remove(t, "c", &on("carl", "moved")).await.unwrap();
        let wanted = [
            event(EventVerb::Create, "op", ""),
            event(EventVerb::Remove, "bob", "a: sold"),
            event(EventVerb::Remove, "carl", "c: moved"),
        ];
        for _ in 0..2 {
            assert_eq!(told(t).await, wanted);
            t.reopen().await;
        }
    }

    async fn the_trail_of_a_deleted_pool_stays_and_goes_on_in_the_next_of_its_name(t) {
        assert_eq!(history(t, None, 9).await, Err(no_pool(POOL)));
        create(t, &on("ann", "one")).await.unwrap();
        delete(t, &on("bob", "done with it")).await.unwrap();
        let mut wanted = vec![
            event(EventVerb::Create, "ann", "one"),
            event(EventVerb::Delete, "bob", "done with it"),
        ];
        for _ in 0..2 {
            assert_eq!(told(t).await, wanted);
            t.reopen().await;
        }
        assert_eq!(delete(t, &mandate()).await, Err(no_pool(POOL)));
        let none = Refusal::PoolNotFound { pool: pool_name(POOL) };
        let session = crate::harness::stage::name("a");
        let of_session = t.store.history(&pool_name(POOL), Some(&session), None, 9).await;
        assert_eq!(lawful(of_session), Err(none));
        create(t, &on("carl", "two")).await.unwrap();
        wanted.push(event(EventVerb::Create, "carl", "two"));
        for _ in 0..2 {
            assert_eq!(told(t).await, wanted);
            t.reopen().await;
        }
        delete(t, &on("carl", "")).await.unwrap();
        t.reopen().await;
        wanted.push(event(EventVerb::Delete, "carl", ""));
        assert_eq!(told(t).await, wanted);
    }

    async fn only_the_last_events_of_a_pool_are_kept_and_their_numbers_go_on(t) {
        create(t, &mandate()).await.unwrap();
        let most = u64::try_from(MAX_EVENTS).unwrap();
        for number in 0..=most {
            let mode = if number % 2 == 0 { PoolMode::Paused } else { PoolMode::Active };
            set_mode(t, mode, &mandate()).await;
        }
        let numbers = async |t: &Stage, before, most| -> Vec<u64> {
            let events = history(t, before, most).await.unwrap();
            events.iter().map(|event| event.number).collect()
        };
        for _ in 0..2 {
            assert_eq!(numbers(t, None, 1000).await, (3..=most + 2).rev().collect::<Vec<_>>());
            assert_eq!(numbers(t, Some(most), 2).await, [most - 1, most - 2]);
            assert_eq!(numbers(t, Some(3), 2).await, [0; 0]);
            t.reopen().await;
        }
        let last: Vec<Time> =
            history(t, None, 1).await.unwrap().into_iter().map(|event| event.at).collect();
        assert_eq!(last, [t.now()]);
    }
}
