//! The flags that say which broker is called, and with which key.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use telegate::{
    client::{Client, Endpoint, IdentityFiles},
    config::{Environment, environment},
};

use super::failure::{Exit, Failure};

/// Where a broker is unless somebody says.
const ADDRESS: &str = "http://127.0.0.1:7311";

/// The variables are read here and not by clap, which would show them in every usage line as flags
/// that were given.
#[derive(Clone, Args)]
#[command(next_help_heading = "Broker")]
pub(crate) struct Broker {
    /// Where the broker is; https:// for TLS [env: `TELEGATE_ADDRESS`] [default: port 7311 of this
    /// machine].
    #[arg(long, global = true, value_name = "URL")]
    address: Option<String>,
    /// The API key [env: `TELEGATE_KEY`]. On the command line other users of this machine can see
    /// it: better set `TELEGATE_KEY` or use --key-file.
    #[arg(long, global = true, value_name = "KEY")]
    key: Option<String>,
    /// A file with the API key; wins over --key [env: `TELEGATE_KEY_FILE`].
    #[arg(long, global = true, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// A file with the authorities to trust, in PEM, instead of the system's [env: `TELEGATE_CA`].
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A file with your own certificate, in PEM, for brokers that want one [env: `TELEGATE_CERT`].
    #[arg(long, global = true, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// A file with the private key of --cert, in PEM [env: `TELEGATE_CERT_KEY`].
    #[arg(long, global = true, value_name = "FILE")]
    cert_key: Option<PathBuf>,
}

impl Broker {
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Ok(Client::connect(self.endpoint(&environment())?).await?)
    }

    /// Where it is.
    pub(crate) fn address(&self, environment: &Environment) -> String {
        let variable = environment.get("TELEGATE_ADDRESS").filter(|value| !value.is_empty());
        self.address.as_ref().or(variable).cloned().unwrap_or_else(|| ADDRESS.to_owned())
    }

    /// What the flags say, and where they say nothing, the variables.
    fn endpoint(&self, environment: &Environment) -> Result<Endpoint, Failure> {
        let variable = |name| environment.get(name).filter(|value| !value.is_empty()).cloned();
        let path = |flag: &Option<PathBuf>, name| {
            flag.clone().or_else(|| variable(name).map(PathBuf::from))
        };
        // A flag wins over every variable, and then a file over the key itself.
        let from_flags = self.key_file.is_some() || self.key.is_some();
        let key_file = self.key_file.clone();
        let key_file = key_file
            .or_else(|| variable("TELEGATE_KEY_FILE").filter(|_| !from_flags).map(PathBuf::from));
        let key = match key_file {
            Some(path) => Some(read_key(&path)?),
            None => self.key.clone().or_else(|| variable("TELEGATE_KEY")),
        };
        let cert = path(&self.cert, "TELEGATE_CERT");
        let identity = match (cert, path(&self.cert_key, "TELEGATE_CERT_KEY")) {
            (Some(cert), Some(key)) => Some(IdentityFiles { cert, key }),
            (None, None) => None,
            _ => {
                return Err(Failure::new(Exit::Usage, "a certificate needs its private key")
                    .next("give both --cert and --cert-key, or neither"));
            }
        };
        Ok(Endpoint {
            address: self.address(environment),
            key: key.filter(|key| !key.is_empty()),
            ca: path(&self.ca, "TELEGATE_CA"),
            identity,
        })
    }
}

fn read_key(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::new(Exit::Io, format!("key file {}: {error}", path.display()))
            .next("make a key with `telegate keys new`, or name the file that has it")
    })?;
    Ok(text.trim().to_owned())
}
