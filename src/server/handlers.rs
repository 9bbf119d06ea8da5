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

use std::{future::Future, pin::Pin};

use futures_util::{
    TryFutureExt as _,
    future::{Either, ready},
};
use tonic::{Request, Response, Status};

pub(super) use self::{admin::AdminService, pool::PoolService};
use super::{
    call::{Call, Caller},
    convert::Audience,
    status::{Fault, status},
};
use crate::{config::Jitter, keys::Role};

type Answer<T> = Result<Response<T>, Status>;
/// What the `async` methods of a service stand for. Where they are written out, nothing of the
/// request is held while the call is under way.
type Answering<'a, T> = Pin<Box<dyn Future<Output = Answer<T>> + Send + 'a>>;

/// Answers a call by what a deed says of it.
fn answer<Q, A, F>(
    request: Request<Q>,
    deed: impl FnOnce(Caller, Q) -> F,
) -> impl Future<Output = Answer<A>>
where
    F: Future<Output = Result<A, Fault>>,
{
    match caller(&request) {
        Ok(caller) => {
            let call = caller.call.clone();
            let answered = deed(caller, request.into_inner()).map_ok(Response::new);
            Either::Left(answered.map_err(move |fault| status(fault, &call)))
        }
        Err(refused) => Either::Right(ready(Err(refused))),
    }
}

/// Who makes a call, as the edge noted it.
pub(super) fn caller<Q>(request: &Request<Q>) -> Result<Caller, Status> {
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
