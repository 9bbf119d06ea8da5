//! What concerns an account reaches its sessions in every pool.

use telegate::{
    proto::v1::{CoolDownScope, InvalidReason, LossCause, SessionState, VerdictAction},
    store,
};

use super::*;
use crate::broker::{Lines, reason};

const ANN: i64 = 42;
const BEN: i64 = 43;

served! {
    async fn a_banned_account_is_out_of_every_pool_before_the_answer(t) {
        t.fill(&[]).await;
        for pool in ["eu", "us"] {
            t.broker.fill(pool, &["stranger"]).await;
            t.add_of(pool, "ann", ANN).await;
            t.add_of(pool, "ben", BEN).await;
        }
        t.add_of(POOL, "ann", ANN).await;
        t.add_of(POOL, "ann-too", ANN).await;
        let used = v1::AcquireRequest { pool: "us".into(), ..named("ann") };
        let elsewhere = t.lend(used).await;

        let lease = t.lend(named("ann")).await;
        let verdict = t.report(&lease, said("USER_DEACTIVATED_BAN")).await.unwrap();
        assert_eq!((verdict.action(), verdict.rule.as_str()), (VerdictAction::Invalidated, "D1"));
        assert_eq!(verdict.session_state(), SessionState::Invalid);
        assert!(!verdict.detail.contains("could not"), "{}", verdict.detail);
        for (pool, session) in [(POOL, "ann"), (POOL, "ann-too"), ("eu", "ann"), ("us", "ann")] {
            let session = t.get(pool, session).await;
            assert_eq!(session.state(), SessionState::Invalid, "{session:?}");
            assert_eq!(session.invalidation.unwrap().reason(), InvalidReason::Banned);
        }
        for (pool, session) in [("eu", "ben"), ("us", "ben"), ("us", "stranger")] {
            assert_eq!(t.get(pool, session).await.state(), SessionState::Ready);
        }
        let request = v1::RenewRequest { lease_id: elsewhere, ttl: None };
        let lost = t.broker.pool().renew(request).await.unwrap_err();
        assert_eq!(reason(&lost), "LEASE_LOST");
        let cause = LossCause::Invalidated.as_str_name().trim_start_matches("LOSS_CAUSE_");
        assert!(crate::broker::seen(&lost).contains(&format!("cause: {cause}")));
    }

    async fn a_restricted_account_may_not_write_to_strangers_from_any_pool(t) {
        t.fill(&[]).await;
        t.broker.fill("us", &[]).await;
        t.add_of(POOL, "ann", ANN).await;
        t.add_of("us", "ann", ANN).await;
        let verdict = t.meet("ann", said_to("messages.sendMessage", "PEER_FLOOD")).await;
        assert_eq!((verdict.action(), verdict.rule.as_str()), (VerdictAction::Restricted, "R1"));
        assert_eq!(verdict.scope(), CoolDownScope::Capability);
        assert_eq!(verdict.subject, "strangers");
        let elsewhere = t.get("us", "ann").await;
        assert_eq!(elsewhere.state(), SessionState::Ready);
        assert_eq!(elsewhere.cool_downs[0].subject, "strangers");
        assert_eq!(elsewhere.cool_downs[0].until, verdict.until);
        let want = v1::AcquireRequest { pool: "us".into(), ..calling("InviteToChannelRequest") };
        assert_eq!(reason(&t.acquire(want).await.unwrap_err()), "POOL_FLOOD_WAIT");
    }

    async fn pools_that_cannot_be_told_are_told_of(t) {
        t.fill(&[]).await;
        t.broker.fill("us", &[]).await;
        t.add_of(POOL, "ann", ANN).await;
        t.add_of("us", "ann", ANN).await;
        let lease = t.lend(any()).await;
        let (lines, _guard) = Lines::capture();
        t.broker.store.fail_next(store::Error::Unavailable("away".into()));
        let verdict = t.report(&lease, said("USER_DEACTIVATED")).await.unwrap();
        assert!(verdict.detail.contains("could not be told"), "{}", verdict.detail);
        assert_eq!(t.get("us", "ann").await.state(), SessionState::Ready);
        assert_eq!(lines.with("did not reach its sessions in another pool").len(), 1);

        let verdict = t.report(&lease, said("USER_DEACTIVATED")).await.unwrap();
        assert!(!verdict.detail.contains("could not"), "{}", verdict.detail);
        assert_eq!(t.get("us", "ann").await.state(), SessionState::Invalid);
    }

    async fn a_revoked_session_is_out_alone(t) {
        t.fill(&[]).await;
        t.add_of(POOL, "ann", ANN).await;
        t.add_of(POOL, "ann-too", ANN).await;
        t.meet("ann", said("SESSION_REVOKED")).await;
        let out = t.get(POOL, "ann").await;
        assert_eq!(out.invalidation.unwrap().reason(), InvalidReason::Revoked);
        assert_eq!(t.get(POOL, "ann-too").await.state(), SessionState::Ready);
    }
}
