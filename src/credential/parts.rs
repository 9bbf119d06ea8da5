//! What a session's form says, and the check that makes a credential of it.
//!
//! Telethon goes on with the wrong data centre, keeping the key, when a session holds an IPv6
//! address; the session then looks dead. So a credential always has an IPv4 address.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::{AUTH_KEY_LEN, Fault, Telegram};

/// The port that every data centre serves.
const PORT: u16 = 443;

/// What a form says, as it says it.
#[derive(Clone, Copy, Default)]
pub(super) struct Parts<'a> {
    pub(super) dc: i64,
    /// Whether the form says itself that it is a test data centre.
    pub(super) test: bool,
    pub(super) key: &'a [u8],
    /// The data centre's address; nothing when it is no IPv4 address.
    pub(super) ip: Option<Ipv4Addr>,
    /// Zero when not said.
    pub(super) port: u16,
    pub(super) user_id: Option<i64>,
    pub(super) is_bot: Option<bool>,
    pub(super) api_id: Option<i64>,
}

impl Parts<'_> {
    /// Makes a credential of it, if it can be one. An address that is not a usable IPv4 address is
    /// replaced by the data centre's own.
    pub(super) fn check(self) -> Result<Telegram, Fault> {
        if self.key.is_empty() {
            return Err(Fault::NotLoggedIn);
        }
        if self.key.len() != AUTH_KEY_LEN {
            return Err(Fault::KeyLength(self.key.len()));
        }
        if self.key.iter().all(|byte| *byte == 0) {
            return Err(Fault::ZeroKey);
        }
        let dc_id = u8::try_from(self.dc).ok().filter(|dc| (1..=5).contains(dc));
        let dc_id = dc_id.ok_or(Fault::DataCentre(self.dc))?;
        let known = |ip| (1..=3).any(|dc| *home(dc, true).ip() == ip);
        let test = self.test || self.ip.is_some_and(known);
        let port = if self.port == 0 { PORT } else { self.port };
        let address = match self.ip.filter(|ip| !ip.is_unspecified()) {
            Some(ip) => SocketAddrV4::new(ip, port),
            None => home(dc_id, test),
        };
        // Converters write 0 and "no bot" where they do not know who it is.
        let user_id = self.user_id.filter(|id| *id > 0);
        Ok(Telegram {
            dc_id,
            test,
            auth_key: self.key.to_vec(),
            address: Some(address),
            user_id,
            is_bot: user_id.and(self.is_bot),
            password: None,
            api_id: self.api_id.and_then(|id| i32::try_from(id).ok()).filter(|id| *id > 0),
        })
    }
}

/// The address that is written where a form has one.
pub(super) fn address(telegram: &Telegram) -> SocketAddrV4 {
    telegram.address.unwrap_or_else(|| home(telegram.dc_id, telegram.test))
}

/// The well-known address of a data centre, as Telegram's clients have it built in.
pub(super) fn home(dc_id: u8, test: bool) -> SocketAddrV4 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_is_not_known_is_no_bot_either_way() {
        let parts = Parts { dc: 2, key: &[1; AUTH_KEY_LEN], ..Parts::default() };
        for (id, bot, wanted) in [
            (Some(0), Some(false), (None, None)),
            (None, Some(true), (None, None)),
            (Some(7), Some(false), (Some(7), Some(false))),
            (Some(7), None, (Some(7), None)),
        ] {
            let found = Parts { user_id: id, is_bot: bot, ..parts }.check().unwrap();
            assert_eq!((found.user_id, found.is_bot), wanted);
        }
    }

    #[test]
    fn an_application_id_that_cannot_be_is_not_known() {
        let parts = Parts { dc: 2, key: &[1; AUTH_KEY_LEN], ..Parts::default() };
        for (id, wanted) in [(0, None), (-1, None), (1 << 31, None), (2040, Some(2040))] {
            assert_eq!(Parts { api_id: Some(id), ..parts }.check().unwrap().api_id, wanted);
        }
    }
}
