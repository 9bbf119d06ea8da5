//! The cipher of Telegram Desktop's files: AES-256 in IGE mode, as in `MTProto` 1, with the first
//! half of the content's SHA-1 in front.

use aes::{
    Aes256,
    cipher::{Array, BlockCipherDecrypt as _, KeyInit as _},
};
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Digest as _, Sha512};

use crate::credential::Passcode;

/// The length of a local key, in bytes.
pub(super) const LOCAL_KEY: usize = 256;
/// How often a passcode is hashed.
const ROUNDS: u32 = 100_000;
/// The length of the digest in front.
const DIGEST: usize = 16;
const BLOCK: usize = 16;

/// The key that a passcode opens.
pub(super) fn local_key(salt: &[u8], passcode: &Passcode) -> [u8; LOCAL_KEY] {
    let passcode = passcode.as_bytes();
    let rounds = if passcode.is_empty() { 1 } else { ROUNDS };
    let hash = Sha512::new().chain_update(salt).chain_update(passcode).chain_update(salt);
    let mut key = [0; LOCAL_KEY];
    pbkdf2_hmac::<Sha512>(&hash.finalize(), salt, rounds, &mut key);
    key
}

/// What was encrypted. Fails where the key is another, or a bit was changed.
pub(super) fn decrypt(bytes: &[u8], key: &[u8; LOCAL_KEY]) -> Result<Vec<u8>, ()> {
    let (digest, cipher) = bytes.split_first_chunk::<DIGEST>().ok_or(())?;
    if cipher.is_empty() || cipher.len() % BLOCK != 0 {
        return Err(());
    }
    let plain = ige(cipher, digest, key);
    if Sha1::digest(&plain)[..DIGEST] != digest[..] {
        return Err(());
    }
    let (length, _) = plain.split_first_chunk::<4>().ok_or(())?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| ())?;
    plain.get(4..length).map(<[u8]>::to_vec).ok_or(())
}

fn ige(cipher: &[u8], digest: &[u8; DIGEST], key: &[u8; LOCAL_KEY]) -> Vec<u8> {
    let (key, [mut before_cipher, mut before_plain]) = keys(digest, key);
    let aes = Aes256::new(&Array::from(key));
    let mut plain = Vec::with_capacity(cipher.len());
    for chunk in cipher.as_chunks::<BLOCK>().0 {
        let mut block = Array::from(xor(*chunk, before_plain));
        aes.decrypt_block(&mut block);
        before_plain = xor(block.into(), before_cipher);
        before_cipher = *chunk;
        plain.extend(before_plain);
    }
    plain
}

fn xor(a: [u8; BLOCK], b: [u8; BLOCK]) -> [u8; BLOCK] {
    std::array::from_fn(|i| a[i] ^ b[i])
}

/// The key of AES, and what stands before the first block of the cipher and of the plain text.
fn keys(digest: &[u8; DIGEST], key: &[u8; LOCAL_KEY]) -> ([u8; 32], [[u8; BLOCK]; 2]) {
    // Where the parts of the key begin for what a client wrote for itself.
    const FROM: usize = 8;
    let part = |at: usize, length: usize| &key[FROM + at..FROM + at + length];
    let sha1 = |parts: [&[u8]; 3]| -> [u8; 20] {
        parts.iter().fold(Sha1::new(), Sha1::chain_update).finalize().into()
    };
    let a = sha1([digest, part(0, 32), &[]]);
    let b = sha1([part(32, 16), digest, part(48, 16)]);
    let c = sha1([part(64, 32), digest, &[]]);
    let d = sha1([digest, part(96, 32), &[]]);
    let joined = |parts: [&[u8]; 4]| parts.concat();
    let aes = joined([&a[..8], &b[8..20], &c[4..16], &[]]);
    let before = joined([&a[8..20], &b[..8], &c[16..20], &d[..8]]);
    let half = |from: usize| std::array::from_fn(|i| before[from + i]);
    (std::array::from_fn(|i| aes[i]), [half(0), half(BLOCK)])
}
