//! What operators have: files, folders, archives and lines that hold sessions, told apart by what
//! is in them, with what their sidecars know of them. Nothing is ever changed.

mod archive;
mod manifest;
mod naming;
mod proxy;
mod sidecar;
mod source;
mod stock;

use std::collections::BTreeMap;

pub use self::{
    manifest::Manifest,
    naming::{Held, Naming, New},
    proxy::proxy_url,
    source::{Source, Sources, from_memory},
    stock::{Piece, Stock},
};

use self::sidecar::Sidecar;
use crate::{
    credential::{Credential, Fault, Found, Passcode, Telegram},
    pool::{Fingerprint, is_label_value},
    proto::v1,
};

/// The label of the phone number, where it was asked for.
pub const PHONE: &str = "phone";

/// How sources are read.
#[derive(Clone, Debug, Default)]
pub struct Ways {
    /// What locks folders of Telegram Desktop.
    pub passcode: Passcode,
    /// Whether the JSON beside a session counts.
    pub sidecars: Sidecars,
    /// Whether phone numbers are taken over.
    pub phones: Phones,
}

/// Whether the JSON beside a session counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sidecars {
    /// It does.
    #[default]
    Read,
    /// It is left aside.
    Ignore,
}

/// Whether phone numbers are taken over: they are personal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phones {
    /// They are not.
    #[default]
    Leave,
    /// They become a label.
    Label,
}

/// Something that was found.
#[derive(Debug)]
pub struct Item {
    /// Where: for the report.
    pub file_name: String,
    /// What its name is made of. Nothing: of its fingerprint.
    pub stem: Option<String>,
    /// The form that it was in.
    pub format: String,
    /// The session, or why it is none.
    pub read: Result<Box<Entry>, Fault>,
    /// What is odd about it.
    pub notes: Vec<String>,
}

/// A session with all that is known of it. Its `Debug` hides the secrets.
#[derive(Debug)]
pub struct Entry {
    /// The authorization.
    pub telegram: Telegram,
    /// How its clients present themselves.
    pub device: v1::DeviceProfile,
    /// The proxy that its clients should use, as a URL; empty when none is known.
    pub proxy: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Entry {
    /// The fingerprint of its key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Credential::Telegram(self.telegram.clone()).fingerprint()
    }

    /// The request that adds it to a pool.
    #[must_use]
    pub fn request(self, pool: &str, name: &str) -> v1::AddSessionRequest {
        let Self { telegram, device, proxy, labels } = self;
        let session = v1::Session {
            pool: pool.to_owned(),
            name: name.to_owned(),
            labels,
            account_id: telegram.user_id,
            device: (device != v1::DeviceProfile::default()).then_some(device),
            proxy,
            ..v1::Session::default()
        };
        let credential = v1::Credential {
            form: v1::CredentialForm::Raw.into(),
            value: Some(v1::credential::Value::Telegram(wire(telegram))),
        };
        v1::AddSessionRequest { session: Some(session), credential: Some(credential) }
    }
}

fn wire(telegram: Telegram) -> v1::TelegramCredential {
    let Telegram { dc_id, test, auth_key, address, user_id, is_bot, password, api_id: _ } =
        telegram;
    v1::TelegramCredential {
        dc_id: dc_id.into(),
        test,
        auth_key,
        address: address.map(|address| address.ip().to_string()).unwrap_or_default(),
        port: address.map_or(0, |address| address.port().into()),
        user_id,
        is_bot,
        password: password.unwrap_or_default(),
    }
}

/// Makes an item of what was read and of what lies beside it.
fn item(
    file_name: String,
    stem: Option<String>,
    read: Result<Found, Fault>,
    sidecar: Option<&Sidecar>,
    ways: &Ways,
) -> Item {
    let mut notes = Vec::new();
    let mut format = String::new();
    let read = read.and_then(|mut found| {
        format.clone_from(&found.format);
        if let Some(sidecar) = sidecar {
            sidecar.complete(&mut found, &mut notes)?;
        }
        Ok(Box::new(entry(found, sidecar, ways, &mut notes)))
    });
    Item { file_name, stem, format, read, notes }
}

fn entry(found: Found, sidecar: Option<&Sidecar>, ways: &Ways, notes: &mut Vec<String>) -> Entry {
    let telegram = found.telegram;
    let mut device = sidecar.map(|sidecar| sidecar.device.clone()).unwrap_or_default();
    device.api_id = telegram.api_id.or(device.api_id).filter(|id| *id > 0);
    let mut labels = BTreeMap::new();
    let phone = sidecar.and_then(|sidecar| sidecar.phone.as_deref());
    if let Some(phone) = phone.filter(|_| ways.phones == Phones::Label) {
        if is_label_value(phone) {
            labels.insert(PHONE.to_owned(), phone.to_owned());
        } else {
            notes.push("its phone number cannot be a label".to_owned());
        }
    }
    let proxy = sidecar.map(|sidecar| sidecar.proxy.clone()).unwrap_or_default();
    Entry { telegram, device, proxy, labels }
}
