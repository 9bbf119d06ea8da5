//! Errors of Telegram, from the wire to the verdict and back into Acquire, on both stores.

/// Plays each case against a broker that serves each store.
macro_rules! served {
    ($($(#[$meta:meta])* async fn $case:ident($t:ident) $body:block)+) => {$(
        $(#[$meta])*
        mod $case {
            use super::*;
            use $crate::{harness::stage::Engine, report::Served};

            async fn play($t: Served) $body

            #[tokio::test]
            async fn embedded() {
                if let Some(served) = Served::open(Engine::Embedded).await {
                    play(served).await;
                }
            }

            #[tokio::test]
            async fn redis() {
                if let Some(served) = Served::open(Engine::Redis).await {
                    play(served).await;
                }
            }
        }
    )+};
}

mod account;
mod alarm;
mod escalation;
mod operator;
mod verdict;
mod why;

use pbjson_types::Duration;
use telegate::{
    pool::Span,
    proto::v1::{self, TelegramError},
};
use tonic::{Response, Status};

use crate::{
    broker::{Broker, new_session},
    harness::stage::{Engine, Stage},
};

const POOL: &str = "demo";
const HISTORY: &str = "messages.getHistory";

/// A broker on a store whose clock a case moves.
struct Served {
    broker: Broker,
    stage: Stage,
}

impl Served {
    /// A broker with an empty store. `None` when the machine lacks what the engine needs.
    async fn open(engine: Engine) -> Option<Self> {
        let stage = Stage::open(engine).await?;
        Some(Self { broker: Broker::over(stage.store.clone()).await, stage })
    }

    /// The pool of the cases, with these sessions.
    async fn fill(&self, sessions: &[&str]) {
        self.broker.fill(POOL, sessions).await;
    }

    fn advance(&self, span: Span) {
        self.stage.advance(span);
    }

    /// Adds a session of an account.
    async fn add_of(&self, pool: &str, session: &str, account: i64) {
        let mut request = new_session(pool, session);
        request.session.as_mut().unwrap().account_id = Some(account);
        self.broker.admin().add_session(request).await.unwrap();
    }

    async fn acquire(&self, want: v1::AcquireRequest) -> Result<v1::AcquireResponse, Status> {
        self.broker.pool().acquire(want).await.map(Response::into_inner)
    }

    /// Acquires, and names the lease.
    async fn lend(&self, want: v1::AcquireRequest) -> String {
        self.acquire(want).await.unwrap().lease.unwrap().lease_id
    }

    async fn report(&self, lease: &str, error: TelegramError) -> Result<v1::Verdict, Status> {
        let request = v1::ReportRequest { lease_id: lease.to_owned(), error: Some(error) };
        let answer = self.broker.pool().report(request).await?;
        Ok(answer.into_inner().verdict.unwrap())
    }

    async fn release(
        &self,
        lease: &str,
        error: Option<TelegramError>,
    ) -> Result<v1::ReleaseResponse, Status> {
        let lease_id = lease.to_owned();
        let request = v1::ReleaseRequest { lease_id, error, ..v1::ReleaseRequest::default() };
        self.broker.pool().release(request).await.map(Response::into_inner)
    }

    /// Acquires a session, reports an error, gives it back, and tells the verdict.
    async fn meet(&self, session: &str, error: TelegramError) -> v1::Verdict {
        let lease = self.lend(named(session)).await;
        let verdict = self.report(&lease, error).await.unwrap();
        self.release(&lease, None).await.unwrap();
        verdict
    }

    async fn get(&self, pool: &str, session: &str) -> v1::Session {
        let request = v1::GetSessionRequest { pool: pool.into(), session: session.into() };
        let answer = self.broker.admin().get_session(request).await.unwrap();
        answer.into_inner().session.unwrap()
    }
}

/// Any session of the cases' pool.
fn any() -> v1::AcquireRequest {
    v1::AcquireRequest { pool: POOL.into(), ..v1::AcquireRequest::default() }
}

/// This session.
fn named(session: &str) -> v1::AcquireRequest {
    v1::AcquireRequest { session: session.into(), ..any() }
}

/// Any session for a method.
fn calling(method: &str) -> v1::AcquireRequest {
    v1::AcquireRequest { methods: vec![method.into()], ..any() }
}

/// What Telegram said.
fn said(message: &str) -> TelegramError {
    TelegramError { message: message.into(), ..TelegramError::default() }
}

/// What Telegram said to a method.
fn said_to(method: &str, message: &str) -> TelegramError {
    TelegramError { method: method.into(), ..said(message) }
}

fn seconds(duration: Option<&Duration>) -> i64 {
    duration.map_or(-1, |duration| duration.seconds)
}
