//! The flags of a pool's policy of escalation.

use std::time::Duration;

use clap::ValueEnum;
use telegate::proto::v1::EscalationPolicy;

use super::span;

#[derive(clap::Args, Clone, Copy)]
#[command(next_help_heading = "Escalation: when many small cool-downs become a large one")]
pub(crate) struct Args {
    /// Whether they do [of a new pool: on].
    #[arg(long, value_enum)]
    escalation: Option<Switch>,
    /// How many methods of a session flood until all of it rests [of a new pool: 3].
    #[arg(long, value_name = "COUNT")]
    session_methods: Option<u32>,
    /// The window in which they are counted [of a new pool: 10m].
    #[arg(long, value_parser = span::parse)]
    session_window: Option<Duration>,
    /// A single wait so long makes the whole session rest, too [of a new pool: 1h].
    #[arg(long, value_parser = span::parse)]
    session_wait: Option<Duration>,
    /// The longest such rest [of a new pool: 15m].
    #[arg(long, value_parser = span::parse)]
    session_rest: Option<Duration>,
    /// How many sessions flood on a method until it is braked in the pool [of a new pool: 2].
    #[arg(long, value_name = "COUNT")]
    method_sessions: Option<u32>,
    /// The window in which they are counted [of a new pool: 15m].
    #[arg(long, value_parser = span::parse)]
    method_window: Option<Duration>,
    /// Only waits so long are counted [of a new pool: 5m].
    #[arg(long, value_parser = span::parse)]
    method_wait: Option<Duration>,
    /// The longest brake [of a new pool: 1h].
    #[arg(long, value_parser = span::parse)]
    method_brake: Option<Duration>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Args {
    /// Whether any of it is said.
    pub(crate) fn is_said(&self) -> bool {
        let Self { escalation, session_methods, method_sessions, .. } = *self;
        let spans = [
            self.session_window,
            self.session_wait,
            self.session_rest,
            self.method_window,
            self.method_wait,
            self.method_brake,
        ];
        escalation.is_some()
            || session_methods.or(method_sessions).is_some()
            || spans.iter().any(Option::is_some)
    }

    /// The policy with what is said laid over it.
    pub(crate) fn over(self, policy: EscalationPolicy) -> EscalationPolicy {
        let span = |said: Option<Duration>, kept| said.map(span::to_wire).or(kept);
        EscalationPolicy {
            disabled: self.escalation.map_or(policy.disabled, |switch| switch == Switch::Off),
            session_methods: self.session_methods.or(policy.session_methods),
            session_window: span(self.session_window, policy.session_window),
            session_wait: span(self.session_wait, policy.session_wait),
            session_rest: span(self.session_rest, policy.session_rest),
            method_sessions: self.method_sessions.or(policy.method_sessions),
            method_window: span(self.method_window, policy.method_window),
            method_wait: span(self.method_wait, policy.method_wait),
            method_brake: span(self.method_brake, policy.method_brake),
        }
    }
}

/// The policy in one line.
pub(crate) fn shown(policy: &EscalationPolicy) -> String {
    if policy.disabled {
        return "off".to_owned();
    }
    let span = |span: Option<&pbjson_types::Duration>| {
        span.map(span::of_wire).map(span::show).unwrap_or_default()
    };
    format!(
        "{} methods in {} or a wait of {} rest a session for at most {}; {} sessions with waits of \
         {} in {} brake a method for at most {}",
        policy.session_methods.unwrap_or_default(),
        span(policy.session_window.as_ref()),
        span(policy.session_wait.as_ref()),
        span(policy.session_rest.as_ref()),
        policy.method_sessions.unwrap_or_default(),
        span(policy.method_wait.as_ref()),
        span(policy.method_window.as_ref()),
        span(policy.method_brake.as_ref()),
    )
}
