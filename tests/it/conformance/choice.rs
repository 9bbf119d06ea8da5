//! Which session is lent: the least recently used one that matches.

use telegate::pool::{NextRelease, Policy, Queue, Refusal, ReleaseCause, Selector, Span};

use super::{DRAIN, TICK, TTL, sum};
use crate::harness::stage::{Stage, labelled, name, pool_name, want};

/// A pool whose sessions tell apart every operator.
async fn labelled_pool(t: &Stage) {
    t.pool(Policy::default()).await;
    for (session, labels) in [
        ("none", &[][..]),
        ("de", &[("country", "de")][..]),
        ("fr", &[("country", "fr")][..]),
        ("it", &[("country", "it"), ("tier", "b")][..]),
        ("de-a", &[("country", "de"), ("tier", "a")][..]),
        ("de-b", &[("country", "de"), ("tier", "b"), ("premium", "")][..]),
    ] {
        t.add(labelled(session, labels)).await.unwrap();
    }
}

law! {
    async fn the_least_recently_used_session_is_lent_first(t) {
        t.pool_of(&["a", "b", "c"]).await;
        let mut leases = Vec::new();
        for _ in 0..3 {
            leases.push(t.lend(want()).await);
        }
        for number in [1, 0, 2] {
            t.advance(TICK);
            t.release(&leases[number]).await.unwrap();
        }
        assert_eq!(t.all_that(&want()).await, ["b", "a", "c"]);
    }

    async fn sessions_last_used_at_the_same_moment_are_lent_by_name(t) {
        t.pool_of(&["c", "b2", "b", "a", "+4915", "B", "b.1", "b-1", "b_1", "b@1"]).await;
        let by_name = ["+4915", "B", "a", "b", "b-1", "b.1", "b2", "b@1", "b_1", "c"];
        assert_eq!(t.all_that(&want()).await, by_name);
        t.advance(Span::hours(1));
        assert_eq!(t.all_that(&want()).await, by_name);
    }

    async fn a_session_that_was_never_used_goes_before_one_that_was(t) {
        t.pool_of(&["a"]).await;
        let lease = t.lend(want()).await;
        t.release(&lease).await.unwrap();
        t.sessions(&["b"]).await;
        assert_eq!(t.all_that(&want()).await, ["b", "a"]);
    }

    async fn the_end_of_a_lease_counts_as_use_not_its_beginning(t) {
        t.pool_of(&["a", "b"]).await;
        let a = t.lend(want().named("a")).await;
        t.advance(TICK);
        let b = t.lend(want().named("b")).await;
        t.advance(TICK);
        t.release(&b).await.unwrap();
        t.advance(TICK);
        t.release(&a).await.unwrap();
        assert_eq!(t.all_that(&want()).await, ["b", "a"]);
    }

    async fn an_expired_lease_counts_as_use_at_its_expiry_however_late_it_is_noticed(t) {
        t.pool_of(&["a", "b"]).await;
        t.lend(want().named("b")).await;
        let released = t.lend(want().named("a").ttl(sum(TTL, TTL))).await;
        t.advance(sum(TTL, TICK));
        t.release(&released).await.unwrap();
        t.advance(Span::hours(3));
        assert_eq!(t.all_that(&want()).await, ["b", "a"]);
    }

    async fn a_rest_does_not_change_the_order(t) {
        t.pool_of(&["a", "b"]).await;
        let (a, b) = (t.lend(want()).await, t.lend(want()).await);
        t.release_to_rest(&a, Span::secs(20)).await.unwrap();
        t.advance(TICK);
        t.release_to_rest(&b, Span::secs(10)).await.unwrap();
        t.advance(Span::secs(20));
        assert_eq!(t.all_that(&want()).await, ["a", "b"]);
    }

    async fn every_operator_of_a_selector_means_what_it_says(t) {
        labelled_pool(t).await;
        let table: [(&str, &[&str]); 20] = [
            ("", &["de", "de-a", "de-b", "fr", "it", "none"]),
            ("country=de", &["de", "de-a", "de-b"]),
            ("country==fr", &["fr"]),
            ("country in (fr, it)", &["fr", "it"]),
            ("country in (fr)", &["fr"]),
            ("country in (xx, it)", &["it"]),
            ("country!=de", &["fr", "it", "none"]),
            ("country notin (de, fr)", &["it", "none"]),
            ("country", &["de", "de-a", "de-b", "fr", "it"]),
            ("!country", &["none"]),
            ("premium", &["de-b"]),
            ("!premium", &["de", "de-a", "fr", "it", "none"]),
            ("premium=", &["de-b"]),
            ("premium!=", &["de", "de-a", "fr", "it", "none"]),
            ("country=de,tier", &["de-a", "de-b"]),
            ("country=de,!tier", &["de"]),
            ("country=de,tier in (b, c)", &["de-b"]),
            ("tier=b,country", &["de-b", "it"]),
            ("tier,country notin (de)", &["it"]),
            ("country!=de,!tier", &["fr", "none"]),
        ];
        for (selector, matching) in table {
            let mut lent = t.all_that(&want().matching(selector)).await;
            lent.sort();
            assert_eq!(lent, matching, "{selector}");
            t.advance(sum(TTL, DRAIN));
        }
    }

    async fn among_the_few_that_match_a_rare_label_the_least_recently_used_is_lent(t) {
        labelled_pool(t).await;
        let mut leases = Vec::new();
        for session in ["de", "de-b", "it", "de-a"] {
            leases.push(t.lend(want().named(session)).await);
        }
        // The order of use is against the order of names.
        for lease in leases.iter().rev() {
            t.advance(TICK);
            t.release(lease).await.unwrap();
        }
        let table = [
            ("country=de", "de-a"),
            ("tier in (a, b)", "it"),
            ("country in (de, it, fr),tier", "de-b"),
            ("tier!=b,country=de", "de"),
        ];
        for (selector, least) in table {
            assert_eq!(t.lend(want().matching(selector)).await.session, name(least), "{selector}");
        }
    }

    async fn among_many_that_match_a_common_label_the_least_recently_used_is_lent(t) {
        t.pool(Policy::default()).await;
        // More than sixteen: walking along the free ones is then cheaper than looking at each.
        for number in 0..30 {
            let parity = if number % 2 == 0 { "even" } else { "odd" };
            let session = labelled(&format!("s{number:02}"), &[("all", "yes"), ("parity", parity)]);
            t.add(session).await.unwrap();
        }
        let mut leases = Vec::new();
        for _ in 0..30 {
            leases.push(t.lend(want()).await);
        }
        for lease in leases.iter().rev() {
            t.advance(TICK);
            t.release(lease).await.unwrap();
        }
        let odd = t.lend(want().matching("all=yes,parity=odd")).await;
        assert_eq!(odd.session, name("s29"));
        let even = t.lend(want().matching("all in (yes, no),parity!=odd")).await;
        assert_eq!(even.session, name("s28"));
        let rest: Vec<_> = (0..28).rev().map(|number| format!("s{number:02}")).collect();
        assert_eq!(t.all_that(&want().matching("all=yes")).await, rest);
    }

    async fn a_free_session_that_does_not_match_stays_free(t) {
        labelled_pool(t).await;
        t.lend(want().matching("country=fr")).await;
        let again = t.acquire(want().matching("country=fr")).await.unwrap_err();
        let next = NextRelease { after: TTL, cause: ReleaseCause::Lease };
        let counts = t.status().await.counts;
        assert_eq!((counts.free, counts.leased), (5, 1));
        let queue = Queue::default();
        assert_eq!(again, Refusal::PoolBusy { pool: pool_name("p"), counts, next, queue });
    }

    async fn a_named_session_is_the_only_one_that_would_do(t) {
        t.pool_of(&["a", "b"]).await;
        assert_eq!(t.lend(want().named("b")).await.session, name("b"));
        let busy = t.acquire(want().named("b").ttl(Span::secs(7))).await.unwrap_err();
        let counts = t.status().await.counts;
        let next = NextRelease { after: TTL, cause: ReleaseCause::Lease };
        let queue = Queue::default();
        assert_eq!(busy, Refusal::PoolBusy { pool: pool_name("p"), counts, next, queue });
        assert_eq!(t.next().await, "a");
    }

    async fn a_named_session_must_match_the_selector_too(t) {
        labelled_pool(t).await;
        let grant = t.lend(want().named("fr").matching("country=fr")).await;
        assert_eq!(grant.session, name("fr"));
        let refusal = t.acquire(want().named("it").matching("country=de")).await.unwrap_err();
        let (pool, counts) = (pool_name("p"), t.status().await.counts);
        let selector = Selector::parse("country=de").unwrap();
        assert_eq!(refusal, Refusal::NoMatchingSession { pool, selector, counts });
    }

    async fn a_session_added_later_is_found_by_its_labels_and_a_removed_one_is_not(t) {
        labelled_pool(t).await;
        t.add(labelled("late", &[("country", "se")])).await.unwrap();
        assert_eq!(t.all_that(&want().matching("country=se")).await, ["late"]);
        t.remove("fr").await.unwrap();
        let refusal = t.acquire(want().matching("country=fr")).await.unwrap_err();
        assert!(matches!(refusal, Refusal::NoMatchingSession { .. }), "{refusal}");
    }
}
