//! Floods of the last hour: how often Telegram told a pool's sessions to wait, by method.
//!
//! They are counted by spans of five minutes, so that what is kept does not grow with them.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use super::{Assessment, Change, Pool, Span, Time, verdict::method_key};

/// How long a flood is counted, at most.
pub const FLOODS_KEPT: Span = Span::hours(1);
/// The most methods that are told apart; the floods of others are counted without a method.
pub const MAX_FLOODED: usize = 64;
/// The span that is counted in one sum.
const SLOT: Span = Span::minutes(5);
/// An end that is later by no more than this is the same wait, told again.
const SAME_WAIT: Span = Span::secs(1);

/// The floods of five minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloodSlot {
    /// When the five minutes begin.
    pub start: Time,
    /// The floods by what tells methods apart; under nothing those without a method.
    pub methods: BTreeMap<String, MethodFloods>,
}

/// How often a method flooded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MethodFloods {
    /// The method, as it was spelled first. Empty where it was not told, or is one too many.
    pub method: String,
    /// How often.
    pub count: u32,
}

impl FloodSlot {
    /// Whether its floods are of the last hour.
    fn is_recent(&self, now: Time) -> bool {
        self.start + FLOODS_KEPT > now
    }
}

impl Pool {
    /// Counts the flood that an error is, if Telegram told it and told something new: its scope
    /// was closed until `stood` before, and is until `until` now.
    pub(super) fn count_flood(&mut self, error: &Assessment, stood: Time, until: Time, now: Time) {
        let Some(method) = error.flooded.as_ref().filter(|_| until > stood + SAME_WAIT) else {
            return;
        };
        let since = error.since(now);
        let start = Time(since.0 - since.0 % SLOT.0);
        let mut slot = FloodSlot { start, methods: BTreeMap::new() };
        if !slot.is_recent(now) {
            return;
        }
        let slots = &mut self.record.floods;
        slots.retain(|slot| slot.is_recent(now));
        let place = slots.partition_point(|slot| slot.start < start);
        if slots.get(place).is_some_and(|slot| slot.start == start) {
            slot = slots.remove(place);
        }
        add(&mut slot.methods, &MethodFloods { method: method.clone(), count: 1 });
        slots.insert(place, slot);
        self.changes.push(Change::Pool);
    }
}

/// The floods of the last hour, the most first.
#[must_use]
pub fn floods_of(mut slots: Vec<FloodSlot>, now: Time) -> Vec<MethodFloods> {
    slots.retain(|slot| slot.is_recent(now));
    slots.sort_by_key(|slot| slot.start);
    let mut sum = BTreeMap::new();
    for floods in slots.iter().flat_map(|slot| slot.methods.values()) {
        add(&mut sum, floods);
    }
    let mut floods: Vec<_> = sum.into_values().collect();
    floods.sort_by_key(|floods| Reverse(floods.count));
    floods
}

/// Adds floods of a method to some, of which so many are told apart.
fn add(methods: &mut BTreeMap<String, MethodFloods>, floods: &MethodFloods) {
    let mut key = method_key(&floods.method);
    let named = methods.keys().filter(|known| !known.is_empty()).count();
    if named >= MAX_FLOODED && !methods.contains_key(&key) {
        key.clear();
    }
    let spelled = if key.is_empty() { "" } else { &floods.method };
    let sum =
        methods.entry(key).or_insert_with(|| MethodFloods { method: spelled.to_owned(), count: 0 });
    sum.count = sum.count.saturating_add(floods.count);
}
