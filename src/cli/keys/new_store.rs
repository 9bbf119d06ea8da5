//! `telegate keys new-store`.

use std::path::PathBuf;

use telegate::store::sealed::{KeyError, StoreKey, StoreKeys};

use crate::cli::{
    failure::{Exit, Failure},
    print::{self, Output},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Puts the key first in this file, which is made if it is missing, instead of printing it. A
    /// broker that has the file takes it up within seconds.
    #[arg(long, value_name = "FILE")]
    store_key_file: Option<PathBuf>,
}

pub(crate) fn run(args: Args, output: Output) -> Result<(), Failure> {
    let Some(path) = args.store_key_file else {
        let key = StoreKey::generate()?;
        let (id, text) = (key.id().to_string(), key.reveal());
        if output == Output::Json {
            return print::json(&serde_json::json!({ "id": id, "key": *text }));
        }
        print::record([("id", id), ("key", text.to_string())])?;
        eprintln!(
            "The key is shown only now and kept nowhere. Keep a copy away from the store: without \
             it the credentials in there are lost."
        );
        return Ok(());
    };
    let id = StoreKeys::add_to_file(&path)?.id().to_string();
    if output == Output::Json {
        return print::json(&serde_json::json!({ "id": id, "file": path }));
    }
    print::record([("id", id), ("file", path.display().to_string())])?;
    eprintln!(
        "Keep a copy of the file away from the store: without it the credentials in there are lost."
    );
    Ok(())
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let exit = match error {
            KeyError::Io { .. } | KeyError::Open { .. } | KeyError::Malformed { .. } => Exit::Usage,
            KeyError::Random(_) => Exit::Internal,
        };
        Self::new(exit, error.to_string())
    }
}
