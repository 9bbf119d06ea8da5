//! gotd's session files: JSON, both ways.

use std::net::SocketAddrV4;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use super::{
    Fault, Telegram, key_id,
    parts::{Parts, address},
};

/// The only version there is.
const VERSION: i64 = 1;
/// What only a session has.
const MARK: &[u8] = b"\"AuthKey\"";

/// The file, with gotd's names. What else gotd keeps in it is fetched anew when it is missing.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct File {
    version: i64,
    data: Data,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    #[serde(default)]
    config: Config,
    #[serde(default, rename = "DC")]
    dc: i64,
    #[serde(default)]
    addr: String,
    #[serde(default)]
    auth_key: Option<String>,
    #[serde(default, rename = "AuthKeyID")]
    auth_key_id: Option<String>,
    #[serde(default)]
    salt: i64,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    test_mode: bool,
    #[serde(default, rename = "ThisDC")]
    this_dc: i64,
}

/// Writes gotd's session file.
#[must_use]
pub fn to_json(telegram: &Telegram) -> String {
    let dc = telegram.dc_id.into();
    let file = File {
        version: VERSION,
        data: Data {
            config: Config { test_mode: telegram.test, this_dc: dc },
            dc,
            addr: address(telegram).to_string(),
            auth_key: Some(BASE64_STANDARD.encode(&telegram.auth_key)),
            auth_key_id: Some(BASE64_STANDARD.encode(key_id(&telegram.auth_key))),
            salt: 0,
        },
    };
    serde_json::to_string(&file).expect("a file of gotd always encodes")
}

/// Reads a file.
pub(super) fn parse(text: &[u8]) -> Result<Telegram, Fault> {
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|_| {
        if text.windows(MARK.len()).any(|window| window == MARK) {
            Fault::damaged("it is not whole JSON")
        } else {
            Fault::Unknown("it begins like JSON, but is none")
        }
    })?;
    if value.pointer("/Data/AuthKey").is_none() {
        return Err(Fault::Unknown("it is JSON, but not a session of gotd"));
    }
    let File { version, data } = serde_json::from_value(value)
        .map_err(|_| Fault::damaged("its fields are not those of gotd"))?;
    if version != VERSION {
        return Err(Fault::NewerSchema { library: "gotd", found: version, newest: VERSION });
    }
    let decode = |text: Option<String>| BASE64_STANDARD.decode(text.unwrap_or_default());
    let key = decode(data.auth_key).map_err(|_| Fault::damaged("its key is not base64"))?;
    let id = decode(data.auth_key_id).unwrap_or_default();
    // gotd refuses it too: the key was changed, or only a part of it was written.
    if !key.is_empty() && id != key_id(&key) {
        return Err(Fault::damaged("its key and the key's id do not belong together"));
    }
    let address = data.addr.parse::<SocketAddrV4>().ok();
    Parts {
        dc: if data.dc == 0 { data.config.this_dc } else { data.dc },
        test: data.config.test_mode,
        key: &key,
        ip: address.map(|address| *address.ip()),
        port: address.map_or(0, |address| address.port()),
        ..Parts::default()
    }
    .check()
}
