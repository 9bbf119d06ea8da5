//! `telegate top`: pools, sessions, leases and waiters, live, on the whole screen.

mod feed;
mod order;
mod screen;
mod state;

use std::{
    io::{self, IsTerminal as _},
    thread,
    time::Duration,
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event},
};
use telegate::{client::Client, config::environment};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::interval,
};

use self::{
    feed::{Feed, Wish},
    state::{Press, State},
};
use super::{
    broker::Broker,
    failure::{Exit, Failure},
    print::Output,
    span,
};

/// How often the countdowns are drawn.
const DRAW_EVERY: Duration = Duration::from_millis(500);
/// How long a look for a pressed key lasts before it is seen whether anybody still waits for one.
const LOOK: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The pool to begin with [default: the first].
    pool: Option<String>,
    /// How often the broker is asked.
    #[arg(long, default_value = "1s", value_name = "SPAN", value_parser = span::parse)]
    every: Duration,
}

pub(crate) async fn run(args: Args, broker: &Broker, output: Output) -> Result<(), Failure> {
    if output == Output::Json || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, "`top` draws on a terminal, and this is none")
            .next("`telegate status --json` and `telegate session list --json` are for programs"));
    }
    let (client, address) = (broker.connect().await?, broker.address(&environment()));
    let wish = Wish { pool: args.pool, ..Wish::default() };
    // What is wrong with the broker or the key is said before the screen is taken.
    let first = feed::look(&client, &wish).await?;
    let every = args.every.max(Duration::from_millis(100));
    let feed = Feed::start(client.clone(), wish, every);
    let mut terminal = ratatui::try_init().map_err(|error| no_terminal(&error))?;
    let done = show(&mut terminal, State::new(address, first), &client, feed).await;
    ratatui::restore();
    done
}

/// Draws, and does what is pressed, until somebody has seen enough.
async fn show(
    terminal: &mut DefaultTerminal,
    mut state: State,
    client: &Client,
    mut feed: Feed,
) -> Result<(), Failure> {
    let mut pressed = keys();
    let mut tick = interval(DRAW_EVERY);
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| no_terminal(&error))?;
    loop {
        terminal
            .draw(|frame| screen::draw(frame, &mut state))
            .map_err(|error| no_terminal(&error))?;
        tokio::select! {
            event = pressed.recv() => match event {
                Some(Event::Key(key)) => match state.press(key) {
                    Press::Nothing => {}
                    Press::Quit => return Ok(()),
                    Press::Look => feed.look_for(state.wish()),
                    Press::Do(order) => {
                        state.tell(order.carry_out(client).await);
                        feed.look_for(state.wish());
                    }
                },
                Some(_) => {}
                None => return Ok(()),
            },
            seen = feed.next() => state.take(seen),
            _ = tick.tick() => {}
            _ = terminate.recv() => return Ok(()),
        }
    }
}

/// What is pressed, as long as anybody waits for it. Reading blocks, so it has a thread of its own.
fn keys() -> mpsc::Receiver<Event> {
    let (tell, told) = mpsc::channel(16);
    thread::spawn(move || {
        while !tell.is_closed() {
            match event::poll(LOOK) {
                Ok(false) => {}
                Ok(true) => match event::read() {
                    Ok(event) => {
                        if tell.blocking_send(event).is_err() {
                            return;
                        }
                    }
                    Err(_) => return,
                },
                Err(_) => return,
            }
        }
    });
    told
}

fn no_terminal(error: &io::Error) -> Failure {
    Failure::new(Exit::Io, format!("the terminal cannot be drawn on: {error}"))
}
