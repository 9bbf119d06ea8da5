//! A command in a process group of its own: signalled, waited for and ended as one.

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use nix::{
    sys::signal::{SigSet, Signal, killpg},
    unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp},
};
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal as Heard, SignalKind, signal},
    time::{sleep, timeout},
};

/// How often is looked whether all of a group are gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The signals that go on to the command.
pub(super) struct Signals {
    interrupt: Heard,
    terminate: Heard,
    hangup: Heard,
    quit: Heard,
}

impl Signals {
    /// Takes the signals from now on, so that they no longer end this process.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::SIGINT,
            _ = self.terminate.recv() => Signal::SIGTERM,
            _ = self.hangup.recv() => Signal::SIGHUP,
            _ = self.quit.recv() => Signal::SIGQUIT,
        }
    }
}

/// A running command and all that it starts in its process group.
pub(super) struct Group {
    child: Child,
    id: Pid,
    stops: Heard,
    _terminal: Option<Terminal>,
}

impl Group {
    /// Starts a command as the leader of a new group, which has the terminal if this process has
    /// it.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let stops = signal(SignalKind::child())?;
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let id = Pid::from_raw(id.ok_or_else(|| io::Error::other("it has no process id"))?);
        let terminal = Terminal::lend_to(id);
        Ok(Self { child, id, stops, _terminal: terminal })
    }

    /// Passes signals on until the command has ended.
    pub(super) async fn supervise(&mut self, signals: &mut Signals) -> io::Result<ExitStatus> {
        loop {
            tokio::select! {
                status = self.child.wait() => return status,
                signal = signals.next() => self.tell(signal),
                _ = self.stops.recv() => resume(self.id),
            }
        }
    }

    /// Ends the command and its group: asks, and after a while does not ask.
    pub(super) async fn end(&mut self, patience: Duration) {
        self.tell(Signal::SIGTERM);
        // One that was stopped hears it only when it goes on.
        self.tell(Signal::SIGCONT);
        let asked = timeout(patience, async {
            let _ = self.child.wait().await;
            self.gone().await;
        });
        if asked.await.is_err() {
            self.tell(Signal::SIGKILL);
            let _ = self.child.wait().await;
        }
    }

    /// Ends what the command has left behind in its group.
    pub(super) async fn sweep(&mut self, patience: Duration) {
        if self.is_there() {
            self.end(patience).await;
        }
    }

    fn tell(&self, signal: Signal) {
        // A group that is gone needs no signal.
        let _ = killpg(self.id, signal);
    }

    fn is_there(&self) -> bool {
        killpg(self.id, None) != Err(nix::errno::Errno::ESRCH)
    }

    async fn gone(&self) {
        while self.is_there() {
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Lets a command go on that the terminal has stopped (Ctrl-Z): stopped, it would hold the session
/// and keep the terminal.
#[cfg(target_os = "linux")]
fn resume(id: Pid) {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    let stopped = waitid(Id::Pid(id), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG);
    if matches!(stopped, Ok(WaitStatus::Stopped(_, Signal::SIGTSTP))) {
        eprintln!("warning: a command under a lease cannot be stopped; it goes on");
        let _ = killpg(id, Signal::SIGCONT);
    }
}

/// Elsewhere nothing tells that a command was stopped.
#[cfg(not(target_os = "linux"))]
fn resume(_id: Pid) {}

/// The terminal, lent to a group. Dropped, it is taken back.
struct Terminal;

impl Terminal {
    fn lend_to(group: Pid) -> Option<Self> {
        if tcgetpgrp(io::stdin()) != Ok(getpgrp()) {
            return None;
        }
        tcsetpgrp(io::stdin(), group).ok()?;
        // It may have been stopped for asking the terminal too early.
        let _ = killpg(group, Signal::SIGCONT);
        Some(Self)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Whoever is not in front and reaches for the terminal is stopped, unless it blocks this.
        let mut stop = SigSet::empty();
        stop.add(Signal::SIGTTOU);
        let blocked = stop.thread_block();
        let _ = tcsetpgrp(io::stdin(), getpgrp());
        if blocked.is_ok() {
            let _ = stop.thread_unblock();
        }
    }
}

/// The exit code of a command, as a shell tells it.
pub(super) fn exit_code(status: ExitStatus) -> ExitCode {
    let signalled = || 128 + status.signal().unwrap_or_default();
    let code = status.code().unwrap_or_else(signalled);
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// The exit code of a process that a signal has ended.
pub(super) fn exit_code_of(signal: Signal) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX))
}
