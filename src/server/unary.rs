//! The calls that nearly all calls are, on a shorter way than the generated one.
//!
//! What tonic generates for a unary call is one future, with room for the request as it came, for
//! reading it and for answering it, of which a call that waits needs nothing. Here each step has
//! its room only while it is under way.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Version, header::CONTENT_TYPE};
use prost::Message;
use tonic::{
    Extensions, Request, Response, Status, Streaming,
    body::Body,
    codec::{Codec as _, EncodeBody, SingleMessageCompressionOverride},
    metadata::{GRPC_CONTENT_TYPE, MetadataMap},
    server::NamedService,
};
use tower::Service;

use super::{
    handlers::{PoolService, caller},
    routes::Answering,
    status::{Fault, status},
};
use crate::proto::{
    Codec,
    v1::session_pool_server::{SERVICE_NAME, SessionPool, SessionPoolServer},
};

/// How a request is compressed, if it is.
const ENCODING: &str = "grpc-encoding";

/// The service for workers, with the shorter way for Acquire and Release.
#[derive(Clone)]
pub(super) struct Workers {
    pool: Arc<PoolService>,
    all: SessionPoolServer<PoolService>,
    max_message: usize,
}

impl Workers {
    /// The service, which reads messages of so many bytes at most.
    pub(super) fn new(pool: PoolService, max_message: usize) -> Self {
        let pool = Arc::new(pool);
        let all = SessionPoolServer::from_arc(pool.clone()).max_decoding_message_size(max_message);
        Self { pool, all, max_message }
    }
}

impl NamedService for Workers {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for Workers {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    /// It keeps nothing between calls.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answering {
        let (pool, most) = (&self.pool, self.max_message);
        match request.uri().path() {
            // Tonic tells who compresses that it cannot be read.
            _ if is_compressed(request.headers()) => self.all.call(request),
            "/telegate.v1.SessionPool/Acquire" => {
                unary(pool.clone(), request, most, |pool, asked| pool.acquire(asked))
            }
            "/telegate.v1.SessionPool/Release" => {
                unary(pool.clone(), request, most, |pool, asked| pool.release(asked))
            }
            _ => self.all.call(request),
        }
    }
}

fn is_compressed(headers: &HeaderMap) -> bool {
    headers.get(ENCODING).is_some_and(|encoding| encoding != "identity")
}

/// A method of a service, as the generated trait has it.
type Method<T, Q, A> =
    for<'a> fn(
        &'a T,
        Request<Q>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<A>, Status>> + Send + 'a>>;

/// Reads a request, has it answered, and writes the answer.
fn unary<T, Q, A>(
    service: Arc<T>,
    request: http::Request<Body>,
    most: usize,
    method: Method<T, Q, A>,
) -> Answering
where
    T: Send + Sync + 'static,
    Q: Message + Default + 'static,
    A: Message + 'static,
{
    let (http::request::Parts { extensions, .. }, body) = request.into_parts();
    let read = Box::pin(read::<Q>(body, most));
    Box::pin(async move {
        let asked = match read.await {
            Ok(Some(message)) => Request::from_parts(MetadataMap::new(), extensions, message),
            Ok(None) => return Ok(empty(extensions).into_http()),
            Err(unread) => return Ok(unread.into_http()),
        };
        Ok(method(&service, asked).await.map_or_else(Status::into_http, written))
    })
}

/// Reads a request to its end.
async fn read<Q: Message + Default + 'static>(
    body: Body,
    most: usize,
) -> Result<Option<Q>, Status> {
    let decoder = Codec::<(), Q>::default().decoder();
    let mut body = Streaming::new_request(decoder, body, None, Some(most));
    let message = body.message().await?;
    body.trailers().await?;
    Ok(message)
}

/// What a request without a message is told.
fn empty(extensions: Extensions) -> Status {
    let asked = Request::from_parts(MetadataMap::new(), extensions, ());
    caller(&asked).map_or_else(|refused| refused, |by| status(Fault::Unreadable, &by.call))
}

fn written<A: Message + 'static>(answer: Response<A>) -> http::Response<Body> {
    let (metadata, message, extensions) = answer.into_parts();
    let encoder = Codec::<A, ()>::default().encoder();
    let message = tokio_stream::once(Ok(message));
    let plain = SingleMessageCompressionOverride::default();
    let body = EncodeBody::new_server(encoder, message, None, plain, None);
    let mut response = http::Response::new(Body::new(body));
    *response.version_mut() = Version::HTTP_2;
    *response.headers_mut() = metadata.into_headers();
    response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    *response.extensions_mut() = extensions;
    response
}
