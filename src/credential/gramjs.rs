//! GramJS's `StringSession`, both ways.
//!
//! Telethon takes one whose address has 14 characters for its own with an IPv6 address, without an
//! error. So the address's length is looked at, as GramJS does it.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    AUTH_KEY_LEN, Fault, Telegram,
    parts::{Parts, address, home},
};

/// The bytes of a string beside the key and the address: the data centre, the address's length and
/// the port.
const FRAME: usize = 5;
/// The longest address; what begins with a larger length is Telethon's IPv6 address.
const MAX_ADDRESS: usize = 100;

/// Writes GramJS's `StringSession`.
#[must_use]
pub fn to_string(telegram: &Telegram) -> String {
    let mut address = address(telegram);
    // GramJS reads the port as a signed number.
    if i16::try_from(address.port()).is_err() {
        address = home(telegram.dc_id, telegram.test);
    }
    let ip = address.ip().to_string();
    let mut bytes = vec![telegram.dc_id, 0, u8::try_from(ip.len()).unwrap_or_default()];
    bytes.extend(ip.as_bytes());
    bytes.extend(address.port().to_be_bytes());
    bytes.extend(&telegram.auth_key);
    format!("1{}", BASE64_STANDARD.encode(bytes))
}

/// Where the address ends, if this is a string of GramJS.
pub(super) fn address_end(bytes: &[u8]) -> Option<usize> {
    let [_, high, low, ..] = *bytes else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    (length <= MAX_ADDRESS && FRAME + length + AUTH_KEY_LEN == bytes.len()).then_some(3 + length)
}

/// Reads what a string holds after its first character.
pub(super) fn parse(bytes: &[u8], address_end: usize) -> Result<Telegram, Fault> {
    let (start, rest) = bytes.split_at(address_end);
    let (port, key) = rest.split_at(2);
    let address = std::str::from_utf8(&start[3..]);
    let address = address.map_err(|_| Fault::damaged("its address is not text"))?;
    Parts {
        dc: start[0].into(),
        ip: address.parse().ok(),
        port: u16::from_be_bytes([port[0], port[1]]),
        key,
        ..Parts::default()
    }
    .check()
}
