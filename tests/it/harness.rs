//! What tests start and wait for: a Redis server, brokers, stores whose clock a test moves.

pub(crate) mod broker;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod redis;
pub(crate) mod rulebook;
pub(crate) mod stage;
pub(crate) mod trouble;

use std::time::Duration;

/// How often a condition is looked at while it is waited for.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Whether this run must not skip anything.
pub(crate) fn nothing_may_be_skipped() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true")
}

/// Waits until a probe has something, and gives it.
pub(crate) async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let waited = tokio::time::timeout(within, async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not within {within:?}: {what}"))
}
