//! Telegram Desktop's folder `tdata`: all its accounts, read without changing anything.
//!
//! `key_datas` holds a local key under a key made of the passcode (mostly none), and the numbers of
//! the accounts. Each account has a file, named after a digest of its number, that holds the user,
//! the data centre and the authorization keys under the local key.

mod cipher;

use std::net::Ipv4Addr;

use md5::Md5;
use sha2::Digest as _;

use self::cipher::{LOCAL_KEY, decrypt, local_key};
use super::{AUTH_KEY_LEN, Fault, Files, Passcode, Telegram, parts::Parts};

/// What each file begins with.
pub(super) const MAGIC: &[u8] = b"TDF$";
/// The file without which the folder is none of these.
pub(super) const KEYS: &str = "key_datas";
/// The folder of the first account.
const FIRST: &str = "D877F783D5D3EF8C";
/// The largest file that is looked at, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// The most accounts of a folder.
const MAX_ACCOUNTS: u32 = 64;
/// The most authorization keys of an account.
const MAX_KEYS: u32 = 64;
/// The kind of block that holds an authorization.
const AUTHORIZATION: u32 = 0x4b;
/// Stands before a user's id of 64 bits, where one of 32 bits and a data centre stood once.
const WIDE: u64 = u64::MAX;
/// The environment of Telegram's test data centres.
const TEST: u32 = 1;

/// An account of a folder.
pub(super) struct Account {
    /// Its number, from 0.
    pub(super) number: u32,
    /// The authorization, or what is wrong with it.
    pub(super) read: Result<Telegram, Fault>,
}

/// Whether a folder is as Telegram Desktop kept it before it had several accounts.
pub(super) fn is_old(files: &dyn Files) -> bool {
    ["map0", "map1", "maps"].iter().any(|map| files.has(&format!("{FIRST}/{map}")))
}

/// Reads all accounts of a folder.
pub(super) fn read(files: &dyn Files, passcode: &Passcode) -> Result<Vec<Account>, Fault> {
    let whole = file(files, "key_data")?.ok_or(Fault::NotLoggedIn)?;
    let mut reader = Reader(&whole);
    let (salt, locked, accounts) = (reader.array()?, reader.array()?, reader.array()?);
    let opened = decrypt(locked, &local_key(salt, passcode))
        .map_err(|()| if passcode.is_none() { Fault::Locked } else { Fault::WrongPasscode })?;
    let key = opened.first_chunk::<LOCAL_KEY>().ok_or_else(cut_off)?;
    let accounts = decrypt(accounts, key).map_err(|()| broken())?;
    let mut reader = Reader(&accounts);
    let count = reader.int()?;
    if count > MAX_ACCOUNTS {
        return Err(Fault::damaged("it has more accounts than any Telegram Desktop"));
    }
    let mut numbers = (0..count).map(|_| reader.int()).collect::<Result<Vec<_>, _>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.is_empty() {
        return Err(Fault::NotLoggedIn);
    }
    let read = |number| Account { number, read: account(files, number, key) };
    Ok(numbers.into_iter().map(read).collect())
}

fn account(files: &dyn Files, number: u32, key: &[u8; LOCAL_KEY]) -> Result<Telegram, Fault> {
    let name = file_name(number);
    let whole = file(files, &name)?.ok_or(Fault::NotLoggedIn)?;
    let block = decrypt(Reader(&whole).array()?, key).map_err(|()| broken())?;
    let mut reader = Reader(&block);
    if reader.int()? != AUTHORIZATION {
        return Err(Fault::damaged("an account's file does not hold its authorization"));
    }
    let mut reader = Reader(reader.array()?);
    let (mut user, mut dc) = (u64::from(reader.int()?), reader.int()?);
    if user << 32 | u64::from(dc) == WIDE {
        user = u64::from(reader.int()?) << 32 | u64::from(reader.int()?);
        dc = reader.int()?;
    }
    let count = reader.int()?;
    if count > MAX_KEYS {
        return Err(Fault::damaged("it has more authorization keys than there are data centres"));
    }
    let mut found: &[u8] = &[];
    for _ in 0..count {
        let (of, key) = (reader.int()?, reader.take(AUTH_KEY_LEN)?);
        if of == dc {
            found = key;
        }
    }
    Parts {
        dc: dc.into(),
        test: is_test(files, &name, key),
        key: found,
        ip: None::<Ipv4Addr>,
        user_id: i64::try_from(user).ok(),
        ..Parts::default()
    }
    .check()
}

/// Whether an account is one of Telegram's test data centres, as its configuration says. Without
/// one it is none, as for Telegram Desktop.
fn is_test(files: &dyn Files, name: &str, key: &[u8; LOCAL_KEY]) -> bool {
    let environment = || -> Result<u32, Fault> {
        let whole = file(files, &format!("{name}/config"))?.ok_or(Fault::Empty)?;
        let block = decrypt(Reader(&whole).array()?, key).map_err(|()| broken())?;
        let mut reader = Reader(&block);
        let mut reader = Reader(reader.array()?);
        let _version = reader.int()?;
        reader.int()
    };
    environment() == Ok(TEST)
}

/// The file of an account: a digest of its number, each byte with its halves exchanged.
fn file_name(number: u32) -> String {
    let name = match number {
        0 => "data".to_owned(),
        more => format!("data#{}", more + 1),
    };
    let swapped = |byte: &u8| format!("{:X}{:X}", byte & 15, byte >> 4);
    Md5::digest(name).iter().take(8).map(swapped).collect()
}

/// What a file holds, once its digest was found right. Nothing: there is no such file. Its name
/// ends in `s`; older ones were written in turns and end in `0` and `1`.
fn file(files: &dyn Files, name: &str) -> Result<Option<Vec<u8>>, Fault> {
    for suffix in ["s", "0", "1"] {
        if let Some(bytes) = files.read(&format!("{name}{suffix}"), MAX_FILE)? {
            return content(&bytes).map(|content| Some(content.to_vec()));
        }
    }
    Ok(None)
}

fn content(bytes: &[u8]) -> Result<&[u8], Fault> {
    if bytes.is_empty() {
        return Err(Fault::Empty);
    }
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| Fault::damaged("a file is not its own"))?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(cut_off)?;
    let (content, digest) = rest.split_last_chunk::<16>().ok_or_else(cut_off)?;
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes();
    let md5 = Md5::new().chain_update(content).chain_update(length);
    let md5 = md5.chain_update(version).chain_update(MAGIC).finalize();
    if md5[..] == digest[..] { Ok(content) } else { Err(broken()) }
}

fn broken() -> Fault {
    Fault::damaged("the digest of a file of Telegram Desktop is wrong")
}

fn cut_off() -> Fault {
    Fault::damaged("a file of Telegram Desktop ends too early")
}

/// What is still to be read, as Qt writes it: big-endian, and bytes behind their length.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(cut_off)?;
        self.0 = rest;
        Ok(taken)
    }

    fn int(&mut self) -> Result<u32, Fault> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn array(&mut self) -> Result<&'a [u8], Fault> {
        match self.int()? {
            u32::MAX => Ok(&[]),
            length => self.take(usize::try_from(length).unwrap_or(usize::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_have_the_names_that_telegram_desktop_gives_them() {
        assert_eq!(file_name(0), FIRST);
        assert_eq!(file_name(1), "A7FDF864FBC10B77");
        assert_eq!(file_name(2), "F8806DD0C461824F");
    }
}
