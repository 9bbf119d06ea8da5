//! The names of things, each of its own type and checked once, where it comes in.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The longest pool name, in bytes.
const MAX_POOL_NAME: usize = 63;
/// The longest session name, in bytes.
const MAX_SESSION_NAME: usize = 64;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of a pool: 1 to 63 of `a-z`, `0-9`, `-`, with a letter or digit at both ends.
    PoolName
}
name! {
    /// The name of a session in its pool: 1 to 64 of `A-Z a-z 0-9 . _ @ + -`, starting with a
    /// letter, a digit or `+`.
    SessionName
}
name! {
    /// The id of an API key: what tells holders apart.
    KeyId
}
name! {
    /// A fingerprint of a credential: not secret, and unique in the whole store.
    Fingerprint
}

impl PoolName {
    /// What a pool name may be, for messages.
    pub const RULE: &str =
        "1 to 63 of a-z, 0-9 and '-', starting and ending with a letter or digit";

    /// Checks a pool name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let fits = !name.is_empty()
            && name.len() <= MAX_POOL_NAME
            && name.bytes().all(inner)
            && !name.starts_with('-')
            && !name.ends_with('-');
        fits.then(|| Self(name.into()))
    }
}

impl SessionName {
    /// What a session name may be, for messages.
    pub const RULE: &str = "1 to 64 of A-Z, a-z, 0-9, '.', '_', '@', '+' and '-', \
                            starting with a letter, digit or '+'";

    /// Checks a session name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let inner = |c: u8| c.is_ascii_alphanumeric() || b"._@+-".contains(&c);
        let fits = name.len() <= MAX_SESSION_NAME
            && name.bytes().all(inner)
            && name.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == b'+');
        fits.then(|| Self(name.into()))
    }
}

impl KeyId {
    /// Names a key. The key file checks its form.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }
}

impl Fingerprint {
    /// Names a credential by its fingerprint in hexadecimal.
    #[must_use]
    pub fn new(hex: &str) -> Self {
        Self(hex.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_names_are_dns_labels() {
        for good in ["a", "demo", "eu-1", &"x".repeat(63)] {
            assert!(PoolName::parse(good).is_some(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä", "a/b", &"x".repeat(64)] {
            assert!(PoolName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn session_names_take_phone_numbers_and_user_names_but_no_slash() {
        for good in ["alice", "+49151000", "a.b_c@d-e", "7", &"x".repeat(64)] {
            assert!(SessionName::parse(good).is_some(), "{good}");
        }
        for bad in ["", ".a", "-a", "a/b", "a b", "ä", "a\n", &"x".repeat(65)] {
            assert!(SessionName::parse(bad).is_none(), "{bad}");
        }
    }
}
