//! `telegate version`.

use super::{
    failure::Failure,
    print::{self, Output},
};

pub(crate) fn run(output: Output) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    match output {
        Output::Json => print::json(&serde_json::json!({ "version": version })),
        Output::Human => print::line(&format!("telegate {version}")),
    }
}
