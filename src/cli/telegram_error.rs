//! The flags that tell an error of Telegram, for the words that report one.

use std::time::Duration;

use clap::Args;
use pbjson_types::Timestamp;
use telegate::{
    clock::Clock,
    proto::v1::{CoolDownScope, OtherSession, SessionState, TelegramError, Verdict, VerdictAction},
};

use super::{
    failure::{Exit, Failure},
    print, span,
};

#[derive(Args, Default)]
pub(crate) struct Details {
    /// The method that was called, for example `messages.getHistory`.
    #[arg(long, default_value = "", hide_default_value = true)]
    method: String,
    /// The chat or user that it was about.
    #[arg(long, default_value = "", hide_default_value = true)]
    peer: String,
    /// The code that came with the error.
    #[arg(long, default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    code: i32,
    /// The data centre that answered.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    dc: u32,
    /// The session's home data centre.
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    home_dc: u32,
    /// The library made the wait up from an earlier one, without asking Telegram; it is then not
    /// counted as a flood.
    #[arg(long)]
    local: bool,
    /// How long ago it happened, for example 30s [default: now].
    #[arg(long, value_parser = span::parse, value_name = "DURATION")]
    ago: Option<Duration>,
}

impl Details {
    /// The error. A number alone is a code; all else is what Telegram or a library wrote.
    pub(crate) fn error(self, text: &str) -> Result<TelegramError, Failure> {
        let mut error = TelegramError {
            library: "telegate".to_owned(),
            code: self.code,
            method: self.method,
            peer: self.peer,
            dc_id: self.dc,
            home_dc_id: self.home_dc,
            local: self.local,
            occur_time: self.ago.map(before_now).transpose()?,
            ..TelegramError::default()
        };
        match text.trim().parse() {
            Ok(code) if self.code == 0 => error.code = code,
            _ => text.trim().clone_into(&mut error.message),
        }
        Ok(error)
    }
}

fn before_now(ago: Duration) -> Result<Timestamp, Failure> {
    let now = Duration::from_millis(Clock::system().now().0);
    let early = || Failure::new(Exit::Usage, "--ago reaches back before 1970");
    let at = now.checked_sub(ago).ok_or_else(early)?;
    let at = span::to_wire(at);
    Ok(Timestamp { seconds: at.seconds, nanos: at.nanos })
}

/// A verdict, for people.
pub(crate) fn verdict(verdict: &Verdict) -> Vec<(&'static str, String)> {
    let name = |name: &'static str, prefix| print::value(name, prefix).to_owned();
    let action = VerdictAction::try_from(verdict.action).unwrap_or_default();
    let other = OtherSession::try_from(verdict.other_session).unwrap_or_default();
    let state = SessionState::try_from(verdict.session_state).unwrap_or_default();
    let retry = verdict.retry_after.as_ref().map(span::of_wire).map(span::show);
    let dc = if verdict.dc_id == 0 { String::new() } else { verdict.dc_id.to_string() };
    vec![
        ("name", verdict.name.clone()),
        ("action", name(action.as_str_name(), "VERDICT_ACTION_")),
        ("scope", scope(verdict.scope, &verdict.subject)),
        ("until", print::moment(verdict.until.as_ref())),
        ("retry after", retry.unwrap_or_default()),
        ("go to", dc),
        ("another session", name(other.as_str_name(), "OTHER_SESSION_")),
        ("session", name(state.as_str_name(), "SESSION_STATE_")),
        ("rule", verdict.rule.clone()),
        ("escalations", verdict.escalations.join(", ")),
        ("why", verdict.detail.clone()),
    ]
}

/// A scope and its subject; empty when nothing is closed.
pub(crate) fn scope(scope: i32, subject: &str) -> String {
    let scope = CoolDownScope::try_from(scope).unwrap_or_default();
    if scope == CoolDownScope::Unspecified {
        return String::new();
    }
    let scope = print::value(scope.as_str_name(), "COOL_DOWN_SCOPE_");
    if subject.is_empty() { scope.to_owned() } else { format!("{scope} {subject}") }
}
