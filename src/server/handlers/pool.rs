//! `telegate.v1.SessionPool`: what workers call.

use std::{pin::Pin, sync::Arc};

use futures_util::Stream;
use tonic::{Request, Status, Streaming};

use super::{Answer, Answering, answer, lend::Lender, report::Desk};
use crate::{
    keys::Role,
    proto::v1::{self, session_pool_server::SessionPool},
    server::{
        call::Caller,
        convert::{self, Invalidate, Target},
        edge::Gate,
        keep_alive::Keeper,
        status::Fault,
        streams::Streams,
        waiting::WaitingRoom,
        watch_pool::Watchtower,
    },
    store::Store,
    telemetry::Metrics,
};

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service for workers.
pub(in crate::server) struct PoolService {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    room: Arc<WaitingRoom>,
    streams: Streams,
    keeper: Keeper,
    watchtower: Watchtower,
}

impl PoolService {
    pub(in crate::server) fn new(
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
        gate: Arc<Gate>,
    ) -> Self {
        let room = WaitingRoom::open(store.clone(), gate);
        let (keeper, watchtower) = (Keeper::new(store.clone()), Watchtower::new(store.clone()));
        Self { store, metrics, room, streams: Streams::default(), keeper, watchtower }
    }

    async fn renewed(
        &self,
        caller: Caller,
        request: v1::RenewRequest,
    ) -> Result<v1::RenewResponse, Fault> {
        let (id, ttl) = convert::renew(&request)?;
        caller.enter(&id.pool)?;
        let lease = self.store.renew(&id, &caller.key(), ttl).await?;
        Ok(v1::RenewResponse { lease: Some(convert::lease(&lease, &id.pool, &id.session)) })
    }

    fn desk(&self) -> Desk {
        Desk { store: self.store.clone(), metrics: self.metrics.clone() }
    }

    async fn invalidated(
        &self,
        caller: Caller,
        request: v1::InvalidateRequest,
    ) -> Result<v1::InvalidateResponse, Fault> {
        let Invalidate { target, why } = convert::invalidate(&request, caller.key())?;
        let (pool, view) = match target {
            Target::Lease(id) => {
                caller.enter(&id.pool)?;
                let view = self.store.surrender(&id, why).await?;
                (id.pool, view)
            }
            Target::Session(pool, session) => {
                caller.principal.need(&[Role::Admin])?;
                caller.enter(&pool)?;
                let view = self.store.invalidate(&pool, &session, why).await?;
                (pool, view)
            }
        };
        let session = convert::session(&pool, &view, caller.audience());
        Ok(v1::InvalidateResponse { session: Some(session) })
    }

    async fn counted(
        &self,
        caller: Caller,
        request: v1::GetPoolStatusRequest,
    ) -> Result<v1::GetPoolStatusResponse, Fault> {
        let pool = convert::pool(&request.pool)?;
        caller.enter(&pool)?;
        let status = self.store.status(&pool).await?;
        Ok(v1::GetPoolStatusResponse { status: Some(convert::pool_status(&pool, &status)) })
    }
}

#[tonic::async_trait]
impl SessionPool for PoolService {
    type KeepAliveStream = Events<v1::KeepAliveResponse>;
    type WatchPoolStream = Events<v1::WatchPoolResponse>;

    fn acquire<'s, 'f>(
        &'s self,
        request: Request<v1::AcquireRequest>,
    ) -> Answering<'f, v1::AcquireResponse>
    where
        's: 'f,
    {
        let (store, metrics) = (self.store.clone(), self.metrics.clone());
        Lender { store, metrics, room: self.room.clone() }.acquire(request)
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Answer<v1::RenewResponse> {
        answer(request, |caller, asked| self.renewed(caller, asked)).await
    }

    fn release<'s, 'f>(
        &'s self,
        request: Request<v1::ReleaseRequest>,
    ) -> Answering<'f, v1::ReleaseResponse>
    where
        's: 'f,
    {
        Box::pin(answer(request, |caller, asked| self.desk().released(caller, asked)))
    }

    async fn invalidate(
        &self,
        request: Request<v1::InvalidateRequest>,
    ) -> Answer<v1::InvalidateResponse> {
        answer(request, |caller, asked| self.invalidated(caller, asked)).await
    }

    async fn get_pool_status(
        &self,
        request: Request<v1::GetPoolStatusRequest>,
    ) -> Answer<v1::GetPoolStatusResponse> {
        answer(request, |caller, asked| self.counted(caller, asked)).await
    }

    async fn keep_alive(
        &self,
        request: Request<Streaming<v1::KeepAliveRequest>>,
    ) -> Answer<Self::KeepAliveStream> {
        let seat = self.streams.open(request.remote_addr());
        answer(request, async |caller, asked| {
            let kept: Self::KeepAliveStream = Box::pin(self.keeper.keep(caller, seat?, asked));
            Ok(kept)
        })
        .await
    }

    async fn report(&self, request: Request<v1::ReportRequest>) -> Answer<v1::ReportResponse> {
        answer(request, |caller, asked| self.desk().reported(caller, asked)).await
    }

    async fn watch_pool(
        &self,
        request: Request<v1::WatchPoolRequest>,
    ) -> Answer<Self::WatchPoolStream> {
        let seat = self.streams.open(request.remote_addr());
        answer(request, async |caller, asked| {
            let seen: Self::WatchPoolStream =
                Box::pin(self.watchtower.watch(caller, seat?, asked).await?);
            Ok(seen)
        })
        .await
    }
}
