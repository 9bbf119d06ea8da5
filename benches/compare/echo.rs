//! The ceiling: a bare tonic server that answers with the bytes of a real broker's reply.
//!
//! It decodes nothing and knows nothing. Only the session's name is counted up in the reply, so
//! that the load generator finds no session lent twice.

use std::{
    convert::Infallible,
    fs,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use prost::Message as _;
use telegate::proto::v1;
use tokio::{net::TcpListener, runtime};
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::{Server, server::TcpIncoming},
};

use crate::canned::{Canned, Raw};

/// How many threads serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// As `#[tokio::main]` has it.
    All,
    /// A runtime of one thread.
    One,
}

/// What becomes of an Acquire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquires {
    /// It is answered.
    Answered,
    /// It is held for ever, and counted among those that wait.
    Parked,
}

/// Serves the replies in the files `with`: that of Acquire, that of Release, that of
/// `GetPoolStatus`. Prints where.
pub(crate) fn play(threads: Threads, acquires: Acquires, with: &[String]) {
    let reply = |at: usize| fs::read(&with[at]).expect("a reply to echo");
    let echo = Echo(Arc::new(Replies {
        acquire: Canned::new(reply(0)),
        release: Canned::new(reply(1)),
        status: Canned::new(reply(2)),
        acquires,
        parked: AtomicU32::new(0),
    }));
    let mut builder = match threads {
        Threads::All => runtime::Builder::new_multi_thread(),
        Threads::One => runtime::Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        println!("listening on {}", listener.local_addr().expect("a bound port"));
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = Server::builder().add_service(echo);
        server.serve_with_incoming(incoming).await.expect("the echo serves");
    });
}

#[derive(Clone)]
struct Echo(Arc<Replies>);

struct Replies {
    acquire: Canned,
    release: Canned,
    status: Canned,
    acquires: Acquires,
    parked: AtomicU32,
}

impl NamedService for Echo {
    const NAME: &'static str = "telegate.v1.SessionPool";
}

impl tower::Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let replies = Arc::clone(&self.0);
        Box::pin(async move {
            let deed = match request.uri().path().rsplit('/').next() {
                Some("Acquire") if replies.acquires == Acquires::Parked => {
                    replies.parked.fetch_add(1, Ordering::Relaxed);
                    return Ok(Grpc::new(Raw).unary(Parked, request).await);
                }
                Some("GetPoolStatus") if replies.acquires == Acquires::Parked => {
                    Deed(status_with(replies.parked.load(Ordering::Relaxed)))
                }
                Some("Acquire") => Deed(replies.acquire.reply()),
                Some("GetPoolStatus") => Deed(replies.status.reply()),
                _ => Deed(replies.release.reply()),
            };
            Ok(Grpc::new(Raw).unary(deed, request).await)
        })
    }
}

struct Deed(Bytes);

impl UnaryService<Bytes> for Deed {
    type Response = Bytes;
    type Future = std::future::Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        std::future::ready(Ok(Response::new(self.0.clone())))
    }
}

/// The status of a pool for which so many calls wait.
fn status_with(waiters: u32) -> Bytes {
    let status = Some(v1::PoolStatus { waiters, ..v1::PoolStatus::default() });
    v1::GetPoolStatusResponse { status }.encode_to_vec().into()
}

/// A deed that is never done.
struct Parked;

impl UnaryService<Bytes> for Parked {
    type Response = Bytes;
    type Future = std::future::Pending<Result<Response<Bytes>, Status>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        std::future::pending()
    }
}
