//! Pyrogram and its forks Kurigram and hydrogram: session strings both ways, and SQLite files.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    AUTH_KEY_LEN, Fault, Missing, Telegram,
    parts::Parts,
    sqlite::{Need, Tables},
};

/// The newest schema of Pyrogram; later ones are Kurigram's.
const NEWEST_PYROGRAM: i64 = 3;
/// The newest schema of Kurigram that is understood.
const NEWEST_KURIGRAM: i64 = 7;

/// How many bytes strings have: the form of today, and the old one with users of 64 and of 32 bits.
pub(super) const LENGTHS: [usize; 3] = [271, 267, 263];

/// Writes Pyrogram's session string.
///
/// # Errors
///
/// When it is not known what the string must hold: Pyrogram believes what it reads.
pub fn to_string(telegram: &Telegram) -> Result<String, Missing> {
    let api_id = telegram.api_id.filter(|id| *id > 0);
    let user_id = telegram.user_id.filter(|id| *id > 0);
    let (Some(api_id), Some(user_id), Some(is_bot)) = (api_id, user_id, telegram.is_bot) else {
        let known = [
            ("api_id", api_id.is_some()),
            ("user_id", user_id.is_some()),
            ("is_bot", telegram.is_bot.is_some()),
        ];
        let missing = known.into_iter().filter(|(_, known)| !known).map(|(field, _)| field);
        return Err(Missing(missing.collect()));
    };
    let mut bytes = vec![telegram.dc_id];
    bytes.extend(api_id.to_be_bytes());
    bytes.push(telegram.test.into());
    bytes.extend(&telegram.auth_key);
    bytes.extend(user_id.to_be_bytes());
    bytes.push(is_bot.into());
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Reads a string of today, `dc:u8 api_id:u32 test:bool key user_id:u64 is_bot:bool`, or an old
/// one, which has no `api_id` and perhaps a `user_id` of 32 bits.
pub(super) fn parse(bytes: &[u8]) -> Result<Telegram, Fault> {
    let api = if bytes.len() == LENGTHS[0] { 4 } else { 0 };
    let (Some((&dc, rest)), true) = (bytes.split_first(), LENGTHS.contains(&bytes.len())) else {
        return Err(Fault::StringLength(bytes.len()));
    };
    let (api_id, rest) = rest.split_at(api);
    let (test, rest) = rest.split_at(1);
    let (key, rest) = rest.split_at(AUTH_KEY_LEN);
    let (user_id, is_bot) = rest.split_at(rest.len() - 1);
    let flag = |byte: &[u8]| match byte {
        [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(Fault::Unknown("it is as long as a Pyrogram string, but says something else")),
    };
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    Parts {
        dc: dc.into(),
        test: flag(test)?,
        key,
        user_id: i64::try_from(number(user_id)).ok(),
        is_bot: Some(flag(is_bot)?),
        api_id: i64::try_from(number(api_id)).ok(),
        ..Parts::default()
    }
    .check()
}

/// Reads a file, and tells whose it is and its schema.
pub(super) fn read(tables: &Tables<'_>) -> Result<(Telegram, &'static str, i64), Fault> {
    let number = tables.number("version", "number")?;
    let (library, schema) = match number {
        Some(found) if found > NEWEST_KURIGRAM => {
            let newest = NEWEST_KURIGRAM;
            return Err(Fault::NewerSchema { library: "Kurigram", found, newest });
        }
        Some(schema @ 1..=NEWEST_PYROGRAM) => ("pyrogram", schema),
        Some(schema @ 1..) => ("kurigram", schema),
        _ => return Err(Fault::damaged("it names no schema version")),
    };
    let columns = [
        Need::Always("dc_id"),
        Need::Always("test_mode"),
        Need::Always("auth_key"),
        Need::Always("user_id"),
        Need::Always("is_bot"),
        Need::Perhaps("api_id"),
        Need::Perhaps("server_address"),
        Need::Perhaps("port"),
    ];
    let row = tables.only_row("sessions", &columns)?;
    let telegram = Parts {
        dc: row.int(0).unwrap_or(0),
        test: row.flag(1).unwrap_or(false),
        key: row.key(2)?,
        user_id: row.int(3),
        is_bot: row.flag(4),
        api_id: row.int(5),
        ip: row.text(6).and_then(|ip| ip.parse().ok()),
        port: row.int(7).and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
    };
    Ok((telegram.check()?, library, schema))
}
