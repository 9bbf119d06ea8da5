//! What the screen is about, and what keys do to it.

use ratatui::{
    crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    widgets::TableState,
};
use telegate::proto::v1::{Lease, MethodFloods, PoolMode, PoolOverview, Session, SessionState};

use super::{
    feed::{Inside, Seen, Wish},
    order::Order,
};

/// The longest filter, in characters.
const MAX_FILTER: usize = 40;
/// The states that `s` goes through.
const STATES: [Option<SessionState>; 6] = [
    None,
    Some(SessionState::Leased),
    Some(SessionState::Resting),
    Some(SessionState::FloodWait),
    Some(SessionState::Suspect),
    Some(SessionState::Invalid),
];

/// What the lower half shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pane {
    Sessions,
    Leases,
    Waiters,
    Floods,
}

impl Pane {
    pub(crate) const ALL: [Self; 4] = [Self::Sessions, Self::Leases, Self::Waiters, Self::Floods];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Leases => "leases",
            Self::Waiters => "waiters",
            Self::Floods => "floods",
        }
    }
}

/// Whom the next key is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The tables.
    Look,
    /// The filter that is being written.
    Filter,
    /// The question whether to do something.
    Ask(Order),
}

/// What a key leads to, besides another picture.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Press {
    Nothing,
    Quit,
    /// Something else is to be looked at.
    Look,
    Do(Order),
}

/// What the screen is about.
pub(crate) struct State {
    pub(crate) address: String,
    pub(crate) seen: Seen,
    /// What stands in the way of seeing more, or what came of an order.
    pub(crate) told: Option<String>,
    pub(crate) pane: Pane,
    pub(crate) mode: Mode,
    pub(crate) filter: String,
    pub(crate) rows: TableState,
    pool: Option<String>,
    only: Option<SessionState>,
}

impl State {
    pub(crate) fn new(address: String, seen: Seen) -> Self {
        let pool = seen.pool.as_ref().map(|pool| pool.name.clone());
        Self {
            address,
            seen,
            told: None,
            pane: Pane::Sessions,
            mode: Mode::Look,
            filter: String::new(),
            rows: TableState::default().with_selected(0),
            pool,
            only: None,
        }
    }

    /// What is to be looked at.
    pub(crate) fn wish(&self) -> Wish {
        Wish { pool: self.pool.clone(), state: self.only }
    }

    /// Takes in what was seen. What was looked for before the wish changed comes too late.
    pub(crate) fn take(&mut self, seen: Result<Seen, String>) {
        match seen {
            Ok(seen) => {
                let shown = seen.pool.as_ref().map(|pool| pool.name.clone());
                if self.pool.is_none() {
                    self.pool = shown;
                }
                self.seen = seen;
                if self.told.as_ref().is_some_and(|told| told.starts_with(NO_NEWS)) {
                    self.told = None;
                }
            }
            Err(why) => self.told = Some(format!("{NO_NEWS}{why}")),
        }
    }

    /// Tells what came of an order.
    pub(crate) fn tell(&mut self, said: String) {
        self.told = Some(said);
    }

    /// The pool that is looked at.
    pub(crate) fn pool(&self) -> Option<&str> {
        self.pool.as_deref()
    }

    /// What is known of its inside.
    pub(crate) fn inside(&self) -> Option<&Inside> {
        self.seen.pool.as_ref().filter(|pool| Some(pool.name.as_str()) == self.pool())
    }

    /// The state that sessions are shown of.
    pub(crate) const fn only(&self) -> Option<SessionState> {
        self.only
    }

    /// Where the pool stands among the pools.
    pub(crate) fn place(&self) -> Option<usize> {
        self.seen.pools.iter().position(|pool| name(pool) == self.pool())
    }

    /// The sessions that are shown.
    pub(crate) fn sessions(&self) -> Vec<&Session> {
        let all = self.inside().map(|pool| pool.sessions.as_slice()).unwrap_or_default();
        all.iter().filter(|session| self.fits(&session_text(session))).collect()
    }

    /// The leases that are shown.
    pub(crate) fn leases(&self) -> Vec<&Lease> {
        let all = self.inside().map(|pool| pool.leases.as_slice()).unwrap_or_default();
        all.iter().filter(|lease| self.fits(&lease_text(lease))).collect()
    }

    /// The pool that is looked at, as the list has it.
    pub(crate) fn overview(&self) -> Option<&PoolOverview> {
        self.seen.pools.get(self.place()?)
    }

    /// The floods that are shown.
    pub(crate) fn floods(&self) -> Vec<&MethodFloods> {
        let all = self.overview().map(|pool| pool.floods.as_slice()).unwrap_or_default();
        all.iter().filter(|floods| self.fits(&floods.method)).collect()
    }

    fn fits(&self, text: &str) -> bool {
        text.to_lowercase().contains(&self.filter.to_lowercase())
    }

    /// What a pressed key does.
    pub(crate) fn press(&mut self, key: KeyEvent) -> Press {
        if key.kind != KeyEventKind::Press {
            return Press::Nothing;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Press::Quit;
        }
        if self.told.as_ref().is_some_and(|told| !told.starts_with(NO_NEWS)) {
            self.told = None;
        }
        match std::mem::replace(&mut self.mode, Mode::Look) {
            Mode::Look => self.press_to_look(key.code),
            Mode::Filter => self.press_to_filter(key.code),
            Mode::Ask(order) => {
                if matches!(key.code, KeyCode::Char('y' | 'Y')) {
                    return Press::Do(order);
                }
                self.tell("nothing was done".to_owned());
                Press::Nothing
            }
        }
    }

    fn press_to_look(&mut self, key: KeyCode) -> Press {
        match key {
            KeyCode::Char('q') => return Press::Quit,
            KeyCode::Esc if self.filter.is_empty() => return Press::Quit,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Tab => self.turn(1),
            KeyCode::BackTab => self.turn(Pane::ALL.len() - 1),
            KeyCode::Down | KeyCode::Char('j') => self.rows.select_next(),
            KeyCode::Up | KeyCode::Char('k') => self.rows.select_previous(),
            KeyCode::PageDown => self.rows.scroll_down_by(10),
            KeyCode::PageUp => self.rows.scroll_up_by(10),
            KeyCode::Home => self.rows.select_first(),
            KeyCode::End => self.rows.select_last(),
            KeyCode::Right | KeyCode::Char('l' | ']') => return self.change_pool(1),
            KeyCode::Left | KeyCode::Char('h' | '[') => return self.change_pool(-1),
            KeyCode::Char('s') => {
                let place = STATES.iter().position(|state| *state == self.only).unwrap_or(0);
                self.only = STATES[(place + 1) % STATES.len()];
                self.rows.select(Some(0));
                return Press::Look;
            }
            KeyCode::Char('p') => self.ask(self.pause()),
            KeyCode::Char('r') => self.ask(self.restore()),
            KeyCode::Char('x') => self.ask(self.revoke()),
            _ => {}
        }
        Press::Nothing
    }

    fn press_to_filter(&mut self, key: KeyCode) -> Press {
        match key {
            KeyCode::Enter => return Press::Nothing,
            KeyCode::Esc => {
                self.filter.clear();
                return Press::Nothing;
            }
            KeyCode::Backspace => _ = self.filter.pop(),
            KeyCode::Char(letter) if self.filter.chars().count() < MAX_FILTER => {
                self.filter.push(letter);
                self.rows.select(Some(0));
            }
            _ => {}
        }
        self.mode = Mode::Filter;
        Press::Nothing
    }

    fn turn(&mut self, by: usize) {
        let place = Pane::ALL.iter().position(|pane| *pane == self.pane).unwrap_or(0);
        self.pane = Pane::ALL[(place + by) % Pane::ALL.len()];
        self.rows.select(Some(0));
    }

    fn change_pool(&mut self, by: isize) -> Press {
        let last = self.seen.pools.len().saturating_sub(1);
        let place = self.place().unwrap_or(0).saturating_add_signed(by).min(last);
        let pool = self.seen.pools.get(place).and_then(name).map(str::to_owned);
        if pool == self.pool {
            return Press::Nothing;
        }
        self.pool = pool;
        self.rows.select(Some(0));
        Press::Look
    }

    fn ask(&mut self, order: Result<Order, &'static str>) {
        match order {
            Ok(order) => self.mode = Mode::Ask(order),
            Err(why) => self.tell(why.to_owned()),
        }
    }

    fn pause(&self) -> Result<Order, &'static str> {
        let place = self.place().ok_or("there is no pool to pause")?;
        let pool = self.seen.pools[place].pool.clone().unwrap_or_default();
        Ok(match pool.mode() {
            PoolMode::Paused | PoolMode::Draining => Order::Resume { pool: pool.name },
            PoolMode::Active | PoolMode::Unspecified => Order::Pause { pool: pool.name },
        })
    }

    fn restore(&self) -> Result<Order, &'static str> {
        const WHICH: &str = "choose an INVALID or SUSPECT session to bring back";
        let session = self.chosen_session().ok_or(WHICH)?;
        match session.state() {
            SessionState::Invalid | SessionState::Suspect => {
                Ok(Order::Restore { pool: session.pool.clone(), session: session.name.clone() })
            }
            _ => Err(WHICH),
        }
    }

    fn revoke(&self) -> Result<Order, &'static str> {
        let leased = match self.pane {
            Pane::Sessions => self
                .chosen_session()
                .filter(|session| session.state() == SessionState::Leased)
                .map(|session| (session.pool.clone(), session.name.clone())),
            Pane::Leases => {
                let leases = self.leases();
                let lease = self.rows.selected().and_then(|row| leases.get(row).copied());
                lease.map(|lease| (lease.pool.clone(), lease.session.clone()))
            }
            Pane::Waiters | Pane::Floods => None,
        };
        let (pool, session) = leased.ok_or("choose a lease, or a LEASED session, to end it")?;
        Ok(Order::Revoke { pool, session })
    }

    fn chosen_session(&self) -> Option<&Session> {
        let chosen = self.rows.selected().filter(|_| self.pane == Pane::Sessions)?;
        self.sessions().get(chosen).copied()
    }
}

/// What is said before why nothing new was seen.
const NO_NEWS: &str = "no news: ";

fn name(pool: &PoolOverview) -> Option<&str> {
    pool.pool.as_ref().map(|pool| pool.name.as_str())
}

fn session_text(session: &Session) -> String {
    let labels = session.labels.iter().map(|(key, value)| format!("{key}={value} "));
    let holder = session.holder.clone().unwrap_or_default();
    let state = session.state().as_str_name();
    let labels = labels.collect::<String>();
    format!("{} {state} {labels}{} {}", session.name, holder.key_id, holder.purpose)
}

fn lease_text(lease: &Lease) -> String {
    let holder = lease.holder.clone().unwrap_or_default();
    format!("{} {} {}", lease.session, holder.key_id, holder.purpose)
}
