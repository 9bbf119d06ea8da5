//! Limitador beside Telegate: what its server does with a call, behind the paths of the session
//! service, so that the same generator drives both with the same calls and takes the same replies.
//!
//! `limitador-server` itself is no crate, but what it does around the library is little: gRPC on
//! one thread, as its runtime has it (Kuadrant/limitador#14), the storage that it takes for Redis
//! when it has no cache, the descriptors of a call put into a context, and all spans of the library
//! recorded, which its metrics need. That is here. Left out, in its favour, are the metrics
//! themselves, its log, and the messages of Envoy.

#[path = "../../compare/canned.rs"]
mod canned;

use std::{
    convert::Infallible,
    env, fs,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use limitador::{
    AsyncRateLimiter, AsyncRateLimiterBuilder,
    limit::{self, Expression, Limit, Namespace, Predicate},
    storage::{AsyncStorage, redis::AsyncRedisStorage},
};
use tokio::{net::TcpListener, runtime};
use tonic::{
    Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tracing_subscriber::util::SubscriberInitExt as _;

use self::canned::{Canned, Raw};

/// The namespace that is limited, and how: with a condition and a variable, as limits have, and so
/// far off that no call is refused.
const NAMESPACE: &str = "bench";
const CONDITION: &str = "descriptors[0]['service'] == 'sessions'";
const VARIABLE: &str = "descriptors[0]['method']";
const MOST_CALLS: u64 = 1_000_000_000_000;
const WINDOW_SECONDS: u64 = 60;

/// Which of the server's calls is made, and so how often Redis is asked.
#[derive(Clone, Copy)]
enum Call {
    /// Envoy's `ShouldRateLimit`: a script that reads the counter, and then one that counts.
    Check,
    /// Kuadrant's `Report`: only the script that counts.
    Count,
}

/// Takes the call, the URL of a Redis, and the files with the replies: that of Acquire, that of
/// Release, that of `GetPoolStatus`. Prints where it listens.
fn main() {
    let with: Vec<String> = env::args().skip(1).collect();
    let [call, redis, acquire, release, status] = with.as_slice() else {
        panic!("CALL REDIS ACQUIRE RELEASE STATUS are wanted");
    };
    let call = match call.as_str() {
        "check" => Call::Check,
        "count" => Call::Count,
        other => panic!("there is no call {other}"),
    };
    let reply = |file| Canned::new(fs::read(file).expect("a reply to give"));
    let [acquire, release, status] = [acquire, release, status].map(reply);
    tracing_subscriber::registry().init();
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let counters = AsyncRedisStorage::new(redis).await.expect("a Redis");
        let storage = AsyncStorage::with_counter_storage(Box::new(counters));
        let limiter = AsyncRateLimiterBuilder::new(storage).build();
        assert!(limiter.add_limit(limit()), "the limit is there already");
        let namespace = NAMESPACE.into();
        let limits = Limits { limiter, namespace, call, acquire, release, status };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        println!("listening on {}", listener.local_addr().expect("a bound port"));
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = Server::builder().add_service(Peer(Arc::new(limits)));
        server.serve_with_incoming(incoming).await.expect("the peer serves");
    });
}

fn limit() -> Limit {
    let condition = Predicate::parse(CONDITION).expect("a condition");
    let variable = Expression::parse(VARIABLE).expect("a variable");
    Limit::new(NAMESPACE, MOST_CALLS, WINDOW_SECONDS, [condition], [variable])
}

struct Limits {
    limiter: AsyncRateLimiter,
    namespace: Namespace,
    call: Call,
    acquire: Canned,
    release: Canned,
    status: Canned,
}

impl Limits {
    /// One call as the server makes it.
    async fn limit(&self, method: &str) -> Result<(), Status> {
        let descriptor = [("service", "sessions"), ("method", method)];
        let descriptor = descriptor.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let mut context = limit::Context::default();
        context.list_binding("descriptors".to_owned(), vec![descriptor]);
        let is_limited = match self.call {
            Call::Check => {
                let checked =
                    self.limiter.check_rate_limited_and_update(&self.namespace, &context, 1).await;
                checked.map(|it| it.limited)
            }
            Call::Count => {
                let counted = self.limiter.update_counters(&self.namespace, &context, 1).await;
                counted.map(|()| false)
            }
        };
        match is_limited {
            Ok(false) => Ok(()),
            Ok(true) => Err(Status::resource_exhausted("limited")),
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }
}

#[derive(Clone)]
struct Peer(Arc<Limits>);

impl NamedService for Peer {
    const NAME: &'static str = "telegate.v1.SessionPool";
}

impl tower::Service<http::Request<Body>> for Peer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let limits = Arc::clone(&self.0);
        Box::pin(async move {
            let method = match request.uri().path().rsplit('/').next() {
                Some("Acquire") => Method::Acquire,
                Some("Release") => Method::Release,
                _ => Method::Status,
            };
            Ok(Grpc::new(Raw).unary(Deed { limits, method }, request).await)
        })
    }
}

#[derive(Clone, Copy)]
enum Method {
    Acquire,
    Release,
    /// What the generator asks before it begins: the one call that is not limited.
    Status,
}

struct Deed {
    limits: Arc<Limits>,
    method: Method,
}

impl UnaryService<Bytes> for Deed {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        let (limits, method) = (Arc::clone(&self.limits), self.method);
        Box::pin(async move {
            let reply = match method {
                Method::Acquire => {
                    limits.limit("Acquire").await?;
                    &limits.acquire
                }
                Method::Release => {
                    limits.limit("Release").await?;
                    &limits.release
                }
                Method::Status => &limits.status,
            };
            Ok(Response::new(reply.reply()))
        })
    }
}
