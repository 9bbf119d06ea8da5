//! Which of the sessions that were found are new, how they are named, and which are one account.

use std::collections::{HashMap, HashSet};

use super::{Entry, Item};
use crate::{
    pool::{Fingerprint, SessionName},
    proto::v1::{ImportOutcome, ImportRow},
};

/// The longest name of a session.
const MAX_NAME: usize = 64;
/// The most other sessions of an account that are named.
const MAX_OTHERS: usize = 3;

/// Decides, in the order of the sources, which sessions are new and how they are named.
#[derive(Debug, Default)]
pub struct Naming {
    prefix: String,
    /// Where each key was found first.
    keys: HashMap<Fingerprint, String>,
    names: HashSet<String>,
    /// What the pool holds already.
    held: HashMap<Fingerprint, String>,
    held_names: HashMap<String, Fingerprint>,
    /// The sessions of each account.
    accounts: HashMap<i64, Vec<String>>,
}

/// A session that a pool holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// Its credential's fingerprint.
    pub fingerprint: Fingerprint,
    /// Its account, where known.
    pub account_id: Option<i64>,
}

/// A session that is new.
#[derive(Debug)]
pub struct New {
    /// Its name in the pool.
    pub name: String,
    /// What it is.
    pub entry: Box<Entry>,
}

impl Naming {
    /// Names begin with a prefix.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..Self::default() }
    }

    /// Remembers a session that the pool holds.
    pub fn hold(&mut self, held: Held) {
        let Held { name, fingerprint, account_id } = held;
        if let Some(account) = account_id {
            self.accounts.entry(account).or_default().push(name.clone());
        }
        self.held_names.insert(name.clone(), fingerprint.clone());
        self.held.insert(fingerprint, name);
    }

    /// Says of an item what becomes of it, as far as that is known without the pool's word.
    pub fn place(&mut self, item: Item) -> (ImportRow, Option<New>) {
        let Item { file_name, stem, format, read, notes } = item;
        let mut row = ImportRow { file_name, format, ..ImportRow::default() };
        let entry = match read {
            Ok(entry) => entry,
            Err(fault) => {
                row.set_outcome(ImportOutcome::Refused);
                row.detail = fault.to_string();
                return (row, None);
            }
        };
        let fingerprint = entry.fingerprint();
        row.fingerprint = fingerprint.to_string();
        row.account_id = entry.telegram.user_id;
        if let Some(first) = self.keys.get(&fingerprint) {
            row.set_outcome(ImportOutcome::Unchanged);
            row.detail = format!("It has the same key as {first}");
            return (row, None);
        }
        self.keys.insert(fingerprint.clone(), row.file_name.clone());
        let name = self.name(stem.as_deref(), &fingerprint);
        if let Some(held) = self.held.get(&fingerprint) {
            row.set_outcome(ImportOutcome::Unchanged);
            if *held != name {
                row.detail = format!("The pool has its key as {held}");
            }
            row.session.clone_from(held);
            return (row, None);
        }
        if let Some(other) = self.held_names.get(&name) {
            row.set_outcome(ImportOutcome::Refused);
            row.detail =
                format!("The pool has another session of that name ({other}); give names a prefix");
            row.session = name;
            return (row, None);
        }
        row.detail = details(notes, self.others(entry.telegram.user_id, &name));
        // Said for a dry run; sending says it anew.
        row.set_outcome(ImportOutcome::Added);
        row.session.clone_from(&name);
        (row, Some(New { name, entry }))
    }

    /// The other sessions of an account, to which this one is added.
    fn others(&mut self, account: Option<i64>, name: &str) -> Option<String> {
        let account = account?;
        let sessions = self.accounts.entry(account).or_default();
        let others = sessions.iter().take(MAX_OTHERS).map(String::as_str).collect::<Vec<_>>();
        let more = if sessions.len() > MAX_OTHERS { ", …" } else { "" };
        let said = (!others.is_empty())
            .then(|| format!("account {account} is also session {}{more}", others.join(", ")));
        sessions.push(name.to_owned());
        said
    }

    /// A valid name that is new in this run.
    fn name(&mut self, stem: Option<&str>, fingerprint: &Fingerprint) -> String {
        let text = match stem {
            Some(stem) => format!("{}{stem}", self.prefix),
            None => format!("{}session-{fingerprint}", self.prefix),
        };
        let name = valid_name(&text).unwrap_or_else(|| format!("session-{fingerprint}"));
        let name = if self.names.contains(&name) {
            // Two folders may each have an "account.session".
            let room = MAX_NAME - fingerprint.as_str().len() - 1;
            format!("{}-{fingerprint}", &name[..name.len().min(room)])
        } else {
            name
        };
        self.names.insert(name.clone());
        name
    }
}

/// Several remarks as one sentence each, the first letter a capital one.
fn details(mut notes: Vec<String>, others: Option<String>) -> String {
    notes.extend(others);
    let text = notes.join("; ");
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => text,
    }
}

/// Makes a session's name of any text: what a name cannot have becomes `-`.
pub(super) fn valid_name(text: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._@+-".contains(c);
    let name: String = text.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric() && c != '+');
    let name = &name[..name.len().min(MAX_NAME)];
    SessionName::parse(name).map(|name| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_valid_name_or_none() {
        for (text, name) in [
            ("alice", Some("alice")),
            ("+49 151/000", Some("+49-151-000")),
            ("__bob", Some("bob")),
            ("Ünal", Some("nal")),
            ("日本", None),
            ("", None),
            (&"x".repeat(80), Some(&*"x".repeat(64))),
        ] {
            assert_eq!(valid_name(text).as_deref(), name, "{text}");
        }
    }

    #[test]
    fn two_files_of_one_name_get_two_names() {
        let fingerprint = Fingerprint::new("0123456789abcdef");
        let mut naming = Naming::new("eu-");
        assert_eq!(naming.name(Some("account"), &fingerprint), "eu-account");
        assert_eq!(naming.name(Some("account"), &fingerprint), "eu-account-0123456789abcdef");
        assert_eq!(naming.name(None, &fingerprint), "eu-session-0123456789abcdef");
        let long = "x".repeat(64);
        assert_eq!(naming.name(Some(&long), &fingerprint).len(), 64);
        assert_eq!(naming.name(Some(&long), &fingerprint).len(), 64);
    }

    #[test]
    fn the_sessions_of_one_account_name_each_other() {
        let mut naming = Naming::default();
        assert_eq!(naming.others(None, "a"), None);
        assert_eq!(naming.others(Some(7), "b"), None);
        let said = naming.others(Some(7), "c").unwrap();
        assert_eq!(said, "account 7 is also session b");
        assert_eq!(naming.others(Some(7), "d").unwrap(), "account 7 is also session b, c");
    }
}
