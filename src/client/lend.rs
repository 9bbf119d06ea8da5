//! Acquiring with patience: waits and tries again as the broker says, within a budget.

use std::{fmt::Write as _, time::Duration};

use thiserror::Error as ThisError;
use tokio::time::{Instant, sleep};

use super::{Client, Error, Kind, LeaseGuard, Refused, upkeep::is_final};
use crate::{clock::moment, proto::v1};

/// The longest that one call may wait in the broker; then the client asks again.
const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);
/// An answer that took longer may tell of a lease that was granted long before.
const PROMPT: Duration = Duration::from_secs(1);
/// The first and the longest pause before a broker that cannot be reached is called again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Why no lease was had.
#[derive(Debug, ThisError)]
pub enum LendError {
    /// The budget is over, or would be before anything comes free.
    #[error(transparent)]
    NoSessionAvailable(Box<NoSessionAvailable>),
    /// Waiting would not have helped, or the broker could not be reached within the budget.
    #[error(transparent)]
    Other(#[from] Error),
}

/// That no session came free in time.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[error("no session came free in time: {}", refused.message)]
pub struct NoSessionAvailable {
    /// How many calls wait for a session of the pool, where the broker tells.
    pub waiting: Option<u64>,
    /// How long another call would have to wait, as far as the broker can tell.
    pub estimated_wait: Option<Duration>,
    /// When the next session is expected to be free, where that is known.
    pub next_release: Option<Duration>,
    /// The broker's last word.
    pub refused: Refused,
}

impl Client {
    /// Acquires a session, and keeps its lease until the guard is released or dropped.
    ///
    /// While nothing is free it stands in the pool's line, as long as the budget lets it; a budget
    /// of zero asks once. All calls have one `request_id`, so that a connection which broke costs
    /// neither the place in the line nor a session. Where the broker says when to ask again, it is
    /// asked then.
    ///
    /// # Errors
    ///
    /// [`LendError::NoSessionAvailable`] when the pool was busy for the whole budget, and
    /// [`LendError::Other`] for all that waiting does not change.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, which keeps the lease.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use telegate::{
    ///     client::{Client, Endpoint, LendError},
    ///     proto::v1::AcquireRequest,
    /// };
    ///
    /// # async fn read_the_news(_: &telegate::proto::v1::Credential) {}
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let address = "127.0.0.1:7311".to_owned();
    /// let client = Client::connect(Endpoint { address, ..Endpoint::default() }).await?;
    /// let wanted = AcquireRequest { pool: "work".to_owned(), ..AcquireRequest::default() };
    /// match client.lend(wanted, Duration::from_secs(30)).await {
    ///     Ok(lease) => {
    ///         // Ends early, with the loss, if the lease is lost.
    ///         lease.run(read_the_news(lease.credential())).await?;
    ///         lease.release().await?;
    ///     }
    ///     Err(LendError::NoSessionAvailable(none)) => {
    ///         println!("{:?} wait, the next comes free in {:?}", none.waiting, none.next_release);
    ///     }
    ///     Err(LendError::Other(error)) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lend(
        &self,
        request: v1::AcquireRequest,
        budget: Duration,
    ) -> Result<LeaseGuard, LendError> {
        let mut patience = Patience { until: moment() + budget, pause: BACKOFF.0 };
        let mut request = request;
        if request.request_id.is_empty() {
            request.request_id = fresh_id()?;
        }
        let ttl = request.ttl;
        loop {
            request.wait = patience.wait();
            let sent = moment();
            match self.acquire(request.clone()).await {
                Ok(granted) => match self.begin(granted, ttl.as_ref(), sent).await? {
                    Some(guard) => return Ok(guard),
                    // It was over before the answer came; another request for another lease.
                    None => request.request_id = fresh_id()?,
                },
                Err(error) => sleep(patience.after(error)?).await,
            }
        }
    }
}

impl Client {
    /// Keeps a lease that was granted, if it is not over. One that may have been granted long
    /// before the answer came is renewed first, to know how long it lives.
    async fn begin(
        &self,
        mut granted: v1::AcquireResponse,
        wish: Option<&pbjson_types::Duration>,
        sent: Instant,
    ) -> Result<Option<LeaseGuard>, Error> {
        let mut asked_at = sent;
        if granted.replayed || moment() - sent > PROMPT {
            asked_at = moment();
            let lease_id = granted.lease.as_ref().map(|lease| lease.lease_id.clone());
            let lease_id = lease_id.unwrap_or_default();
            let request = v1::RenewRequest { lease_id, ttl: wish.copied() };
            match self.renew(request).await {
                Ok(renewed) => granted.lease = renewed.lease,
                Err(Error::Refused(refused)) if is_final(refused.reason) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(LeaseGuard::new(self, granted, wish.copied(), asked_at)))
    }
}

/// What is left of a budget.
struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    /// For how long the broker may hold the next call.
    fn wait(&self) -> Option<pbjson_types::Duration> {
        let left = self.until.saturating_duration_since(moment()).min(MAX_WAIT);
        if left.is_zero() {
            return None;
        }
        let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        // In whole milliseconds, as the contract wants.
        let nanos = i32::try_from(left.subsec_millis() * 1_000_000).unwrap_or_default();
        Some(pbjson_types::Duration { seconds, nanos })
    }

    /// How long to pause after an error before the next call, or the error that ends it.
    fn after(&mut self, error: Error) -> Result<Duration, LendError> {
        let pause = match &error {
            Error::Endpoint(_) => return Err(error.into()),
            Error::Unreachable { .. } => {
                let pause = self.pause;
                self.pause = (pause * 2).min(BACKOFF.1);
                pause
            }
            Error::Refused(refused) => match refused.retry_after {
                Some(after) => after,
                None => return Err(error.into()),
            },
        };
        if moment() + pause <= self.until {
            return Ok(pause);
        }
        Err(match error {
            Error::Refused(refused) if refused.kind() == Kind::Temporary => {
                LendError::NoSessionAvailable(Box::new(NoSessionAvailable::of(*refused)))
            }
            other => other.into(),
        })
    }
}

impl NoSessionAvailable {
    fn of(refused: Refused) -> Self {
        let waiting = refused.metadata.get("waiters").and_then(|text| text.parse().ok());
        let told = |key: &str| seconds(refused.metadata.get(key)?);
        let (estimated_wait, next_release) = (told("estimated_wait"), told("next_release_in"));
        Self { waiting, estimated_wait, next_release, refused }
    }
}

/// Reads `12.5s`.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.strip_suffix('s')?.parse().ok()?).ok()
}

fn fresh_id() -> Result<String, Error> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)
        .map_err(|error| Error::Endpoint(format!("the system gives no random bits: {error}")))?;
    Ok(bits.iter().fold(String::with_capacity(32), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}
