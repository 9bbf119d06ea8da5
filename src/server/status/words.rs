//! Facts become words, and spans the delays that are told.

use std::{collections::HashMap, time::Duration};

use tonic::Code;

use super::{Facts, reasons::Retry};
use crate::{
    config::Jitter,
    pool::{EndCause, NextRelease, PoolCounts, Queue},
};

/// The delay that is told: what the situation asks for, within bounds, and spread by up to a
/// fifth, in whole milliseconds.
pub(super) fn told_delay(retry: Retry, delay: Duration, jitter: Jitter) -> Option<Duration> {
    let Retry::After { least, most } = retry else { return None };
    let delay = delay.clamp(least, most);
    let share = match jitter {
        Jitter::Random => (u64::from(getrandom::u32().unwrap_or_default()) * 1000) >> 32,
        Jitter::Fixed(percent) => u64::from(percent) * 10,
    };
    let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
    Some(Duration::from_millis(millis.saturating_add(millis.saturating_mul(share) / 5000)))
}

/// Fills the words in braces in.
pub(super) fn render(text: &str, facts: &Facts) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (key, after) = after.split_once('}').unwrap_or((after, ""));
        out.push_str(before);
        debug_assert!(facts.contains_key(key), "no fact {key} for: {text}");
        out.push_str(facts.get(key).map_or("?", String::as_str));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The metadata of an `ErrorInfo`.
pub(super) fn owned(facts: &Facts) -> HashMap<String, String> {
    facts.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
}

/// Tells how the sessions of a pool stand.
pub(super) fn tell_counts(facts: &mut Facts, counts: PoolCounts) {
    let PoolCounts { total, free, leased, resting, flood_wait, suspect, invalid } = counts;
    let counts = [
        ("total", total),
        ("free", free),
        ("leased", leased),
        ("resting", resting),
        ("flood_wait", flood_wait),
        ("suspect", suspect),
        ("invalid", invalid),
    ];
    facts.extend(counts.map(|(state, count)| (state, count.to_string())));
}

/// Tells how long an Acquire would wait, and behind whom.
pub(super) fn tell_wait(facts: &mut Facts, counts: PoolCounts, next: NextRelease, queue: Queue) {
    facts.insert("next_release_in", next.after.to_string());
    facts.insert("waiters", queue.waiters.to_string());
    facts.insert("position", queue.position().to_string());
    facts.insert("estimated_wait", queue.estimated_wait(counts, next).to_string());
    if let Some(waited) = queue.oldest_wait {
        facts.insert("oldest_wait", waited.to_string());
    }
}

/// The contract's word for how a lease ended.
pub(in crate::server) const fn cause_name(cause: EndCause) -> &'static str {
    match cause {
        EndCause::Released => "RELEASED",
        EndCause::Undone => "UNDONE",
        EndCause::Surrendered | EndCause::Invalidated => "INVALIDATED",
        EndCause::Expired => "EXPIRED",
        EndCause::Revoked => "REVOKED",
        EndCause::Superseded => "SUPERSEDED",
    }
}

/// Where the manual explains a reason.
pub(crate) fn anchor(reason: &str) -> String {
    reason.to_lowercase().replace('_', "-")
}

/// A code's name in the specification: `RESOURCE_EXHAUSTED`.
pub(crate) fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
