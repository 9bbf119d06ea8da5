//! How sessions stood in the newest commits: the table `recent`.
//!
//! To lend and to take back changes how one session stands. Were each written to its own row of
//! `standing`, every session that a commit touches would cost a page of the file. So a commit
//! writes them together, as one row here, and now and then all of these are folded: `standing`
//! gets the last of each session, and `recent` is emptied.
//!
//! What is here is newer than what is in `standing`, and a later row is newer than an earlier one.
//! Nothing of it is kept in memory but how much it is: a fold reads it from the file, whether it is
//! done between two commits, on closing, or on opening what another process has left behind.

use std::collections::BTreeMap;

use rusqlite::{Connection, TransactionBehavior};
use serde_bytes::Bytes;

use super::rows::{LoadFault, put_standing};

/// The most rows that are not folded.
const MAX_ROWS: usize = 1024;
/// The most bytes that are not folded, and those of one commit more. They are read on opening.
const MAX_BYTES: usize = 1 << 20;

/// How sessions stand, by pool and name.
pub(super) type Standings<'a> = BTreeMap<(&'a str, &'a str), &'a [u8]>;

/// How much is not folded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recent {
    rows: usize,
    bytes: usize,
}

impl Recent {
    /// Whether the next commit must fold.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= MAX_ROWS || self.bytes >= MAX_BYTES
    }

    /// Takes note of a row that was written.
    pub(super) fn grow(&mut self, bytes: usize) {
        self.rows += 1;
        self.bytes += bytes;
    }
}

/// Writes how sessions stand as one row. Tells how long it is.
pub(super) fn append(file: &Connection, standings: &Standings<'_>) -> Result<usize, LoadFault> {
    let rows: Vec<_> = standings
        .iter()
        .map(|((pool, name), standing)| (pool, name, Bytes::new(standing)))
        .collect();
    let row = rmp_serde::to_vec(&rows).map_err(|fault| LoadFault::Record(fault.to_string()))?;
    file.prepare_cached("INSERT INTO recent (standings) VALUES (?1)")?.execute([&row])?;
    Ok(row.len())
}

/// Folds what others have left behind, in a transaction of its own.
pub(super) fn fold_all(file: &mut Connection) -> Result<(), LoadFault> {
    let transaction = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
    fold(&transaction)?;
    Ok(transaction.commit()?)
}

/// Folds all of it, in the transaction that is open.
pub(super) fn fold(file: &Connection) -> Result<(), LoadFault> {
    let mut statement = file.prepare_cached("SELECT standings FROM recent ORDER BY number")?;
    let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut last = Standings::new();
    for row in &rows {
        let standings: Vec<(&str, &str, &Bytes)> = rmp_serde::from_slice(row).map_err(|fault| {
            LoadFault::Record(format!("how sessions stood of late cannot be read: {fault}"))
        })?;
        last.extend(standings.into_iter().map(|(pool, name, it)| ((pool, name), &**it)));
    }
    for (key, standing) in last {
        put_standing(file, key, standing)?;
    }
    file.execute("DELETE FROM recent", [])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, ErrorCode};

    use super::{
        super::{
            Durability,
            rows::{Write, commit, prepare},
        },
        *,
    };
    use crate::pool::{PoolName, SessionName};

    fn standing(session: &str, standing: &[u8]) -> Write {
        Write::Standing {
            pool: PoolName::parse("p").unwrap(),
            session: SessionName::parse(session).unwrap(),
            standing: standing.to_vec(),
        }
    }

    fn removed(session: &str) -> Write {
        Write::Removed {
            pool: PoolName::parse("p").unwrap(),
            session: SessionName::parse(session).unwrap(),
        }
    }

    fn standings(file: &Connection) -> Vec<(String, Vec<u8>)> {
        let mut all = file.prepare("SELECT name, standing FROM standing ORDER BY name").unwrap();
        let all = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        all.map(Result::unwrap).collect()
    }

    fn rows(file: &Connection) -> i64 {
        file.query_row("SELECT count(*) FROM recent", [], |row| row.get(0)).unwrap()
    }

    /// A file, the folder that it is in, and how much of it is recent.
    fn empty() -> (tempfile::TempDir, Connection, Recent) {
        let dir = tempfile::tempdir().unwrap();
        let file = Connection::open(dir.path().join("file")).unwrap();
        prepare(&file, Durability::Process).unwrap().unwrap();
        (dir, file, Recent::default())
    }

    #[test]
    fn a_fold_writes_the_last_of_each_session() {
        let (_dir, mut file, mut recent) = empty();
        let commits: [&[&Write]; 3] = [
            &[&standing("a", b"1"), &standing("b", b"1"), &standing("a", b"2")],
            &[&standing("b", b"2"), &standing("c", b"1"), &standing("b", b"3")],
            &[&standing("a", b"3")],
        ];
        for rows in commits {
            commit(&mut file, &mut recent, rows).unwrap();
        }
        assert_eq!((rows(&file), standings(&file)), (3, vec![]));
        fold_all(&mut file).unwrap();
        let last = [("a", b"3"), ("b", b"3"), ("c", b"1")];
        assert_eq!(standings(&file), last.map(|(name, it)| (name.to_owned(), it.to_vec())));
        assert_eq!(rows(&file), 0);
    }

    #[test]
    fn a_commit_that_removes_a_session_leaves_nothing_of_it_and_all_of_the_others() {
        let (_dir, mut file, mut recent) = empty();
        let first = [&standing("a", b"1"), &standing("b", b"1")];
        commit(&mut file, &mut recent, &first).unwrap();
        let second = [&standing("a", b"2"), &removed("a"), &standing("b", b"2")];
        commit(&mut file, &mut recent, &second).unwrap();
        assert_eq!((rows(&file), standings(&file)), (0, vec![("b".to_owned(), b"2".to_vec())]));
        let third = [&removed("b"), &standing("b", b"of another")];
        commit(&mut file, &mut recent, &third).unwrap();
        assert_eq!(standings(&file), [("b".to_owned(), b"of another".to_vec())]);
    }

    #[test]
    fn it_never_has_more_than_it_may() {
        for (most, long) in [(MAX_ROWS, 1), (MAX_BYTES / (MAX_BYTES / 8) + 1, MAX_BYTES / 8)] {
            let (_dir, mut file, mut recent) = empty();
            let mut seen = 0;
            for _ in 0..=most {
                seen = seen.max(rows(&file));
                commit(&mut file, &mut recent, &[&standing("a", &vec![0; long])]).unwrap();
            }
            assert!(usize::try_from(seen).unwrap() <= most, "{seen} rows of {long} bytes");
            assert!(rows(&file) < seen, "nothing was folded");
        }
    }

    #[test]
    fn a_fold_that_fails_loses_nothing() {
        let (_dir, mut file, mut recent) = empty();
        let name = |number: usize| format!("s{number:04}");
        for number in 0..MAX_ROWS {
            commit(&mut file, &mut recent, &[&standing(&name(number), &[1; 300])]).unwrap();
        }
        let pages: i64 = file.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let limit = |file: &Connection, pages: i64| {
            file.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
        };
        limit(&file, pages);
        let last = standing(&name(0), b"last");
        for _ in 0..2 {
            let fault = commit(&mut file, &mut recent, &[&last]).unwrap_err();
            let LoadFault::Sqlite(fault) = fault else { panic!("{fault}") };
            assert_eq!(fault.sqlite_error_code(), Some(ErrorCode::DiskFull));
            assert_eq!(rows(&file), i64::try_from(MAX_ROWS).unwrap());
        }
        limit(&file, 2 * pages);
        commit(&mut file, &mut recent, &[&last]).unwrap();
        let found = standings(&file);
        assert_eq!(found.len(), MAX_ROWS);
        assert_eq!(found[0], (name(0), b"last".to_vec()));
        assert!(found[1..].iter().all(|(_, standing)| standing == &[1; 300]));
    }
}
