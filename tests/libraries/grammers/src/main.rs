//! Makes session files with the real grammers, and prints as JSON what is in them.
//!
//! ```text
//! telegate-test-grammers FOLDER
//! ```
//!
//! The keys are made up. Nothing here opens a connection: only the session's storage is used.

use std::{env, error::Error, fmt::Write as _, path::Path};

use grammers_session::{
    Session,
    storages::SqliteSession,
    types::PeerInfo,
};
use serde_json::{Value, json};

/// The version in Cargo.lock.
const VERSION: &str = "0.11.0";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A logged-in session, as a client leaves it behind: with keys of two data centres and peers.
async fn made(
    folder: &Path,
    dc: i32,
    user: Option<(i64, bool)>,
) -> Result<Value, Box<dyn Error>> {
    let file = format!("dc{dc}-{}.session", user.is_some());
    let session = SqliteSession::open(folder.join(&file)).await?;
    let mut home = [0; 256];
    for (id, is_home) in [(dc % 5 + 1, false), (dc, true)] {
        let mut option = session.dc_option(id)?.ok_or("no such data centre")?;
        let mut key = [0; 256];
        getrandom::fill(&mut key).map_err(|error| error.to_string())?;
        option.auth_key = Some(key);
        session.set_dc_option(&option).await?;
        if is_home {
            home = key;
        }
    }
    session.set_home_dc_id(dc).await?;
    let peer = |id, bot, is_self| PeerInfo::User { id, auth: None, bot, is_self };
    session.cache_peer(peer(99, Some(true), Some(false))).await?;
    let mut told = json!({ "file": file, "dc_id": dc, "test": false, "auth_key": hex(&home) });
    if let Some((id, is_bot)) = user {
        session.cache_peer(peer(id, Some(is_bot), Some(true))).await?;
        told["user_id"] = id.into();
        told["is_bot"] = is_bot.into();
    }
    Ok(told)
}

async fn run(folder: &Path) -> Result<Value, Box<dyn Error>> {
    let sessions = [
        made(folder, 2, None).await?,
        made(folder, 1, Some((42, false))).await?,
        made(folder, 4, Some((7_000_000_001, true))).await?,
    ];
    Ok(json!({ "version": VERSION, "sessions": sessions }))
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).ok_or("which folder?")?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    println!("{}", runtime.block_on(run(Path::new(&folder)))?);
    Ok(())
}
