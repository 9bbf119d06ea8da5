//! The names of all keys. Those of a pool share the hash tag `{pool}`, so that a cluster keeps
//! them together.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    options::{ClockSource, Options},
    resp,
};
use crate::pool::PoolName;

/// Of how many pools the names are kept ready.
const MAX_READY: usize = 10_000;

/// The keys of a pool, in the order that `lua/standing.lua` expects.
const POOL_KEYS: [&str; 24] = [
    "meta", "session", "standing", "free", "leases", "rests", "requests", "index", "ready",
    "floods", "suspects", "thaws", "scopes", "cooling", "accounts", "brakes", "bursts", "waiters",
    "line", "lines", "arrivals", "patience", "turns", "trail",
];

/// The names of all keys.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
    clock: ClockSource,
    /// Those of the pools that were asked for, because nearly every call names all of a pool's.
    ready: Arc<Mutex<HashMap<PoolName, Names>>>,
}

/// The names of the keys of a call, as words of a command.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) count: usize,
    pub(super) words: Arc<[u8]>,
}

impl Keys {
    pub(super) fn new(options: &Options) -> Self {
        Self { prefix: options.prefix.clone(), clock: options.clock, ready: Arc::default() }
    }

    /// The keys of a pool.
    pub(super) fn pool(&self, pool: &PoolName) -> Names {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = ready.get(pool) {
            return names.clone();
        }
        let names = self.names(POOL_KEYS.iter().map(|key| format!("{{{pool}}}:{key}")));
        if ready.len() >= MAX_READY {
            ready.clear();
        }
        ready.insert(pool.clone(), names.clone());
        names
    }

    /// The names of all pools.
    pub(super) fn pools(&self) -> Names {
        self.names(["pools".to_owned()])
    }

    /// Who holds which credential.
    pub(super) fn fingerprints(&self) -> Names {
        self.names(["fingerprints".to_owned()])
    }

    fn names(&self, names: impl IntoIterator<Item = String>) -> Names {
        let clock = match self.clock {
            ClockSource::Server => None,
            ClockSource::Key => Some("clock".to_owned()),
        };
        let (mut count, mut words) = (0, Vec::new());
        for name in names.into_iter().chain(clock) {
            count += 1;
            resp::word(&mut words, format!("{}:{name}", self.prefix));
        }
        Names { count, words: words.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names as they are sent: every second line, after their lengths.
    fn shown(names: &Names) -> Vec<String> {
        let text = std::str::from_utf8(&names.words).unwrap();
        let shown: Vec<_> = text.lines().skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(shown.len(), names.count);
        shown
    }

    #[test]
    fn all_keys_of_a_pool_share_its_hash_tag_and_its_prefix() {
        let mut options = Options::new("redis://h");
        options.prefix = "eu".to_owned();
        let keys = Keys::new(&options);
        for pool in ["demo", "other", "demo"] {
            let names = shown(&keys.pool(&PoolName::parse(pool).unwrap()));
            assert_eq!(names.len(), POOL_KEYS.len());
            let start = format!("eu:{{{pool}}}:");
            assert!(names.iter().all(|key| key.starts_with(&start)), "{names:?}");
        }
        assert_eq!(shown(&keys.pools()), ["eu:pools"]);
        assert_eq!(shown(&keys.fingerprints()), ["eu:fingerprints"]);
    }

    #[test]
    fn only_a_clock_of_tests_is_a_key() {
        let mut options = Options::new("redis://h");
        options.clock = ClockSource::Key;
        let keys = Keys::new(&options).pool(&PoolName::parse("demo").unwrap());
        assert_eq!(shown(&keys).last().map(String::as_str), Some("telegate:clock"));
    }
}
