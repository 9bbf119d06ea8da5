//! How sessions stood in the newest commits: the table `recent`.
//!
//! To lend and to take back changes how one session stands. Were each written to its own row of
//! `standing`, every session that a commit touches would cost a page of the file. So a commit
//! writes them together, as a row here, and they are folded later: `standing` gets the last of each
//! session, and the rows are deleted.
//!
//! What is here is newer than what is in `standing`, and a later row is newer than an earlier one.
//! That is so after every transaction, so whoever opens the file, after a `kill -9` too, folds the
//! rows in their order and has all that was acknowledged.
//!
//! No commit waits until everything is folded. The rows are of two generations. One fills; when it
//! is full it becomes the old one, and commits fold that in slices, each in its own transaction:
//! first its sessions by name, so that neighbours share a page, and when each has been written, its
//! rows. Three things make that safe. No row goes before all sessions of its generation are in
//! `standing`, or in a row of the generation that fills, which is newer. The rows go oldest first,
//! so a session whose older rows are still there has its newest there, too. And whoever opens the
//! file need not know how far a fold had come: to fold all rows that are left ends the same.
//!
//! In memory is what a fold writes, so that it need not read. It is what the file has: it is let go
//! when a transaction fails, and read anew.

use std::{collections::BTreeMap, mem};

use rusqlite::{Connection, TransactionBehavior};
use serde_bytes::Bytes;

use super::rows::{LoadFault, put_standing};

/// A generation of so many rows is full.
const MAX_ROWS: usize = 1024;
/// A generation of so many bytes is full. Two of them are read on opening, at most, and what came
/// while the old one was folded.
const MAX_BYTES: usize = 1 << 20;
/// The most sessions in a row. A commit of more writes several.
pub(super) const MAX_TOGETHER: usize = 64;
/// A commit folds so many sessions, or deletes so many rows, for each that it writes: half of what
/// is written is time for the sessions and half for the rows, so a generation is gone before the
/// next is full.
const PACE: usize = 2;
/// And so many besides, since a commit may write none.
const HEADWAY: usize = 8;

/// How sessions stand, by pool and name.
pub(super) type Standings<'a> = BTreeMap<(&'a str, &'a str), &'a [u8]>;

/// A pool's name and a session's.
type Key = (String, String);

/// What is in the table.
#[derive(Debug, Default)]
pub(super) struct Recent {
    filling: Generation,
    old: Option<Old>,
}

/// The rows since the last generation.
#[derive(Debug, Default)]
struct Generation {
    rows: usize,
    bytes: usize,
    /// The number of the last row.
    last: i64,
    /// How each session stands in the last row that it is in.
    standings: BTreeMap<Key, Vec<u8>>,
}

/// The rows before.
#[derive(Debug)]
struct Old {
    standings: Vec<(Key, Vec<u8>)>,
    /// How many of these have been folded.
    folded: usize,
    /// The numbers of the first row that is left and of the last.
    first: i64,
    last: i64,
}

impl Recent {
    /// Reads what is there.
    pub(super) fn read(file: &Connection) -> Result<Self, LoadFault> {
        let mut filling = Generation::default();
        let mut statement = file.prepare(OLDEST_FIRST)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let packed = row.get_ref(1)?.as_blob().unwrap_or_default();
            filling.add(row.get(0)?, packed.len(), &unpack(packed)?);
        }
        Ok(Self { filling, old: None })
    }

    /// Whether a commit has nothing to fold.
    pub(super) fn is_at_rest(&self) -> bool {
        self.old.is_none() && !self.filling.is_full()
    }

    /// Whether a session is in any row.
    pub(super) fn has(&self, pool: &str, name: &str) -> bool {
        let key = (pool.to_owned(), name.to_owned());
        let is_old = |old: &Old| old.standings.binary_search_by(|(it, _)| it.cmp(&key)).is_ok();
        self.filling.standings.contains_key(&key) || self.old.as_ref().is_some_and(is_old)
    }

    /// Writes how sessions stand.
    pub(super) fn append(
        &mut self,
        file: &Connection,
        standings: &Standings<'_>,
    ) -> Result<(), LoadFault> {
        let all: Vec<_> = standings
            .iter()
            .map(|((pool, name), standing)| (*pool, *name, Bytes::new(standing)))
            .collect();
        for row in all.chunks(MAX_TOGETHER) {
            let packed =
                rmp_serde::to_vec(row).map_err(|fault| LoadFault::Record(fault.to_string()))?;
            file.prepare_cached("INSERT INTO recent (standings) VALUES (?1)")?
                .execute([&packed])?;
            self.filling.add(file.last_insert_rowid(), packed.len(), row);
        }
        Ok(())
    }

    /// Folds a slice, in the transaction of a commit that writes so many sessions.
    pub(super) fn fold(&mut self, file: &Connection, sessions: usize) -> Result<(), LoadFault> {
        if self.old.is_none() && self.filling.is_full() {
            self.old = Some(mem::take(&mut self.filling).grown_old());
        }
        let Some(old) = &mut self.old else { return Ok(()) };
        let waiting = &old.standings[old.folded..];
        if !waiting.is_empty() {
            let slice = &waiting[..waiting.len().min(PACE * sessions + HEADWAY)];
            for (key, standing) in slice {
                if !self.filling.standings.contains_key(key) {
                    put_standing(file, (&key.0, &key.1), standing)?;
                }
            }
            old.folded += slice.len();
            return Ok(());
        }
        let rows = PACE * sessions.div_ceil(MAX_TOGETHER) + HEADWAY;
        old.first = old.first.saturating_add(i64::try_from(rows).unwrap_or(i64::MAX));
        let is_last = old.first > old.last;
        let gone = if is_last { old.last } else { old.first - 1 };
        file.prepare_cached("DELETE FROM recent WHERE number <= ?1")?.execute([gone])?;
        if is_last {
            self.old = None;
        }
        Ok(())
    }

    /// Folds all of it, in the transaction that is open.
    pub(super) fn fold_everything(&mut self, file: &Connection) -> Result<(), LoadFault> {
        let Self { filling, old } = mem::take(self);
        let old = old.map_or_else(Vec::new, |old| old.standings);
        for (key, standing) in old.into_iter().chain(filling.standings) {
            put_standing(file, (&key.0, &key.1), &standing)?;
        }
        file.execute("DELETE FROM recent", [])?;
        Ok(())
    }
}

impl Generation {
    fn is_full(&self) -> bool {
        self.rows >= MAX_ROWS || self.bytes >= MAX_BYTES
    }

    /// Takes note of a row, newer than all before.
    fn add(&mut self, number: i64, bytes: usize, row: &[(&str, &str, &Bytes)]) {
        self.rows += 1;
        self.bytes += bytes;
        self.last = number;
        for &(pool, name, standing) in row {
            self.standings.insert((pool.to_owned(), name.to_owned()), standing.to_vec());
        }
    }

    fn grown_old(self) -> Old {
        // Numbers follow each other.
        let rows = i64::try_from(self.rows).unwrap_or(i64::MAX);
        let first = self.last.saturating_sub(rows).saturating_add(1);
        Old { standings: self.standings.into_iter().collect(), folded: 0, first, last: self.last }
    }
}

/// All rows.
const OLDEST_FIRST: &str = "SELECT number, standings FROM recent ORDER BY number";

/// Folds what others have left behind, in a transaction of its own.
pub(super) fn fold_all(file: &mut Connection) -> Result<(), LoadFault> {
    let transaction = file.transaction_with_behavior(TransactionBehavior::Immediate)?;
    Recent::read(&transaction)?.fold_everything(&transaction)?;
    Ok(transaction.commit()?)
}

fn unpack(row: &[u8]) -> Result<Vec<(&str, &str, &Bytes)>, LoadFault> {
    rmp_serde::from_slice(row).map_err(|fault| {
        LoadFault::Record(format!("how sessions stood of late cannot be read: {fault}"))
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, ErrorCode};

    use super::{
        super::{
            Durability,
            rows::{LOG_PAGES, Write, commit, prepare},
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

    /// How sessions stand when everything is folded.
    fn in_the_end(file: &mut Connection) -> Vec<(String, Vec<u8>)> {
        fold_all(file).unwrap();
        assert_eq!(rows(file), 0);
        standings(file)
    }

    fn count_of(table: &str, file: &Connection) -> usize {
        let sql = format!("SELECT count(*) FROM {table}");
        let count: i64 = file.query_row(&sql, [], |row| row.get(0)).unwrap();
        usize::try_from(count).unwrap()
    }

    fn rows(file: &Connection) -> usize {
        count_of("recent", file)
    }

    /// A file, the folder that it is in, and what is known of its newest commits.
    fn empty() -> (tempfile::TempDir, Connection, Option<Recent>) {
        let dir = tempfile::tempdir().unwrap();
        let file = Connection::open(dir.path().join("file")).unwrap();
        prepare(&file, Durability::Process).unwrap().unwrap();
        (dir, file, None)
    }

    fn name(number: usize) -> String {
        format!("s{number:05}")
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
        let last = [("a", b"3"), ("b", b"3"), ("c", b"1")];
        assert_eq!(in_the_end(&mut file), last.map(|(name, it)| (name.to_owned(), it.to_vec())));
    }

    #[test]
    fn a_commit_that_removes_a_session_leaves_nothing_of_it_and_all_of_the_others() {
        let (_dir, mut file, mut recent) = empty();
        let first = [&standing("a", b"1"), &standing("b", b"1")];
        commit(&mut file, &mut recent, &first).unwrap();
        let second = [&standing("a", b"2"), &removed("a"), &standing("b", b"2")];
        commit(&mut file, &mut recent, &second).unwrap();
        assert_eq!(in_the_end(&mut file), [("b".to_owned(), b"2".to_vec())]);
        let third = [&removed("b"), &standing("b", b"of another")];
        commit(&mut file, &mut recent, &third).unwrap();
        assert_eq!(in_the_end(&mut file), [("b".to_owned(), b"of another".to_vec())]);
    }

    #[test]
    fn removing_a_session_of_long_ago_folds_nothing() {
        let (_dir, mut file, mut recent) = empty();
        commit(&mut file, &mut recent, &[&standing("old", b"1")]).unwrap();
        fold_all(&mut file).unwrap();
        recent = None;
        commit(&mut file, &mut recent, &[&standing("a", b"1")]).unwrap();
        commit(&mut file, &mut recent, &[&removed("old"), &standing("b", b"1")]).unwrap();
        assert_eq!((rows(&file), standings(&file)), (2, vec![]));
        commit(&mut file, &mut recent, &[&removed("a")]).unwrap();
        assert_eq!(in_the_end(&mut file), [("b".to_owned(), b"1".to_vec())]);
    }

    #[test]
    fn removing_a_session_when_all_is_half_folded_leaves_the_last_of_the_others() {
        for (gone, is_folded) in [(2, 1), (900, 0)] {
            let (_dir, mut file, mut recent) = empty();
            for number in 0..MAX_ROWS {
                commit(&mut file, &mut recent, &[&standing(&name(number), b"1")]).unwrap();
            }
            commit(&mut file, &mut recent, &[&standing(&name(1), b"2")]).unwrap();
            let stands = |(one, _): &&(String, Vec<u8>)| *one == name(gone);
            assert_eq!(standings(&file).iter().filter(stands).count(), is_folded);
            commit(&mut file, &mut recent, &[&removed(&name(gone))]).unwrap();
            let found = standings(&file);
            assert_eq!((rows(&file), found.len()), (0, MAX_ROWS - 1));
            assert_eq!(found[1], (name(1), b"2".to_vec()));
            assert_eq!(found.iter().find(stands), None);
        }
    }

    #[test]
    fn it_never_has_more_than_it_may() {
        for (most, long) in [(MAX_ROWS, 1), (8, MAX_BYTES / 8)] {
            let (_dir, mut file, mut recent) = empty();
            let (mut seen, mut folds) = (0, 0);
            for number in 0..5 * most {
                let before = rows(&file);
                let writes = standing(&name(number), &vec![0; long]);
                commit(&mut file, &mut recent, &[&writes]).unwrap();
                folds += u32::from(rows(&file) < before);
                seen = seen.max(rows(&file));
            }
            assert!(folds > 3, "{folds} slices of rows of {long} bytes were deleted");
            assert!(seen <= 2 * most, "{seen} rows of {long} bytes");
        }
    }

    #[test]
    fn a_commit_folds_few_sessions_more_than_it_writes_and_what_waits_does_not_grow() {
        let (_dir, mut file, mut recent) = empty();
        let mut names = (0..).map(name);
        let mut commit_of = |file: &mut Connection, sessions: usize| {
            let writes: Vec<_> =
                names.by_ref().take(sessions).map(|name| standing(&name, b"1")).collect();
            commit(file, &mut recent, &writes.iter().collect::<Vec<_>>()).unwrap();
        };
        // Even a commit of very many is not folded at once.
        commit_of(&mut file, 2_000);
        while rows(&file) < MAX_ROWS {
            commit_of(&mut file, 1);
        }
        let (mut folds, mut deletes) = (0, 0);
        for sessions in [1, 0, 3, MAX_TOGETHER, 1, MAX_TOGETHER + 1, 300].repeat(60) {
            let (stood, there) = (count_of("standing", &file), rows(&file));
            commit_of(&mut file, sessions);
            let written = sessions.div_ceil(MAX_TOGETHER);
            let (folded, gone) =
                (count_of("standing", &file) - stood, there + written - rows(&file));
            let most = [sessions, written].map(|it| PACE * it + HEADWAY);
            assert!(folded <= most[0], "a commit of {sessions} sessions folded {folded}");
            assert!(gone <= most[1], "a commit of {written} rows deleted {gone}");
            assert!(folded == 0 || gone == 0, "a commit did both");
            assert!(rows(&file) < 2 * MAX_ROWS);
            (folds, deletes) = (folds + folded, deletes + gone);
        }
        assert!(folds > 2_900, "{folds} sessions were folded");
        assert!(deletes >= MAX_ROWS, "{deletes} rows were deleted");
    }

    /// How sessions stand for whoever opens what a `kill -9` would leave now.
    fn found_by_the_next(dir: &tempfile::TempDir) -> Vec<(String, Vec<u8>)> {
        let left = tempfile::tempdir().unwrap();
        for file in ["file", "file-wal"] {
            std::fs::copy(dir.path().join(file), left.path().join(file)).unwrap();
        }
        in_the_end(&mut Connection::open(left.path().join("file")).unwrap())
    }

    #[test]
    fn whoever_opens_a_file_that_is_half_folded_finds_the_last_of_each_session() {
        let (dir, mut file, mut recent) = empty();
        // The log is copied again and again.
        file.pragma_update(None, "wal_autocheckpoint", 50).unwrap();
        let (mut last, mut halves) = (BTreeMap::new(), 0);
        for number in 0..2 * MAX_ROWS + 300 {
            // One that is written all the time, some that are again and again, and many that are
            // once in a long while.
            let names = [name(0), name(1 + number % 7), name(10 + number * 7 % 900)];
            let now = number.to_string().into_bytes();
            let writes = names.clone().map(|name| standing(&name, &now));
            commit(&mut file, &mut recent, &writes.each_ref()).unwrap();
            last.extend(names.map(|name| (name, now.clone())));
            let is_half = recent.as_ref().is_some_and(|recent| recent.old.is_some());
            if is_half && number % 3 == 0 {
                halves += 1;
                let last: Vec<_> = last.clone().into_iter().collect();
                assert!(found_by_the_next(&dir) == last, "after commit {number}");
            }
        }
        assert!(halves > 100, "{halves} halves are too few to tell");
        // The second generation was folded when the third had begun.
        assert_eq!(standings(&file).len(), 908);
    }

    #[test]
    fn what_is_known_after_a_failure_is_what_is_in_the_file() {
        let (_dir, mut file, mut recent) = empty();
        for number in 0..MAX_ROWS + 40 {
            commit(&mut file, &mut recent, &[&standing(&name(number % 800), b"1")]).unwrap();
        }
        assert!(recent.as_ref().is_some_and(|recent| recent.old.is_some()));
        for _ in 0..2 {
            // What failed in between has left the rows of two generations.
            recent = None;
            for number in 0..300 {
                commit(&mut file, &mut recent, &[&standing(&name(number), b"2")]).unwrap();
            }
        }
        let found = in_the_end(&mut file);
        assert_eq!(found.len(), 800);
        for (number, (_, standing)) in found.iter().enumerate() {
            assert_eq!(standing, if number < 300 { b"2" } else { b"1" });
        }
    }

    #[test]
    fn the_log_is_seldom_copied_into_the_file_and_does_not_grow_for_ever() {
        let (dir, mut file, mut recent) = empty();
        let most = u64::from(LOG_PAGES) * 4096;
        let log = || std::fs::metadata(dir.path().join("file-wal")).unwrap().len();
        let standing = standing("a", &vec![0; MAX_BYTES]);
        for _ in 0..100 {
            commit(&mut file, &mut recent, &[&standing]).unwrap();
        }
        assert!(log() > most, "it was copied before it had {LOG_PAGES} pages");
        assert!(log() < most + most / 4, "it has {} bytes", log());
    }

    #[test]
    fn a_fold_that_fails_loses_nothing() {
        let (_dir, mut file, mut recent) = empty();
        let mut sessions = 0;
        while recent.as_ref().is_none_or(Recent::is_at_rest) {
            commit(&mut file, &mut recent, &[&standing(&name(sessions), &[1; 2_000])]).unwrap();
            sessions += 1;
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
            assert_eq!((rows(&file), count_of("standing", &file)), (sessions, 0));
        }
        limit(&file, 10 * pages);
        commit(&mut file, &mut recent, &[&last]).unwrap();
        assert_eq!((rows(&file), count_of("standing", &file)), (sessions + 1, PACE + HEADWAY));
        let found = in_the_end(&mut file);
        assert_eq!(found.len(), sessions);
        assert_eq!(found[0], (name(0), b"last".to_vec()));
        assert!(found[1..].iter().all(|(_, standing)| standing == &[1; 2_000]));
    }
}
