//! Makes a pool equal to a source: adds what is new, changes what changed, removes what vanished.
//!
//! A source owns the sessions that have its label, and no others: what somebody added by hand is
//! never removed. When in doubt nothing is removed: not while a file cannot be read, not when the
//! source did not come to its end, not when nothing at all is left of it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::{StreamExt as _, stream};
use prost::Message as _;

use super::{
    intake::{self, Sees},
    status::{Fault, Violation},
};
use crate::{
    pool::{
        Credential, Edit, Fingerprint, Mandate, NewSession, PoolName, Refusal, SessionChange,
        SessionName, SessionRecord, SessionState, SessionView, changed,
    },
    proto::v1::{DeviceProfile, ImportOutcome, ImportRow},
    store::{self, Store},
};

/// The label that says which source owns a session.
pub(super) const LABEL: &str = "telegate/sync";
/// The name of a source that has no other.
pub(super) const SOURCE: &str = "folder";
/// The most rows of a report.
const MAX_ROWS: usize = 20_000;
/// How many sessions are added or changed at once.
const IN_FLIGHT: usize = 16;
/// How many sessions are read at once.
const PAGE: usize = 1000;

/// What a sync is about.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) pool: PoolName,
    /// The value of the label.
    pub(super) source: String,
    pub(super) effect: Effect,
    pub(super) emptying: Emptying,
    pub(super) strangers: Strangers,
    /// On whose word.
    pub(super) on: Mandate,
}

/// Whether anything is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It is.
    Real,
    /// It is only told what would be.
    Told,
}

/// Whether a source may lose all its sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emptying {
    /// It may not: most likely its folder is not there.
    Refused,
    /// It may.
    Allowed,
}

/// What becomes of sessions that the source has and somebody added by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strangers {
    /// They are left alone.
    Left,
    /// They become the source's own.
    Adopted,
}

/// What a sync did.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) rows: Vec<ImportRow>,
    /// How many sessions are as they should be.
    pub(super) unchanged: u32,
    /// How many vanished sessions could not be removed yet because they are in use.
    pub(super) waiting: u32,
}

/// A sync under way.
pub(super) struct Sync<'a> {
    store: &'a Arc<dyn Store>,
    sees: Sees<'a>,
    order: Order,
    /// What the pool has.
    held: HashMap<Fingerprint, SessionView>,
    names: HashMap<SessionName, Fingerprint>,
    /// What the source has.
    wanted: HashSet<Fingerprint>,
    /// What their names begin with whose files cannot be read.
    unreadable: Vec<String>,
    /// A file that cannot be read and may have held any session.
    unknown: Option<String>,
    /// What is to be added, and what cannot be before something else is removed.
    adding: Vec<(ImportRow, NewSession)>,
    late: Vec<(ImportRow, NewSession)>,
    report: Report,
}

impl<'a> Sync<'a> {
    /// Begins by reading what the pool has.
    pub(super) async fn begin(
        store: &'a Arc<dyn Store>,
        sees: Sees<'a>,
        order: Order,
    ) -> Result<Self, Fault> {
        let mut sync = Self {
            store,
            sees,
            order,
            held: HashMap::new(),
            names: HashMap::new(),
            wanted: HashSet::new(),
            unreadable: Vec::new(),
            unknown: None,
            adding: Vec::new(),
            late: Vec::new(),
            report: Report::default(),
        };
        let mut after = None;
        loop {
            let page = store.list_sessions(&sync.order.pool, after.as_ref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().map(|view| view.record.name.clone());
            for mut view in page {
                // Of a large pool this is most of it, and nobody looks at it here.
                view.record.credential.0 = Vec::new();
                let fingerprint = view.record.fingerprint.clone();
                sync.names.insert(view.record.name.clone(), fingerprint.clone());
                sync.held.insert(fingerprint, view);
            }
            if is_last {
                return Ok(sync);
            }
        }
    }

    /// Takes a session that the pool should have.
    pub(super) async fn want(
        &mut self,
        mut row: ImportRow,
        mut session: NewSession,
    ) -> Result<(), Fault> {
        session.labels.insert(LABEL.to_owned(), self.order.source.clone());
        row.fingerprint = session.fingerprint.to_string();
        row.account_id = session.account_id;
        row.session = session.name.to_string();
        if !self.wanted.insert(session.fingerprint.clone()) {
            row.set_outcome(ImportOutcome::Unchanged);
            "It came before with the same key".clone_into(&mut row.detail);
            self.tell(row);
            return Ok(());
        }
        if let Some(held) = self.held.get(&session.fingerprint) {
            row.session = held.record.name.to_string();
            return self.keep(row, session).await;
        }
        row.set_outcome(ImportOutcome::Added);
        if self.names.contains_key(&session.name) {
            self.late.push((row, session));
            return Ok(());
        }
        self.names.insert(session.name.clone(), session.fingerprint.clone());
        self.adding.push((row, session));
        if self.adding.len() < IN_FLIGHT { Ok(()) } else { self.add_all().await }
    }

    /// Notes that something cannot be read, so that what was read from it before stays. Without a
    /// name it may have held any session.
    pub(super) fn miss(&mut self, mut row: ImportRow, name: Option<String>) {
        match name {
            Some(name) => self.unreadable.push(name),
            None => self.unknown = self.unknown.take().or_else(|| Some(row.file_name.clone())),
        }
        row.set_outcome(ImportOutcome::Refused);
        self.tell(row);
    }

    /// Ends the sync: now what vanished is removed.
    pub(super) async fn end(mut self) -> Result<Report, Fault> {
        self.add_all().await?;
        let is_vanished = |view: &&SessionView| {
            self.is_own(view) && !self.wanted.contains(&view.record.fingerprint)
        };
        let mut vanished: Vec<_> = self.held.values().filter(is_vanished).cloned().collect();
        let is_empty = self.wanted.is_empty() && !vanished.is_empty();
        if is_empty && self.order.emptying == Emptying::Refused {
            return Err(Fault::Invalid(vec![Violation {
                field: "header.allow_empty".to_owned(),
                description: format!(
                    "is not set, and the source has no session left, so that all {} would be \
                     removed; set it if that is meant",
                    vanished.len()
                ),
            }]));
        }
        vanished.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        for view in vanished {
            self.remove(view).await?;
        }
        for (mut row, session) in std::mem::take(&mut self.late) {
            if let Some(other) = self.names.get(&session.name) {
                let detail = format!("The pool has another session of that name ({other})");
                intake::refuse(&mut row, detail);
                self.tell(row);
            } else {
                self.names.insert(session.name.clone(), session.fingerprint.clone());
                self.adding.push((row, session));
            }
        }
        self.add_all().await?;
        Ok(self.report)
    }

    /// Whether a session is the source's.
    fn is_own(&self, view: &SessionView) -> bool {
        view.record.labels.get(LABEL) == Some(&self.order.source)
    }

    fn tell(&mut self, row: ImportRow) {
        if self.report.rows.len() < MAX_ROWS {
            self.report.rows.push(row);
        }
    }

    /// Keeps a session that the pool has already, and changes it to what the source says.
    async fn keep(&mut self, mut row: ImportRow, session: NewSession) -> Result<(), Fault> {
        let Some(held) = self.held.get(&session.fingerprint) else { return Ok(()) };
        let adopted = self.order.strangers == Strangers::Adopted;
        let owner = held.record.labels.get(LABEL);
        if owner != Some(&self.order.source) && (owner.is_some() || !adopted) {
            row.set_outcome(ImportOutcome::Unchanged);
            row.detail = match owner {
                Some(owner) => format!("It belongs to the source {owner} and is left alone"),
                None => "It was added by hand and is left alone, unless it is adopted".to_owned(),
            };
            self.tell(row);
            self.report.unchanged += 1;
            return Ok(());
        }
        let (pool, before, on) = (&self.order.pool, &held.record, &self.order.on);
        let change = difference(before, session);
        let after = match change.clone().fit(pool, before) {
            Ok(after) => after,
            Err(refusal) => {
                intake::refuse(&mut row, format!("It cannot be changed: {refusal}"));
                self.tell(row);
                return Ok(());
            }
        };
        let what = changed(before, &after);
        if what.is_empty() {
            self.report.unchanged += 1;
            return Ok(());
        }
        row.set_outcome(ImportOutcome::Updated);
        row.detail = match row.detail.as_str() {
            "" => format!("Changed: {what}"),
            odd => format!("{odd}; changed: {what}"),
        };
        if self.order.effect == Effect::Real {
            match self.store.update_session(pool, &before.name, change, on).await {
                Ok(_) => {}
                Err(store::Error::Refused(refusal)) => intake::refuse(
                    &mut row,
                    format!("It became another while the sync ran: {refusal}"),
                ),
                Err(error) => return Err(error.into()),
            }
        }
        self.tell(row);
        Ok(())
    }

    async fn add_all(&mut self) -> Result<(), Fault> {
        let adding = std::mem::take(&mut self.adding);
        if self.order.effect == Effect::Told {
            for (row, _) in adding {
                self.tell(row);
            }
            return Ok(());
        }
        let (store, sees, pool) = (self.store, self.sees, self.order.pool.clone());
        let done: Vec<_> = stream::iter(adding)
            .map(|(row, session)| intake::add(store, sees, &pool, row, session))
            .buffered(IN_FLIGHT)
            .collect()
            .await;
        for row in done {
            self.tell(row?);
        }
        Ok(())
    }

    /// Removes a session that vanished, if nothing stands in the way.
    async fn remove(&mut self, view: SessionView) -> Result<(), Fault> {
        let name = view.record.name.clone();
        let mut row = ImportRow {
            session: name.to_string(),
            fingerprint: view.record.fingerprint.to_string(),
            account_id: view.record.account_id,
            ..ImportRow::default()
        };
        let spared = match &self.unknown {
            Some(file) => Some(format!("Nothing is removed while {file} cannot be read")),
            None => self
                .unreadable
                .iter()
                .find(|file| is_named_after(&name, file))
                .map(|file| format!("It is not removed while {file} cannot be read")),
        };
        let spared = match spared {
            Some(why) => Some(why),
            None => self.removed(&view).await?.map(|state| {
                self.report.waiting += 1;
                format!("It is {} and is removed once it is free", state.name())
            }),
        };
        if let Some(why) = spared {
            row.set_outcome(ImportOutcome::Spared);
            row.detail = why;
        } else {
            row.set_outcome(ImportOutcome::Removed);
            self.names.remove(&name);
        }
        self.tell(row);
        Ok(())
    }

    /// Removes a session, or tells the state that stands in the way.
    async fn removed(&self, view: &SessionView) -> Result<Option<SessionState>, Fault> {
        if self.order.effect == Effect::Told {
            let state = view.standing.state(view.at);
            let is_in_use = matches!(state, SessionState::Leased | SessionState::Resting);
            return Ok(is_in_use.then_some(state));
        }
        match self.store.remove(&self.order.pool, &view.record.name, &self.order.on).await {
            Ok(()) => Ok(None),
            Err(store::Error::Refused(refusal)) => match *refusal {
                Refusal::SessionNotFound { .. } => Ok(None),
                Refusal::InappropriateState { state, .. } => Ok(Some(state)),
                other => Err(store::Error::from(other).into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}

/// What the source says of a session that the pool has. What it does not say stays as it is.
fn difference(held: &SessionRecord, session: NewSession) -> SessionChange {
    let device = session.device.map(|said| laid_over(held.device.as_ref(), said));
    SessionChange {
        fingerprint: Some(session.fingerprint),
        edits: session.labels.into_iter().map(|(key, value)| (key, Some(value))).collect(),
        proxy: session.proxy.map_or(Edit::Keep, Edit::Set),
        device: device.map_or(Edit::Keep, Edit::Set),
        account_id: session.account_id.map_or(Edit::Keep, Edit::Set),
        ..SessionChange::default()
    }
}

/// A device profile whose fields win over those of the one that is held.
fn laid_over(held: Option<&Credential>, said: Credential) -> Credential {
    let held = held.and_then(|held| DeviceProfile::decode(held.0.as_slice()).ok());
    let Some(mut profile) = held else { return said };
    match profile.merge(said.0.as_slice()) {
        Ok(()) => Credential(profile.encode_to_vec()),
        Err(_) => said,
    }
}

/// Whether a session's name was made of a file's: it may have got an ending.
fn is_named_after(session: &SessionName, file: &str) -> bool {
    let rest = session.as_str().strip_prefix(file);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}
