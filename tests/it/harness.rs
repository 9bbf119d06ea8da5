//! What tests start and wait for: a Redis server, brokers, stores whose clock a test moves.

pub(crate) mod broker;
pub(crate) mod load;
pub(crate) mod place;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod rulebook;
pub(crate) mod stage;
pub(crate) mod trouble;

use std::time::Duration;

use telegate::{
    pool::{KeyId, Mandate},
    store::sealed::{Sealing, StoreKeys},
};

/// The variable that gives a broker store keys.
pub(crate) const STORE_KEYS: &str = "TELEGATE_STORE_KEYS";
/// The store key of brokers whose keys do not matter.
pub(crate) const STORE_KEY: &str = "tgsk_830a999d_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
/// Another one.
pub(crate) const OTHER_STORE_KEY: &str =
    "tgsk_7d21e41a_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8";

/// How often a condition is looked at while it is waited for.
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Whether this run must not skip anything.
pub(crate) fn nothing_may_be_skipped() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true")
}

/// Sealing with keys, the first before the others.
pub(crate) fn sealing(keys: &[&str]) -> Sealing {
    Sealing::Keys(StoreKeys::parse(&keys.join("\n"), "the tests").expect("store keys"))
}

/// The word of an operator who does not say why.
pub(crate) fn mandate() -> Mandate {
    Mandate { by: KeyId::new("op"), detail: String::new() }
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
