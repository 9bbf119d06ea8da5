//! How the manual says what the tables hold.

use std::time::Duration;

use crate::pool::{
    Escalation, Escalations, InvalidReason, MAX_COOL_DOWNS, Span,
    verdict::{Action, Codes, OtherSession, Place, Reach, Wait, When},
};

/// An action, as a word of the contract and what it asks for.
#[must_use]
pub fn action(action: Action) -> String {
    let asks = match action {
        Action::Retry => "try the same again on the same session",
        Action::CoolDown => "leave the scope alone until its time",
        Action::Migrate => "ask another data centre",
        Action::FixRequest => "mend the request; the session is fine",
        Action::Denied => "let another session do it, if one may",
        Action::Restricted => "leave the scope alone; nobody tells until when",
        Action::Verify => "stop; a probe must tell whether the session is dead",
        Action::Invalidated(reason) => {
            let name = invalid_reason(reason);
            return format!("`INVALIDATED` ({name}): stop; the session is dead");
        }
        Action::Login => "tell whoever logs in",
        Action::App => "tell whoever runs the application",
    };
    format!("`{}`: {asks}", action.name())
}

fn invalid_reason(reason: InvalidReason) -> &'static str {
    match reason {
        InvalidReason::Banned => "BANNED",
        InvalidReason::Deactivated => "DEACTIVATED",
        InvalidReason::Revoked => "REVOKED",
        InvalidReason::Expired => "EXPIRED",
        InvalidReason::KeyDuplicated => "KEY_DUPLICATED",
        InvalidReason::KeyUnregistered => "KEY_UNREGISTERED",
        InvalidReason::Operator => "OPERATOR",
        InvalidReason::Other => "OTHER",
    }
}

/// What a ruling is about, before a report names it.
pub(super) fn place(place: Place, reach: Reach) -> String {
    let what = match place {
        Place::Request => "the request alone".to_owned(),
        Place::Session => "the whole session".to_owned(),
        Place::Method => "the method; without its name, a cool-down takes the session".to_owned(),
        Place::MethodOr(capability) => {
            format!("the method; without its name, the capability `{capability}`")
        }
        Place::Peer => {
            "the chat or user; without its name, a cool-down takes the method, or the session"
                .to_owned()
        }
        Place::Capability(capability) => format!("the capability `{capability}`"),
        Place::Egress => "the way out to Telegram".to_owned(),
    };
    match reach {
        Reach::Session => what,
        Reach::Account => format!("{what}, of every session of the account"),
    }
}

/// Where a wait comes from.
pub(super) fn wait(wait: Wait) -> String {
    let shown = |span: Span| lasting(Duration::from_millis(span.0));
    match wait {
        Wait::Unknown => "none is known".to_owned(),
        Wait::Seconds { margin: Span::ZERO } => "the number, in seconds".to_owned(),
        Wait::Seconds { margin } => format!("the number, in seconds, and {}", shown(margin)),
        Wait::Minutes => "the number, in minutes".to_owned(),
        Wait::DateOrSeconds => "the number: a Unix date if large, else seconds".to_owned(),
        Wait::Fixed(span) => shown(span),
        Wait::Growing { first, most } => {
            format!("{}, doubling up to {}", shown(first), shown(most))
        }
    }
}

/// Whether another session would help.
#[must_use]
pub const fn other_session(other: OtherSession) -> &'static str {
    match other {
        OtherSession::Yes => "helps",
        OtherSession::No => "does not help",
        OtherSession::Maybe => "may help",
        OtherSession::Premium => "helps if it has Telegram Premium",
        OtherSession::OtherKind => "helps if it is of another kind: a bot, or a user",
        OtherSession::OtherEgress => "helps if it goes out by another proxy",
    }
}

/// What is told of a rule of escalation.
pub(super) struct EscalationWords {
    /// When it fires.
    pub(super) when: String,
    /// What it does.
    pub(super) effect: String,
    /// Which fields of the policy change it.
    pub(super) knobs: &'static str,
}

/// What the manual says of a rule of escalation, with the defaults of the policy.
pub(super) fn escalation(escalation: Escalation) -> EscalationWords {
    let shown = |span: Span| lasting(Duration::from_millis(span.0));
    let policy = Escalations::default();
    let (session_rest, brake) = (shown(policy.session_rest), shown(policy.method_brake));
    let (when, effect, knobs) = match escalation {
        Escalation::E1 => (
            format!(
                "A session flooded on {} different methods within {}.",
                policy.session_methods,
                shown(policy.session_window)
            ),
            format!(
                "The whole session cools down until the last of them ends, at most {session_rest}."
            ),
            "`session_methods`, `session_window`, `session_rest`",
        ),
        Escalation::E2 => (
            format!("A session got a wait of {} or more on a method.", shown(policy.session_wait)),
            format!("The whole session cools down for the wait, at most {session_rest}."),
            "`session_wait`, `session_rest`",
        ),
        Escalation::E3 => (
            format!(
                "{} sessions of the pool got waits of {} or more on one method within {}.",
                policy.method_sessions,
                shown(policy.method_wait),
                shown(policy.method_window)
            ),
            format!(
                "No session of the pool is lent for the method, for the wait, at most {brake}; an \
                 Acquire that names it gets `POOL_FLOOD_WAIT`."
            ),
            "`method_sessions`, `method_wait`, `method_window`, `method_brake`",
        ),
        Escalation::E4 => (
            "A wait that doubles, such as that of `PEER_FLOOD`, came back after it was over, and \
             before it had been over for the longest such wait."
                .to_owned(),
            "It is twice as long as the last time, up to the most that its rule says.".to_owned(),
            "none but `disabled`",
        ),
        Escalation::E5 => (
            format!("A session has more than {MAX_COOL_DOWNS} cool-downs at once."),
            "The narrow one that ends first is dropped, and the whole session cools down until \
             that end."
                .to_owned(),
            "none: what is kept of a session is bounded",
        ),
    };
    EscalationWords { when, effect, knobs }
}

pub(super) fn codes(codes: Codes) -> String {
    match codes {
        Codes::Any => "under any code".to_owned(),
        Codes::These(codes) => {
            let codes: Vec<_> = codes.iter().map(ToString::to_string).collect();
            format!("under code {}", codes.join(" or "))
        }
        Codes::Missing => "without a code".to_owned(),
        Codes::Server => "under a code of 500 or more, below zero, or none".to_owned(),
    }
}

pub(super) fn when(when: When) -> String {
    match when {
        When::Named(name) => format!("For `{name}`"),
        When::AwayFromHome => "From a data centre that is not the session's home".to_owned(),
        When::AskingABot => "When the method waits for a bot's answer".to_owned(),
    }
}

/// A length of time in the largest units that fit: `10ms`, `90s`, `24h`.
#[must_use]
pub fn lasting(span: Duration) -> String {
    let millis = span.as_millis();
    let units = [(86_400_000, " days", 2), (3_600_000, "h", 1), (60_000, "min", 2), (1000, "s", 0)];
    let fits = |(unit, _, least): &(u128, &str, u128)| {
        millis.is_multiple_of(*unit) && millis / unit >= *least
    };
    let (unit, name, _) = units.into_iter().find(fits).unwrap_or((1, "ms", 0));
    format!("{}{name}", millis / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_told_in_the_unit_that_fits() {
        for (millis, told) in [
            (0, "0s"),
            (10, "10ms"),
            (1_500, "1500ms"),
            (60_000, "60s"),
            (600_000, "10min"),
            (3_600_000, "1h"),
            (86_400_000, "24h"),
            (604_800_000, "7 days"),
        ] {
            assert_eq!(lasting(Duration::from_millis(millis)), told);
        }
    }
}
