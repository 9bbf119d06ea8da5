//! The tally: how many calls, how long they took, what was refused.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use telegate::client::Error;

/// How many significant digits a latency keeps.
const DIGITS: u8 = 3;
/// The reason of a call that had no answer at all.
const UNREACHABLE: &str = "UNREACHABLE";

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Acquire,
    Release,
    Report,
    GetPoolStatus,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Acquire => "Acquire",
            Self::Release => "Release",
            Self::Report => "Report",
            Self::GetPoolStatus => "GetPoolStatus",
        }
    }
}

/// What a load came to, or a part of it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// How long the calls took that were answered well.
    pub(super) calls: BTreeMap<Kind, Latency>,
    /// How long hand-overs to waiters took.
    pub(super) hand_overs: Latency,
    /// How often each reason was told.
    pub(super) errors: BTreeMap<String, u64>,
    /// How many turns were done.
    pub(super) turns: u64,
    /// How many leases were seen beside another one of the same session.
    pub(super) doubles: u64,
    /// How many turns were not over when the load was stopped.
    pub(super) unfinished: u64,
    /// How many turns should have begun and never did: too few may be under way.
    pub(super) never_begun: u64,
}

/// How long something took, many times.
#[derive(Debug)]
pub(super) struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        // Only digits beyond the sixth are refused.
        Self(Histogram::new(DIGITS).unwrap_or_else(|_| unreachable!("three digits are in range")))
    }
}

impl Latency {
    pub(super) fn note(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // It grows to whatever is recorded, so nothing is ever out of range.
        let _ = self.0.record(nanos.max(1));
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// What so many per cent did not exceed.
    pub(super) fn percentile(&self, percent: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_percentile(percent))
    }

    pub(super) fn most(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    pub(super) fn add(&mut self, other: &Self) {
        // Both grow as they must, so the sum always fits.
        let _ = self.0.add(&other.0);
    }
}

impl Tally {
    /// How many calls were answered well.
    pub(super) fn answered(&self) -> u64 {
        self.calls.values().map(Latency::count).sum()
    }

    /// All of them together.
    pub(super) fn all_calls(&self) -> Latency {
        let mut all = Latency::default();
        self.calls.values().for_each(|latency| all.add(latency));
        all
    }

    pub(super) fn error(&mut self, error: &Error) {
        let reason = match error {
            Error::Refused(refused) if refused.reason_name.is_empty() => refused.code_name(),
            Error::Refused(refused) => refused.reason_name.clone(),
            Error::Unreachable { .. } | Error::Endpoint(_) => UNREACHABLE.to_owned(),
        };
        *self.errors.entry(reason).or_default() += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (kind, latency) in &other.calls {
            self.calls.entry(*kind).or_default().add(latency);
        }
        self.hand_overs.add(&other.hand_overs);
        for (reason, count) in &other.errors {
            *self.errors.entry(reason.clone()).or_default() += count;
        }
        self.turns += other.turns;
        self.doubles += other.doubles;
        self.unfinished += other.unfinished;
        self.never_begun += other.never_begun;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_the_whole() {
        let part = |millis: &[u64]| {
            let mut tally = Tally { turns: 1, doubles: 2, ..Tally::default() };
            for ms in millis {
                let took = Duration::from_millis(*ms);
                tally.calls.entry(Kind::Acquire).or_default().note(took);
            }
            *tally.errors.entry("POOL_BUSY".to_owned()).or_default() += 3;
            tally
        };
        let mut whole = part(&[1, 2, 3]);
        whole.add(&part(&[4, 5000]));
        assert_eq!((whole.turns, whole.doubles, whole.answered()), (2, 4, 5));
        assert_eq!(whole.errors["POOL_BUSY"], 6);
        let all = whole.all_calls();
        let near = |took: Duration, ms: f64| {
            let share = took.as_secs_f64() * 1000.0 / ms;
            assert!((0.999..1.002).contains(&share), "{took:?} is not about {ms} ms");
        };
        near(all.percentile(50.0), 3.0);
        near(all.percentile(99.0), 5000.0);
        near(all.most(), 5000.0);
    }
}
