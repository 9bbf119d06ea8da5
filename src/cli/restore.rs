//! `telegate restore`.

use std::process::ExitCode;

use telegate::{
    client::Error,
    proto::v1::{ListSessionsResponse, RestoreSessionRequest},
};

use super::{
    broker::Broker,
    failure::{Exit, Failure},
    pool::Why,
    print::{self, Output},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The pool.
    #[arg(long)]
    pool: String,
    /// The sessions.
    #[arg(required = true, value_name = "SESSION")]
    sessions: Vec<String>,
    #[command(flatten)]
    why: Why,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<ExitCode, Failure> {
    let client = broker.connect().await?;
    let mut restored = ListSessionsResponse::default();
    let mut code = ExitCode::SUCCESS;
    for session in args.sessions {
        let (pool, detail) = (args.pool.clone(), args.why.detail.clone());
        let request = RestoreSessionRequest { pool, session: session.clone(), detail };
        match client.restore_session(request).await {
            Ok(answer) => {
                if output == Output::Human {
                    print::line(&format!("{session} is back in pool {}", args.pool))?;
                }
                restored.sessions.extend(answer.session);
            }
            // The others may still be restored.
            Err(error @ Error::Refused(_)) => {
                let failure = Failure::from(error);
                failure.print(output);
                if failure.exit() != Exit::Refused {
                    return Ok(failure.exit().into());
                }
                code = Exit::Refused.into();
            }
            Err(error) => return Err(error.into()),
        }
    }
    if output == Output::Json {
        print::json(&restored)?;
    }
    Ok(code)
}
