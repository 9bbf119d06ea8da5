//! The handlers: check the request, ask the store, translate the answer. They decide nothing.

mod admin;
mod explain;
mod flood;
mod import;
mod lend;
mod operate;
mod pool;
mod report;
mod sync;

use std::future::Future;

use tonic::{Request, Response, Status};

pub(super) use self::{admin::AdminService, pool::PoolService};
use super::{
    call::{Call, Caller},
    convert::Audience,
    status::{Fault, status},
};
use crate::{config::Jitter, keys::Role};

type Answer<T> = Result<Response<T>, Status>;

/// Answers a call by what a deed says of it.
async fn answer<Q, A, F>(request: Request<Q>, deed: impl FnOnce(Caller, Q) -> F) -> Answer<A>
where
    F: Future<Output = Result<A, Fault>>,
{
    respond(request, async |caller, asked| deed(caller, asked).await.map(Response::new)).await
}

/// Answers a call by what a deed says of it, metadata included.
async fn respond<Q, A, F>(request: Request<Q>, deed: impl FnOnce(Caller, Q) -> F) -> Answer<A>
where
    F: Future<Output = Result<Response<A>, Fault>>,
{
    let caller = caller(&request)?;
    let call = caller.call.clone();
    deed(caller, request.into_inner()).await.map_err(|fault| status(fault, &call))
}

fn caller<Q>(request: &Request<Q>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| {
        let call = Call::new(&http::HeaderMap::new(), Jitter::Random);
        status(Fault::Internal { cause: "a call came round the edge".to_owned() }, &call)
    })
}

impl Caller {
    /// How much of a session the caller may see without a lease.
    fn audience(&self) -> Audience {
        if self.principal.is(Role::Admin) { Audience::Admin } else { Audience::Other }
    }
}
