//! Notices: whoever listens hears when a lease is ended against its holder's will, and only then.

use std::time::Duration;

use telegate::{
    pool::{EndCause, Ending, Mark, Revocation, Span, Target},
    store::{Notice, Notices},
};

use super::{DRAIN, TTL};
use crate::harness::stage::{ANN, key, name, pool_name, want, why};

/// How long a test waits for a notice.
const PATIENCE: Duration = Duration::from_secs(10);

async fn next(notices: &mut Notices) -> Notice {
    tokio::time::timeout(PATIENCE, notices.next())
        .await
        .expect("a notice comes")
        .expect("the store lives")
}

fn ended(session: &str, epoch: u64) -> Notice {
    let (pool, session, cause) = (pool_name("p"), name(session), EndCause::Invalidated);
    Notice::LeaseEnded(Ending { pool, session, epoch, cause })
}

law! {
    async fn a_lease_that_somebody_else_ends_is_told_to_all_who_listen(t) {
        t.pool_of(&["a", "b"]).await;
        let (mut one, mut other) = (t.store.notices(), t.store.notices());
        t.lend(want()).await;
        t.invalidate("a", why("op", "")).await.unwrap();
        let epoch = t.now().0;
        assert_eq!(next(&mut one).await, ended("a", epoch));
        assert_eq!(next(&mut other).await, ended("a", epoch));
    }

    async fn a_revoked_lease_is_told_to_all_who_listen(t) {
        t.pool_of(&["a"]).await;
        let mut notices = t.store.notices();
        t.lend(want()).await;
        let (detail, by) = ("moving".to_owned(), key("op"));
        let all = Revocation { target: Target::Key(key(ANN)), detail, by, from: None };
        for ended in [1, 0] {
            let revoked = t.store.revoke_leases(&pool_name("p"), &all).await.unwrap();
            assert_eq!(revoked.ended.len(), ended);
        }
        let (pool, session, epoch) = (pool_name("p"), name("a"), t.now().0);
        let told = Ending { pool, session, epoch, cause: EndCause::Revoked };
        assert_eq!(next(&mut notices).await, Notice::LeaseEnded(told));
        // It was told once.
        t.advance(DRAIN);
        t.lend(want()).await;
        t.invalidate("a", why("op", "")).await.unwrap();
        assert_eq!(next(&mut notices).await, ended("a", t.now().0));
    }

    async fn nothing_else_is_told(t) {
        t.pool_of(&["a", "b", "c", "d", "e"]).await;
        let mut notices = t.store.notices();
        // Free, then already invalid: there is no lease to end.
        t.invalidate("e", why("op", "")).await.unwrap();
        t.invalidate("e", why("op", "")).await.unwrap();
        let released = t.lend(want()).await;
        t.release(&released).await.unwrap();
        let surrendered = t.lend(want()).await;
        t.surrender(&surrendered, why(ANN, "")).await.unwrap();
        let abandoned = t.lend(want()).await;
        t.abandon(&abandoned, Mark { renewals: 0, deliveries: 1 }).await.unwrap();
        let undone = t.lend(want()).await;
        assert!(t.undo(&undone, 1).await);
        t.lend(want()).await;
        t.advance(TTL);
        t.status().await;
        t.advance(Span::hours(1));
        t.restore("e").await.unwrap();
        let last = t.lend(want().named("e")).await;
        t.invalidate("e", why("op", "")).await.unwrap();
        assert_eq!(next(&mut notices).await, ended("e", t.now().0));
        drop(last);
    }

    async fn a_lease_that_is_over_is_not_told_as_ended_by_somebody(t) {
        t.pool_of(&["a", "b"]).await;
        let mut notices = t.store.notices();
        t.lend(want()).await;
        t.advance(TTL);
        // Expired before, however late it is settled.
        t.invalidate("a", why("op", "")).await.unwrap();
        t.lend(want()).await;
        t.invalidate("b", why("op", "")).await.unwrap();
        assert_eq!(next(&mut notices).await, ended("b", t.now().0));
    }
}
