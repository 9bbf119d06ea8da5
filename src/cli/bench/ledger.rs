//! The ledger: which lease of which session lives, as the generator knows it, so that a session
//! that is lent twice at once is seen.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// What is known of each session. It errs on one side only: a lease is taken for living from the
/// answer that brought it to the sending of its Release, or to the earliest end of its TTL, so
/// whatever overlaps here did overlap.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pools: HashMap<String, HashMap<String, Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    epoch: u64,
    living: Option<Living>,
    freed: Option<Instant>,
}

#[derive(Debug)]
struct Living {
    lease: String,
    until: Instant,
}

/// A grant as an answer told of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted<'a> {
    pub(super) pool: &'a str,
    pub(super) session: &'a str,
    pub(super) lease: &'a str,
    pub(super) epoch: u64,
    pub(super) ttl: Duration,
    /// When the Acquire was sent.
    pub(super) sent: Instant,
    /// When its answer came.
    pub(super) answered: Instant,
}

/// What a grant shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Showed {
    /// Nothing wrong. The span is that of the hand-over, when the call waited for it.
    Sole(Option<Duration>),
    /// The session has another living lease, or its epoch did not rise.
    Double,
}

impl Ledger {
    /// Notes a grant, and tells whether the session was lent twice.
    pub(super) fn granted(&mut self, granted: Granted<'_>) -> Showed {
        let Granted { pool, session, lease, epoch, ttl, sent, answered } = granted;
        let seen = entry(entry(&mut self.pools, pool), session);
        let lives = |living: &Living| living.until > answered;
        let double = seen.living.as_ref().is_some_and(lives) || epoch <= seen.epoch;
        let handed_over = seen.freed.take().filter(|freed| sent < *freed);
        seen.epoch = seen.epoch.max(epoch);
        seen.living = Some(Living { lease: lease.to_owned(), until: sent + ttl });
        if double {
            return Showed::Double;
        }
        Showed::Sole(handed_over.map(|freed| answered.saturating_duration_since(freed)))
    }

    /// Notes that a Release is about to be sent.
    pub(super) fn releasing(&mut self, pool: &str, session: &str, lease: &str, at: Instant) {
        let seen = entry(entry(&mut self.pools, pool), session);
        if seen.living.as_ref().is_some_and(|living| living.lease == lease) {
            seen.living = None;
            seen.freed = Some(at);
        }
    }
}

/// What is kept under a name; the name is copied only when it is new.
fn entry<'a, T: Default>(map: &'a mut HashMap<String, T>, name: &str) -> &'a mut T {
    if !map.contains_key(name) {
        map.insert(name.to_owned(), T::default());
    }
    map.get_mut(name).unwrap_or_else(|| unreachable!("it was put in just now"))
}

#[cfg(test)]
mod tests {
    use telegate::clock;

    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    /// A ledger, and a way to tell it of grants: lease, epoch, sent and answered in seconds.
    struct Scene {
        ledger: Ledger,
        zero: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self { ledger: Ledger::default(), zero: clock::moment() }
        }

        fn at(&self, secs: u64) -> Instant {
            self.zero + Duration::from_secs(secs)
        }

        fn granted(&mut self, lease: &str, epoch: u64, sent: u64, answered: u64) -> Showed {
            let (sent, answered) = (self.at(sent), self.at(answered));
            let (pool, session, ttl) = ("p", "s", TTL);
            self.ledger.granted(Granted { pool, session, lease, epoch, ttl, sent, answered })
        }

        fn releasing(&mut self, lease: &str, at: u64) {
            let at = self.at(at);
            self.ledger.releasing("p", "s", lease, at);
        }
    }

    #[test]
    fn leases_one_after_the_other_are_in_order() {
        let mut scene = Scene::new();
        assert_eq!(scene.granted("a", 1, 0, 1), Showed::Sole(None));
        scene.releasing("a", 2);
        assert_eq!(scene.granted("b", 2, 3, 4), Showed::Sole(None));
        // Never released: its TTL ended it, 10 s after the Acquire was sent.
        assert_eq!(scene.granted("c", 7, 12, 13), Showed::Sole(None));
    }

    #[test]
    fn a_session_lent_twice_at_once_is_seen() {
        let mut scene = Scene::new();
        scene.granted("a", 1, 0, 1);
        assert_eq!(scene.granted("b", 2, 8, 9), Showed::Double);
        // The Release of the first says nothing of the second.
        scene.releasing("a", 10);
        assert_eq!(scene.granted("c", 3, 11, 12), Showed::Double);
    }

    #[test]
    fn an_epoch_that_does_not_rise_is_seen() {
        for epoch in [4, 5] {
            let mut scene = Scene::new();
            scene.granted("a", 5, 0, 1);
            scene.releasing("a", 2);
            assert_eq!(scene.granted("b", epoch, 3, 4), Showed::Double);
        }
    }

    #[test]
    fn a_hand_over_is_measured_for_who_waited_for_it() {
        let mut scene = Scene::new();
        scene.granted("a", 1, 0, 1);
        scene.releasing("a", 5);
        assert_eq!(scene.granted("b", 2, 3, 6), Showed::Sole(Some(Duration::from_secs(1))));
        scene.releasing("b", 7);
        assert_eq!(scene.granted("c", 3, 8, 9), Showed::Sole(None), "it asked after the Release");
    }
}
