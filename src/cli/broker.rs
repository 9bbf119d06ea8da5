//! The flags that say which broker is called, and with which key.

use std::{fs, path::PathBuf};

use clap::Args;
use telegate::client::{Client, Endpoint, IdentityFiles};

use super::failure::{Exit, Failure};

#[derive(Clone, Args)]
pub(crate) struct Broker {
    /// Where the broker is; https:// for TLS.
    #[arg(
        long,
        global = true,
        env = "TELEGATE_ADDRESS",
        default_value = "http://127.0.0.1:7311",
        value_name = "URL",
        help_heading = "Broker"
    )]
    address: String,
    /// The API key. On the command line other users of this machine can see it: better set
    /// `TELEGATE_KEY` or use --key-file.
    #[arg(
        long,
        global = true,
        env = "TELEGATE_KEY",
        hide_env_values = true,
        value_name = "KEY",
        help_heading = "Broker"
    )]
    key: Option<String>,
    /// A file with the API key; wins over --key.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Broker")]
    key_file: Option<PathBuf>,
    /// A file with the authorities to trust, in PEM, instead of the system's.
    #[arg(long, global = true, env = "TELEGATE_CA", value_name = "FILE", help_heading = "Broker")]
    ca: Option<PathBuf>,
    /// A file with your own certificate, in PEM, for brokers that want one.
    #[arg(
        long,
        global = true,
        env = "TELEGATE_CERT",
        requires = "cert_key",
        value_name = "FILE",
        help_heading = "Broker"
    )]
    cert: Option<PathBuf>,
    /// A file with the private key of --cert, in PEM.
    #[arg(
        long,
        global = true,
        env = "TELEGATE_CERT_KEY",
        requires = "cert",
        value_name = "FILE",
        help_heading = "Broker"
    )]
    cert_key: Option<PathBuf>,
}

impl Broker {
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let key = match &self.key_file {
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|error| {
                    Failure::new(Exit::Io, format!("key file {}: {error}", path.display()))
                        .next("make a key with `telegate keys new`, or name the file that has it")
                })?;
                Some(text.trim().to_owned())
            }
            None => self.key.clone(),
        };
        let key = key.filter(|key| !key.is_empty());
        let identity = self.cert.clone().zip(self.cert_key.clone());
        let endpoint = Endpoint {
            address: self.address.clone(),
            key,
            ca: self.ca.clone(),
            identity: identity.map(|(cert, key)| IdentityFiles { cert, key }),
        };
        Ok(Client::connect(endpoint).await?)
    }
}
