//! Telethon's sessions: its `StringSession` both ways, and reading its files.
//!
//! Telethon goes on with the wrong data centre, keeping the key, when a session holds an IPv6
//! address; the session then looks dead. So what is handed out always names an IPv4 address.

mod file;

use std::net::{Ipv4Addr, SocketAddrV4};

use base64::{
    Engine as _,
    engine::general_purpose::{URL_SAFE, URL_SAFE_PAD_INDIFFERENT},
};
use thiserror::Error;

use super::{AUTH_KEY_LEN, Telegram};

pub use file::{MAX_FILE, NEWEST_SCHEMA, SessionFile, read_file};

/// The longest text that is looked at as a session string, in bytes.
pub const MAX_STRING: usize = 4096;

/// The port that every data centre serves.
const PORT: u16 = 443;
/// The bytes of a string beside the key and the IP address: the data centre and the port.
const FRAME: usize = 3;
const IPV4: usize = 4;
const IPV6: usize = 16;

/// Why something is not a session that can be lent. One sentence, without a secret in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// It has no content.
    #[error("It is empty")]
    Empty,
    /// It is no regular file.
    #[error("It is {0}, not a file")]
    NotAFile(&'static str),
    /// It is larger than any session file.
    #[error("It has {0} bytes, and a session file has at most {MAX_FILE}")]
    TooLarge(u64),
    /// The operating system does not give it.
    #[error("It cannot be read: {0}")]
    Unreadable(String),
    /// It is something else.
    #[error("It is not a session that Telegate knows: {0}")]
    Unknown(&'static str),
    /// Another library's session.
    #[error("It is a {0} session, which comes with a later version; this one reads Telethon's")]
    Later(Library),
    /// A schema that was made after this program.
    #[error("It has Telethon's schema {0}, and this Telegate reads 1 to {NEWEST_SCHEMA}")]
    NewerSchema(i64),
    /// Its end is missing.
    #[error("It is cut off: {found} of its {wanted} bytes are there")]
    Truncated {
        /// How many bytes there are.
        found: u64,
        /// How many its header promises.
        wanted: u64,
    },
    /// It cannot be understood although it looks right.
    #[error("It is damaged: {0}")]
    Damaged(String),
    /// Another program keeps it locked.
    #[error("It is in use by another program; stop that program and try again")]
    InUse,
    /// It holds no key.
    #[error("It is not logged in: it has no authorization key")]
    NotLoggedIn,
    /// The key cannot be one.
    #[error("Its authorization key has {0} bytes instead of {AUTH_KEY_LEN}")]
    KeyLength(usize),
    /// The key is a placeholder.
    #[error("Its authorization key is all zeros")]
    ZeroKey,
    /// The data centre cannot be.
    #[error("It names data centre {0}, and Telegram's are 1 to 5")]
    DataCentre(i64),
    /// It holds more than one.
    #[error("It holds several sessions, and one was expected")]
    Several,
    /// A string of the wrong length.
    #[error("It decodes to {0} bytes, and a Telethon string has 263 (IPv4) or 275 (IPv6)")]
    StringLength(usize),
    /// A string that is not base64.
    #[error("It is not base64 after its first character")]
    NotBase64,
}

/// The libraries whose sessions are recognised, but not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// GramJS, for JavaScript.
    GramJs,
    /// Pyrogram, for Python.
    Pyrogram,
    /// Kurigram, the living fork of Pyrogram.
    Kurigram,
    /// Telethon 2.
    Telethon2,
    /// grammers, for Rust.
    Grammers,
    /// mtcute, for TypeScript.
    Mtcute,
    /// Telegram Desktop's `tdata`.
    Desktop,
    /// gotd, for Go.
    Gotd,
}

impl std::fmt::Display for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::GramJs => "GramJS",
            Self::Pyrogram => "Pyrogram",
            Self::Kurigram => "Kurigram",
            Self::Telethon2 => "Telethon 2",
            Self::Grammers => "grammers",
            Self::Mtcute => "mtcute",
            Self::Desktop => "Telegram Desktop (tdata)",
            Self::Gotd => "gotd",
        })
    }
}

/// Writes Telethon's `StringSession`, version 1, always with an IPv4 address.
#[must_use]
pub fn to_string(telegram: &Telegram) -> String {
    let address = telegram.address.unwrap_or_else(|| home(telegram.dc_id, telegram.test));
    let mut bytes = Vec::with_capacity(FRAME + IPV4 + AUTH_KEY_LEN);
    bytes.push(telegram.dc_id);
    bytes.extend(address.ip().octets());
    bytes.extend(address.port().to_be_bytes());
    bytes.extend(&telegram.auth_key);
    format!("1{}", URL_SAFE.encode(bytes))
}

/// Reads Telethon's `StringSession`, version 1, however it was wrapped, padded or spelt.
///
/// # Errors
///
/// When it is not one, or does not hold a usable session.
pub fn parse_string(text: &str) -> Result<Telegram, Fault> {
    if text.len() > MAX_STRING {
        return Err(Fault::TooLarge(text.len() as u64));
    }
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    if text.is_empty() {
        return Err(Fault::Empty);
    }
    let Some(body) = text.strip_prefix('1') else { return Err(no_telethon_string(&text)) };
    let bytes = decode(body).ok_or(Fault::NotBase64)?;
    // A GramJS string of a 14 letter address is as long as Telethon's with IPv6. Its second and
    // third byte are the length of the address; Telegram's IPv6 addresses begin with 0x2001.
    if let [_, high, low, ..] = bytes[..]
        && 5 + usize::from(u16::from_be_bytes([high, low])) + AUTH_KEY_LEN == bytes.len()
    {
        return Err(Fault::Later(Library::GramJs));
    }
    let Some(ip_len @ (IPV4 | IPV6)) = bytes.len().checked_sub(FRAME + AUTH_KEY_LEN) else {
        return Err(Fault::StringLength(bytes.len()));
    };
    let (ip, rest) = bytes[1..].split_at(ip_len);
    let (port, key) = rest.split_at(2);
    let ip = <[u8; IPV4]>::try_from(ip).ok().map(Ipv4Addr::from);
    let port = u16::from_be_bytes([port[0], port[1]]);
    session(i64::from(bytes[0]), ip, port, key)
}

/// Makes a session of what a string or file holds. An address that is not a usable IPv4 address is
/// replaced by the data centre's own.
fn session(dc: i64, ip: Option<Ipv4Addr>, port: u16, key: &[u8]) -> Result<Telegram, Fault> {
    if key.is_empty() {
        return Err(Fault::NotLoggedIn);
    }
    if key.len() != AUTH_KEY_LEN {
        return Err(Fault::KeyLength(key.len()));
    }
    if key.iter().all(|byte| *byte == 0) {
        return Err(Fault::ZeroKey);
    }
    let dc_id = u8::try_from(dc).ok().filter(|dc| (1..=5).contains(dc));
    let dc_id = dc_id.ok_or(Fault::DataCentre(dc))?;
    let test = ip.is_some_and(|ip| (1..=3).any(|dc| *home(dc, true).ip() == ip));
    let address = match ip.filter(|ip| !ip.is_unspecified()) {
        Some(ip) => SocketAddrV4::new(ip, if port == 0 { PORT } else { port }),
        None => home(dc_id, test),
    };
    Ok(Telegram {
        dc_id,
        test,
        auth_key: key.to_vec(),
        address: Some(address),
        user_id: None,
        is_bot: None,
    })
}

/// The well-known address of a data centre, as Telegram's clients have it built in.
fn home(dc_id: u8, test: bool) -> SocketAddrV4 {
    let ip = match (dc_id, test) {
        (1, false) => [149, 154, 175, 53],
        (3, false) => [149, 154, 175, 100],
        (4, false) => [149, 154, 167, 91],
        (5, false) => [91, 108, 56, 130],
        (_, false) => [149, 154, 167, 51],
        (1, true) => [149, 154, 175, 10],
        (3, true) => [149, 154, 175, 117],
        (_, true) => [149, 154, 167, 40],
    };
    SocketAddrV4::new(Ipv4Addr::from(ip), PORT)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.replace('+', "-").replace('/', "_");
    URL_SAFE_PAD_INDIFFERENT.decode(text).ok()
}

/// Says what a string is that does not begin like Telethon's.
fn no_telethon_string(text: &str) -> Fault {
    /// Pyrogram's strings, the newest form first.
    const PYROGRAM: [usize; 3] = [271, 267, 263];
    match decode(text) {
        Some(bytes) if bytes.first() == Some(&3) => Fault::Later(Library::Mtcute),
        Some(bytes) if PYROGRAM.contains(&bytes.len()) => Fault::Later(Library::Pyrogram),
        _ => Fault::Unknown("a Telethon string begins with 1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_up(dc_id: u8) -> Telegram {
        Telegram {
            dc_id,
            test: false,
            auth_key: (0..=255).collect(),
            address: Some(home(dc_id, false)),
            user_id: None,
            is_bot: None,
        }
    }

    fn gramjs(address: &str) -> String {
        let mut bytes = vec![2];
        bytes.extend(u16::try_from(address.len()).unwrap().to_be_bytes());
        bytes.extend(address.as_bytes());
        bytes.extend(443_u16.to_be_bytes());
        bytes.extend(0..=255);
        format!("1{}", base64::engine::general_purpose::STANDARD.encode(bytes))
    }

    #[test]
    fn what_is_written_is_read_again_for_every_data_centre() {
        for dc in 1..=5 {
            let text = to_string(&made_up(dc));
            assert_eq!(text.len(), 353);
            assert!(parse_string(&text) == Ok(made_up(dc)), "dc {dc}");
        }
    }

    #[test]
    fn a_session_without_an_address_is_written_with_its_data_centres() {
        let text = to_string(&Telegram { address: None, ..made_up(4) });
        assert_eq!(text, to_string(&made_up(4)));
    }

    #[test]
    fn wrapping_padding_and_alphabet_do_not_matter() {
        let text = to_string(&made_up(2));
        let unpadded = text.trim_end_matches('=').to_owned();
        let standard = text.replace('-', "+").replace('_', "/");
        let wrapped = format!("  {}\r\n{} \n", &text[..70], &text[70..]);
        for variant in [unpadded, standard, wrapped] {
            assert!(parse_string(&variant) == Ok(made_up(2)), "{}", variant.len());
        }
    }

    #[test]
    fn an_ipv6_address_becomes_the_data_centres_ipv4_address() {
        let mut bytes = vec![4];
        bytes.extend("2001:67c:4e8:f004::a".parse::<std::net::Ipv6Addr>().unwrap().octets());
        bytes.extend(443_u16.to_be_bytes());
        bytes.extend(0..=255);
        let text = format!("1{}", URL_SAFE.encode(bytes));
        assert_eq!(text.len(), 369);
        assert!(parse_string(&text) == Ok(made_up(4)));
    }

    #[test]
    fn a_gramjs_string_is_told_apart_also_where_the_lengths_are_equal() {
        for address in
            ["149.154.167.5", "149.154.167.51", "149.154.175.100", "venus.web.telegram.org"]
        {
            assert_eq!(parse_string(&gramjs(address)), Err(Fault::Later(Library::GramJs)));
        }
    }

    #[test]
    fn strings_of_other_libraries_are_named() {
        for (len, first, library) in [
            (271, 2, Library::Pyrogram),
            (267, 2, Library::Pyrogram),
            (263, 2, Library::Pyrogram),
            (290, 3, Library::Mtcute),
        ] {
            let mut bytes = vec![7; len];
            bytes[0] = first;
            let text = URL_SAFE.encode(bytes).trim_end_matches('=').to_owned();
            assert_eq!(parse_string(&text), Err(Fault::Later(library)), "{len}");
        }
    }

    #[test]
    fn what_is_no_session_is_refused_with_the_cause() {
        let with = |change: fn(&mut Telegram)| {
            let mut telegram = made_up(2);
            change(&mut telegram);
            to_string(&telegram)
        };
        for (text, fault) in [
            (" \n".to_owned(), Fault::Empty),
            ("hello".to_owned(), Fault::Unknown("a Telethon string begins with 1")),
            ("1!!!".to_owned(), Fault::NotBase64),
            (with(|t| t.auth_key.truncate(200)), Fault::StringLength(207)),
            (with(|t| t.auth_key.fill(0)), Fault::ZeroKey),
            (with(|t| t.dc_id = 0), Fault::DataCentre(0)),
            (with(|t| t.dc_id = 203), Fault::DataCentre(203)),
            ("1".repeat(MAX_STRING + 1), Fault::TooLarge(4097)),
        ] {
            assert_eq!(parse_string(&text), Err(fault));
        }
    }

    #[test]
    fn a_test_data_centre_is_known_by_its_address() {
        let test = Telegram { test: true, address: Some(home(2, true)), ..made_up(2) };
        assert!(parse_string(&to_string(&test)) == Ok(test));
    }
}
