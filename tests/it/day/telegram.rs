//! Telegram as a day's workers meet it: it counts their calls, and remembers what it told them.

use std::collections::HashMap;

use telegate::pool::{Assessment, Report, Time, assess};

use crate::model::dice::Dice;

/// How often a method may be called, and for how long it is closed after that.
struct Limit {
    method: &'static str,
    calls: usize,
    window_secs: u64,
    /// The shortest and the longest wait.
    waits_secs: (u64, u64),
    kind: Kind,
}

/// What a limit closes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The method.
    Method,
    /// The method, but the library cannot tell which, so the whole session is taken for closed.
    Untold,
    /// The chat, for a moment after each message.
    Chat,
    /// All transfers.
    Transfer,
}

const LIMITS: [Limit; 6] = [
    limit("messages.search", 3, 14_400, (1_200, 36_000), Kind::Method),
    limit("messages.getHistory", 5, 3_600, (20, 900), Kind::Method),
    limit("channels.getFullChannel", 4, 7_200, (30, 6_000), Kind::Method),
    limit("contacts.resolveUsername", 2, 7_200, (600, 9_000), Kind::Untold),
    limit("messages.sendMessage", 1, 40, (5, 40), Kind::Chat),
    limit("upload.getFile", 6, 1_800, (10, 600), Kind::Transfer),
];

const fn limit(
    method: &'static str,
    calls: usize,
    window_secs: u64,
    waits_secs: (u64, u64),
    kind: Kind,
) -> Limit {
    Limit { method, calls, window_secs, waits_secs, kind }
}

/// What Telegram knows of each session.
#[derive(Default)]
pub(super) struct Telegram {
    calls: HashMap<(String, String), Vec<Time>>,
    closed: HashMap<(String, String), Time>,
    dead: HashMap<String, bool>,
}

/// An error, and what it closes: the key of its scope and until when at least.
pub(super) struct Trouble {
    pub(super) error: Assessment,
    pub(super) closes: Option<(String, Time)>,
}

impl Telegram {
    /// Whether Telegram still wants the session to keep away.
    pub(super) fn is_closed(&self, session: &str, method: &str, chat: &str, now: Time) -> bool {
        let limit = limit_of(method);
        let key = (session.to_owned(), place(limit, chat));
        self.closed.get(&key).is_some_and(|until| *until > now)
    }

    /// Answers a call; nothing is a good answer.
    pub(super) fn call(
        &mut self,
        dice: &mut Dice,
        session: &str,
        method: &str,
        chat: &str,
        now: Time,
    ) -> Option<Trouble> {
        if let Some(trouble) = self.mishap(dice, session) {
            return Some(trouble);
        }
        let limit = limit_of(method);
        let key = (session.to_owned(), place(limit, chat));
        let closed = self.closed.get(&key).copied().filter(|until| *until > now);
        let until = closed.or_else(|| {
            let calls = self.calls.entry(key.clone()).or_default();
            calls.retain(|at| at.since(Time(0)).0 + limit.window_secs * 1000 > now.0);
            calls.push(now);
            let (least, most) = limit.waits_secs;
            let wait = 1000 * (least + dice.below(most - least)) + dice.below(1000);
            (calls.len() > limit.calls).then(|| Time(now.0 + wait))
        })?;
        self.closed.insert(key, until);
        Some(tell(limit, method, chat, until, now))
    }

    /// Its owner logged in anew.
    pub(super) fn revive(&mut self, session: &str) {
        self.dead.remove(session);
    }

    /// What befalls a session whatever it calls.
    fn mishap(&mut self, dice: &mut Dice, session: &str) -> Option<Trouble> {
        let (code, message) = match dice.below(2_000) {
            0..=1 => {
                let is_dead = dice.once_in(3);
                self.dead.entry(session.to_owned()).or_insert(is_dead);
                (401, "AUTH_KEY_UNREGISTERED")
            }
            2..=3 => (400, "PEER_FLOOD"),
            4..=20 => (400, "MESSAGE_EMPTY"),
            21..=30 => (500, "INTERDC_2_CALL_ERROR"),
            _ if self.dead.get(session) == Some(&true) => (401, "AUTH_KEY_UNREGISTERED"),
            _ => return None,
        };
        let error = assess(&Report { code, message: message.into(), ..Report::default() });
        Some(Trouble { error, closes: None })
    }
}

fn limit_of(method: &str) -> &'static Limit {
    LIMITS.iter().find(|limit| limit.method == method).expect("a known method")
}

/// The key of the scope that a limit closes.
fn place(limit: &Limit, chat: &str) -> String {
    match limit.kind {
        Kind::Method => {
            let name = limit.method.split('.').next_back().unwrap_or_default();
            format!("method:{}", name.to_lowercase())
        }
        Kind::Untold => "session".to_owned(),
        Kind::Chat => format!("peer:{chat}"),
        Kind::Transfer => "capability:transfer".to_owned(),
    }
}

/// What the worker's library hears. Flood waits are told in whole seconds, rounded down.
fn tell(limit: &Limit, method: &str, chat: &str, until: Time, now: Time) -> Trouble {
    let left = until.since(now).0;
    let (down, up) = (left / 1000, left.div_ceil(1000));
    let (method, message, secs) = match limit.kind {
        Kind::Method => (method, format!("FLOOD_WAIT_{down}"), down + 1),
        Kind::Untold => ("", format!("FLOOD_WAIT_{down}"), down + 1),
        Kind::Chat => (method, format!("SLOWMODE_WAIT_{up}"), up),
        Kind::Transfer => (method, format!("FLOOD_PREMIUM_WAIT_{up}"), up),
    };
    let secs = if message.starts_with("FLOOD_WAIT_") { secs.max(2) } else { secs.max(1) };
    let error = assess(&Report {
        code: 420,
        message,
        method: method.to_owned(),
        peer: chat.to_owned(),
        occurred_at: Some(now),
        ..Report::default()
    });
    Trouble { error, closes: Some((place(limit, chat), Time(now.0 + secs * 1000))) }
}
