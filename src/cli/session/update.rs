//! `telegate session update`.

use std::collections::BTreeMap;

use pbjson_types::FieldMask;
use telegate::{
    client::Client,
    proto::v1::{DeviceProfile, Session, UpdateSessionRequest, UpdateSessionResponse},
};

use crate::cli::{failure::Failure, import::label, pool::Why};

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true).args([
    "label", "unlabel", "proxy", "no_proxy", "account_id", "api_id", "device_model",
    "system_version", "app_version", "lang_code", "system_lang_code", "lang_pack",
])))]
pub(crate) struct Args {
    /// The pool.
    #[arg(long)]
    pool: String,
    /// The session.
    session: String,
    /// A label to set; may be given several times. The others stay.
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// A label to take off; may be given several times.
    #[arg(long, value_name = "KEY")]
    unlabel: Vec<String>,
    /// The proxy that its clients should use, as a URL.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Its clients should use no proxy.
    #[arg(long, conflicts_with = "proxy")]
    no_proxy: bool,
    /// Telegram's id of the account.
    #[arg(long, value_name = "ID")]
    account_id: Option<i64>,
    /// The id of the application that the session was made with.
    #[arg(long, value_name = "ID")]
    api_id: Option<i32>,
    /// For example "Samsung Galaxy S24".
    #[arg(long, value_name = "TEXT")]
    device_model: Option<String>,
    /// For example "Android 14".
    #[arg(long, value_name = "TEXT")]
    system_version: Option<String>,
    /// For example "11.2.0".
    #[arg(long, value_name = "TEXT")]
    app_version: Option<String>,
    /// For example "en".
    #[arg(long, value_name = "CODE")]
    lang_code: Option<String>,
    /// For example "en-US".
    #[arg(long, value_name = "CODE")]
    system_lang_code: Option<String>,
    /// For example "android".
    #[arg(long, value_name = "NAME")]
    lang_pack: Option<String>,
    #[command(flatten)]
    why: Why,
}

pub(crate) async fn update(client: &Client, args: Args) -> Result<UpdateSessionResponse, Failure> {
    Ok(client.update_session(args.into_request()).await?)
}

impl Args {
    fn into_request(self) -> UpdateSessionRequest {
        let labels: BTreeMap<_, _> = self.label.into_iter().collect();
        // A label that the mask names and the request has not is taken off.
        let named = labels.keys().chain(&self.unlabel).map(|key| format!("labels.{key}"));
        let mut paths: Vec<_> = named.collect();
        let mut name = |path: &str, given: bool| {
            if given {
                paths.push(path.to_owned());
            }
        };
        name("proxy", self.proxy.is_some() || self.no_proxy);
        name("account_id", self.account_id.is_some());
        name("device.api_id", self.api_id.is_some());
        let mut text = |field: &str, value: Option<String>| {
            name(&format!("device.{field}"), value.is_some());
            value.unwrap_or_default()
        };
        let device = DeviceProfile {
            api_id: self.api_id,
            api_hash: String::new(),
            device_model: text("device_model", self.device_model),
            system_version: text("system_version", self.system_version),
            app_version: text("app_version", self.app_version),
            lang_code: text("lang_code", self.lang_code),
            system_lang_code: text("system_lang_code", self.system_lang_code),
            lang_pack: text("lang_pack", self.lang_pack),
        };
        let session = Session {
            pool: self.pool,
            name: self.session,
            labels,
            proxy: self.proxy.unwrap_or_default(),
            account_id: self.account_id,
            device: Some(device),
            ..Session::default()
        };
        UpdateSessionRequest {
            session: Some(session),
            update_mask: Some(FieldMask { paths }),
            detail: self.why.detail,
        }
    }
}
