//! grammers' SQLite files.

use std::net::SocketAddrV4;

use super::{
    Fault, MAX_CENTRES, Telegram,
    parts::Parts,
    sqlite::{Need, Tables},
};

/// The newest schema that is understood.
const NEWEST_SCHEMA: i64 = 1;
/// The bit of a peer's subtype that says that it is a bot; the lowest says that it is the account
/// itself.
const BOT: i64 = 2;

/// Reads a file, and tells its schema.
pub(super) fn read(tables: &Tables<'_>) -> Result<(Telegram, i64), Fault> {
    let schema = tables.user_version()?;
    if schema > NEWEST_SCHEMA {
        let newest = NEWEST_SCHEMA;
        return Err(Fault::NewerSchema { library: "grammers", found: schema, newest });
    }
    let home = tables.only_row("dc_home", &[Need::Always("dc_id")])?.int(0).unwrap_or(0);
    let columns = ["dc_id", "ipv4", "auth_key"].map(Need::Always);
    let rows = tables.rows("dc_option", &columns, MAX_CENTRES)?;
    let row = rows.iter().find(|row| row.int(0) == Some(home)).ok_or(Fault::NotLoggedIn)?;
    let address = row.text(1).and_then(|text| text.parse::<SocketAddrV4>().ok());
    let me = me(tables)?;
    let telegram = Parts {
        dc: home,
        ip: address.map(|address| *address.ip()),
        port: address.map_or(0, |address| address.port()),
        key: row.key(2)?,
        user_id: me.map(|(id, _)| id),
        is_bot: me.map(|(_, is_bot)| is_bot),
        ..Parts::default()
    };
    Ok((telegram.check()?, schema))
}

/// Who the account is, if the file says so.
fn me(tables: &Tables<'_>) -> Result<Option<(i64, bool)>, Fault> {
    if !tables.has("peer_info") {
        return Ok(None);
    }
    let columns = ["peer_id", "subtype"].map(Need::Always);
    let row = tables.first_where("peer_info", &columns, "subtype & 1")?;
    Ok(row.and_then(|row| Some((row.int(0)?, row.int(1)? & BOT != 0))))
}
