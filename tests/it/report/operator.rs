//! What operators do about cool-downs and doubts.

use telegate::proto::v1::{ClearCoolDownRequest, CoolDownScope, SessionState};

use super::*;
use crate::broker::reason;

fn clear(session: &str, scope: CoolDownScope, subject: &str) -> ClearCoolDownRequest {
    ClearCoolDownRequest {
        pool: POOL.into(),
        session: session.into(),
        scope: scope.into(),
        subject: subject.into(),
        detail: String::new(),
    }
}

served! {
    async fn one_cool_down_is_ended_and_the_others_go_on(t) {
        t.fill(&["alice"]).await;
        let lease = t.lend(any()).await;
        t.report(&lease, said_to(HISTORY, "FLOOD_WAIT_100")).await.unwrap();
        let slow = TelegramError { peer: "channel:1".into(), ..said("SLOWMODE_WAIT_100") };
        t.report(&lease, slow).await.unwrap();
        t.report(&lease, said("FLOOD_PREMIUM_WAIT_100")).await.unwrap();
        t.release(&lease, None).await.unwrap();
        assert_eq!(t.get(POOL, "alice").await.cool_downs.len(), 3);

        for (scope, subject, left) in [
            (CoolDownScope::Method, "GetHistory", 2),
            (CoolDownScope::Method, "GetHistory", 2),
            (CoolDownScope::Session, "", 2),
            (CoolDownScope::Peer, "channel:1", 1),
            (CoolDownScope::Capability, "transfer", 0),
        ] {
            let request = clear("alice", scope, subject);
            let cleared = t.broker.admin().clear_cool_down(request).await.unwrap().into_inner();
            assert_eq!(cleared.session.unwrap().cool_downs.len(), left, "{scope:?}");
        }
        let lease = t.lend(calling(HISTORY)).await;
        t.release(&lease, None).await.unwrap();
        let request = clear("bob", CoolDownScope::Session, "");
        let status = t.broker.admin().clear_cool_down(request).await.unwrap_err();
        assert_eq!(reason(&status), "SESSION_NOT_FOUND");
    }

    async fn a_suspect_is_restored_and_its_cool_downs_go_on(t) {
        t.fill(&["alice"]).await;
        let lease = t.lend(any()).await;
        t.report(&lease, said_to(HISTORY, "FLOOD_WAIT_100")).await.unwrap();
        t.report(&lease, said("AUTH_KEY_UNREGISTERED")).await.unwrap();
        t.release(&lease, None).await.unwrap();
        let (pool, session, detail) = (POOL.to_owned(), "alice".to_owned(), String::new());
        let request = v1::RestoreSessionRequest { pool, session, detail };
        let restored = t.broker.admin().restore_session(request).await.unwrap().into_inner();
        let session = restored.session.unwrap();
        assert_eq!(session.state(), SessionState::Ready);
        assert_eq!((session.suspicion, session.cool_downs.len()), (None, 1));
        assert_eq!(reason(&t.acquire(calling(HISTORY)).await.unwrap_err()), "POOL_FLOOD_WAIT");
    }
}
