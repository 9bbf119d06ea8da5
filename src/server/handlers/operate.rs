//! What operators see and end: leases, the history of sessions and pools, keys.

use super::AdminService;
use crate::{
    pool::Lent,
    proto::v1,
    server::{
        call::Caller,
        convert::{self, ListEvents, page_token},
        status::Fault,
    },
};

/// How many steps of a revocation one call does.
const REVOKE_STEPS: usize = 4;

impl AdminService {
    pub(super) async fn events_listed(
        &self,
        caller: Caller,
        request: v1::ListSessionEventsRequest,
    ) -> Result<v1::ListSessionEventsResponse, Fault> {
        let ListEvents { pool, session, before, size } = convert::list_events(&request)?;
        caller.enter(&pool)?;
        let mut events = self.store.history(&pool, session.as_ref(), before, size + 1).await?;
        let more = events.len() > size;
        events.truncate(size);
        let last = events.last().filter(|_| more).map(|last| page_token(&last.number.to_string()));
        Ok(v1::ListSessionEventsResponse {
            events: events.iter().map(convert::event).collect(),
            next_page_token: last.unwrap_or_default(),
        })
    }

    pub(super) async fn leases_listed(
        &self,
        caller: Caller,
        request: v1::ListLeasesRequest,
    ) -> Result<v1::ListLeasesResponse, Fault> {
        let wanted = convert::list_leases(&request)?;
        let pool = &wanted.pool;
        caller.enter(pool)?;
        let mut found =
            self.store.list_leases(pool, wanted.after.as_ref(), wanted.size + 1).await?;
        let more = found.len() > wanted.size;
        found.truncate(wanted.size);
        let last = found.last().filter(|_| more);
        let last = last.map(|lent| page_token(&convert::mark(&lent.mark())));
        let fits =
            |lent: &&Lent| wanted.key.as_ref().is_none_or(|key| *key == lent.lease.holder.key);
        let row = |lent| convert::lent(pool, lent);
        Ok(v1::ListLeasesResponse {
            leases: found.iter().filter(fits).map(row).collect(),
            next_page_token: last.unwrap_or_default(),
        })
    }

    pub(super) async fn leases_revoked(
        &self,
        caller: Caller,
        request: v1::RevokeLeasesRequest,
    ) -> Result<v1::RevokeLeasesResponse, Fault> {
        let (pool, mut revocation) = convert::revoke_leases(&request, caller.key())?;
        caller.enter(&pool)?;
        let mut leases = Vec::new();
        for _ in 0..REVOKE_STEPS {
            let revoked = self.store.revoke_leases(&pool, &revocation).await?;
            leases.extend(revoked.ended.iter().map(|lent| convert::lent(&pool, lent)));
            revocation.from = revoked.next;
            if revocation.from.is_none() {
                break;
            }
        }
        let next = revocation.from.map(|from| page_token(&convert::progress(&from)));
        Ok(v1::RevokeLeasesResponse { leases, next_page_token: next.unwrap_or_default() })
    }

    pub(super) fn keys_listed(
        &self,
        caller: &Caller,
        request: &v1::ListKeysRequest,
    ) -> Result<v1::ListKeysResponse, Fault> {
        let (after, size) = convert::list_keys(request)?;
        let mut keys = self.keys.seen_by(&caller.principal);
        keys.retain(|(entry, _)| after.as_ref().is_none_or(|after| entry.id > *after));
        let more = keys.len() > size;
        keys.truncate(size);
        let last = keys.last().filter(|_| more).map(|(entry, _)| page_token(&entry.id));
        let keys = keys.iter().map(|(entry, used)| convert::api_key(entry, *used)).collect();
        Ok(v1::ListKeysResponse { keys, next_page_token: last.unwrap_or_default() })
    }
}
