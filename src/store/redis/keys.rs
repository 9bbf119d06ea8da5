//! The names of all keys. Those of a pool share the hash tag `{pool}`, so that a cluster keeps
//! them together.

use super::options::{ClockSource, Options};
use crate::pool::PoolName;

/// The keys of a pool, in the order that `lua/standing.lua` expects.
const POOL_KEYS: [&str; 25] = [
    "meta", "session", "standing", "free", "leases", "rests", "requests", "labels", "index",
    "ready", "floods", "suspects", "thaws", "scopes", "cooling", "accounts", "brakes", "bursts",
    "waiters", "line", "lines", "arrivals", "patience", "turns", "trail",
];

/// The names of all keys.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
    clock: ClockSource,
}

impl Keys {
    pub(super) fn new(options: &Options) -> Self {
        Self { prefix: options.prefix.clone(), clock: options.clock }
    }

    /// The keys of a pool.
    pub(super) fn pool(&self, pool: &PoolName) -> Vec<String> {
        let keys = POOL_KEYS.iter().map(|key| format!("{}:{{{pool}}}:{key}", self.prefix));
        self.with_clock(keys.collect())
    }

    /// The names of all pools.
    pub(super) fn pools(&self) -> Vec<String> {
        self.with_clock(vec![format!("{}:pools", self.prefix)])
    }

    /// Who holds which credential.
    pub(super) fn fingerprints(&self) -> Vec<String> {
        self.with_clock(vec![format!("{}:fingerprints", self.prefix)])
    }

    fn with_clock(&self, mut keys: Vec<String>) -> Vec<String> {
        match self.clock {
            ClockSource::Server => {}
            ClockSource::Key => keys.push(format!("{}:clock", self.prefix)),
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_pool_share_its_hash_tag_and_its_prefix() {
        let mut options = Options::new("redis://h");
        options.prefix = "eu".to_owned();
        let keys = Keys::new(&options).pool(&PoolName::parse("demo").unwrap());
        assert_eq!(keys.len(), 25);
        assert!(keys.iter().all(|key| key.starts_with("eu:{demo}:")), "{keys:?}");
        assert_eq!(Keys::new(&options).pools(), ["eu:pools"]);
        assert_eq!(Keys::new(&options).fingerprints(), ["eu:fingerprints"]);
    }

    #[test]
    fn only_a_clock_of_tests_is_a_key() {
        let mut options = Options::new("redis://h");
        options.clock = ClockSource::Key;
        let keys = Keys::new(&options).pool(&PoolName::parse("demo").unwrap());
        assert_eq!(keys.last().map(String::as_str), Some("telegate:clock"));
    }
}
