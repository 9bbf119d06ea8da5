//! Telethon's session files and strings.

use super::Telegram;

/// Writes Telethon's string.
#[must_use]
pub fn to_string(telegram: &Telegram) -> String {
    format!("1{}", telegram.dc_id)
}
