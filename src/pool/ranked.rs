//! A sorted set that knows the rank of each member, and what of it lies outside some of its parts.

/// The most members of a chunk. A full one is split.
const CHUNK: usize = 512;

/// A sorted set whose members can be found by rank, in time that hardly grows with their number.
#[derive(Debug)]
pub(super) struct Ranked<T> {
    /// The members in order, in chunks that are never empty.
    chunks: Vec<Vec<T>>,
    /// How many members come before each chunk.
    before: Vec<usize>,
}

impl<T> Default for Ranked<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), before: Vec::new() }
    }
}

impl<T: Ord> Ranked<T> {
    /// Takes a member in. Tells whether it is new.
    pub(super) fn insert(&mut self, member: T) -> bool {
        let (at, place) = self.find(&member);
        let Err(place) = place else { return false };
        if self.chunks.is_empty() {
            self.chunks.push(vec![member]);
            self.before.push(0);
            return true;
        }
        // What comes after all others goes to the end of the last chunk.
        let is_last = at == self.chunks.len();
        let at = if is_last { at - 1 } else { at };
        let chunk = &mut self.chunks[at];
        let place = if is_last { chunk.len() } else { place };
        chunk.insert(place, member);
        self.before[at + 1..].iter_mut().for_each(|before| *before += 1);
        if chunk.len() > CHUNK {
            let second = chunk.split_off(CHUNK / 2);
            self.before.insert(at + 1, self.before[at] + CHUNK / 2);
            self.chunks.insert(at + 1, second);
        }
        true
    }

    /// Drops a member. Tells whether there was such a one.
    pub(super) fn remove(&mut self, member: &T) -> bool {
        let (at, Ok(place)) = self.find(member) else { return false };
        self.chunks[at].remove(place);
        self.before[at + 1..].iter_mut().for_each(|before| *before -= 1);
        if self.chunks[at].is_empty() {
            self.chunks.remove(at);
            self.before.remove(at);
        }
        true
    }

    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        let last = self.before.last().zip(self.chunks.last());
        last.map_or(0, |(before, chunk)| before + chunk.len())
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many members come before this one, if it is one.
    pub(super) fn rank(&self, member: &T) -> Option<usize> {
        let (at, place) = self.find(member);
        place.ok().map(|place| self.before[at] + place)
    }

    /// The member that so many come before.
    pub(super) fn get(&self, rank: usize) -> Option<&T> {
        let at = self.before.partition_point(|before| *before <= rank).checked_sub(1)?;
        self.chunks[at].get(rank - self.before[at])
    }

    /// The members in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    /// The members in order that are in none of some parts of the set. A run that lies in a part
    /// is leapt over, however long it is.
    pub(super) fn outside<'a>(&'a self, parts: Vec<&'a Self>) -> Outside<'a, T> {
        Outside { whole: self, parts, at: 0 }
    }

    /// The chunk where a member is or would be, and its place there.
    fn find(&self, member: &T) -> (usize, Result<usize, usize>) {
        let at = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|l| l < member));
        (at, self.chunks.get(at).map_or(Err(0), |chunk| chunk.binary_search(member)))
    }

    /// How many members from a rank on are those of a part from a rank on.
    ///
    /// Both are sorted alike and the part has nothing else, so where they differ once they do from
    /// there on: the end of the run is found by doubling and halving.
    fn shared_run(&self, at: usize, part: &Self, from: usize) -> usize {
        let same = |ahead: usize| {
            part.get(from + ahead).is_some_and(|member| self.get(at + ahead) == Some(member))
        };
        let (mut shared, mut step) = (0, 1);
        while same(shared + step - 1) {
            shared += step;
            step *= 2;
        }
        while step > 1 {
            step /= 2;
            if same(shared + step - 1) {
                shared += step;
            }
        }
        shared
    }
}

/// What lies outside the parts.
pub(super) struct Outside<'a, T> {
    whole: &'a Ranked<T>,
    parts: Vec<&'a Ranked<T>>,
    at: usize,
}

impl<'a, T: Ord> Iterator for Outside<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        loop {
            let member = self.whole.get(self.at)?;
            let within = |part: &&'a Ranked<T>| part.rank(member).map(|from| (*part, from));
            let Some((part, from)) = self.parts.iter().find_map(within) else {
                self.at += 1;
                return Some(member);
            };
            self.at += self.whole.shared_run(self.at, part, from);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, cmp::Ordering, collections::BTreeSet};

    use super::*;

    thread_local! {
        static COMPARED: Cell<u64> = const { Cell::new(0) };
    }

    /// A number that counts how often it is compared.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Counted(u64);

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl Ord for Counted {
        fn cmp(&self, other: &Self) -> Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    fn ranked(numbers: impl IntoIterator<Item = u64>) -> Ranked<Counted> {
        let mut set = Ranked::default();
        for number in numbers {
            assert!(set.insert(Counted(number)));
        }
        set
    }

    /// Numbers without order that are the same each time.
    fn scattered(count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(|i| (i * 7_919) % 10_007)
    }

    #[test]
    fn it_is_the_set_that_the_standard_library_has() {
        let (mut ours, mut theirs) = (Ranked::default(), BTreeSet::new());
        for (turn, number) in scattered(10_007).chain(scattered(5_000)).enumerate() {
            let number = number % 3_001;
            if turn % 3 == 0 {
                assert_eq!(ours.remove(&number), theirs.remove(&number));
            } else {
                assert_eq!(ours.insert(number), theirs.insert(number));
            }
        }
        assert!(ours.iter().eq(&theirs));
        assert_eq!((ours.len(), ours.is_empty()), (theirs.len(), false));
        for (rank, number) in theirs.iter().enumerate() {
            assert_eq!((ours.rank(number), ours.get(rank)), (Some(rank), Some(number)));
        }
        assert_eq!((ours.get(theirs.len()), ours.rank(&9_999)), (None, None));
        for number in theirs {
            assert!(ours.remove(&number));
        }
        assert_eq!((ours.len(), ours.is_empty(), ours.get(0)), (0, true, None));
    }

    #[test]
    fn what_lies_outside_some_parts_is_what_is_left() {
        let whole = ranked(scattered(4_000));
        for (modulus, parts) in [(2, 1), (3, 2), (5, 2), (100, 1), (1, 1), (2_000, 0)] {
            let is_in = |number: u64, part: u64| number % modulus == part;
            let sets: Vec<_> = (0..parts)
                .map(|part| ranked(scattered(4_000).filter(|n| is_in(*n, part))))
                .collect();
            let found: Vec<_> = whole.outside(sets.iter().collect()).map(|c| c.0).collect();
            let wanted = whole.iter().map(|c| c.0);
            let wanted: Vec<_> =
                wanted.filter(|n| !(0..parts).any(|part| is_in(*n, part))).collect();
            assert_eq!(found, wanted, "{parts} parts of {modulus}");
        }
    }

    #[test]
    fn the_only_one_outside_is_found_with_few_looks_wherever_it_is() {
        const MANY: u64 = 100_000;
        let whole = ranked(0..MANY);
        let mut most = 0;
        for only in [0, 1, 511, 512, 513, 70_000, MANY - 2, MANY - 1] {
            let part = ranked((0..MANY).filter(|number| *number != only));
            COMPARED.set(0);
            assert_eq!(whole.outside(vec![&part]).next(), Some(&Counted(only)));
            most = most.max(COMPARED.get());
        }
        assert!(most < 200, "one of {MANY} was found with {most} comparisons");
    }
}
