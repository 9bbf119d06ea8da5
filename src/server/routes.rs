//! The way from the edge to the services.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::{body::Body, server::NamedService, service::Routes};
use tower::Service;

/// An answer under way, as generated services give it.
pub(super) type Answering =
    Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// The service that workers call, and all others.
///
/// Tonic's router finds a service in a tree of paths, by way of a second kind of body. Nearly all
/// calls are for one service, so its name is looked at first.
#[derive(Clone, Debug)]
pub(super) struct Fork<S> {
    first: S,
    others: Routes,
}

impl<S> Fork<S> {
    /// Sends to `first` what bears its name, and everything else to the others.
    pub(super) fn new(first: S, others: Routes) -> Self {
        Self { first, others: others.prepare() }
    }
}

impl<S> Service<Request<Body>> for Fork<S>
where
    S: NamedService
        + Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = Answering>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    /// Both are always ready: they keep nothing between calls.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if is_of(S::NAME, request.uri().path()) {
            return self.first.call(request);
        }
        Box::pin(self.others.call(request))
    }
}

/// Whether a path names a method of a service.
fn is_of(service: &str, path: &str) -> bool {
    let method = path.strip_prefix('/').and_then(|path| path.strip_prefix(service));
    method.is_some_and(|method| method.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::is_of;

    #[test]
    fn only_the_whole_name_of_a_service_is_its_name() {
        let service = "telegate.v1.SessionPool";
        assert!(is_of(service, "/telegate.v1.SessionPool/Acquire"));
        for other in ["/telegate.v1.SessionPools/Acquire", "/telegate.v1.SessionPool", "/", ""] {
            assert!(!is_of(service, other), "{other}");
        }
    }
}
