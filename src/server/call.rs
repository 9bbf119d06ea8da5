//! One call: its request id, its language, who makes it, and what came of it.

use std::sync::{
    Arc, LazyLock, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use http::{HeaderMap, HeaderValue};
use tokio::sync::OwnedSemaphorePermit;

use super::{auth::Principal, edge::Gate, status::Fault};
use crate::{
    config::Jitter,
    pool::{KeyId, PoolName},
};

/// The header that carries the request id, in and out.
pub(super) const REQUEST_ID: &str = "x-request-id";
/// The longest request id that is taken from a caller, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// What is known of a call whatever comes of it.
#[derive(Debug)]
pub(super) struct Call {
    /// Its id: the caller's, if it is usable, or a fresh one.
    pub(super) id: String,
    /// The language that the caller asked for, if any.
    pub(super) locale: Option<Locale>,
    /// How retry delays are spread.
    pub(super) jitter: Jitter,
    /// The pool that it is about, once known.
    pool: OnceLock<PoolName>,
    /// What came of it, when it was refused or failed.
    outcome: OnceLock<Outcome>,
    /// What kind of success it was, where there are several.
    success: OnceLock<&'static str>,
    /// Whether it stands in line, so that no time limit but its own patience holds.
    waiting: AtomicBool,
}

/// What a refused or failed call leaves for the log.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The gRPC code.
    pub(super) code: tonic::Code,
    /// The reason.
    pub(super) reason: &'static str,
    /// How much it matters to those who run the broker.
    pub(super) weight: Weight,
    /// What the caller is not told.
    pub(super) cause: Option<String>,
}

/// How much an error matters to those who run the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// The caller was told no, as it should be.
    Refusal,
    /// Something does not serve for a while.
    Outage,
    /// A person must act.
    Bug,
}

/// The languages of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locale {
    /// English.
    En,
    /// Russian.
    Ru,
}

impl Call {
    /// Reads what the headers say of the call.
    pub(super) fn new(headers: &HeaderMap, jitter: Jitter) -> Self {
        Self {
            id: request_id(headers),
            locale: headers.get(http::header::ACCEPT_LANGUAGE).map(locale),
            jitter,
            pool: OnceLock::new(),
            outcome: OnceLock::new(),
            success: OnceLock::new(),
            waiting: AtomicBool::new(false),
        }
    }

    /// Notes what came of it. The first word stays.
    pub(super) fn note(&self, outcome: Outcome) {
        let _ = self.outcome.set(outcome);
    }

    /// Whether it stands in line.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }

    /// What came of it, when it was refused or failed.
    pub(super) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }

    /// Notes what kind of success it is, where there are several.
    pub(super) fn succeed(&self, kind: &'static str) {
        let _ = self.success.set(kind);
    }

    /// What kind of success it was.
    pub(super) fn success(&self) -> Option<&'static str> {
        self.success.get().copied()
    }

    /// The pool that it is about.
    pub(super) fn pool(&self) -> Option<&PoolName> {
        self.pool.get()
    }
}

/// A call that was let in, as handlers see it.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The call.
    pub(super) call: Arc<Call>,
    /// Who makes it.
    pub(super) principal: Arc<Principal>,
    /// What let it in.
    pub(super) gate: Arc<Gate>,
    /// Its place among the calls under way. Work that outlives the call keeps a copy, so that a
    /// shutdown waits for it. None while it waits, and for streams.
    pub(super) place: Option<Arc<OwnedSemaphorePermit>>,
}

impl Caller {
    /// Notes that the call is about a pool, and refuses when the key may not use it. Asked before
    /// the store is, so that the answer never tells whether the pool exists.
    pub(super) fn enter(&self, pool: &PoolName) -> Result<(), Fault> {
        let _ = self.call.pool.set(pool.clone());
        if self.principal.may_use(pool) {
            return Ok(());
        }
        Err(Fault::PoolForbidden { key: self.key(), pool: pool.clone() })
    }

    /// Gives its place to another call while this one stands in line.
    pub(super) fn step_aside(&mut self) {
        self.call.waiting.store(true, Ordering::Relaxed);
        self.place = None;
    }

    /// Takes a place among the calls under way again.
    pub(super) async fn step_back(&mut self) -> Result<(), Fault> {
        if self.place.is_none() {
            self.place = Some(self.gate.place().await?);
        }
        self.call.waiting.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// The same without a place among the calls under way, for streams: however many are open, they
    /// stand in no other call's way. A shutdown waits for them too, because their connections do
    /// not close before.
    pub(super) fn aside(self) -> Self {
        Self { place: None, ..self }
    }

    /// Refuses when the key is no longer what it was when the call came.
    pub(super) fn is_still_known(&self) -> Result<(), Fault> {
        if self.gate.still_admits(&self.principal) { Ok(()) } else { Err(Fault::KeyInvalid) }
    }

    /// The key that makes the call.
    pub(super) fn key(&self) -> KeyId {
        self.principal.key.clone()
    }
}

fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let usable = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_graphic())
    };
    given.filter(usable).map_or_else(fresh_id, str::to_owned)
}

/// An id that no other call to this broker has, and hardly one to another broker: numbers from a
/// random one on, each of which is mixed into one of its own.
fn fresh_id() -> String {
    // An id that could repeat is better than no answer.
    static FIRST: LazyLock<u64> = LazyLock::new(|| getrandom::u64().unwrap_or_default());
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let number = FIRST.wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed));
    let mixed = (number ^ (number >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:016x}", mixed ^ (mixed >> 29))
}

/// The language that is preferred among those that there are.
fn locale(accepted: &HeaderValue) -> Locale {
    let weight = |wanted: &str| {
        let ranges = accepted.to_str().unwrap_or_default().split(',');
        ranges
            .filter_map(|range| {
                let mut parts = range.split(';');
                let tag = parts.next()?.trim().to_ascii_lowercase();
                let primary = tag.split('-').next()?;
                let quality = parts.find_map(|part| part.trim().strip_prefix("q=")?.parse().ok());
                (primary == wanted).then(|| quality.unwrap_or(1.0_f32))
            })
            .fold(0.0, f32::max)
    };
    if weight("ru") > weight("en") { Locale::Ru } else { Locale::En }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_language_wins() {
        for (accepted, wanted) in [
            ("ru", Locale::Ru),
            ("ru-RU,ru;q=0.9,en;q=0.8", Locale::Ru),
            ("en,ru;q=0.9", Locale::En),
            ("de, ru;q=0.5", Locale::Ru),
            ("de", Locale::En),
            ("ru;q=0", Locale::En),
            ("", Locale::En),
        ] {
            assert_eq!(locale(&HeaderValue::from_str(accepted).unwrap()), wanted, "{accepted}");
        }
    }

    #[test]
    fn a_usable_request_id_is_kept_and_another_is_replaced() {
        let id = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
            request_id(&headers)
        };
        assert_eq!(id(b"job-17/a"), "job-17/a");
        assert_eq!(id(&[b'x'; 128]), "x".repeat(128));
        for bad in [&b""[..], b"a b", &[b'x'; 129], &[0xff]] {
            assert_eq!(id(bad).len(), 16, "{bad:?}");
            assert_ne!(id(bad), id(bad), "{bad:?}");
        }
        assert_eq!(request_id(&HeaderMap::new()).len(), 16);
    }
}
