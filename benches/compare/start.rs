//! From the start of the program to the first answer, and the program's size.

use std::{
    fs,
    time::{Duration, Instant},
};

use telegate::{
    client::{Client, Endpoint, Error},
    proto::v1,
};
use tokio::runtime::Runtime;

use crate::{
    Cli,
    figures::{Series, table},
    goals::{Goal, Goals},
    stage::{Appends, Redis, Server, TELEGATE},
};

/// How often a broker that does not serve yet is asked.
const ASK_EVERY: Duration = Duration::from_micros(500);

/// Measures both, and prints a table.
pub(crate) fn measure(cli: &Cli, goals: &mut Goals) {
    let redis = Redis::start(Appends::Never);
    let (mut embedded, mut on_redis) = (Series::default(), Series::default());
    for _ in 0..=cli.rounds {
        embedded.note(until_served(|| Server::embedded(TELEGATE, &[])));
        if let Some(redis) = &redis {
            on_redis.note(until_served(|| Server::broker(TELEGATE, &redis.url(), &[])));
        }
    }
    let size = fs::metadata(TELEGATE).expect("the program's file").len();
    goals.note("ms from start to serving, embedded", embedded.median(), Goal::AtMost(50.0));
    goals.note("ms from start to serving, Redis", on_redis.median(), Goal::AtMost(50.0));
    #[expect(clippy::cast_precision_loss, reason = "a program of less than 2^52 bytes")]
    goals.note("MB of the program", size as f64 / 1e6, Goal::AtMost(25.0));
    println!("From start to the first answer, empty store, in ms; and the program's size\n");
    table(
        &["MEASURE", "VALUE"],
        &[
            vec!["embedded".to_owned(), format!("{embedded:.1}")],
            vec!["on Redis".to_owned(), format!("{on_redis:.1}")],
            vec!["program, MB".to_owned(), format!("{}.{}", size / 1_000_000, size / 100_000 % 10)],
        ],
    );
}

fn until_served(start: impl FnOnce() -> Server) -> f64 {
    let began = Instant::now();
    let server = start();
    Runtime::new().expect("a runtime").block_on(async {
        let endpoint = || Endpoint { address: server.address.clone(), ..Endpoint::default() };
        loop {
            if let Ok(client) = Client::connect(endpoint()).await {
                let request = v1::GetPoolStatusRequest { pool: "nothing".to_owned() };
                let answer = client.get_pool_status(request).await;
                if matches!(answer, Err(Error::Refused(no)) if no.reason_name == "POOL_NOT_FOUND") {
                    return;
                }
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    });
    began.elapsed().as_secs_f64() * 1000.0
}
