//! Telethon's session files and strings.
