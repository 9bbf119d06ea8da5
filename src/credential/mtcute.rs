//! mtcute's session strings: versions 1 to 3 in, version 3 out.
//!
//! They are made of Telegram's own binary types: integers are little-endian, and bytes stand behind
//! their length and are filled up to four.

use std::net::Ipv4Addr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    Fault, Telegram,
    parts::{Parts, address},
};

const SELF: u32 = 1;
const TEST: u32 = 2;
const MEDIA: u32 = 4;
/// The constructor of the `dcOption` that versions 1 and 2 hold.
const DC_OPTION: u32 = 0x18b7_a10d;
const DC_OPTION_SECRET: u32 = 1024;
/// The version of a data centre in a string of version 3, and its flag for a test data centre.
const CENTRE: u8 = 2;
const CENTRE_TEST: u8 = 4;
const TRUE: u32 = 0x9972_75b5;
const FALSE: u32 = 0xbc79_9737;
/// From this length on, the length of bytes takes four bytes itself.
const LONG: usize = 254;

/// Writes mtcute's session string, version 3. Who it is comes along where that is known.
#[must_use]
pub fn to_string(telegram: &Telegram) -> String {
    let address = address(telegram);
    let mut centre = vec![CENTRE, telegram.dc_id, if telegram.test { CENTRE_TEST } else { 0 }];
    push_bytes(&mut centre, address.ip().to_string().as_bytes());
    centre.extend(u32::from(address.port()).to_le_bytes());
    let user = telegram.user_id.zip(telegram.is_bot);
    let mut bytes = vec![3];
    bytes.extend(user.map_or(0, |_| SELF).to_le_bytes());
    push_bytes(&mut bytes, &centre);
    if let Some((id, is_bot)) = user {
        bytes.extend(id.to_le_bytes());
        bytes.extend(if is_bot { TRUE } else { FALSE }.to_le_bytes());
    }
    push_bytes(&mut bytes, &telegram.auth_key);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn push_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or_default().to_le_bytes();
    let start = to.len();
    if bytes.len() < LONG {
        to.push(length[0]);
    } else {
        to.extend([254, length[0], length[1], length[2]]);
    }
    to.extend(bytes);
    to.resize(start + (to.len() - start).next_multiple_of(4), 0);
}

/// Reads a string, and tells its version.
pub(super) fn parse(bytes: &[u8]) -> Result<(Telegram, u8), Fault> {
    fields(bytes).ok_or_else(|| Fault::damaged("its parts are not those of an mtcute string"))?
}

fn fields(bytes: &[u8]) -> Option<Result<(Telegram, u8), Fault>> {
    let (&version @ 1..=3, rest) = bytes.split_first()? else { return None };
    let mut reader = Reader(rest);
    let flags = reader.int()?;
    if flags & !(SELF | TEST | MEDIA) != 0 {
        return None;
    }
    let main = reader.centre(version)?;
    if version >= 2 && flags & MEDIA != 0 {
        reader.centre(version)?;
    }
    let user = if flags & SELF == 0 {
        None
    } else {
        let id = i64::from_le_bytes(reader.take(8)?.try_into().ok()?);
        let is_bot = match reader.int()? {
            TRUE => true,
            FALSE => false,
            _ => return None,
        };
        Some((id, is_bot))
    };
    let key = reader.bytes()?;
    if !reader.0.is_empty() {
        return None;
    }
    let parts = Parts {
        dc: main.id.into(),
        test: main.test || flags & TEST != 0,
        key,
        ip: main.ip,
        port: main.port,
        user_id: user.map(|(id, _)| id),
        is_bot: user.map(|(_, is_bot)| is_bot),
        api_id: None,
    };
    Some(parts.check().map(|telegram| (telegram, version)))
}

struct Centre {
    id: i32,
    test: bool,
    ip: Option<Ipv4Addr>,
    port: u16,
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn int(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let (head, length) = match *self.take(1)?.first()? {
            255 => return None,
            254 => {
                let length = self.take(3)?;
                (
                    4,
                    usize::from(length[0])
                        | usize::from(length[1]) << 8
                        | usize::from(length[2]) << 16,
                )
            }
            short => (1, usize::from(short)),
        };
        let bytes = self.take(length)?;
        self.take((head + length).next_multiple_of(4) - head - length)?;
        Some(bytes)
    }

    fn centre(&mut self, version: u8) -> Option<Centre> {
        if version < 3 {
            return self.dc_option();
        }
        let mut reader = Reader(self.bytes()?);
        let [inner @ 1..=2, id, flags] = *reader.take(3)? else { return None };
        let ip = std::str::from_utf8(reader.bytes()?).ok()?.parse().ok();
        let port = u16::try_from(reader.int()?).ok()?;
        let test = inner >= CENTRE && flags & CENTRE_TEST != 0;
        Some(Centre { id: id.into(), test, ip, port })
    }

    fn dc_option(&mut self) -> Option<Centre> {
        if self.int()? != DC_OPTION {
            return None;
        }
        let flags = self.int()?;
        let id = self.int()?.cast_signed();
        let ip = std::str::from_utf8(self.bytes()?).ok()?.parse().ok();
        let port = u16::try_from(self.int()?).ok()?;
        if flags & DC_OPTION_SECRET != 0 {
            self.bytes()?;
        }
        Some(Centre { id, test: false, ip, port })
    }
}
