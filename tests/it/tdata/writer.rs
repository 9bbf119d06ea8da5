//! Writes tdata folders by the published form, right ones and wrong ones.

use std::{fs, path::Path};

use aes::{
    Aes256,
    cipher::{Array, BlockCipherEncrypt as _, KeyInit as _},
};
use md5::Md5;
use pbkdf2::pbkdf2_hmac;
use sha1::{Digest as _, Sha1};
use sha2::Sha512;

/// A user's id, as newer and as older versions write it.
#[derive(Clone, Copy)]
pub(crate) enum User {
    Wide(u64),
    Narrow(u32),
}

/// A folder with one account.
#[derive(Clone)]
pub(crate) struct Desktop {
    pub(crate) user: User,
    pub(crate) dc: u32,
    pub(crate) key: Vec<u8>,
    /// Whether its configuration says that it is of the test environment.
    pub(crate) test: bool,
    /// How many accounts it says that it has, if that is a lie.
    pub(crate) count: Option<u32>,
    /// The kind of block of its authorization.
    pub(crate) block: u32,
    /// What stands in the place of the authorization.
    pub(crate) raw: Option<Vec<u8>>,
    /// Whether the account is encrypted with another key than the folder's.
    pub(crate) foreign_key: bool,
}

impl Desktop {
    pub(crate) fn of(user: User, dc: u32, key: &[u8]) -> Self {
        let key = key.to_vec();
        let (count, raw, block) = (None, None, 0x4b);
        Self { user, dc, key, test: false, count, block, raw, foreign_key: false }
    }

    /// What the account's file holds when it is opened.
    pub(crate) fn authorization(&self) -> Vec<u8> {
        let user = match self.user {
            User::Narrow(id) => [int(id), int(self.dc)].concat(),
            User::Wide(id) => {
                [&u64::MAX.to_be_bytes()[..], &id.to_be_bytes(), &int(self.dc)].concat()
            }
        };
        let keys = if self.key.is_empty() {
            int(0)
        } else {
            // One of another data centre comes first.
            [int(2), int(self.dc % 5 + 1), vec![9; 256], int(self.dc), self.key.clone()].concat()
        };
        [user, keys, int(0)].concat()
    }

    pub(crate) fn write(&self, folder: &Path) {
        let account = folder.join("D877F783D5D3EF8C");
        fs::create_dir_all(&account).unwrap();
        let local: [u8; 256] = std::array::from_fn(|i| i.to_le_bytes()[0] ^ 0x5a);
        let salt = [3; 32];
        let hash = Sha512::new().chain_update(salt).chain_update(salt).finalize();
        let mut lock = [0; 256];
        pbkdf2_hmac::<Sha512>(&hash, &salt, 1, &mut lock);
        let count = self.count.unwrap_or(1);
        let accounts = [int(count), int(0), int(0)].concat();
        let keys = [array(&salt), array(&seal(&local, &lock)), array(&seal(&accounts, &local))];
        file(&folder.join("key_datas"), &keys.concat());

        let authorization = self.raw.clone().unwrap_or_else(|| self.authorization());
        let block = [int(self.block), array(&authorization)].concat();
        let key = if self.foreign_key { [7; 256] } else { local };
        let path = folder.join("D877F783D5D3EF8Cs");
        file(&path, &array(&seal(&block, &key)));
        if self.test {
            let config = [int(1), int(1), array(b"")].concat();
            file(&account.join("configs"), &array(&seal(&array(&config), &local)));
        }
    }
}

fn int(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

fn array(bytes: &[u8]) -> Vec<u8> {
    [&int(u32::try_from(bytes.len()).unwrap())[..], bytes].concat()
}

fn file(path: &Path, content: &[u8]) {
    let version = 4_008_011_u32.to_le_bytes();
    let length = u32::try_from(content.len()).unwrap().to_le_bytes();
    let digest = Md5::digest([content, &length, &version, b"TDF$"].concat());
    fs::write(path, [b"TDF$", &version[..], content, &digest[..]].concat()).unwrap();
}

/// Encrypts as Telegram Desktop does.
fn seal(content: &[u8], key: &[u8; 256]) -> Vec<u8> {
    let length = u32::try_from(4 + content.len()).unwrap().to_le_bytes();
    let mut plain = [&length[..], content].concat();
    plain.resize(plain.len().next_multiple_of(16), 0xcc);
    let digest = Sha1::digest(&plain)[..16].to_vec();
    let sha1 = |parts: &[&[u8]]| Sha1::digest(parts.concat()).to_vec();
    let a = sha1(&[&digest, &key[8..40]]);
    let b = sha1(&[&key[40..56], &digest, &key[56..72]]);
    let c = sha1(&[&key[72..104], &digest]);
    let d = sha1(&[&digest, &key[104..136]]);
    let aes = [&a[..8], &b[8..20], &c[4..16]].concat();
    let before = [&a[8..20], &b[..8], &c[16..20], &d[..8]].concat();
    let aes = Aes256::new(&Array::try_from(&aes[..]).unwrap());
    let (mut cipher, mut above) = (before[..16].to_vec(), before[16..].to_vec());
    let mut sealed = digest;
    for block in plain.chunks(16) {
        let mixed = std::array::from_fn(|i| block[i] ^ cipher[i]);
        let mut array = Array::from(mixed);
        aes.encrypt_block(&mut array);
        cipher = (0..16).map(|i| array[i] ^ above[i]).collect();
        above = block.to_vec();
        sealed.extend(&cipher);
    }
    sealed
}
