//! Rotation: session by session, what an older key sealed, or nobody, is sealed with the first.
//!
//! A session is written only if it is still as it was read, so that an update between is never
//! lost; it is then read again. Whoever is interrupted begins again: what is done is passed over.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;

use super::{
    form::{self, Place, Stuck},
    keys::{StoreKeyId, StoreKeys},
    opened, sealed,
};
use crate::{
    pool::{PoolName, Refusal, Secrets, SessionName, SessionRecord},
    store::{Error, Resealed, Result, Store},
};

/// How many sessions are sealed at once.
const AT_ONCE: usize = 32;
/// How often a session that changes meanwhile is read again.
const TRIES: usize = 5;

/// What became of a session, and the keys that it needs now.
enum Outcome {
    Resealed,
    Unchanged,
    Left(String, BTreeSet<StoreKeyId>),
    /// It was removed meanwhile.
    Gone,
}

pub(super) async fn reseal(
    store: &dyn Store,
    keys: &StoreKeys,
    pool: &PoolName,
    after: Option<&SessionName>,
    most: usize,
) -> Result<Resealed> {
    let mut done = Resealed { held: keys.ids().collect(), ..Resealed::default() };
    let views = store.list_sessions(pool, after, most).await?;
    if views.len() == most {
        done.next = views.last().map(|view| view.record.name.clone());
    }
    let first = keys.first().id();
    let records: Vec<_> = views.into_iter().map(|view| view.record).collect();
    for some in records.chunks(AT_ONCE) {
        let each = some.iter().map(|record| one(store, keys, pool, record));
        for (record, outcome) in some.iter().zip(try_join_all(each).await?) {
            let mut needs = BTreeSet::from([first]);
            match outcome {
                Outcome::Resealed => done.resealed += 1,
                Outcome::Unchanged => done.unchanged += 1,
                Outcome::Left(why, still) => {
                    done.left.push((record.name.clone(), why));
                    needs = still;
                }
                Outcome::Gone => continue,
            }
            for id in needs {
                *done.needed.entry(id).or_default() += 1;
            }
        }
    }
    Ok(done)
}

async fn one(
    store: &dyn Store,
    keys: &StoreKeys,
    pool: &PoolName,
    listed: &SessionRecord,
) -> Result<Outcome> {
    let mut record = listed.clone();
    for _ in 0..TRIES {
        let kept = record.secrets();
        let place = Place::of(pool, &record);
        let new = match opened(Some(keys), place, kept.clone()) {
            Ok(_) if needs(&kept).is_ok_and(|ids| ids == [Some(keys.first().id())].into()) => {
                return Ok(Outcome::Unchanged);
            }
            Ok(plain) => sealed(keys.first(), place, &plain)?,
            Err((field, stuck)) => {
                let ids = needs(&kept).unwrap_or_default();
                let why = format!("its {} {stuck}", field.name());
                return Ok(Outcome::Left(why, ids.into_iter().flatten().collect()));
            }
        };
        match found(store.reseal(pool, &record.name, &kept, new).await)? {
            None => return Ok(Outcome::Gone),
            Some(true) => return Ok(Outcome::Resealed),
            Some(false) => {}
        }
        match found(store.get_session(pool, &record.name).await)? {
            None => return Ok(Outcome::Gone),
            Some(view) => record = view.record,
        }
    }
    let ids = needs(&record.secrets()).unwrap_or_default();
    let why = "it was changed again and again meanwhile; rotate once more".to_owned();
    Ok(Outcome::Left(why, ids.into_iter().flatten().collect()))
}

/// The keys that secrets need; none for one that is not sealed.
fn needs(secrets: &Secrets) -> Result<BTreeSet<Option<StoreKeyId>>, Stuck> {
    let values = [Some(&secrets.credential), secrets.proxy.as_ref(), secrets.device.as_ref()];
    let need = |kept: &[u8]| form::is_sealed(kept).then(|| form::key_of(kept)).transpose();
    values.into_iter().flatten().map(|value| need(&value.0)).collect()
}

/// What there is of a session; nothing when it is gone.
fn found<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Err(Error::Refused(no)) if matches!(*no, Refusal::SessionNotFound { .. }) => Ok(None),
        other => other.map(Some),
    }
}
