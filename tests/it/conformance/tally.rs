//! Floods of the last hour: what is counted, by method, and for how long.

use telegate::pool::{FLOODS_KEPT, MAX_FLOODED, MethodFloods, Report, Span, assess};

use super::TICK;
use crate::harness::{
    mandate,
    stage::{POOL, Stage, lawful, name, pool_name, want},
    trouble::{at, crowded, flood, method, peer_flood, premium, slow_mode, unknown_key, whole},
};

/// The methods that flooded in the last hour, and how often each.
async fn floods(t: &Stage) -> Vec<(String, u32)> {
    let view = lawful(t.store.get_pool(&pool_name(POOL)).await).unwrap();
    assert_eq!(view.record.floods, []);
    view.floods.into_iter().map(|MethodFloods { method, count }| (method, count)).collect()
}

fn counted(floods: &[(&str, u32)]) -> Vec<(String, u32)> {
    floods.iter().map(|(method, count)| ((*method).to_owned(), *count)).collect()
}

law! {
    async fn floods_are_counted_by_method_over_all_sessions_and_ways_to_tell(t) {
        t.pool_of(&["a", "b"]).await;
        assert_eq!(floods(t).await, []);
        let lease = t.lend(want().named("a")).await;
        t.report(&lease, &flood("messages.getHistory", 30)).await.unwrap();
        t.meets("b", &flood("GetHistoryRequest", 30)).await;
        t.report(&lease, &slow_mode("chat", 10)).await.unwrap();
        t.report(&lease, &premium(30)).await.unwrap();
        t.report(&lease, &flood("a.search", 5)).await.unwrap();
        let wanted = counted(&[("", 2), ("messages.getHistory", 2), ("a.search", 1)]);
        assert_eq!(floods(t).await, wanted);
        t.reopen().await;
        assert_eq!(floods(t).await, wanted);
        let listed = lawful(t.store.list_pools(None, 9).await).unwrap();
        assert_eq!(listed[0].floods.len(), 3);
    }

    async fn what_is_no_flood_is_not_counted(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        for error in [peer_flood(), crowded(), unknown_key()] {
            t.report(&lease, &error).await.unwrap();
        }
        assert_eq!(floods(t).await, []);
    }

    async fn a_wait_that_the_library_made_up_closes_and_is_not_counted(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        let made_up = assess(&Report {
            code: 420,
            message: "FLOOD_WAIT_30".to_owned(),
            method: "a.search".to_owned(),
            local: true,
            ..Report::default()
        });
        t.report(&lease, &made_up).await.unwrap();
        assert_eq!(t.standing("a").await.cool_downs.len(), 1);
        assert_eq!(floods(t).await, []);
    }

    async fn a_wait_that_is_known_already_is_not_counted_again(t) {
        t.pool_of(&["a", "b"]).await;
        let lease = t.lend(want().named("a")).await;
        t.report(&lease, &flood("a.search", 30)).await.unwrap();
        t.advance(Span::secs(1));
        for secs in [30, 29, 2] {
            t.report(&lease, &flood("a.search", secs)).await.unwrap();
        }
        assert_eq!(floods(t).await, counted(&[("a.search", 1)]));
        t.report(&lease, &flood("a.search", 32)).await.unwrap();
        assert_eq!(floods(t).await, counted(&[("a.search", 2)]));
        t.report(&lease, &whole(60)).await.unwrap();
        t.report(&lease, &whole(60)).await.unwrap();
        assert_eq!(floods(t).await, counted(&[("a.search", 2), ("", 1)]));
        t.clear("a", &method("a.search")).await.unwrap();
        t.report(&lease, &flood("a.search", 30)).await.unwrap();
        assert_eq!(floods(t).await, counted(&[("a.search", 3), ("", 1)]));
    }

    async fn a_flood_counts_from_when_it_happened_for_an_hour_at_most(t) {
        t.pool_of(&["a", "b", "c"]).await;
        // The floods of five minutes are counted together.
        t.advance(Span(300_000 - t.now().0 % 300_000));
        let start = t.now();
        t.meets("a", &flood("x.first", 2)).await;
        t.advance(Span(299_999));
        t.meets("b", &flood("x.last", 2)).await;
        t.advance(TICK);
        t.meets("c", &flood("x.next", 2)).await;
        let late = at(flood("x.late", 2), start);
        t.meets("c", &late).await;
        t.advance(Span(FLOODS_KEPT.0 - 300_001));
        let wanted = [("x.first", 1), ("x.last", 1), ("x.late", 1), ("x.next", 1)];
        assert_eq!(floods(t).await, counted(&wanted));
        t.advance(TICK);
        assert_eq!(floods(t).await, counted(&[("x.next", 1)]));
        // Too late to be of the last hour, and in the same place of the next.
        t.meets("c", &at(flood("x.late", 2), start)).await;
        t.meets("a", &flood("x.again", 2)).await;
        assert_eq!(floods(t).await, counted(&[("x.again", 1), ("x.next", 1)]));
        t.advance(FLOODS_KEPT);
        assert_eq!(floods(t).await, []);
    }

    async fn so_many_methods_are_told_apart_and_the_others_counted_together(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want().named("a").ttl(Span::hours(1))).await;
        let spelled = |number: usize| format!("x.m{number:03}");
        for number in 0..MAX_FLOODED + 3 {
            t.report(&lease, &flood(&spelled(number), 2)).await.unwrap();
        }
        let found = floods(t).await;
        assert_eq!(found.len(), MAX_FLOODED + 1);
        assert_eq!(found[0], (String::new(), 3));
        assert_eq!(found[MAX_FLOODED], (spelled(MAX_FLOODED - 1), 1));
        // One that is told apart stays so; another five minutes have others.
        t.advance(Span::minutes(5));
        t.report(&lease, &flood(&spelled(0), 2)).await.unwrap();
        t.report(&lease, &flood("y.other", 2)).await.unwrap();
        let found = floods(t).await;
        assert_eq!(found[..2], [(String::new(), 4), (spelled(0), 2)]);
        assert_eq!(found.len(), MAX_FLOODED + 1);
    }

    async fn a_new_pool_of_an_old_name_has_no_floods(t) {
        t.pool_of(&["a"]).await;
        t.meets("a", &flood("a.search", 2)).await;
        t.remove("a").await.unwrap();
        assert_eq!(floods(t).await, counted(&[("a.search", 1)]));
        lawful(t.store.delete_pool(&pool_name(POOL), &mandate()).await).unwrap();
        t.pool_of(&["a"]).await;
        assert_eq!(t.standing("a").await.cool_downs, []);
        assert_eq!(floods(t).await, []);
        assert_eq!(t.next().await, name("a").to_string());
    }
}
