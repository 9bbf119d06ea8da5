//! `telegate import` of very many files: it holds few of them in memory, and goes on where it was
//! interrupted.
//!
//! `TELEGATE_FILES=10000` makes it the full size. Memory is bounded; times are only told.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
    time::Instant,
};

use super::{Broker, STORE_KEY, STORE_KEYS, telegate};
use crate::{
    harness::{
        process::Guarded,
        redis::{Keeps, RedisServer},
    },
    import::{database, made_up_key, telethon_file},
};

/// How many files there are unless more are asked for; more rows than a pipe takes in.
const FILES: usize = 1_500;
/// How many files are few.
const FEW: usize = 20;
/// After how many rows the first import is killed.
const KILLED_AFTER: usize = 100;
/// How large a file is at least, in KiB: all together are more than the command may grow.
const FILE: usize = 64;
/// By how much the command may grow, however many files there are, in KiB. Its threads need most.
const COMMAND_GROWTH: u64 = 64 << 10;
/// By how much a broker may grow whose store is elsewhere, in KiB.
const BROKER_GROWTH: u64 = 32 << 10;
/// How much memory each session may take of a broker that keeps its store in it, in bytes.
const OF_SESSION: u64 = 8 << 10;

/// What an import did.
#[derive(Debug)]
struct Done {
    added: usize,
    unchanged: usize,
    /// The most memory that the command had, in KiB.
    peak: u64,
}

/// Makes Telethon's files, each with a key of its own.
fn make(folder: &Path, count: usize, first: u64) {
    let template = folder.join("template");
    let key = made_up_key(1);
    telethon_file(&template, 2, &key);
    let sql = format!(
        "create table entities (name); insert into entities values (zeroblob({FILE} << 10));"
    );
    drop(database(&template, &sql));
    let bytes = fs::read(&template).unwrap();
    fs::remove_file(&template).unwrap();
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
    for number in first..first + count as u64 {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(&number.to_be_bytes());
        // A folder with that many entries is no pleasure.
        let part = folder.join(format!("part{}", number / 1000));
        fs::create_dir_all(&part).unwrap();
        fs::write(part.join(format!("s{number}.session")), bytes).unwrap();
    }
}

fn start(broker: &Broker, folder: &Path) -> Guarded {
    let mut command = telegate();
    command
        .env("TELEGATE_ADDRESS", &broker.address)
        .arg("import")
        .arg(folder)
        .args(["--pool", "many", "--json"])
        .stdout(Stdio::piped());
    // The folder is the test's to remove.
    Guarded::start(&mut command, &folder.join("nothing")).unwrap()
}

/// Imports a folder to the end.
fn import(broker: &Broker, folder: &Path) -> Done {
    let since = Instant::now();
    let mut process = start(broker, folder);
    let pid = process.child().id();
    let rows = BufReader::new(process.child().stdout.take().unwrap()).lines();
    let mut done = Done { added: 0, unchanged: 0, peak: 0 };
    for row in rows.map(Result::unwrap) {
        assert!(!row.contains("_REFUSED"), "{row}");
        done.added += usize::from(row.contains("_ADDED"));
        done.unchanged += usize::from(row.contains("_UNCHANGED"));
        // The last rows see the peak, or nearly so.
        done.peak = done.peak.max(peak(pid).unwrap_or_default());
    }
    assert!(process.output().status.success());
    println!("  {done:?} in {:?}", since.elapsed());
    done
}

/// Imports a folder, and is killed on the way.
fn import_a_part(broker: &Broker, folder: &Path) {
    let mut process = start(broker, folder);
    let rows = BufReader::new(process.child().stdout.take().unwrap()).lines();
    // Whoever reads no more rows stops the import, when the pipe is full.
    assert_eq!(rows.take(KILLED_AFTER + 2).flatten().count(), KILLED_AFTER + 2);
    process.kill();
}

/// The names and the keys of the pool's sessions, each once.
fn held(broker: &Broker) -> usize {
    let listed = broker.call("session list --pool many --json").json();
    let all = listed["sessions"].as_array().unwrap();
    for field in ["name", "fingerprint"] {
        let each: BTreeSet<_> = all.iter().map(|session| session[field].as_str()).collect();
        assert_eq!(each.len(), all.len(), "a {field} comes twice");
    }
    all.len()
}

fn files() -> usize {
    crate::model::variable("TELEGATE_FILES").unwrap_or(FILES)
}

/// The most memory that a running process had, in KiB.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    peak.trim().split(' ').next()?.parse().ok()
}

/// Imports very many files, killed once on the way. Tells by how much the broker grew, in KiB.
fn play(broker: &mut Broker) -> u64 {
    assert!((files() * FILE) as u64 > COMMAND_GROWTH, "too few to tell");
    let (files, folders) = (files(), [(); 2].map(|()| tempfile::tempdir().unwrap()));
    make(folders[0].path(), FEW, 1_000_000);
    make(folders[1].path(), files, 0);
    broker.call("pool create many").done();
    let pid = broker.process.child().id();
    let few = import(broker, folders[0].path());
    assert_eq!((few.added, few.unchanged), (FEW, 0));
    let before = peak(pid).unwrap();
    import_a_part(broker, folders[1].path());
    let so_far = held(broker) - FEW;
    println!("  killed; {so_far} of {files} sessions are there");
    assert!((KILLED_AFTER..files).contains(&so_far), "{so_far}");
    let rest = import(broker, folders[1].path());
    assert_eq!((rest.added, rest.unchanged), (files - so_far, so_far));
    assert_eq!(held(broker), files + FEW);
    let again = import(broker, folders[1].path());
    assert_eq!((again.added, again.unchanged), (0, files));
    assert_eq!(held(broker), files + FEW);
    for done in [&rest, &again] {
        let growth = done.peak.saturating_sub(few.peak);
        assert!(growth < COMMAND_GROWTH, "{growth} KiB more for {files} files");
    }
    let after = peak(pid).unwrap();
    println!("  the broker had {before} KiB at most, and then {after} KiB");
    // The kernel counts some pages late, so the most can be a little less than it was.
    after.saturating_sub(before)
}

#[tokio::test]
async fn very_many_files_are_imported_in_little_memory_and_a_killed_import_goes_on() {
    let mut broker = Broker::start().await;
    let growth = play(&mut broker);
    let bound = BROKER_GROWTH + OF_SESSION * files() as u64 / 1024;
    assert!(growth < bound, "the broker and its store grew by {growth} KiB");
}

#[tokio::test]
async fn a_broker_whose_store_is_elsewhere_does_not_grow_with_the_files() {
    let Some(redis) = RedisServer::start(Keeps::Nothing) else { return };
    let folder = tempfile::tempdir().unwrap();
    let keys = [(STORE_KEYS, STORE_KEY)];
    let mut broker = Broker::serve(folder, &redis.url(), &[], &keys).await;
    let growth = play(&mut broker);
    assert!(growth < BROKER_GROWTH, "the broker grew by {growth} KiB");
}
