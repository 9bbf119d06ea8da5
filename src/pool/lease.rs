//! Leases: the exclusive right to one session until a time.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{KeyId, PoolName, SessionName, Span, Time};

/// The unguessable part of a lease's name: 128 random bits, fresh for every grant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseSecret(#[serde(with = "serde_bytes")] [u8; 16]);

impl LeaseSecret {
    /// Takes 128 bits that nobody can guess.
    #[must_use]
    pub const fn new(bits: [u8; 16]) -> Self {
        Self(bits)
    }

    /// The secret as 32 hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = String::with_capacity(32);
        for byte in self.0 {
            hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
            hex.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        hex
    }

    /// Reads 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let digits: &[u8; 32] = hex.as_bytes().try_into().ok()?;
        let mut bits = [0; 16];
        for (byte, pair) in bits.iter_mut().zip(digits.as_chunks::<2>().0) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bits))
    }
}

impl fmt::Debug for LeaseSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The name of a lease. It says where the lease is, so that one look finds it, and ends in a
/// secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseId {
    /// The pool.
    pub pool: PoolName,
    /// The session.
    pub session: SessionName,
    /// The secret.
    pub secret: LeaseSecret,
}

impl LeaseId {
    /// The longest lease id, in bytes.
    pub const MAX_LEN: usize = 256;

    /// The id in full, as its holder knows it: `pool/session/secret`.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{}/{}/{}", self.pool, self.session, self.secret.to_hex())
    }

    /// Reads an id.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        let mut parts = id.split('/');
        let id = Self {
            pool: PoolName::parse(parts.next()?)?,
            session: SessionName::parse(parts.next()?)?,
            secret: LeaseSecret::from_hex(parts.next()?)?,
        };
        parts.next().is_none().then_some(id)
    }
}

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The API key that acquired it. Only this key can renew and release it.
    pub key: KeyId,
    /// What the caller said it does.
    pub purpose: String,
}

/// What makes an Acquire safe to repeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestTag {
    /// The caller's id of the request.
    pub id: String,
    /// A digest of all its parameters: the same id must come with the same digest.
    pub digest: String,
}

/// A running lease, as the rules keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The unguessable part of its name.
    pub secret: LeaseSecret,
    /// The fencing number.
    pub epoch: u64,
    /// Who holds it.
    pub holder: Holder,
    /// The request that it answers, if the caller named it.
    pub request: Option<RequestTag>,
    /// When it was granted.
    pub granted_at: Time,
    /// When it ends unless renewed.
    pub expires_at: Time,
    /// The moment no renewal reaches beyond.
    pub max_expires_at: Time,
    /// The TTL that was granted last.
    pub ttl: Span,
    /// How many calls it was handed to. Only a first delivery can be undone, and only while it is
    /// the only one: a caller that repeats its request and hangs up on one of the answers may have
    /// the other.
    pub deliveries: u32,
    /// How often it was renewed.
    #[serde(default)]
    pub renewals: u64,
}

/// A lease as it was last seen: it changes whenever somebody renews the lease or is given it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// How often it had been renewed.
    pub renewals: u64,
    /// How many calls it had been handed to.
    pub deliveries: u32,
}

impl Lease {
    /// The lease as it is seen now.
    #[must_use]
    pub const fn mark(&self) -> Mark {
        Mark { renewals: self.renewals, deliveries: self.deliveries }
    }
}

impl Lease {
    /// What tells the request that it answers from all others.
    pub(super) fn request_key(&self) -> Option<(KeyId, String)> {
        self.request.as_ref().map(|tag| (self.holder.key.clone(), tag.id.clone()))
    }
}

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndCause {
    /// Its holder released it.
    Released,
    /// Its grant could not be delivered.
    Undone,
    /// Its holder invalidated the session.
    Surrendered,
    /// It was not renewed in time.
    Expired,
    /// An operator ended it.
    Revoked,
    /// Somebody else invalidated the session.
    Invalidated,
    /// A newer lease of the session has ended since; how this one ended is forgotten.
    Superseded,
}

impl EndCause {
    /// Whether the holder ended it itself, so that a repeated Release is in order.
    #[must_use]
    pub const fn by_holder(self) -> bool {
        matches!(self, Self::Released | Self::Undone | Self::Surrendered)
    }

    /// Whether somebody else ended it, while its holder may be at work.
    #[must_use]
    pub const fn against_holder(self) -> bool {
        matches!(self, Self::Revoked | Self::Invalidated)
    }
}

/// What is remembered of a session's last lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The unguessable part of its name.
    pub secret: LeaseSecret,
    /// Its fencing number.
    pub epoch: u64,
    /// How it ended.
    pub cause: EndCause,
    /// When it ended.
    pub at: Time,
    /// The key that held it. What was kept before that was remembered has none.
    #[serde(default)]
    pub holder: Option<KeyId>,
    /// Why an operator ended it, in the operator's words.
    #[serde(default)]
    pub detail: String,
}

/// That a lease was ended against its holder's will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The pool.
    pub pool: PoolName,
    /// The session.
    pub session: SessionName,
    /// The fencing number of the lease.
    pub epoch: u64,
    /// Who ended it.
    pub cause: EndCause,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_id_survives_its_text_and_hides_in_debug() {
        let text = "demo/+4915/00112233445566778899aabbccddeeff";
        let id = LeaseId::parse(text).unwrap();
        assert_eq!(id.reveal(), text);
        assert!(!format!("{id:?}").contains("00112233"));
    }

    #[test]
    fn a_malformed_lease_id_is_none() {
        let long = format!("demo/a/{}", "0".repeat(33));
        for bad in [
            "",
            "demo",
            "demo/a",
            "demo/a/0011",
            &long,
            "demo/a/+0112233445566778899aabbccddeeff",
            "demo/a/00112233445566778899AABBCCDDEEFF",
            "demo/a/00112233445566778899aabbccddeeff/x",
            "De mo/a/00112233445566778899aabbccddeeff",
        ] {
            assert_eq!(LeaseId::parse(bad), None, "{bad}");
        }
    }
}
