//! Verbs on many leases: how they share round trips.

use std::collections::BTreeMap;

use super::{Error, Result};
use crate::pool::PoolName;

/// The most leases that share a round trip.
pub const BATCH: usize = 256;

/// Leases of one pool, by their place in what was asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) pool: PoolName,
    pub(super) places: Vec<usize>,
}

/// Puts leases of the same pool together, boundedly.
pub(super) fn batches<'a>(pools: impl IntoIterator<Item = &'a PoolName>) -> Vec<Batch> {
    let mut by_pool: BTreeMap<&PoolName, Vec<usize>> = BTreeMap::new();
    for (place, pool) in pools.into_iter().enumerate() {
        by_pool.entry(pool).or_default().push(place);
    }
    let chunks = |(pool, places): (&'a PoolName, Vec<usize>)| {
        let chunks = places.chunks(BATCH).map(<[usize]>::to_vec).collect::<Vec<_>>();
        chunks.into_iter().map(move |places| Batch { pool: pool.clone(), places })
    };
    by_pool.into_iter().flat_map(chunks).collect()
}

/// Answers in the order of what was asked. A batch without an answer of its own has one for all.
pub(super) fn in_order<T>(answered: Vec<(Batch, Result<Vec<Result<T>>>)>) -> Vec<Result<T>> {
    let mut by_place = BTreeMap::new();
    for (batch, answers) in answered {
        match answers {
            Ok(answers) => by_place.extend(batch.places.into_iter().zip(answers)),
            Err(error) => {
                let same = |place| (place, Err(Error::clone(&error)));
                by_place.extend(batch.places.into_iter().map(same));
            }
        }
    }
    by_place.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(name: &str) -> PoolName {
        PoolName::parse(name).unwrap()
    }

    #[test]
    fn leases_of_a_pool_share_round_trips_up_to_the_limit() {
        let (a, b) = (pool("a"), pool("b"));
        let mut pools = vec![&b];
        pools.extend(vec![&a; BATCH + 1]);
        pools.push(&b);
        let sizes: Vec<_> =
            batches(pools).into_iter().map(|b| (b.pool.to_string(), b.places.len())).collect();
        assert_eq!(sizes, [("a".into(), BATCH), ("a".into(), 1), ("b".into(), 2)]);
    }

    #[test]
    fn answers_come_in_the_order_of_what_was_asked() {
        let (a, b) = (pool("a"), pool("b"));
        let answered = batches([&b, &a, &b]).into_iter().map(|batch| {
            let answers = match batch.pool.as_str() {
                "a" => Err(Error::Unavailable("gone".into())),
                _ => Ok(batch.places.iter().map(|place| Ok(*place)).collect()),
            };
            (batch, answers)
        });
        let answers = in_order(answered.collect());
        assert!(matches!(&answers[..], [Ok(0), Err(Error::Unavailable(_)), Ok(2)]), "{answers:?}");
    }
}
