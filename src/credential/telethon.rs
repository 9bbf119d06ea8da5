//! Telethon: its `StringSession` both ways, and its SQLite files, of Telethon 1 and 2.

use std::net::{Ipv4Addr, SocketAddrV4};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};

use super::{
    AUTH_KEY_LEN, Fault, Telegram,
    parts::{Parts, address},
    sqlite::{Need, Tables},
};

/// The newest schema version of Telethon 1 that is understood.
pub const NEWEST_SCHEMA: i64 = 8;
/// The schema version of Telethon 2.
const SCHEMA_2: i64 = 10;

/// The bytes of a string beside the key and the IP address: the data centre and the port.
const FRAME: usize = 3;
const IPV4: usize = 4;
const IPV6: usize = 16;
/// How many bytes a string has, with an IPv4 and with an IPv6 address.
pub(super) const LENGTHS: [usize; 2] = [FRAME + IPV4 + AUTH_KEY_LEN, FRAME + IPV6 + AUTH_KEY_LEN];

/// Writes Telethon's `StringSession`, version 1, always with an IPv4 address.
#[must_use]
pub fn to_string(telegram: &Telegram) -> String {
    let address = address(telegram);
    let mut bytes = Vec::with_capacity(LENGTHS[0]);
    bytes.push(telegram.dc_id);
    bytes.extend(address.ip().octets());
    bytes.extend(address.port().to_be_bytes());
    bytes.extend(&telegram.auth_key);
    format!("1{}", URL_SAFE.encode(bytes))
}

/// Reads what a string holds after its first character.
pub(super) fn parse(bytes: &[u8]) -> Result<Telegram, Fault> {
    let Some(ip_len @ (IPV4 | IPV6)) = bytes.len().checked_sub(FRAME + AUTH_KEY_LEN) else {
        return Err(Fault::StringLength(bytes.len()));
    };
    let (ip, rest) = bytes[1..].split_at(ip_len);
    let (port, key) = rest.split_at(2);
    Parts {
        dc: bytes[0].into(),
        ip: <[u8; IPV4]>::try_from(ip).ok().map(Ipv4Addr::from),
        port: u16::from_be_bytes([port[0], port[1]]),
        key,
        ..Parts::default()
    }
    .check()
}

/// Reads a file of Telethon 1 or 2, and tells its schema.
pub(super) fn read(tables: &Tables<'_>) -> Result<(Telegram, i64), Fault> {
    let schema = tables.number("version", "version")?;
    let second = tables.has("datacenter") && tables.has("user");
    let newest = if second { SCHEMA_2 } else { NEWEST_SCHEMA };
    match schema {
        Some(found) if found > newest => {
            Err(Fault::NewerSchema { library: "Telethon", found, newest })
        }
        Some(schema @ 1..) if second => Ok((second_version(tables)?, schema)),
        Some(schema @ 1..) if tables.has("sessions") => Ok((first_version(tables)?, schema)),
        _ => Err(Fault::damaged("it names no schema version, or has no sessions")),
    }
}

fn first_version(tables: &Tables<'_>) -> Result<Telegram, Fault> {
    let columns = ["dc_id", "server_address", "port", "auth_key"].map(Need::Always);
    let row = tables.only_row("sessions", &columns)?;
    let port = row.int(2).and_then(|port| u16::try_from(port).ok());
    Parts {
        dc: row.int(0).unwrap_or(0),
        ip: row.text(1).and_then(|ip| ip.parse().ok()),
        port: port.unwrap_or(0),
        key: row.key(3)?,
        ..Parts::default()
    }
    .check()
}

/// Telethon 2 keeps a row for each data centre that it ever spoke to, and who it is.
fn second_version(tables: &Tables<'_>) -> Result<Telegram, Fault> {
    let columns = [Need::Always("id"), Need::Always("dc"), Need::Always("bot")];
    let user = tables.rows("user", &columns, 1)?.into_iter().next();
    let columns = [
        Need::Always("id"),
        Need::Always("auth"),
        Need::Perhaps("addr"),
        Need::Perhaps("ipv4_addr"),
    ];
    let mut rows = tables.rows("datacenter", &columns, super::MAX_CENTRES)?;
    rows.retain(|row| row.key(1).is_ok_and(|key| !key.is_empty()));
    if let Some(home) = user.as_ref().and_then(|user| user.int(1)) {
        rows.retain(|row| row.int(0) == Some(home));
    }
    let [row] = &rows[..] else {
        return Err(if rows.is_empty() { Fault::NotLoggedIn } else { Fault::Several });
    };
    let address = row.text(3).or(row.text(2)).and_then(|text| text.parse::<SocketAddrV4>().ok());
    Parts {
        dc: row.int(0).unwrap_or(0),
        ip: address.map(|address| *address.ip()),
        port: address.map_or(0, |address| address.port()),
        key: row.key(1)?,
        user_id: user.as_ref().and_then(|user| user.int(0)),
        is_bot: user.as_ref().and_then(|user| user.flag(2)),
        ..Parts::default()
    }
    .check()
}
