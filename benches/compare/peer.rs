//! The nearest peer: limitador, which asks Redis for each call by itself. It is built from
//! `benches/limitador`, a package of its own, when it is wanted.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use crate::stage::{Redis, Replies, Server, TELEGATE};

/// The package, and the program that it makes.
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/limitador/Cargo.toml");
const PROGRAM: &str = "telegate-bench-limitador";

/// Starts it on a Redis, making that call of limitador's for each call that comes. Nothing when it
/// cannot be built here, as where there is no network or no OpenSSL to link.
pub(crate) fn start(call: &str, redis: &Redis, replies: &Replies) -> Option<Server> {
    static BUILT: LazyLock<Option<PathBuf>> = LazyLock::new(build);
    let program = BUILT.as_ref()?;
    let mut command = Command::new(program);
    command.args([call, &redis.url()]).args(replies.paths());
    Some(Server::program(&mut command))
}

/// Builds it beside the broker; at once when it is there already.
fn build() -> Option<PathBuf> {
    let target = Path::new(TELEGATE).ancestors().nth(2)?.join("limitador");
    // By name: rustup's cargo also tells the compilers of all crates which toolchain they are of.
    let built = Command::new("cargo")
        .args(["build", "--release", "--locked", "--manifest-path", MANIFEST, "--target-dir"])
        .arg(&target)
        .stdin(Stdio::null())
        .status();
    if !built.is_ok_and(|status| status.success()) {
        println!("benches/limitador cannot be built here; what needs it is left out\n");
        return None;
    }
    Some(target.join("release").join(PROGRAM))
}
