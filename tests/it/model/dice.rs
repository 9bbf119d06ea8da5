//! Randomness that can be repeated: `SplitMix64`.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
};

/// A source of numbers that is the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

/// A seed that is different at each call.
pub(crate) fn any_seed() -> u64 {
    RandomState::new().build_hasher().finish() % 1_000_000_000
}

/// The seed that a history begins with: any, unless `TELEGATE_FIRST_SEED` is set. What decides
/// whether a change lands plays the same each time, and so blames no change for what was there
/// before.
pub(crate) fn first_seed() -> u64 {
    super::variable("TELEGATE_FIRST_SEED").unwrap_or_else(any_seed)
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below another.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of some things.
    pub(crate) fn pick<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        let count = u64::try_from(things.len()).expect("few things");
        &things[usize::try_from(self.below(count)).expect("few things")]
    }
}
