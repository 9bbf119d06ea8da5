//! The JSON that lies beside a session under its name: which application and device it was made
//! with, its proxy, its account, its second factor.
//!
//! No program owns this form. Names of fields are taken in all spellings that are about, and what
//! none of them says is left out, never guessed.

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value};

use super::proxy;
use crate::{
    credential::{Credential, Fault, Found, read_text},
    proto::v1::DeviceProfile,
};

/// The largest sidecar, in bytes.
pub(super) const MAX_SIDECAR: u64 = 1 << 20;
/// The longest password of an account, in bytes.
const MAX_PASSWORD: usize = 1024;
/// Language packs, which some programs write where others write a language.
const PACKS: [&str; 9] =
    ["android", "android_x", "ios", "macos", "tdesktop", "unigram", "weba", "webk", "webogram"];

/// What a sidecar says. Its `Debug` hides it.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Sidecar {
    pub(super) device: DeviceProfile,
    /// As a URL.
    pub(super) proxy: String,
    pub(super) phone: Option<String>,
    pub(super) password: Option<String>,
    pub(super) user_id: Option<i64>,
    pub(super) is_bot: Option<bool>,
    dc_id: Option<i64>,
    /// The session as a string.
    pub(super) string: Option<String>,
    /// What it says twice, and not alike.
    notes: Vec<String>,
}

impl fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sidecar(secret)")
    }
}

impl Sidecar {
    /// Reads one. Nothing: it is a session itself.
    pub(super) fn parse(text: &[u8]) -> Result<Option<Self>, String> {
        if text.starts_with(b"SQLite format 3\0") {
            return Ok(None);
        }
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let value: Value =
            serde_json::from_slice(text).map_err(|_| "is not whole JSON".to_owned())?;
        let Value::Object(fields) = value else { return Err("is no JSON object".to_owned()) };
        if fields.get("Data").is_some_and(|data| data.get("AuthKey").is_some()) {
            return Ok(None);
        }
        let mut fields = Fields::new(fields);
        let pack = fields.text(&["langpack"])?.unwrap_or_default();
        let mut lang_code = fields.text(&["langcode"])?.unwrap_or_default();
        let is_pack = PACKS.contains(&pack.as_str());
        if lang_code.is_empty() && !is_pack && is_language(&pack) {
            lang_code.clone_from(&pack);
        }
        let device = DeviceProfile {
            api_id: fields.number(&["apiid", "appid"])?,
            api_hash: fields.text(&["apihash", "apphash"])?.unwrap_or_default(),
            device_model: fields.text(&["devicemodel", "device"])?.unwrap_or_default(),
            system_version: fields.text(&["systemversion", "sdk", "system"])?.unwrap_or_default(),
            app_version: fields.text(&["appversion"])?.unwrap_or_default(),
            lang_code,
            system_lang_code: fields
                .text(&["systemlangcode", "systemlangpack"])?
                .unwrap_or_default(),
            lang_pack: if is_pack { pack } else { String::new() },
        };
        let proxy = match fields.take(&["proxy", "proxyurl"]) {
            Some((_, value)) => {
                proxy::url(&value).map_err(|why| format!("names a proxy that {why}"))?
            }
            None => String::new(),
        };
        let password =
            fields.text(&["twofa", "2fa", "twofapassword", "2fapassword", "password"])?;
        if password.as_ref().is_some_and(|password| password.len() > MAX_PASSWORD) {
            return Err(format!("has a password of more than {MAX_PASSWORD} bytes"));
        }
        Ok(Some(Self {
            device,
            proxy,
            phone: fields.text(&["phone", "phonenumber"])?,
            password,
            user_id: fields.number(&["userid", "uid", "id", "accountid"])?,
            is_bot: fields.flag(&["isbot", "bot"]),
            dc_id: fields.number(&["dcid"])?,
            string: fields.text(&["sessionstring", "stringsession"])?,
            notes: fields.notes,
        }))
    }

    /// Adds to a session what the sidecar knows and the session does not say, and tells where they
    /// disagree. The session is right then; but not if they are of two accounts.
    pub(super) fn complete(&self, found: &mut Found, notes: &mut Vec<String>) -> Result<(), Fault> {
        let telegram = &mut found.telegram;
        if let (Some(says), Some(is)) = (self.user_id, telegram.user_id)
            && says != is
        {
            return Err(Fault::Sidecar(format!("is of account {says}, the session of {is}")));
        }
        if let (Some(says), Some(is)) = (self.is_bot, telegram.is_bot)
            && says != is
        {
            let kind = |bot| if bot { "a bot" } else { "a user" };
            let (says, is) = (kind(says), kind(is));
            return Err(Fault::Sidecar(format!("is of {says}, the session of {is}")));
        }
        notes.extend(self.notes.iter().cloned());
        let mut differ = |what: &str, says: Option<i64>, is: Option<i64>| {
            if let (Some(says), Some(is)) = (says, is)
                && says != is
            {
                notes.push(format!("its sidecar says {what} {says}, the session {is}"));
            }
        };
        differ("api_id", self.device.api_id.map(i64::from), telegram.api_id.map(i64::from));
        differ("dc_id", self.dc_id, Some(telegram.dc_id.into()));
        if let Some(Ok(other)) = self.string.as_deref().map(read_text) {
            let [other, this] = [&other.telegram, &*telegram]
                .map(|telegram| Credential::Telegram(telegram.clone()).fingerprint());
            if other != this {
                notes.push(format!("its sidecar has another key ({other})"));
            }
        }
        telegram.user_id = telegram.user_id.or(self.user_id).filter(|id| *id > 0);
        telegram.is_bot = telegram.is_bot.or(self.is_bot).filter(|_| telegram.user_id.is_some());
        telegram.password.clone_from(&self.password);
        Ok(())
    }
}

/// Whether a text looks like a language: `en`, `pt-br`.
fn is_language(text: &str) -> bool {
    let (language, region) = text.split_once(['-', '_']).unwrap_or((text, "xx"));
    let letters = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
    (2..=3).contains(&language.len())
        && (2..=8).contains(&region.len())
        && letters(language)
        && letters(region)
}

/// The fields of a sidecar, by their names in small letters without anything between words, with
/// the names that it has for them.
struct Fields {
    values: BTreeMap<String, (String, Value)>,
    notes: Vec<String>,
}

impl Fields {
    fn new(fields: Map<String, Value>) -> Self {
        let plain = |name: &str| {
            let name = name.chars().filter(char::is_ascii_alphanumeric);
            name.map(|c| c.to_ascii_lowercase()).collect::<String>()
        };
        let says_something = |value: &Value| match value {
            Value::Null => false,
            Value::String(text) => !text.trim().is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            Value::Bool(_) | Value::Number(_) => true,
        };
        let values = fields.into_iter().filter(|(_, value)| says_something(value));
        let values = values.map(|(name, value)| (plain(&name), (name, value))).collect();
        Self { values, notes: Vec::new() }
    }

    /// The value of the first of some names that says something.
    fn take(&self, names: &[&str]) -> Option<(String, Value)> {
        let value = names.iter().find_map(|name| self.values.get(*name));
        // Some programs write `false` where there is nothing.
        value.filter(|(_, value)| *value != Value::Bool(false)).cloned()
    }

    fn text(&self, names: &[&str]) -> Result<Option<String>, String> {
        match self.take(names) {
            None => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text.trim().to_owned())),
            Some((_, Value::Number(number))) => Ok(Some(number.to_string())),
            Some((name, _)) => Err(format!("has something else than text as {name}")),
        }
    }

    /// The number under some names, and a note when they do not say the same.
    fn number<T: TryFrom<i64> + Copy + PartialEq + fmt::Display>(
        &mut self,
        names: &[&str],
    ) -> Result<Option<T>, String> {
        let mut first: Option<(&str, T)> = None;
        for name in names {
            let Some((name, value)) = self.values.get(*name) else { continue };
            let number = match value {
                Value::Bool(false) => continue,
                Value::Number(number) => number.as_i64(),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            let number = number.and_then(|number| T::try_from(number).ok());
            let number = number.ok_or_else(|| format!("has no usable number as {name}"))?;
            match first {
                None => first = Some((name, number)),
                Some((before, other)) if other != number => self
                    .notes
                    .push(format!("its sidecar says {before} {other}, but {name} {number}")),
                Some(_) => {}
            }
        }
        Ok(first.map(|(_, number)| number))
    }

    fn flag(&self, names: &[&str]) -> Option<bool> {
        names.iter().find_map(|name| self.values.get(*name)).and_then(|(_, value)| value.as_bool())
    }
}

#[cfg(test)]
mod tests;
