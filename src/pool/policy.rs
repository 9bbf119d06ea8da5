//! How leases of a pool's sessions are given and kept.

use serde::{Deserialize, Serialize};

use super::Span;

/// The policy of a pool. Valid by construction where it came through [`Policy::faults`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// The shortest TTL a lease can have.
    pub min_ttl: Span,
    /// The TTL of a lease whose Acquire wishes none.
    pub default_ttl: Span,
    /// The longest TTL a lease can have.
    pub max_ttl: Span,
    /// The longest a lease can live through renewals.
    pub max_lifetime: Span,
    /// How long a session rests after a clean release.
    pub rest: Span,
    /// How long a session rests after its lease expired or was taken away.
    pub drain: Span,
    /// How many calls may wait at once.
    pub max_waiters: u32,
    /// When many small cool-downs become a large one.
    pub escalation: Escalations,
}

/// When many small cool-downs become one for the whole session, or for a method in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Escalations {
    /// Switches all of it off.
    pub disabled: bool,
    /// How many distinct methods of a session flood until the whole session rests.
    pub session_methods: u32,
    /// The window in which they are counted.
    pub session_window: Span,
    /// A single wait at least this long makes the whole session rest.
    pub session_wait: Span,
    /// The longest such rest.
    pub session_rest: Span,
    /// How many sessions flood on one method until it is braked in the whole pool.
    pub method_sessions: u32,
    /// The window in which they are counted.
    pub method_window: Span,
    /// Only waits at least this long are counted.
    pub method_wait: Span,
    /// The longest brake.
    pub method_brake: Span,
}

impl Default for Escalations {
    fn default() -> Self {
        Self {
            disabled: false,
            session_methods: 3,
            session_window: Span::minutes(10),
            session_wait: Span::hours(1),
            session_rest: Span::minutes(15),
            method_sessions: 2,
            method_window: Span::minutes(15),
            method_wait: Span::minutes(5),
            method_brake: Span::hours(1),
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            min_ttl: Span::secs(5),
            default_ttl: Span::secs(60),
            max_ttl: Span::hours(1),
            max_lifetime: Span::hours(24),
            rest: Span::ZERO,
            drain: Span::secs(30),
            max_waiters: 1000,
            escalation: Escalations::default(),
        }
    }
}

/// New values for some fields of a policy; the others stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyChange {
    /// The shortest TTL a lease can have.
    pub min_ttl: Option<Span>,
    /// The TTL of a lease whose Acquire wishes none.
    pub default_ttl: Option<Span>,
    /// The longest TTL a lease can have.
    pub max_ttl: Option<Span>,
    /// The longest a lease can live through renewals.
    pub max_lifetime: Option<Span>,
    /// How long a session rests after a clean release.
    pub rest: Option<Span>,
    /// How long a session rests after its lease expired or was taken away.
    pub drain: Option<Span>,
    /// How many calls may wait at once.
    pub max_waiters: Option<u32>,
    /// When many small cool-downs become a large one.
    pub escalation: Option<Escalations>,
}

impl PolicyChange {
    /// The policy that it makes of another, fit or not.
    #[must_use]
    pub fn apply(&self, policy: &Policy) -> Policy {
        Policy {
            min_ttl: self.min_ttl.unwrap_or(policy.min_ttl),
            default_ttl: self.default_ttl.unwrap_or(policy.default_ttl),
            max_ttl: self.max_ttl.unwrap_or(policy.max_ttl),
            max_lifetime: self.max_lifetime.unwrap_or(policy.max_lifetime),
            rest: self.rest.unwrap_or(policy.rest),
            drain: self.drain.unwrap_or(policy.drain),
            max_waiters: self.max_waiters.unwrap_or(policy.max_waiters),
            escalation: self.escalation.unwrap_or(policy.escalation),
        }
    }
}

/// Something that a policy may not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFault {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub fault: String,
}

impl Policy {
    /// Whether the pool grants this TTL: the wish, or the default, clamped to the range.
    #[must_use]
    pub fn clamp_ttl(&self, wish: Option<Span>) -> Span {
        wish.unwrap_or(self.default_ttl).clamp(self.min_ttl, self.max_ttl)
    }

    /// Everything that is wrong with the policy, at once.
    #[must_use]
    pub fn faults(&self) -> Vec<PolicyFault> {
        let (second, day, fortnight) = (Span::secs(1), Span::hours(24), Span::hours(14 * 24));
        let escalation = &self.escalation;
        let checks = [
            ("min_ttl", self.min_ttl, second, day),
            ("max_ttl", self.max_ttl, self.min_ttl, day),
            ("default_ttl", self.default_ttl, self.min_ttl, self.max_ttl),
            ("max_lifetime", self.max_lifetime, self.max_ttl, Span::hours(24 * 30)),
            ("rest", self.rest, Span::ZERO, day),
            ("drain", self.drain, Span::ZERO, day),
            ("escalation.session_window", escalation.session_window, second, day),
            ("escalation.session_wait", escalation.session_wait, second, fortnight),
            ("escalation.session_rest", escalation.session_rest, second, day),
            ("escalation.method_window", escalation.method_window, second, day),
            ("escalation.method_wait", escalation.method_wait, second, fortnight),
            ("escalation.method_brake", escalation.method_brake, second, day),
        ];
        let mut faults: Vec<_> = checks
            .into_iter()
            .filter(|(_, value, least, most)| !(least..=most).contains(&value))
            .map(|(field, value, least, most)| PolicyFault {
                field,
                fault: format!("is {value}; it must be from {least} to {most}"),
            })
            .collect();
        for (field, value, least, most) in [
            ("max_waiters", self.max_waiters, 1, 100_000),
            ("escalation.session_methods", escalation.session_methods, 2, 100),
            ("escalation.method_sessions", escalation.method_sessions, 2, 1000),
        ] {
            if !(least..=most).contains(&value) {
                let fault = format!("is {value}; it must be from {least} to {most}");
                faults.push(PolicyFault { field, fault });
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_policy_has_no_faults() {
        assert_eq!(Policy::default().faults(), []);
    }

    #[test]
    fn a_ttl_is_clamped_to_the_range() {
        let policy = Policy::default();
        for (wish, granted) in [(None, 60), (Some(1), 5), (Some(5), 5), (Some(7200), 3600)] {
            assert_eq!(policy.clamp_ttl(wish.map(Span::secs)), Span::secs(granted));
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let policy = Policy {
            min_ttl: Span::ZERO,
            max_ttl: Span::hours(25),
            drain: Span::hours(25),
            max_waiters: 0,
            ..Policy::default()
        };
        let fields: Vec<_> = policy.faults().into_iter().map(|f| f.field).collect();
        assert_eq!(fields, ["min_ttl", "max_ttl", "max_lifetime", "drain", "max_waiters"]);
    }

    #[test]
    fn every_escalation_has_its_limits() {
        let none = Span::ZERO;
        let escalation = Escalations {
            session_methods: 1,
            session_window: Span::hours(25),
            session_wait: Span::hours(24 * 14 + 1),
            session_rest: none,
            method_sessions: 1001,
            method_window: none,
            method_wait: none,
            method_brake: none,
            ..Escalations::default()
        };
        let policy = Policy { escalation, ..Policy::default() };
        let faults = policy.faults();
        let fields: Vec<_> =
            faults.iter().map(|f| f.field.strip_prefix("escalation.").unwrap()).collect();
        assert_eq!(
            fields,
            [
                "session_window",
                "session_wait",
                "session_rest",
                "method_window",
                "method_wait",
                "method_brake",
                "session_methods",
                "method_sessions",
            ]
        );
        assert_eq!(faults[6].fault, "is 1; it must be from 2 to 100");
    }
}
