//! The sealed form of a secret: a mark, the form's version, the key's id, a random nonce, and the
//! secret encrypted with XChaCha20-Poly1305 for exactly one field of one session.
//!
//! It is 46 bytes longer than the secret. No plain value begins with the mark: it is not a first
//! byte of UTF-8 (proxies), of a `MessagePack` value (credentials), nor of a device profile.

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use thiserror::Error;

use super::keys::{StoreKey, StoreKeyId, StoreKeys};
use crate::pool::{Fingerprint, PoolName, SessionName};

/// What every sealed value begins with.
const MARK: u8 = 0xc1;
/// The version of the form.
const VERSION: u8 = 1;
const ID: std::ops::Range<usize> = 2..6;
const NONCE: std::ops::Range<usize> = 6..30;
/// What is authenticated with each secret, before the names.
const DOMAIN: &[u8] = b"telegate sealed\0";
/// How much longer a sealed value is than what is in it, in bytes.
pub const OVERHEAD: usize = NONCE.end + 16;

/// Why a value does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Stuck {
    /// There is no such key.
    #[error("is sealed with store key {0}, which this broker does not have; give it that key")]
    NoSuchKey(StoreKeyId),
    /// The key is there, but the value is not what it sealed for this place.
    #[error(
        "does not open with store key {0}: it was damaged, or comes from another session; remove \
         the session and import it again"
    )]
    NotIts(StoreKeyId),
    /// It begins as sealed values do, and goes on otherwise.
    #[error("is sealed in a form that this version does not know; use a later version")]
    UnknownForm,
}

/// A field that is sealed. The names are authenticated, so they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Credential,
    Proxy,
    Device,
}

impl Field {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Proxy => "proxy",
            Self::Device => "device",
        }
    }
}

/// Whose secret it is. A value that is moved to another session does not open there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) pool: &'a PoolName,
    pub(super) session: &'a SessionName,
    pub(super) fingerprint: &'a Fingerprint,
}

impl Place<'_> {
    /// What is authenticated beside the secret: the head of the sealed form, and each name after
    /// its length, so that no two places read alike.
    fn associated(self, head: &[u8], field: Field) -> Vec<u8> {
        let names =
            [self.pool.as_str(), self.session.as_str(), self.fingerprint.as_str(), field.name()];
        let mut data = [DOMAIN, head].concat();
        for name in names {
            data.extend((name.len() as u64).to_be_bytes());
            data.extend(name.as_bytes());
        }
        data
    }
}

/// Seals a secret.
pub(super) fn seal(
    key: &StoreKey,
    place: Place<'_>,
    field: Field,
    plain: &[u8],
) -> Result<Vec<u8>, getrandom::Error> {
    let mut sealed = Vec::with_capacity(plain.len() + OVERHEAD);
    sealed.extend([MARK, VERSION]);
    sealed.extend(key.id().0);
    let mut nonce = [0; NONCE.end - NONCE.start];
    getrandom::fill(&mut nonce)?;
    let aad = place.associated(&sealed, field);
    let payload = Payload { msg: plain, aad: &aad };
    let secret = XChaCha20Poly1305::new(key.bits().into())
        .encrypt(&XNonce::from(nonce), payload)
        .expect("a secret is shorter than 256 GiB");
    sealed.extend(nonce);
    sealed.extend(secret);
    Ok(sealed)
}

/// Whether a value is sealed at all. What a store kept before it had keys is not.
pub(super) fn is_sealed(kept: &[u8]) -> bool {
    kept.first() == Some(&MARK)
}

/// The id of the key that a sealed value needs.
pub(super) fn key_of(kept: &[u8]) -> Result<StoreKeyId, Stuck> {
    match kept.get(ID).and_then(|id| id.try_into().ok()) {
        Some(id) if kept[1] == VERSION && kept.len() >= OVERHEAD => Ok(StoreKeyId(id)),
        _ => Err(Stuck::UnknownForm),
    }
}

/// Opens a sealed value; gives a plain one as it is.
pub(super) fn open(
    keys: Option<&StoreKeys>,
    place: Place<'_>,
    field: Field,
    kept: Vec<u8>,
) -> Result<Vec<u8>, Stuck> {
    if !is_sealed(&kept) {
        return Ok(kept);
    }
    let id = key_of(&kept)?;
    let key = keys.and_then(|keys| keys.find(id)).ok_or(Stuck::NoSuchKey(id))?;
    let nonce = XNonce::try_from(&kept[NONCE]).map_err(|_| Stuck::UnknownForm)?;
    let aad = place.associated(&kept[..NONCE.start], field);
    let payload = Payload { msg: &kept[NONCE.end..], aad: &aad };
    XChaCha20Poly1305::new(key.bits().into())
        .decrypt(&nonce, payload)
        .map_err(|_| Stuck::NotIts(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place<'a>(
        pool: &'a PoolName,
        session: &'a SessionName,
        fingerprint: &'a Fingerprint,
    ) -> Place<'a> {
        Place { pool, session, fingerprint }
    }

    #[test]
    fn a_secret_opens_only_where_it_was_sealed_and_only_unchanged() {
        let key = StoreKey::generate().unwrap();
        let keys = StoreKeys::one(key.clone());
        let (pool, other) = (PoolName::parse("p").unwrap(), PoolName::parse("p2").unwrap());
        let (ann, bob) = (SessionName::parse("ann").unwrap(), SessionName::parse("bob").unwrap());
        let (one, two) = (Fingerprint::new("1"), Fingerprint::new("2"));
        let home = place(&pool, &ann, &one);
        let sealed = seal(&key, home, Field::Proxy, b"secret").unwrap();
        assert_eq!(sealed.len(), 6 + OVERHEAD);
        assert_eq!(OVERHEAD, 46);
        assert_eq!(key_of(&sealed), Ok(key.id()));
        let open = |place, field, kept: &[u8]| open(Some(&keys), place, field, kept.to_vec());
        assert_eq!(open(home, Field::Proxy, &sealed).as_deref(), Ok(&b"secret"[..]));
        let not = Err(Stuck::NotIts(key.id()));
        for elsewhere in [place(&other, &ann, &one), place(&pool, &bob, &one)] {
            assert_eq!(open(elsewhere, Field::Proxy, &sealed), not);
        }
        assert_eq!(open(place(&pool, &ann, &two), Field::Proxy, &sealed), not);
        assert_eq!(open(home, Field::Device, &sealed), not);
        for at in 6..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(home, Field::Proxy, &changed), not, "byte {at}");
        }
        let again = seal(&key, home, Field::Proxy, b"secret").unwrap();
        assert_ne!(again[NONCE], sealed[NONCE], "a nonce is used twice");
    }

    #[test]
    fn names_that_run_together_alike_are_told_apart() {
        let (a, ab) = (PoolName::parse("a").unwrap(), PoolName::parse("ab").unwrap());
        let (bc, c) = (SessionName::parse("bc").unwrap(), SessionName::parse("c").unwrap());
        let print = Fingerprint::new("f");
        let data = |pool, name| place(pool, name, &print).associated(&[], Field::Device);
        assert_ne!(data(&a, &bc), data(&ab, &c));
    }

    #[test]
    fn what_does_not_open_names_its_key_and_what_is_plain_stays() {
        let (key, other) = (StoreKey::generate().unwrap(), StoreKey::generate().unwrap());
        let (pool, ann) = (PoolName::parse("p").unwrap(), SessionName::parse("ann").unwrap());
        let print = Fingerprint::new("f");
        let home = place(&pool, &ann, &print);
        let sealed = seal(&key, home, Field::Credential, b"x").unwrap();
        let id = key.id();
        let open = |keys: Option<&StoreKeys>, kept: &[u8]| {
            open(keys, home, Field::Credential, kept.to_vec())
        };
        let wrong = StoreKeys::one(other);
        assert_eq!(open(Some(&wrong), &sealed), Err(Stuck::NoSuchKey(id)));
        assert_eq!(open(None, &sealed), Err(Stuck::NoSuchKey(id)));
        assert!(Stuck::NoSuchKey(id).to_string().contains(&id.to_string()));
        for plain in [&b"socks5://h"[..], &[0x81], b""] {
            assert_eq!(open(None, plain).as_deref(), Ok(plain));
        }
        let later = [&[MARK, 2], &sealed[2..]].concat();
        for unknown in [&later[..], &[MARK], &sealed[..OVERHEAD - 1]] {
            assert_eq!(open(Some(&wrong), unknown), Err(Stuck::UnknownForm));
        }
    }
}
