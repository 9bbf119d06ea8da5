//! A worker in Rust: stands in line for a session, works under a guard that keeps the lease, and
//! stops when the lease is lost. Try it beside `make run`:
//!
//!     cargo run --example worker -- demo 127.0.0.1:7311

use std::{env, error::Error, time::Duration};

use telegate::{
    client::{Client, Endpoint, LendError},
    proto::v1::{AcquireRequest, Credential},
};

/// How long it waits for a session.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let pool = args.next().unwrap_or_else(|| "demo".to_owned());
    let address = args.next().unwrap_or_else(|| "127.0.0.1:7311".to_owned());
    let key = env::var("TELEGATE_KEY").ok();
    let client = Client::connect(Endpoint { address, key, ..Endpoint::default() }).await?;
    let wanted = AcquireRequest { pool, purpose: "example".to_owned(), ..Default::default() };
    let lease = match client.lend(wanted, PATIENCE).await {
        Ok(lease) => lease,
        Err(LendError::NoSessionAvailable(none)) => {
            println!("{none}");
            println!("{:?} wait, the next release is in {:?}", none.waiting, none.next_release);
            return Ok(());
        }
        Err(LendError::Other(error)) => return Err(error.into()),
    };
    println!("works with {}, epoch {}", lease.lease().session, lease.lease().epoch);
    match lease.run(work(lease.credential())).await {
        // Released after the work has disconnected; dropping the guard would do it too.
        Ok(()) => println!("{:?}", lease.release().await?.outcome()),
        // The work was dropped where it was: nothing may use the session any more.
        Err(loss) => println!("stopped: {loss}"),
    }
    Ok(())
}

/// Stands for what a real worker does with its Telegram library.
async fn work(_credential: &Credential) {
    tokio::time::sleep(Duration::from_secs(5)).await;
}
