//! Child processes that never outlive the test process, however it ends.

use std::{
    io::Read as _,
    path::Path,
    process::{Child, ChildStdin, Command, Output, Stdio},
};

/// What the watchdog does: waits for the end of its input, which the test process holds open, then
/// kills the process and removes its directory.
const WATCHDOG: &str = r#"cat >/dev/null; kill -9 "$1" 2>/dev/null; rm -rf "$2""#;

/// A running child. Dropping it kills the child. So does the end of the test process, however it
/// comes, by a watchdog that notices it and removes the directory too.
#[derive(Debug)]
pub(crate) struct Guarded {
    child: Child,
    watchdog: Child,
    /// Held open for as long as the child may live.
    leash: Option<ChildStdin>,
}

impl Guarded {
    /// Starts a command. `dir` goes with the test process.
    pub(crate) fn start(command: &mut Command, dir: &Path) -> std::io::Result<Self> {
        let child = command.stdin(Stdio::null()).spawn()?;
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(child.id().to_string())
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let leash = watchdog.stdin.take();
        Ok(Self { child, watchdog, leash })
    }

    /// The child itself.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Asks it to end, as `kill` does.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Interrupts it, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        self.signal("INT");
    }

    /// Makes it stand still, as a machine that swaps does.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    /// What it printed into pipes, when it has ended by itself.
    pub(crate) fn output(&mut self) -> Output {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let child = &mut self.child;
        child.stdout.take().map(|mut pipe| pipe.read_to_end(&mut stdout));
        child.stderr.take().map(|mut pipe| pipe.read_to_end(&mut stderr));
        let status = child.wait().expect("the child was started");
        Output { status, stdout, stderr }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let line = format!("kill -{name} \"$1\"");
        let asked = Command::new("sh").args(["-c", &line, "sh", &pid]).status();
        assert!(asked.is_ok_and(|status| status.success()), "the child cannot be signalled");
    }

    fn end(&mut self) {
        // The watchdog goes first, so that it never kills a process that got the child's number.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        self.leash = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.end();
    }
}
