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
        let day = Span::hours(24);
        let checks = [
            ("min_ttl", self.min_ttl, Span::secs(1), day),
            ("max_ttl", self.max_ttl, self.min_ttl, day),
            ("default_ttl", self.default_ttl, self.min_ttl, self.max_ttl),
            ("max_lifetime", self.max_lifetime, self.max_ttl, Span::hours(24 * 30)),
            ("rest", self.rest, Span::ZERO, day),
            ("drain", self.drain, Span::ZERO, day),
        ];
        let mut faults: Vec<_> = checks
            .into_iter()
            .filter(|(_, value, least, most)| !(least..=most).contains(&value))
            .map(|(field, value, least, most)| PolicyFault {
                field,
                fault: format!("is {value}; it must be from {least} to {most}"),
            })
            .collect();
        if !(1..=100_000).contains(&self.max_waiters) {
            faults.push(PolicyFault {
                field: "max_waiters",
                fault: format!("is {}; it must be from 1 to 100000", self.max_waiters),
            });
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
}
