//! The built command against a broker that it serves itself.

mod bench;
mod explain;
mod faults;
mod flood;
mod imports;
mod keys;
mod leaks;
mod many_files;
mod odd_files;
mod operators;
mod run;
mod store_keys;
mod syncs;
mod top;
mod watch;

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{self, STORE_KEY, STORE_KEYS, process::Guarded};

const TELEGATE: &str = env!("CARGO_BIN_EXE_telegate");
const PATIENCE: Duration = Duration::from_secs(20);

/// What a command said and how it ended.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().expect("a signal ended it"),
            out: String::from_utf8(output.stdout.clone()).unwrap(),
            err: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// What it printed, if it was done.
    fn done(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }

    fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }

    /// The value of a field of a record.
    fn field(&self, name: &str) -> String {
        let line = self.out.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name} in {self:?}"));
        line[name.len()..].trim().to_owned()
    }
}

/// The command without anything of this process's environment.
fn telegate() -> Command {
    let mut command = Command::new(TELEGATE);
    command.env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Said {
    Said::of(&telegate().args(args).output().unwrap())
}

/// Runs words that are separated by spaces.
fn words(line: &str) -> Said {
    run(line.split_whitespace())
}

/// A broker in a process of its own.
struct Broker {
    process: Guarded,
    folder: TempDir,
    address: String,
}

impl Broker {
    /// Serves a new store without keys.
    async fn start() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), &[]).await
    }

    async fn in_folder(folder: TempDir, flags: &[&str]) -> Self {
        let keys: &[_] = if flags == ["--demo"] { &[] } else { &[(STORE_KEYS, STORE_KEY)] };
        let store = file_in(&folder);
        Self::serve(folder, &store, flags, keys).await
    }

    /// Serves a store, with flags and variables.
    async fn serve(
        folder: TempDir,
        store: &str,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let said = folder.path().join("said");
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = telegate();
        command.args(["serve", "--listen", "127.0.0.1:0", "--store", store]).args(flags);
        command
            .envs(variables.iter().copied())
            .stdout(fs::File::create(&said).unwrap())
            .stderr(log);
        let mut process = Guarded::start(&mut command, folder.path()).unwrap();
        let address = harness::eventually("the broker listens", PATIENCE, async || {
            let said = fs::read_to_string(&said).unwrap();
            let log = || fs::read_to_string(folder.path().join("log")).unwrap();
            assert!(!process.has_ended(), "{}", log());
            let (_, address) = said.split_once("listening on ")?;
            Some(address.lines().next()?.to_owned())
        });
        Self { address: address.await, process, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Calls it with words that are separated by spaces.
    fn call(&self, line: &str) -> Said {
        self.run(line.split_whitespace())
    }

    fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        let call = telegate().env("TELEGATE_ADDRESS", &self.address).args(args).output();
        Said::of(&call.unwrap())
    }

    /// A pool with sessions of made-up keys.
    fn pool(&self, pool: &str, sessions: &[&str]) {
        self.call(&format!("pool create {pool}")).done();
        self.sessions(pool, sessions);
    }

    /// Adds sessions of made-up keys.
    fn sessions(&self, pool: &str, sessions: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        for (seed, session) in (0..).zip(sessions) {
            let path = folder.path().join(format!("{session}.session"));
            crate::import::telethon_file(&path, 4, &crate::import::made_up_key(seed));
        }
        let path = folder.path().to_str().unwrap();
        self.run(["import", path, "--pool", pool]).done();
    }

    /// Asks it to end, waits until it has, and gives its folder back.
    async fn stop(mut self) -> TempDir {
        self.process.terminate();
        let process = self.process.child();
        let status =
            harness::eventually("the broker ends", PATIENCE, async || process.try_wait().unwrap());
        assert_eq!(status.await.code(), Some(0));
        self.folder
    }
}

/// The store in a folder.
fn file_in(folder: &TempDir) -> String {
    format!("embedded:{}", folder.path().join("telegate.db").display())
}

/// The lines of the demo that can be pasted.
fn pasted(said: &Path) -> Vec<String> {
    let said = fs::read_to_string(said).unwrap();
    let lines = said.lines().filter_map(|line| line.strip_prefix("  "));
    lines
        .filter(|line| line.starts_with(TELEGATE) || line.starts_with("grpcurl"))
        .map(str::to_owned)
        .collect()
}

fn sh(line: &str) -> Said {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    Said::of(&output)
}

#[tokio::test]
async fn every_line_of_the_demo_works_as_printed_and_again_and_after_a_restart() {
    let mut folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let broker = Broker::in_folder(folder, &["--demo"]).await;
        let lines = pasted(&broker.path("said"));
        assert_eq!(lines.len(), 10, "{lines:#?}");
        for _ in 0..2 {
            let said: Vec<_> = lines[..6].iter().map(|line| sh(line)).collect();
            let codes: Vec<_> = said.iter().map(|said| said.code).collect();
            assert_eq!(codes, [0, 0, 0, 75, 0, 0], "{said:#?}");
            let mut sessions: Vec<_> = said[..3].iter().map(|said| said.field("session")).collect();
            sessions.sort_unstable();
            assert_eq!(sessions, ["alice of pool demo", "bob of pool demo", "carol of pool demo"]);
            assert!(said[3].err.contains("\nreason: POOL_BUSY (retry in "), "{:?}", said[3]);
            let row: Vec<_> = said[4].out.lines().nth(1).unwrap().split_whitespace().collect();
            assert_eq!(row[..5], ["demo", "BUSY", "3", "0", "3"]);
            assert_eq!(said[5].out, "released\n");
            if sh("command -v grpcurl").code == 0 {
                let codes: Vec<_> = lines[6..].iter().map(|line| sh(line).code).collect();
                // grpcurl exits with 64 and the gRPC code, here RESOURCE_EXHAUSTED.
                assert_eq!(codes, [0, 72, 0, 0]);
            } else {
                eprintln!("skipped: grpcurl is missing; see `make tools`");
            }
        }
        folder = broker.stop().await;
    }
}

#[tokio::test]
async fn a_temporary_demo_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let said = folder.path().join("said");
    let mut command = telegate();
    command.env("TMPDIR", folder.path()).args(["serve", "--demo", "--listen", "127.0.0.1:0"]);
    command.stdout(fs::File::create(&said).unwrap()).stderr(Stdio::null());
    let mut process = Guarded::start(&mut command, folder.path()).unwrap();
    harness::eventually("the demo is there", PATIENCE, async || {
        fs::read_to_string(&said).unwrap().contains("/demo.key").then_some(())
    })
    .await;
    process.terminate();
    harness::eventually("it ends", PATIENCE, async || process.has_ended().then_some(())).await;
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(left, [said]);
}

#[tokio::test]
async fn a_lease_lives_through_its_words() {
    let broker = Broker::start().await;
    broker.pool("work", &["anna"]);
    let acquired =
        broker.call("acquire --pool work --ttl 5m --purpose test --form telethon-string");
    assert_eq!(acquired.field("session"), "anna of pool work");
    assert!(acquired.field("expires").ends_with(", in 5m"), "{acquired:?}");
    let last = acquired.out.lines().last().unwrap();
    assert!(last.starts_with("credential  1") && last.len() == 12 + 353, "{last}");
    let lease = acquired.field("lease");
    assert_eq!(broker.call("session show --pool work anna").field("state"), "LEASED");

    let renewed = broker.call(&format!("renew {lease} --ttl 10m"));
    assert!(renewed.field("expires").ends_with(", in 10m"), "{renewed:?}");
    assert_eq!(broker.call(&format!("release {lease} --rest 60s")).done(), "released\n");
    let again = broker.call(&format!("release {lease}")).done();
    assert_eq!(again, "the lease had ended before; nothing changed\n");
    assert_eq!(broker.call("session show --pool work anna").field("state"), "RESTING");
    let busy = broker.call("acquire --pool work");
    assert_eq!(busy.code, 75);

    let dead = "invalidate --pool work --session anna --reason banned --detail gone";
    let dead = broker.call(dead);
    assert_eq!(dead.field("state"), "INVALID");
    assert!(dead.field("why").starts_with("BANNED: gone (by "), "{dead:?}");
    let depleted = broker.call("acquire --pool work");
    assert_eq!(depleted.code, 1);
    assert!(depleted.err.contains("reason: POOL_DEPLETED"), "{depleted:?}");
    let restored = broker.call("restore --pool work anna nobody");
    assert_eq!(restored.code, 1);
    assert_eq!(restored.out, "anna is back in pool work\n");
    assert!(restored.err.contains("reason: SESSION_NOT_FOUND"), "{restored:?}");
    let twice = broker.call("restore --pool work anna");
    assert!(twice.code == 1 && twice.err.contains("reason: INAPPROPRIATE_STATE"), "{twice:?}");
}

#[tokio::test]
async fn a_pool_is_made_paused_drained_and_resumed() {
    let broker = Broker::start().await;
    let made =
        broker.call("pool create work --min-ttl 1s --default-ttl 90s --max-ttl 2h --rest 5s");
    assert_eq!(made.field("ttl"), "1s to 2h, default 1m30s");
    assert_eq!(made.field("rest"), "5s");
    for (word, mode) in [("pause", "PAUSED"), ("drain", "DRAINING"), ("resume", "ACTIVE")] {
        assert_eq!(broker.call(&format!("pool {word} work")).field("mode"), mode);
    }
    broker.call("pool create other").done();
    let listed = broker.call("pool list").done();
    let names: Vec<_> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["POOL", "other", "work"]);
    assert_eq!(broker.call("status").done(), listed);
    let twice = broker.call("pool create work");
    assert!(twice.code == 1 && twice.err.contains("reason: POOL_ALREADY_EXISTS"), "{twice:?}");
    let wrong = broker.call("pool create work2 --min-ttl 2h --max-ttl 1h --drain 30h");
    assert_eq!(wrong.code, 64);
    assert!(wrong.err.matches("\n  pool.policy.").count() >= 2, "{wrong:?}");
}

#[tokio::test]
async fn json_has_the_shape_of_the_contract() {
    let broker = Broker::start().await;
    broker.pool("work", &["anna", "ben"]);
    let acquired = broker.call("acquire --pool work --session ben --json").json();
    assert_eq!(acquired["lease"]["session"], "ben");
    assert_eq!(acquired["lease"]["ttl"], "60s");
    assert_eq!(acquired["credential"]["telegram"]["dcId"], 4);
    assert_eq!(acquired["credential"]["form"], "CREDENTIAL_FORM_RAW");
    assert!(acquired["lease"]["expireTime"].as_str().unwrap().ends_with('Z'), "{acquired}");
    let status = broker.call("status work --json").json();
    assert_eq!(status["status"]["counts"]["leased"], 1);
    let pools = broker.call("pool list --json").json();
    assert_eq!(pools["pools"][0]["pool"]["name"], "work");
    let sessions = broker.call("session list --pool work --json").json();
    let names: Vec<_> =
        sessions["sessions"].as_array().unwrap().iter().map(|s| &s["name"]).collect();
    assert_eq!(names, ["anna", "ben"]);
    let lease = acquired["lease"]["leaseId"].as_str().unwrap();
    let released = broker.run(["release", lease, "--json"]).json();
    assert_eq!(released["outcome"], "RELEASE_OUTCOME_RELEASED");

    let refused = broker.call("acquire --pool work --session nobody --json");
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    let error: Value = serde_json::from_str(&refused.err).unwrap();
    assert_eq!(error["error"]["code"], "NOT_FOUND");
    assert_eq!(error["error"]["reason"], "SESSION_NOT_FOUND");
    assert_eq!(error["error"]["exitCode"], 1);
    assert_eq!(error["error"]["metadata"]["session"], "nobody");
    let local: Value = serde_json::from_str(&words("status --address x:1 --json").err).unwrap();
    assert_eq!(local["error"]["exitCode"], 69);
}

#[tokio::test]
async fn sessions_are_listed_by_label_and_state_and_removed() {
    let broker = Broker::start().await;
    broker.pool("work", &["anna", "ben"]);
    let listed = broker.call("session list --pool work --state leased").done();
    assert_eq!(listed.lines().count(), 1, "{listed}");
    let listed = broker.call("session list --pool work --state ready,leased").done();
    assert_eq!(listed.lines().count(), 3, "{listed}");
    let gone = broker.call("session remove --pool work ben").done();
    assert_eq!(gone, "ben is gone from pool work\n");
    assert_eq!(broker.call("session show --pool work ben").code, 1);
}

#[tokio::test]
async fn keys_are_made_listed_used_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.toml").display().to_string();
    let worker = run(["keys", "--keys", &file, "new", "--name", "w", "--role", "worker"]);
    let (id, key) = (worker.field("id"), worker.field("key"));
    assert!(key.starts_with("tg_"), "{worker:?}");
    let admin = run(["keys", "new", "--name", "a", "--role", "admin", "--keys", &file, "--json"]);
    let admin = admin.json()["key"].as_str().unwrap().to_owned();
    let listed = run(["keys", "list", "--keys", &file]).done();
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(!listed.contains(&key) && listed.contains(&id), "{listed}");

    let broker = Broker::in_folder(folder, &["--keys", &file]).await;
    assert_eq!(broker.call("status").code, 77);
    assert_eq!(broker.call("status --key tg_wrong").code, 77);
    broker.call(&format!("pool create work --key {admin}")).done();
    assert_eq!(broker.call(&format!("pool pause work --key {key}")).code, 77);
    let key_file = broker.path("key");
    fs::write(&key_file, format!("{key}\n")).unwrap();
    let with_file = format!("status work --key-file {}", key_file.display());
    broker.call(&with_file).done();

    let revoked = run(["keys", "revoke", &id, "--keys", &file]).done();
    assert_eq!(revoked, format!("{id} is revoked\n"));
    assert_eq!(run(["keys", "revoke", &id, "--keys", &file]).code, 1);
    harness::eventually("the broker refuses the key", PATIENCE, async || {
        (broker.call(&with_file).code == 77).then_some(())
    })
    .await;
}

#[test]
fn a_key_file_is_kept_in_the_users_configuration_by_default() {
    let home = tempfile::tempdir().unwrap();
    let mut new = telegate();
    new.env("HOME", home.path()).args(["keys", "new", "--name", "me", "--role", "admin"]);
    let made = Said::of(&new.output().unwrap());
    let file = home.path().join(".config/telegate/keys.toml");
    assert_eq!(made.field("file"), file.display().to_string());
    assert!(file.exists());
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = words(&format!("completions {shell}")).done();
        assert!(script.contains("telegate") && script.contains("acquire"), "{shell}");
    }
}

#[test]
fn the_help_names_every_exit_code_and_warns_of_keys_on_the_command_line() {
    let help = words("--help").done();
    for code in [0, 1, 64, 65, 69, 70, 74, 75, 77, 79] {
        assert!(help.contains(&format!("\n  {code:<2}  ")), "{code}: {help}");
    }
    // However wide the lines are.
    let flat = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("other users of this machine can see it"), "{help}");
    assert_eq!(words("version").done(), format!("telegate {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_broker_that_wants_certificates_is_called_with_one() {
    let tls = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls");
    let [ca, cert, key] = ["ca.pem", "client.pem", "client.key"].map(|f| format!("{tls}/{f}"));
    let [server, server_key] = ["server.pem", "server.key"].map(|f| format!("{tls}/{f}"));
    let flags = ["--tls-cert", &server, "--tls-key", &server_key, "--tls-client-ca", &ca];
    let mut broker = Broker::in_folder(tempfile::tempdir().unwrap(), &flags).await;
    let port = broker.address.rsplit(':').next().unwrap();
    broker.address = format!("https://localhost:{port}");
    broker.run(["status", "--ca", &ca, "--cert", &cert, "--cert-key", &key]).done();
    let strange = broker.run(["status", "--ca", &ca]);
    assert_eq!(strange.code, 69, "{}", strange.err);
    let half = broker.run(["status", "--ca", &ca, "--cert", &cert]);
    assert_eq!(half.code, 64, "{}", half.err);
    let plain = run(["status", "--address", "http://127.0.0.1:1", "--ca", &ca]);
    assert!(plain.err.contains("certificates are for TLS"), "{}", plain.err);
}
