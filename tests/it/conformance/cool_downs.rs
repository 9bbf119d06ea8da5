//! Cool-downs: what an error closes, for whom, from when and until when.

use telegate::pool::{
    Assessment, CoolDown, Effect, Policy, SessionState, Span, Time,
    verdict::{Capability, FARTHEST_DATE, LONGEST_WAIT, Scope},
};

use super::TICK;
use crate::harness::{
    stage::{name, session, want},
    trouble::{
        at, closed, cool_down, crowded, error, flood, method, of_account, peer_flood, premium,
        slow_mode, whole, wrong,
    },
};

/// The method that floods in most cases.
const SEARCH: &str = "messages.search";

law! {
    async fn a_flood_closes_its_method_and_nothing_else(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let until = t.now() + Span::secs(30);
        let effect = t.report(&lease, &flood(SEARCH, 30)).await.unwrap();
        assert_eq!(effect, closed(t, until, SessionState::Leased));
        let entry = cool_down(method(SEARCH), until, "W1", "FLOOD_WAIT");
        assert_eq!(t.standing("a").await.cool_downs, [entry]);
        t.release(&lease).await.unwrap();
        assert_eq!(t.state("a").await, SessionState::Ready);
        assert!(t.acquire(want().calling(SEARCH)).await.is_err());
        assert!(t.acquire(want().calling("messages.getHistory").about("chat")).await.is_ok());
    }

    async fn no_session_is_lent_a_millisecond_early(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.report(&lease, &flood(SEARCH, 30)).await.unwrap();
        t.release(&lease).await.unwrap();
        t.advance(Span(29_999));
        assert!(t.acquire(want().calling(SEARCH)).await.is_err());
        t.advance(TICK);
        assert_eq!(t.lend(want().calling(SEARCH)).await.session, name("a"));
    }

    async fn every_spelling_of_a_method_is_the_same_method(t) {
        t.pool_of(&["a"]).await;
        let spelled = "telethon.tl.functions.messages.GetHistoryRequest";
        t.meets("a", &flood(spelled, 30)).await;
        let until = t.now() + Span::secs(30);
        let entry = cool_down(method(spelled), until, "W1", "FLOOD_WAIT");
        for asked in ["messages.getHistory", "GetHistory", "GetHistoryRequest"] {
            assert!(t.acquire(want().calling(asked)).await.is_err(), "{asked}");
        }
        t.meets("a", &flood("getHistory", 20)).await;
        assert_eq!(t.standing("a").await.cool_downs, std::slice::from_ref(&entry));
        t.advance(Span::secs(20));
        t.meets("a", &flood("getHistory", 20)).await;
        let longer = CoolDown { until: t.now() + Span::secs(20), ..entry };
        assert_eq!(t.standing("a").await.cool_downs, [longer]);
    }

    async fn a_cool_down_is_never_shortened(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let until = t.now() + Span::secs(30);
        t.report(&lease, &flood(SEARCH, 30)).await.unwrap();
        t.advance(Span::secs(1));
        let shorter = t.report(&lease, &flood(SEARCH, 5)).await.unwrap();
        assert_eq!(shorter, closed(t, until, SessionState::Leased));
        let other = cool_down(Scope::Session, t.now() + Span::secs(5), "W1", "FLOOD_WAIT");
        t.report(&lease, &whole(5)).await.unwrap();
        let entry = cool_down(method(SEARCH), until, "W1", "FLOOD_WAIT");
        assert_eq!(t.standing("a").await.cool_downs, [entry, other]);
        let longer = t.report(&lease, &flood(SEARCH, 60)).await.unwrap();
        assert_eq!(longer, closed(t, t.now() + Span::secs(60), SessionState::Leased));
    }

    async fn the_one_that_ends_later_keeps_its_rule_and_cause_and_of_two_alike_the_first(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let (until, transfer) = (t.now() + Span::secs(30), Scope::Capability(Capability::Transfer));
        t.report(&lease, &premium(30)).await.unwrap();
        let entry = cool_down(transfer.clone(), until, "W2", "FLOOD_PREMIUM_WAIT");
        let other = Assessment { name: "OTHER".to_owned(), ..premium(30) };
        t.report(&lease, &other).await.unwrap();
        assert_eq!(t.standing("a").await.cool_downs, [entry]);
        t.advance(TICK);
        t.report(&lease, &other).await.unwrap();
        let later = cool_down(transfer, until + TICK, "W2", "OTHER");
        assert_eq!(t.standing("a").await.cool_downs, [later]);
    }

    async fn a_wait_counts_from_the_error_however_late_it_is_reported(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let happened = t.now();
        t.advance(Span::secs(20));
        let effect = t.report(&lease, &at(flood(SEARCH, 30), happened)).await.unwrap();
        assert_eq!(effect.until, Some(happened + Span::secs(30)));
        let tomorrow = at(flood(SEARCH, 30), t.now() + Span::hours(24));
        let effect = t.report(&lease, &tomorrow).await.unwrap();
        assert_eq!(effect.until, Some(t.now() + Span::secs(30)));
    }

    async fn an_error_that_is_over_already_closes_nothing_and_tells_its_end(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let happened = t.now();
        t.advance(Span::secs(30));
        let effect = t.report(&lease, &at(flood(SEARCH, 30), happened)).await.unwrap();
        assert_eq!(effect, closed(t, t.now(), SessionState::Leased));
        assert_eq!(t.standing("a").await.cool_downs, []);
        t.report(&lease, &flood(SEARCH, 9)).await.unwrap();
        let effect = t.report(&lease, &at(flood(SEARCH, 30), happened)).await.unwrap();
        assert_eq!(effect, closed(t, t.now() + Span::secs(9), SessionState::Leased));
    }

    async fn a_date_is_believed_within_reason(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let limited = |at: Time| error(420, &format!("SOMETHING_NEW_{}", at.0 / 1000));
        let table = [
            (t.now() + Span::hours(48), t.now() + Span::hours(48)),
            (t.now() - Span::hours(48), t.now() + Span::secs(1)),
            (t.now() + Span::hours(24 * 9999), t.now() + FARTHEST_DATE),
        ];
        for (date, until) in table {
            let effect = t.report(&lease, &limited(date)).await.unwrap();
            let longest = t.standing("a").await.whole();
            assert_eq!(effect.until, Some(longest), "{date}");
            assert_eq!(longest, until.max(table[0].1), "{date}");
        }
        let absurd = t.report(&lease, &flood(SEARCH, 9_999_999_999)).await.unwrap();
        assert_eq!(absurd.until, Some(t.now() + LONGEST_WAIT));
    }

    async fn an_error_that_closes_nothing_leaves_the_session_as_it_is(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let before = t.standing("a").await;
        for (code, message) in [
            (400, "MESSAGE_EMPTY"),
            (403, "CHAT_WRITE_FORBIDDEN"),
            (500, "INTERDC_2_CALL_ERROR"),
            (303, "FILE_MIGRATE_4"),
            (400, "PHONE_NUMBER_FLOOD"),
            (400, "API_ID_INVALID"),
        ] {
            let effect = t.report(&lease, &error(code, message)).await.unwrap();
            let nothing = Effect { until: None, ..closed(t, t.now(), SessionState::Leased) };
            assert_eq!(effect, nothing, "{message}");
            assert_eq!(t.standing("a").await, before, "{message}");
        }
    }

    async fn a_peer_is_closed_for_that_peer_alone(t) {
        t.pool_of(&["a"]).await;
        t.meets("a", &slow_mode("Chat 1", 30)).await;
        assert!(t.acquire(want().about("Chat 1").calling(SEARCH)).await.is_err());
        assert!(t.acquire(want().about("chat 1")).await.is_ok());
    }

    async fn a_capability_closes_every_method_that_needs_it(t) {
        t.pool_of(&["a"]).await;
        t.meets("a", &premium(30)).await;
        for method in ["upload.getFile", "SaveBigFilePartRequest", "upload.somethingNew"] {
            assert!(t.acquire(want().calling(method)).await.is_err(), "{method}");
        }
        assert!(t.acquire(want().calling("messages.getHistory")).await.is_ok());
    }

    async fn an_acquire_passes_over_what_cools_down_for_any_of_its_scopes(t) {
        t.pool_of(&["a", "b", "c", "d", "e"]).await;
        t.meets("a", &flood(SEARCH, 60)).await;
        t.meets("b", &flood("messages.getHistory", 60)).await;
        t.meets("c", &slow_mode("chat", 60)).await;
        t.meets("d", &premium(60)).await;
        let asked = want().calling(SEARCH).calling("messages.getHistory");
        let transfer = asked.clone().calling("upload.getFile");
        assert_eq!(t.all_that(&transfer.clone().about("chat")).await, ["e"]);
        assert_eq!(t.all_that(&transfer).await, ["c"]);
        assert_eq!(t.all_that(&asked).await, ["d"]);
        assert_eq!(t.all_that(&want()).await, ["a", "b"]);
    }

    async fn the_order_of_those_that_do_not_cool_down_is_that_of_their_use(t) {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        t.pool_of(&names).await;
        for name in ["g", "c", "e", "a", "h", "b", "f", "d"] {
            t.advance(TICK);
            let searched = ["c", "e", "a", "f"].contains(&name);
            t.meets(name, &if searched { flood(SEARCH, 60) } else { wrong() }).await;
        }
        assert_eq!(t.all_that(&want().calling(SEARCH)).await, ["g", "h", "b", "d"]);
        assert_eq!(t.all_that(&want()).await, ["c", "e", "a", "f"]);
    }

    async fn a_named_session_must_not_cool_down_either(t) {
        t.pool_of(&["a", "b"]).await;
        t.meets("a", &flood(SEARCH, 30)).await;
        assert!(t.acquire(want().named("a").calling(SEARCH)).await.is_err());
        assert_eq!(t.explain(want().named("a")).await, Ok(name("a")));
        t.advance(Span::secs(30));
        assert_eq!(t.lend(want().named("a").calling(SEARCH)).await.session, name("a"));
    }

    async fn among_many_that_cool_down_the_only_one_that_does_not_is_found(t) {
        t.pool(Policy::default()).await;
        for number in 0..150 {
            t.add(session(&format!("s{number:03}"))).await.unwrap();
        }
        let mut leases = Vec::new();
        for _ in 0..150 {
            leases.push(t.lend(want()).await);
        }
        for (number, lease) in leases.iter().enumerate() {
            let met = if number == 77 { wrong() } else { flood(SEARCH, 60) };
            t.release_over(lease, &met).await.unwrap();
        }
        t.advance(Span::secs(30));
        assert_eq!(t.all_that(&want().calling(SEARCH)).await, ["s077"]);
        t.advance(Span::secs(30));
        assert_eq!(t.all_that(&want().calling(SEARCH)).await.len(), 149);
    }

    async fn the_lease_lists_what_still_cools_down(t) {
        t.pool_of(&["a"]).await;
        t.meets("a", &flood(SEARCH, 30)).await;
        t.meets("a", &slow_mode("chat", 20)).await;
        t.advance(Span::secs(20));
        let grant = t.acquire(want().request("r")).await.unwrap();
        let until = t.now() + Span::secs(10);
        let entry = cool_down(method(SEARCH), until, "W1", "FLOOD_WAIT");
        assert_eq!(grant.cool_downs, [entry]);
        let again = t.acquire(want().request("r")).await.unwrap();
        assert_eq!((again.replayed, &again.cool_downs), (true, &grant.cool_downs));
        t.advance(Span::secs(10));
        assert_eq!(t.acquire(want().request("r")).await.unwrap().cool_downs, []);
    }

    async fn what_is_over_is_not_shown(t) {
        t.pool_of(&["a"]).await;
        t.meets("a", &flood(SEARCH, 30)).await;
        t.meets("a", &slow_mode("chat", 40)).await;
        t.advance(Span::secs(30));
        let shown = t.standing("a").await.cool_downs;
        let until = t.now() + Span::secs(10);
        assert_eq!(shown, [cool_down(Scope::Peer("chat".into()), until, "W3", "SLOWMODE_WAIT")]);
        t.advance(Span::secs(10));
        assert_eq!(t.standing("a").await.cool_downs, []);
    }

    async fn a_session_has_no_more_cool_downs_than_the_most(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let most = telegate::pool::MAX_COOL_DOWNS;
        let mut met = slow_mode("", 1);
        for number in 0..most {
            met = slow_mode(&format!("chat {number:03}"), 100 + number as u64);
            assert_eq!(t.report(&lease, &met).await.unwrap().escalations, []);
        }
        assert_eq!(t.standing("a").await.whole(), Time(0));
        met.scope = Scope::Peer("one more".into());
        let effect = t.report(&lease, &met).await.unwrap();
        assert_eq!(effect.escalations, [telegate::pool::Escalation::E5]);
        // Two went: one for the new one, one for that of the whole session.
        let standing = t.standing("a").await;
        let (first, second) = (t.now() + Span::secs(100), t.now() + Span::secs(101));
        assert_eq!(standing.cool_downs.len(), most);
        assert!(standing.cool_downs.iter().all(|entry| entry.until >= second));
        let widened = cool_down(Scope::Session, second, "E5", "SLOWMODE_WAIT");
        assert_eq!(standing.cool_downs.last(), Some(&widened));
        assert!(first < second);
        let lower = slow_mode("lower", 1);
        assert_eq!(t.report(&lease, &lower).await.unwrap().until, Some(t.now() + Span::secs(1)));
        assert_eq!(t.standing("a").await, standing);
    }

    async fn cool_downs_survive_a_restart(t) {
        t.pool(Policy::default()).await;
        t.add(of_account("a", 7)).await.unwrap();
        t.add(of_account("b", 7)).await.unwrap();
        let lease = t.lend(want().named("a")).await;
        for met in [flood(SEARCH, 600), slow_mode("chat", 30), crowded(), peer_flood(), whole(20)] {
            t.report(&lease, &met).await.unwrap();
        }
        let before = (t.standing("a").await, t.standing("b").await);
        assert_eq!((before.0.cool_downs.len(), before.1.cool_downs.len()), (5, 1));
        assert_eq!(before.0.floods, [("search".to_owned(), t.now())]);
        assert_eq!(before.0.growth.len(), 2);
        t.reopen().await;
        assert_eq!((t.standing("a").await, t.standing("b").await), before);
        t.release(&lease).await.unwrap();
        t.advance(Span(19_999));
        t.reopen().await;
        assert_eq!(t.all_that(&want()).await, ["b"]);
        t.advance(TICK);
        t.reopen().await;
        assert!(t.acquire(want().calling(SEARCH)).await.is_err());
        assert_eq!(t.next().await, "a");
    }
}
