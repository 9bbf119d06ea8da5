//! `telegate top`, driven in a terminal: keys go in, the screen is read.

use std::process::{Command, Output};

use super::{Broker, PATIENCE, TELEGATE, run};
use crate::harness::{self, nothing_may_be_skipped};

/// A terminal of 80 columns and 24 lines, in a tmux server of its own.
struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs a line of shell; nothing where tmux is missing.
    fn start(name: &str, line: &str) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            assert!(!nothing_may_be_skipped(), "tmux is not installed, and CI is true");
            eprintln!("skipped: tmux is missing; see `make tools`");
            return None;
        }
        let terminal = Self { socket: format!("telegate-{name}-{}", std::process::id()) };
        let shell = format!("{line}; echo ended $?; exec sh");
        let size = ["-x", "80", "-y", "24"];
        let started = terminal
            .tmux(&[&["-f", "/dev/null", "new-session", "-d"], &size[..], &[&shell]].concat());
        assert!(started.status.success(), "{started:?}");
        Some(terminal)
    }

    fn tmux(&self, words: &[&str]) -> Output {
        Command::new("tmux").args(["-L", &self.socket]).args(words).output().unwrap()
    }

    fn press(&self, keys: &[&str]) {
        assert!(self.tmux(&[&["send-keys"], keys].concat()).status.success());
    }

    fn screen(&self) -> String {
        String::from_utf8(self.tmux(&["capture-pane", "-p"]).stdout).unwrap()
    }

    /// Whether a program has the whole screen.
    fn is_taken(&self) -> bool {
        self.tmux(&["display-message", "-p", "#{alternate_on}"]).stdout == b"1\n"
    }

    /// The screen, as soon as it is as wanted.
    async fn shows(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                last = self.screen();
                if wanted(&last) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        });
        assert!(found.await.is_ok(), "{what} was not shown:\n{last}");
        last
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
    }
}

/// The line of a screen that begins with a word.
fn line<'a>(screen: &'a str, word: &str) -> &'a str {
    let line = screen.lines().find(|line| line.split_whitespace().next() == Some(word));
    line.unwrap_or_else(|| panic!("no line {word} in:\n{screen}"))
}

fn has(screen: &str, word: &str, part: &str) -> bool {
    let mut lines = screen.lines();
    lines.any(|line| line.split_whitespace().next() == Some(word) && line.contains(part))
}

#[tokio::test]
async fn top_shows_counts_down_filters_and_does_what_is_confirmed() {
    let broker = Broker::start().await;
    broker.pool("work", &["anna", "ben", "carl"]);
    broker.call("pool create zoo").done();
    broker.call("session update anna --pool work --label tier=gold").done();
    broker.call("acquire --pool work --session anna --ttl 9m --purpose reading").done();
    broker.call("invalidate --pool work --session ben --reason banned").done();
    let line_of_shell = format!("TELEGATE_ADDRESS={} {TELEGATE} top", broker.address);
    let Some(terminal) = Terminal::start("shows", &line_of_shell) else { return };

    let screen = terminal.shows("the pools", |screen| has(screen, "anna", "LEASED")).await;
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    let pool: Vec<_> = line(&screen, "work").split_whitespace().collect();
    assert_eq!(pool[..9], ["work", "READY", "3", "1", "1", "0", "0", "0", "1"]);
    assert!(line(&screen, "anna").contains("reading"), "{screen}");
    assert!(line(&screen, "ben").contains("INVALID") && screen.contains("BANNED"), "{screen}");
    let countdown = line(&screen, "anna").to_owned();
    terminal.shows("a countdown", |screen| line(screen, "anna") != countdown).await;

    terminal.press(&["/"]);
    terminal.press(&["-l", "gold"]);
    terminal.press(&["Enter"]);
    terminal.shows("the filter", |screen| !has(screen, "ben", "INVALID")).await;
    terminal.press(&["Escape"]);
    terminal.shows("all again", |screen| has(screen, "ben", "INVALID")).await;
    for _ in 0..5 {
        terminal.press(&["s"]);
    }
    terminal
        .shows("one state", |screen| {
            screen.contains("only INVALID") && !has(screen, "anna", "LEASED")
        })
        .await;
    terminal.press(&["r"]);
    terminal.shows("the question", |screen| screen.contains("Bring ben back? (y/n)")).await;
    terminal.press(&["n"]);
    terminal.shows("the no", |screen| screen.contains("nothing was done")).await;
    terminal.press(&["r"]);
    terminal.press(&["y"]);
    terminal.shows("the deed", |screen| screen.contains("ben is back")).await;
    assert_eq!(broker.call("session show ben --pool work").field("state"), "READY");

    terminal.press(&["s"]);
    terminal.press(&["Tab"]);
    terminal.shows("the leases", |screen| has(screen, "anna", "anonymous")).await;
    terminal.press(&["x"]);
    terminal.shows("the question", |screen| screen.contains("End the lease of anna?")).await;
    terminal.press(&["y"]);
    terminal.shows("the end of it", |screen| !has(screen, "anna", "anonymous")).await;
    assert_eq!(broker.call("session show anna --pool work").field("state"), "RESTING");

    // Two floods of one method, one of another, and one that a library made up.
    for (session, error) in [
        ("ben", "FLOOD_WAIT_4000 --method messages.getHistory"),
        ("carl", "FLOOD_WAIT_4000 --method messages.getHistory"),
        ("carl", "FLOOD_WAIT_70 --method messages.search"),
        ("carl", "FLOOD_WAIT_90 --method messages.made --local"),
    ] {
        let acquire = format!("acquire --pool work --session {session} --only lease");
        let lease = broker.call(&acquire).done();
        broker.call(&format!("report {} {error}", lease.trim())).done();
        broker.call(&format!("release {}", lease.trim())).done();
        broker.call(&format!("flood clear --pool work --session {session} --whole")).done();
    }
    terminal.press(&["Tab"]);
    terminal.shows("the waiters", |screen| screen.contains("PLACE")).await;
    terminal.press(&["Tab"]);
    let screen = terminal
        .shows("the floods", |screen| screen.contains("floods 3") && screen.contains("LAST HOUR"))
        .await;
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    let row: Vec<_> = line(&screen, "messages.getHistory").split_whitespace().collect();
    assert_eq!(row[1], "2");
    assert!(row[2].starts_with("59m") || row[2] == "1h", "the brake of an hour: {screen}");
    let row: Vec<_> = line(&screen, "messages.search").split_whitespace().collect();
    assert_eq!(row[1..], ["1"]);
    assert!(!screen.contains("messages.made"), "{screen}");
    assert!(screen.contains("x revoke") && screen.contains("q quit"), "{screen}");
    terminal.press(&["Tab"]);
    let cools = |screen: &str| {
        let all = line(screen, "carl").split("READY").nth(1).unwrap().trim().to_owned();
        all.split_whitespace().next().unwrap().to_owned()
    };
    let screen = terminal.shows("the sessions", |screen| has(screen, "carl", "METHOD")).await;
    let countdown = cools(&screen);
    assert!(countdown.starts_with("1m") || countdown.ends_with('s'), "{screen}");
    terminal.shows("a cool-down that counts down", |screen| cools(screen) != countdown).await;
    terminal.press(&["Tab", "Tab", "Tab"]);
    terminal.shows("the floods again", |screen| screen.contains("LAST HOUR")).await;

    terminal.press(&["p"]);
    terminal.press(&["y"]);
    terminal.shows("the pause", |screen| has(screen, "work", "PAUSED")).await;
    terminal.press(&["Right"]);
    terminal.shows("the other pool", |screen| screen.contains("leases 0")).await;
    assert!(terminal.is_taken());
    terminal.press(&["q"]);
    terminal.shows("the shell", |screen| screen.contains("ended 0")).await;
    assert!(!terminal.is_taken());
}

#[tokio::test]
async fn top_gives_the_terminal_back_however_it_ends() {
    let mut broker = Broker::start().await;
    broker.pool("work", &["anna"]);
    let line_of_shell = format!("TELEGATE_ADDRESS={} {TELEGATE} top work", broker.address);
    let Some(terminal) = Terminal::start("ends", &line_of_shell) else { return };
    terminal.shows("the session", |screen| has(screen, "anna", "READY")).await;
    broker.process.terminate();
    let ended = broker.process.child();
    harness::eventually("the broker ends", PATIENCE, async || ended.try_wait().unwrap()).await;
    let screen = terminal.shows("no news", |screen| screen.contains("no news: ")).await;
    assert!(has(&screen, "anna", "READY"), "what was seen last stays: {screen}");
    terminal.press(&["C-c"]);
    terminal.shows("the shell", |screen| screen.contains("ended 0")).await;
    assert!(!terminal.is_taken());
    // What is typed is shown again.
    terminal.press(&["-l", "echo it is a line"]);
    terminal.shows("the echo", |screen| screen.contains("echo it is a line")).await;
}

#[test]
fn top_is_for_people() {
    let said = run(["top"]);
    assert_eq!(said.code, 64);
    assert!(said.err.contains("draws on a terminal"), "{said:?}");
}
