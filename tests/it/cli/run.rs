//! `telegate run`: the command gets its session and no more, hears the signals, ends with its
//! lease, and the lease ends with it.

use std::{
    ffi::OsStr,
    fs,
    path::PathBuf,
    process::{Command, ExitStatus},
};

use super::{Broker, PATIENCE, Said, run, telegate};
use crate::harness::{self, process::Guarded};

/// A run that goes on while a test looks.
struct Running {
    process: Guarded,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    fn start(broker: &Broker, name: &str, flags: &[&str], script: &str) -> Self {
        let (out, err) = (broker.path(&format!("{name}.out")), broker.path(&format!("{name}.err")));
        let mut command = in_pool(broker, flags, ["sh", "-c", script]);
        command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let process = Guarded::start(&mut command, folder.path()).unwrap();
        Self { process, out, err }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    async fn says(&self, what: &str) -> String {
        harness::eventually(what, PATIENCE, async || {
            let said = self.said();
            let (_, rest) = said.split_once(what)?;
            Some(rest.split_once('\n')?.0.trim().to_owned())
        })
        .await
    }

    fn signal(&mut self, name: &str) {
        signal(name, &self.process.child().id().to_string());
    }

    async fn ends(&mut self) -> ExitStatus {
        let child = self.process.child();
        harness::eventually("the run ends", PATIENCE, async || child.try_wait().unwrap()).await
    }
}

fn in_pool<S: AsRef<OsStr>>(
    broker: &Broker,
    flags: &[&str],
    words: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = telegate();
    command.env("TELEGATE_ADDRESS", &broker.address).env("PATH", std::env::var("PATH").unwrap());
    command.args(["run", "--pool", "work"]).args(flags).arg("--").args(words);
    command
}

fn said(broker: &Broker, flags: &[&str], script: &str) -> Said {
    Said::of(&in_pool(broker, flags, ["sh", "-c", script]).output().unwrap())
}

fn signal(name: &str, pid: &str) {
    let sent = Command::new("sh").args(["-c", "kill -\"$1\" \"$2\"", "sh", name, pid]).status();
    assert!(sent.unwrap().success(), "{pid} cannot be signalled");
}

fn is_there(pid: &str) -> bool {
    let asked = Command::new("sh").args(["-c", "kill -0 \"$1\" 2>/dev/null", "sh", pid]).status();
    // A zombie is gone; it waits only for whoever adopted it.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    asked.unwrap().success() && !stat.contains(") Z ")
}

fn state(broker: &Broker) -> String {
    broker.call("session show --pool work anna").field("state")
}

async fn start(sessions: &[&str]) -> Broker {
    let broker = Broker::start().await;
    broker.pool("work", sessions);
    broker
}

#[tokio::test]
async fn a_command_reads_its_credential_and_finds_its_session_and_gives_it_back() {
    let broker = start(&["anna"]).await;
    let lent = broker.call("acquire --pool work --form telethon-string --json").json();
    let credential = lent["credential"]["text"].as_str().unwrap().to_owned();
    broker.run(["release", lent["lease"]["leaseId"].as_str().unwrap()]).done();
    let form = ["--form", "telethon-string"];
    let script = "cat <&3; echo; echo $TELEGATE_POOL/$TELEGATE_SESSION $TELEGATE_CREDENTIAL_FD";
    let by_fd = said(&broker, &form, script).done();
    assert_eq!(by_fd, format!("{credential}\nwork/anna 3\n"));
    let other = said(&broker, &[&form[..], &["--credential-fd", "9"]].concat(), "cat <&9").done();
    assert_eq!(other, credential);
    let by_env = [&form[..], &["--credential-env", "SECRET"]].concat();
    assert_eq!(said(&broker, &by_env, "printf %s \"$SECRET\"").done(), credential);
    assert_eq!(state(&broker), "READY");
    let epochs: Vec<u64> = (0..2)
        .map(|_| said(&broker, &[], "echo $TELEGATE_EPOCH $TELEGATE_DC").done())
        .map(|said| said.strip_suffix(" 4\n").unwrap().parse().unwrap())
        .collect();
    assert!(epochs[0] < epochs[1], "{epochs:?}");
}

#[tokio::test]
async fn neither_the_credential_nor_the_key_nor_the_lease_is_where_others_look() {
    let broker = start(&["anna"]).await;
    let script = "read -r secret <&3 || [ -n \"$secret\" ]; echo child $$; echo \"is $secret\"; \
                  env; while [ ! -e \"$0.stop\" ]; do sleep 0.02; done";
    let mut command = in_pool(&broker, &["--form", "telethon-string"], ["sh", "-c"]);
    let here = broker.path("here");
    let out = broker.path("out");
    command.arg(script).arg(&here).env("TELEGATE_KEY", "tg_somebody's");
    let err = broker.path("err");
    command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let process = Guarded::start(&mut command, folder.path()).unwrap();
    let mut running = Running { process, out: out.clone(), err };
    let child = running.says("child ").await;
    let credential = running.says("is ").await;
    assert_eq!(credential.len(), 353);
    running.says("TELEGATE_SESSION=").await;
    let environment = running.said();
    let environment = environment.split_once(&credential).unwrap().1;
    for secret in ["tg_somebody", "TELEGATE_KEY", "TELEGATE_LEASE", credential.as_str()] {
        assert!(!environment.contains(secret), "{secret}: {environment}");
    }
    let lease = broker.call("session show --pool work anna --json").json();
    assert_eq!(lease["session"]["state"], "SESSION_STATE_LEASED");
    let own = running.process.child().id().to_string();
    for pid in [&child, &own] {
        for file in ["cmdline", "environ"] {
            let read = fs::read(format!("/proc/{pid}/{file}")).unwrap();
            let read = String::from_utf8_lossy(&read).into_owned();
            assert!(!read.contains(&credential), "{pid}/{file}: {read}");
            assert!(!read.contains("work/anna/"), "a lease id is in {pid}/{file}: {read}");
        }
    }
    fs::write(broker.path("here.stop"), "").unwrap();
    assert_eq!(running.ends().await.code(), Some(0));
    for log in [&running.err, &broker.path("log")] {
        let log = fs::read_to_string(log).unwrap();
        assert!(!log.contains(&credential) && !log.contains("work/anna/"), "{log}");
    }
}

#[tokio::test]
async fn the_exit_code_is_the_commands_and_the_session_comes_back_whatever_it_is() {
    let broker = start(&["anna"]).await;
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, "no program").unwrap();
    for (words, code) in [
        (vec!["sh", "-c", "exit 0"], 0),
        (vec!["sh", "-c", "exit 7"], 7),
        (vec!["sh", "-c", "kill -KILL $$"], 137),
        (vec!["sh", "-c", "kill -TERM $$"], 143),
        (vec![plain.to_str().unwrap()], 126),
        (vec!["/nonexistent/program"], 127),
        (vec!["no-such-program-anywhere"], 127),
    ] {
        let ended = Said::of(&in_pool(&broker, &[], &words).output().unwrap());
        assert_eq!(ended.code, code, "{words:?}: {ended:?}");
        assert_eq!(state(&broker), "READY", "{words:?}");
    }
    let busy = broker.call("acquire --pool work").done();
    assert!(busy.contains("anna"));
    let refused = said(&broker, &[], "echo never");
    assert_eq!((refused.code, refused.out.as_str()), (75, ""), "{refused:?}");
    assert_eq!(run(["run", "--pool", "work"]).code, 64);
    for bad in [["--credential-fd", "2"], ["--credential-env", "A=B"], ["--credential-env", "1A"]] {
        assert_eq!(said(&broker, &bad, "echo never").code, 64, "{bad:?}");
    }
}

#[tokio::test]
async fn signals_go_on_to_the_command() {
    let broker = start(&["anna"]).await;
    for (name, code) in [("INT", 31), ("TERM", 32), ("HUP", 33), ("QUIT", 34)] {
        let script = format!(
            "trap 'echo heard {name}; exit {code}' {name}; echo ready; \
             while :; do sleep 0.02; done"
        );
        let mut running = Running::start(&broker, name, &[], &script);
        running.says("ready").await;
        running.signal(name);
        assert_eq!(running.ends().await.code(), Some(code), "{name}");
        assert!(running.said().contains(&format!("heard {name}")), "{}", running.said());
        assert_eq!(state(&broker), "READY", "{name}");
    }
}

#[tokio::test]
async fn a_run_that_waits_for_a_session_gets_one_or_is_interrupted() {
    let broker = start(&["anna"]).await;
    let rest = |lease: &str| broker.call(&format!("release {lease} --rest 2s")).done();
    let lease = broker.call("acquire --pool work --only lease").done();
    rest(lease.trim_end());
    let mut waiting = Running::start(&broker, "waits", &["--wait", "1m"], "echo mine");
    waiting.says("mine").await;
    assert_eq!(waiting.ends().await.code(), Some(0));
    let lease = broker.call("acquire --pool work --only lease").done();
    broker.call(&format!("release {} --rest 30s", lease.trim_end())).done();
    let mut waiting = Running::start(&broker, "gives-up", &["--wait", "1m"], "echo mine");
    // It hears signals from its first moment on; before that a signal ends it all the same.
    harness::eventually("it has started", PATIENCE, async || {
        let status = fs::read_to_string(format!("/proc/{}/status", waiting.process.child().id()));
        let caught = status.ok()?.lines().find_map(|l| l.strip_prefix("SigCgt:").map(hex))?;
        // SIGTERM is the fifteenth.
        (caught & (1 << 14) != 0).then_some(())
    })
    .await;
    waiting.signal("TERM");
    assert_eq!(waiting.ends().await.code(), Some(143));
    assert_eq!(waiting.said(), "");
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text.trim(), 16).unwrap()
}

#[tokio::test]
async fn a_lost_lease_ends_the_command_and_all_that_it_started() {
    let broker = start(&["anna", "ben"]).await;
    // One that ends when asked, and one that does not, each with a child that does not.
    let invalidate =
        ("invalidate --reason banned --pool work --session", "INVALIDATED); the command");
    let revoke = ("revoke --detail moving --pool work", "REVOKED): moving; the command");
    for (name, trap, (deed, cause)) in
        [("polite", "trap 'echo asked; exit 0' TERM", invalidate), ("rude", "trap '' TERM", revoke)]
    {
        let script = format!(
            "{trap}; (trap '' TERM; while :; do sleep 0.02; done) & echo child $!; \
             echo own $$; echo session $TELEGATE_SESSION; while :; do sleep 0.02; done"
        );
        let mut running = Running::start(&broker, name, &["--kill-after", "500ms"], &script);
        let (child, own) = (running.says("child ").await, running.says("own ").await);
        let session = running.says("session ").await;
        broker.call(&format!("{deed} {session}")).done();
        assert_eq!(running.ends().await.code(), Some(79), "{name}");
        for pid in [&child, &own] {
            assert!(!is_there(pid), "{name}: {pid} goes on");
        }
        let err = fs::read_to_string(&running.err).unwrap();
        let lost = format!("session {session} of pool work is lost ({cause} was");
        assert!(err.contains(&lost), "{err}");
        assert_eq!(running.said().contains("asked"), name == "polite", "{}", running.said());
    }
}

#[tokio::test]
async fn what_a_command_leaves_in_its_group_is_ended_before_the_session_is_given_back() {
    let broker = start(&["anna"]).await;
    let script = "(trap '' TERM; while :; do sleep 0.02; done) >/dev/null 2>&1 & echo $!";
    let left = said(&broker, &["--kill-after", "200ms"], script).done();
    assert!(!is_there(left.trim()), "{left} goes on");
    assert_eq!(state(&broker), "READY");
}

#[tokio::test]
async fn a_lease_is_kept_beyond_its_ttl() {
    let broker = Broker::start().await;
    broker.pool("work", &["anna"]);
    let ttl = ["--ttl", "5s"];
    let mut running =
        Running::start(&broker, "kept", &ttl, "echo $TELEGATE_EPOCH epoch; read -r x");
    drop(running.process.child().stdin.take());
    let show = || broker.call("session show --pool work anna --json").json();
    running.ends().await;
    let mut running = Running::start(
        &broker,
        "kept",
        &ttl,
        "echo epoch $TELEGATE_EPOCH; while :; do sleep 0.05; done",
    );
    let epoch = running.says("epoch ").await;
    let first = show()["session"]["stateUntil"].as_str().unwrap().to_owned();
    harness::eventually("it was renewed", PATIENCE, async || {
        let session = &show()["session"];
        assert_eq!(session["epoch"].as_str(), Some(epoch.as_str()));
        (session["stateUntil"].as_str()? > first.as_str()).then_some(())
    })
    .await;
    running.signal("TERM");
    assert_eq!(running.ends().await.code(), Some(143));
}

#[tokio::test]
async fn who_waits_is_listed_and_counted() {
    let broker = start(&["anna"]).await;
    let lease = broker.call("acquire --pool work --only lease").done();
    let flags = ["--wait", "1m", "--purpose", "indexing", "--class", "low"];
    let mut waiting = Running::start(&broker, "waits", &flags, "echo mine");
    let listed = harness::eventually("it is listed", PATIENCE, async || {
        let said = broker.call("waiters --pool work").done();
        said.contains("indexing").then_some(said)
    })
    .await;
    let row: Vec<_> = listed.lines().last().unwrap().split_whitespace().collect();
    assert_eq!((row[0], row[2], row[5], row[6]), ("1", "indexing", "LOW", "any"), "{listed}");
    let json = broker.call("waiters --pool work --json").json();
    assert_eq!(json["waiters"][0]["holder"]["purpose"], "indexing");
    let status = broker.call("status work").done();
    assert!(status.contains("1 since ") && status.contains("about "), "{status}");
    broker.call(&format!("release {}", lease.trim_end())).done();
    waiting.says("mine").await;
    assert_eq!(waiting.ends().await.code(), Some(0));
    assert_eq!(broker.call("waiters --pool work").done().lines().count(), 1);
}
