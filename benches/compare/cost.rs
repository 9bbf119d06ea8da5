//! What processes cost: processor time from /proc, and Redis's own account of its commands.

use std::{fs, path::Path, time::Duration};

use crate::wire::Talk;

/// The processor time that a process has used, all its threads together.
pub(crate) fn cpu(pid: u32) -> Duration {
    let tasks = format!("/proc/{pid}/task");
    let Ok(tasks) = fs::read_dir(Path::new(&tasks)) else { return Duration::ZERO };
    let nanos = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// The memory that a process has in RAM, in bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

/// What Redis says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RedisCost {
    /// Runs of scripts.
    pub(crate) scripts: u64,
    /// The time in scripts, as Redis counts it.
    pub(crate) in_scripts: Duration,
}

impl RedisCost {
    pub(crate) fn read(talk: &mut Talk) -> Self {
        let info = talk.text(&["INFO", "everything"]);
        let mut cost = Self::default();
        for line in info.lines() {
            if let Some(stat) = line
                .strip_prefix("cmdstat_evalsha:")
                .or_else(|| line.strip_prefix("cmdstat_fcall:"))
            {
                cost.scripts += field(stat, "calls=");
                cost.in_scripts += Duration::from_micros(field(stat, "usec="));
            }
        }
        cost
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            scripts: self.scripts - before.scripts,
            in_scripts: self.in_scripts.saturating_sub(before.in_scripts),
        }
    }
}

fn field(stat: &str, name: &str) -> u64 {
    let value = stat.split(',').find_map(|part| part.strip_prefix(name));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}
