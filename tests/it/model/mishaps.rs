//! The errors that a history meets, and the scopes that it asks for.

use telegate::pool::{
    Assessment, Escalations, Report, Span, Time, assess,
    verdict::{Capability, Scope},
};

use super::dice::Dice;

/// Few methods, so that their floods meet, each in several spellings.
const METHODS: [&str; 7] = [
    "messages.search",
    "SearchRequest",
    "messages.getHistory",
    "GetHistory",
    "channels.inviteToChannel",
    "upload.getFile",
    "SaveFilePartRequest",
];
/// Few peers.
const PEERS: [&str; 3] = ["chat 1", "chat 2", "Chat 1"];
/// How long Telegram says to wait, in seconds, round about what the policies count with.
const WAITS: [i64; 10] = [0, 1, 4, 9, 29, 30, 59, 120, 3_600, 100_000];
/// How many peers one lease meets trouble with when it meets much: more than are kept.
const MUCH: u64 = 70;

/// An error, as a worker reports it.
pub(super) fn error(dice: &mut Dice, now: Time) -> Assessment {
    let wait = *dice.pick(&WAITS);
    let code = |code, message: &str| (code, message.to_owned());
    let (code, message) = match dice.below(24) {
        0..=9 => code(420, &format!("FLOOD_WAIT_{wait}")),
        10 => code(420, &format!("SLOWMODE_WAIT_{wait}")),
        11 => code(420, &format!("FLOOD_PREMIUM_WAIT_{wait}")),
        12 => code(420, &format!("SOMETHING_NEW_{}", now.0 / 1000 + dice.below(200))),
        13 => code(400, "PEER_FLOOD"),
        14 => code(420, "FROZEN_METHOD_INVALID"),
        15 => code(-429, ""),
        16..=18 => code(401, "AUTH_KEY_UNREGISTERED"),
        19 => {
            let fatal = ["SESSION_REVOKED", "USER_DEACTIVATED_BAN", "AUTH_KEY_DUPLICATED"];
            code(401, dice.pick::<&str>(&fatal))
        }
        20..=21 => code(400, "MESSAGE_EMPTY"),
        22 => code(403, "CHAT_WRITE_FORBIDDEN"),
        _ => code(500, "INTERDC_2_CALL_ERROR"),
    };
    let method = if dice.once_in(8) { "" } else { dice.pick::<&str>(&METHODS) };
    let peer = if dice.once_in(3) { "" } else { dice.pick::<&str>(&PEERS) };
    let occurred_at = match dice.below(8) {
        0 => Some(now - Span(*dice.pick(&[1, 5_000, 30_000, 60_000]))),
        1 => Some(now + Span::secs(5)),
        _ => None,
    };
    assess(&Report {
        code,
        message,
        method: method.to_owned(),
        peer: peer.to_owned(),
        occurred_at,
        ..Report::default()
    })
}

/// A flood on a method or, rarely, of all of them.
pub(super) fn flood(dice: &mut Dice) -> Assessment {
    let message = format!("FLOOD_WAIT_{}", dice.pick(&WAITS));
    let method = if dice.once_in(4) { "" } else { dice.pick::<&str>(&METHODS) }.to_owned();
    assess(&Report { code: 420, message, method, ..Report::default() })
}

/// Many peers in slow mode.
pub(super) fn slow_modes(dice: &mut Dice) -> Vec<Assessment> {
    let slow_mode = |number| {
        let message = format!("SLOWMODE_WAIT_{}", 5 + dice.below(60));
        assess(&Report { code: 420, message, peer: format!("peer {number}"), ..Report::default() })
    };
    (0..MUCH).map(slow_mode).collect()
}

/// What an Acquire says that it will call.
pub(super) fn methods(dice: &mut Dice) -> Vec<String> {
    let count = *dice.pick(&[0, 0, 1, 1, 2]);
    (0..count).map(|_| (*dice.pick(&METHODS)).to_owned()).collect()
}

/// Whom an Acquire says that it will be about.
pub(super) fn peer(dice: &mut Dice) -> Option<String> {
    dice.once_in(5).then(|| (*dice.pick(&PEERS)).to_owned())
}

/// A scope that may be closed.
pub(super) fn scope(dice: &mut Dice) -> Scope {
    match dice.below(5) {
        0 | 1 => Scope::Method((*dice.pick(&METHODS)).to_owned()),
        2 => Scope::Peer((*dice.pick(&PEERS)).to_owned()),
        3 => Scope::Capability(*dice.pick(&[Capability::Transfer, Capability::Strangers])),
        _ => dice.pick(&[Scope::Session, Scope::Egress]).clone(),
    }
}

/// When a pool escalates: soon, or a history meets none of it.
pub(super) fn escalations(dice: &mut Dice) -> Escalations {
    Escalations {
        disabled: dice.once_in(6),
        session_methods: *dice.pick(&[2, 3]),
        session_window: Span::secs(*dice.pick(&[10, 60])),
        session_wait: Span::secs(*dice.pick(&[60, 3_600])),
        session_rest: Span::secs(*dice.pick(&[5, 30])),
        method_sessions: *dice.pick(&[2, 3]),
        method_window: Span::secs(*dice.pick(&[10, 60])),
        method_wait: Span::secs(*dice.pick(&[5, 30])),
        method_brake: Span::secs(*dice.pick(&[5, 30, 3_600])),
    }
}
