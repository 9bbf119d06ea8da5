//! `telegate.v1.SessionAdmin`: what operators call.

use std::sync::Arc;

use tonic::{Request, Streaming};

use super::{
    Answer, answer,
    import::{Turns, import},
    sync::sync,
};
use crate::{
    pool::{Edit, PoolMode, PoolName, PoolView, Refusal, SessionView},
    proto::v1::{self, session_admin_server::SessionAdmin},
    server::{
        auth::{Keys, Pools},
        call::Caller,
        convert::{self, UpdateSession, page_token},
        status::Fault,
    },
    store::{self, Store},
};

/// The service for operators.
pub(in crate::server) struct AdminService {
    pub(super) store: Arc<dyn Store>,
    pub(super) keys: Arc<Keys>,
    imports: Turns,
}

impl AdminService {
    pub(in crate::server) fn new(store: Arc<dyn Store>, keys: Arc<Keys>) -> Self {
        Self { store, keys, imports: Turns::new() }
    }

    async fn created(
        &self,
        caller: Caller,
        request: v1::CreatePoolRequest,
    ) -> Result<v1::CreatePoolResponse, Fault> {
        let (name, policy, on) = convert::create_pool(&request, caller.key())?;
        caller.enter(&name)?;
        let view = self.store.create_pool(&name, policy, &on).await?;
        Ok(v1::CreatePoolResponse { pool: Some(convert::pool_reply(&view.record)) })
    }

    async fn read(
        &self,
        caller: Caller,
        request: v1::GetPoolRequest,
    ) -> Result<v1::GetPoolResponse, Fault> {
        let name = convert::pool(&request.pool)?;
        caller.enter(&name)?;
        let view = self.store.get_pool(&name).await?;
        Ok(v1::GetPoolResponse {
            pool: Some(convert::pool_reply(&view.record)),
            brakes: convert::brakes(&view.brakes),
            floods: convert::floods(&view.floods),
        })
    }

    async fn updated(
        &self,
        caller: Caller,
        request: v1::UpdatePoolRequest,
    ) -> Result<v1::UpdatePoolResponse, Fault> {
        let (name, change, on) = convert::update_pool(&request, caller.key())?;
        caller.enter(&name)?;
        let view = self.store.update_pool(&name, change, &on).await?;
        Ok(v1::UpdatePoolResponse { pool: Some(convert::pool_reply(&view.record)) })
    }

    async fn deleted(
        &self,
        caller: Caller,
        request: v1::DeletePoolRequest,
    ) -> Result<v1::DeletePoolResponse, Fault> {
        let (name, on) = convert::pool_deed(&request.pool, &request.detail, caller.key())?;
        caller.enter(&name)?;
        self.store.delete_pool(&name, &on).await?;
        Ok(v1::DeletePoolResponse {})
    }

    async fn listed(
        &self,
        caller: Caller,
        request: v1::ListPoolsRequest,
    ) -> Result<v1::ListPoolsResponse, Fault> {
        let (after, size) = convert::list_pools(&request)?;
        // One more than asked for, to know whether more follow.
        let mut views = match caller.principal.pools() {
            Pools::All => self.store.list_pools(after.as_ref(), size + 1).await?,
            Pools::Named(names) => {
                let names = names.iter().filter(|name| after.as_ref().is_none_or(|a| a < name));
                self.existing(names, size + 1).await?
            }
        };
        let more = views.len() > size;
        views.truncate(size);
        let last = views.last().filter(|_| more).map(|view| page_token(view.record.name.as_str()));
        let row = |view: &PoolView| v1::PoolOverview {
            pool: Some(convert::pool_reply(&view.record)),
            status: Some(convert::pool_status(&view.record.name, &view.status)),
            brakes: convert::brakes(&view.brakes),
            floods: convert::floods(&view.floods),
        };
        Ok(v1::ListPoolsResponse {
            pools: views.iter().map(row).collect(),
            next_page_token: last.unwrap_or_default(),
        })
    }

    /// Those of some pools that exist, up to so many.
    async fn existing(
        &self,
        names: impl Iterator<Item = &PoolName>,
        most: usize,
    ) -> Result<Vec<PoolView>, store::Error> {
        let mut views = Vec::new();
        for name in names {
            match self.store.get_pool(name).await {
                Ok(view) => views.push(view),
                Err(store::Error::Refused(refusal))
                    if matches!(*refusal, Refusal::PoolNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            if views.len() == most {
                break;
            }
        }
        Ok(views)
    }

    async fn moded(
        &self,
        caller: Caller,
        (pool, detail): (&str, &str),
        mode: PoolMode,
    ) -> Result<Option<v1::Pool>, Fault> {
        let (name, on) = convert::pool_deed(pool, detail, caller.key())?;
        caller.enter(&name)?;
        let view = self.store.set_mode(&name, mode, &on).await?;
        Ok(Some(convert::pool_reply(&view.record)))
    }

    async fn added(
        &self,
        caller: Caller,
        request: v1::AddSessionRequest,
    ) -> Result<v1::AddSessionResponse, Fault> {
        let (pool, new) = convert::add_session(&request, caller.key())?;
        caller.enter(&pool)?;
        let added = self.store.add(&pool, new).await.map_err(|error| hidden(&caller, error));
        let session = convert::session(&pool, &added?, caller.audience());
        Ok(v1::AddSessionResponse { session: Some(session) })
    }

    async fn session_read(
        &self,
        caller: Caller,
        request: v1::GetSessionRequest,
    ) -> Result<v1::GetSessionResponse, Fault> {
        let (pool, session) = convert::session_ref(&request.pool, &request.session)?;
        caller.enter(&pool)?;
        let view = self.store.get_session(&pool, &session).await?;
        let session = convert::session(&pool, &view, caller.audience());
        Ok(v1::GetSessionResponse { session: Some(session) })
    }

    async fn waiters_listed(
        &self,
        caller: Caller,
        request: v1::ListWaitersRequest,
    ) -> Result<v1::ListWaitersResponse, Fault> {
        let (pool, after, size) = convert::list_waiters(&request)?;
        caller.enter(&pool)?;
        let mut views = self.store.list_waiters(&pool, after, size + 1).await?;
        let more = views.len() > size;
        views.truncate(size);
        let last = views.last().filter(|_| more).map(|view| page_token(&view.seq.to_string()));
        Ok(v1::ListWaitersResponse {
            waiters: views.iter().map(convert::waiter).collect(),
            next_page_token: last.unwrap_or_default(),
        })
    }

    async fn sessions_listed(
        &self,
        caller: Caller,
        request: v1::ListSessionsRequest,
    ) -> Result<v1::ListSessionsResponse, Fault> {
        let wanted = convert::list_sessions(&request)?;
        let pool = &wanted.pool;
        caller.enter(pool)?;
        let mut views =
            self.store.list_sessions(pool, wanted.after.as_ref(), wanted.size + 1).await?;
        let more = views.len() > wanted.size;
        views.truncate(wanted.size);
        let last = views.last().filter(|_| more).map(|view| page_token(view.record.name.as_str()));
        let fits = |view: &&SessionView| {
            wanted.selector.matches(&view.record.labels)
                && (wanted.states.is_empty()
                    || wanted.states.contains(&view.standing.state(view.at)))
        };
        let row = |view| convert::session(pool, view, caller.audience());
        Ok(v1::ListSessionsResponse {
            sessions: views.iter().filter(fits).map(row).collect(),
            next_page_token: last.unwrap_or_default(),
        })
    }

    async fn session_updated(
        &self,
        caller: Caller,
        request: v1::UpdateSessionRequest,
    ) -> Result<v1::UpdateSessionResponse, Fault> {
        let UpdateSession { pool, session, mut change, parts, on } =
            convert::update_session(&request, caller.key())?;
        caller.enter(&pool)?;
        if let Some(parts) = parts {
            let kept = self.store.get_session(&pool, &session).await?.record.device;
            change.device = Edit::Set(parts.put_into(kept.as_ref())?);
        }
        let view = self.store.update_session(&pool, &session, change, &on).await?;
        let session = convert::session(&pool, &view, caller.audience());
        Ok(v1::UpdateSessionResponse { session: Some(session) })
    }

    async fn removed(
        &self,
        caller: Caller,
        request: v1::RemoveSessionRequest,
    ) -> Result<v1::RemoveSessionResponse, Fault> {
        let v1::RemoveSessionRequest { pool, session, detail } = request;
        let (pool, session, on) = convert::session_deed(&pool, &session, &detail, caller.key())?;
        caller.enter(&pool)?;
        self.store.remove(&pool, &session, &on).await?;
        Ok(v1::RemoveSessionResponse {})
    }

    async fn restored(
        &self,
        caller: Caller,
        request: v1::RestoreSessionRequest,
    ) -> Result<v1::RestoreSessionResponse, Fault> {
        let v1::RestoreSessionRequest { pool, session, detail } = request;
        let (pool, session, on) = convert::session_deed(&pool, &session, &detail, caller.key())?;
        caller.enter(&pool)?;
        let view = self.store.restore(&pool, &session, &on).await?;
        let session = convert::session(&pool, &view, caller.audience());
        Ok(v1::RestoreSessionResponse { session: Some(session) })
    }

    async fn resealed(
        &self,
        caller: Caller,
        request: v1::ResealSessionsRequest,
    ) -> Result<v1::ResealSessionsResponse, Fault> {
        let (pool, after, most) = convert::reseal_sessions(&request)?;
        caller.enter(&pool)?;
        let done = self.store.reseal_sessions(&pool, after.as_ref(), most).await?;
        Ok(convert::resealed(done))
    }
}

/// Hides where a credential is held from a key that may not see that pool.
fn hidden(caller: &Caller, error: store::Error) -> Fault {
    match error {
        store::Error::Refused(refusal) => match *refusal {
            Refusal::CredentialExists { pool, fingerprint, .. }
                if !caller.principal.may_use(&pool) =>
            {
                Fault::CredentialElsewhere { fingerprint }
            }
            other => store::Error::from(other).into(),
        },
        other => other.into(),
    }
}

#[tonic::async_trait]
impl SessionAdmin for AdminService {
    async fn create_pool(
        &self,
        request: Request<v1::CreatePoolRequest>,
    ) -> Answer<v1::CreatePoolResponse> {
        answer(request, |caller, asked| self.created(caller, asked)).await
    }

    async fn get_pool(&self, request: Request<v1::GetPoolRequest>) -> Answer<v1::GetPoolResponse> {
        answer(request, |caller, asked| self.read(caller, asked)).await
    }

    async fn list_pools(
        &self,
        request: Request<v1::ListPoolsRequest>,
    ) -> Answer<v1::ListPoolsResponse> {
        answer(request, |caller, asked| self.listed(caller, asked)).await
    }

    async fn pause_pool(
        &self,
        request: Request<v1::PausePoolRequest>,
    ) -> Answer<v1::PausePoolResponse> {
        answer(request, async |caller, asked: v1::PausePoolRequest| {
            let pool = self.moded(caller, (&asked.pool, &asked.detail), PoolMode::Paused).await?;
            Ok(v1::PausePoolResponse { pool })
        })
        .await
    }

    async fn resume_pool(
        &self,
        request: Request<v1::ResumePoolRequest>,
    ) -> Answer<v1::ResumePoolResponse> {
        answer(request, async |caller, asked: v1::ResumePoolRequest| {
            let pool = self.moded(caller, (&asked.pool, &asked.detail), PoolMode::Active).await?;
            Ok(v1::ResumePoolResponse { pool })
        })
        .await
    }

    async fn drain_pool(
        &self,
        request: Request<v1::DrainPoolRequest>,
    ) -> Answer<v1::DrainPoolResponse> {
        answer(request, async |caller, asked: v1::DrainPoolRequest| {
            let pool = self.moded(caller, (&asked.pool, &asked.detail), PoolMode::Draining).await?;
            Ok(v1::DrainPoolResponse { pool })
        })
        .await
    }

    async fn add_session(
        &self,
        request: Request<v1::AddSessionRequest>,
    ) -> Answer<v1::AddSessionResponse> {
        answer(request, |caller, asked| self.added(caller, asked)).await
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Answer<v1::GetSessionResponse> {
        answer(request, |caller, asked| self.session_read(caller, asked)).await
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Answer<v1::ListSessionsResponse> {
        answer(request, |caller, asked| self.sessions_listed(caller, asked)).await
    }

    async fn remove_session(
        &self,
        request: Request<v1::RemoveSessionRequest>,
    ) -> Answer<v1::RemoveSessionResponse> {
        answer(request, |caller, asked| self.removed(caller, asked)).await
    }

    async fn restore_session(
        &self,
        request: Request<v1::RestoreSessionRequest>,
    ) -> Answer<v1::RestoreSessionResponse> {
        answer(request, |caller, asked| self.restored(caller, asked)).await
    }

    async fn reseal_sessions(
        &self,
        request: Request<v1::ResealSessionsRequest>,
    ) -> Answer<v1::ResealSessionsResponse> {
        answer(request, |caller, asked| self.resealed(caller, asked)).await
    }

    async fn update_pool(
        &self,
        request: Request<v1::UpdatePoolRequest>,
    ) -> Answer<v1::UpdatePoolResponse> {
        answer(request, |caller, asked| self.updated(caller, asked)).await
    }

    async fn delete_pool(
        &self,
        request: Request<v1::DeletePoolRequest>,
    ) -> Answer<v1::DeletePoolResponse> {
        answer(request, |caller, asked| self.deleted(caller, asked)).await
    }

    async fn import_sessions(
        &self,
        request: Request<Streaming<v1::ImportSessionsRequest>>,
    ) -> Answer<v1::ImportSessionsResponse> {
        answer(request, |caller, sent| import(&self.store, &self.imports, caller, sent)).await
    }

    async fn sync_sessions(
        &self,
        request: Request<Streaming<v1::SyncSessionsRequest>>,
    ) -> Answer<v1::SyncSessionsResponse> {
        answer(request, |caller, sent| sync(&self.store, caller, sent)).await
    }

    async fn update_session(
        &self,
        request: Request<v1::UpdateSessionRequest>,
    ) -> Answer<v1::UpdateSessionResponse> {
        answer(request, |caller, asked| self.session_updated(caller, asked)).await
    }

    async fn clear_cool_down(
        &self,
        request: Request<v1::ClearCoolDownRequest>,
    ) -> Answer<v1::ClearCoolDownResponse> {
        answer(request, |caller, asked| self.cleared(caller, asked)).await
    }

    async fn list_session_events(
        &self,
        request: Request<v1::ListSessionEventsRequest>,
    ) -> Answer<v1::ListSessionEventsResponse> {
        answer(request, |caller, asked| self.events_listed(caller, asked)).await
    }

    async fn list_leases(
        &self,
        request: Request<v1::ListLeasesRequest>,
    ) -> Answer<v1::ListLeasesResponse> {
        answer(request, |caller, asked| self.leases_listed(caller, asked)).await
    }

    async fn revoke_leases(
        &self,
        request: Request<v1::RevokeLeasesRequest>,
    ) -> Answer<v1::RevokeLeasesResponse> {
        answer(request, |caller, asked| self.leases_revoked(caller, asked)).await
    }

    async fn list_waiters(
        &self,
        request: Request<v1::ListWaitersRequest>,
    ) -> Answer<v1::ListWaitersResponse> {
        answer(request, |caller, asked| self.waiters_listed(caller, asked)).await
    }

    async fn list_keys(
        &self,
        request: Request<v1::ListKeysRequest>,
    ) -> Answer<v1::ListKeysResponse> {
        answer(request, async |caller, asked| self.keys_listed(&caller, &asked)).await
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Answer<v1::ExplainResponse> {
        answer(request, |caller, asked| self.explained(caller, asked)).await
    }
}
