//! What the kernel knows of a process (proc_pid_status(5), proc_pid_stat(5)).

use std::fs;

use anyhow::{Context as _, Result};

/// Memory, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The most that was resident at a time.
    pub(crate) peak: u64,
    /// Resident now.
    pub(crate) now: u64,
    /// Of it, what is no file.
    pub(crate) anonymous: u64,
}

pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).context("reading the program's memory")?;
    let row = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)).and_then(|rest| rest.split_whitespace().next());
        value.and_then(|value| value.parse().ok()).with_context(|| format!("{name} is missing in /proc/{pid}/status"))
    };
    Ok(Memory { peak: row("VmHWM:")?, now: row("VmRSS:")?, anonymous: row("RssAnon:")? })
}

/// Processor time used so far, in seconds. The kernel counts in hundredths.
pub(crate) fn processor(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).context("reading the program's processor time")?;
    // The name may hold blanks; what follows its bracket does not.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |index: usize| rest.split_whitespace().nth(index).and_then(|value| value.parse::<f64>().ok());
    let (user, system) = field(11).zip(field(12)).context("strange /proc/PID/stat")?;
    Ok((user + system) / 100.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    #[test]
    fn this_process_has_memory_and_time() {
        let (pid, before) = (std::process::id(), super::processor(std::process::id()).unwrap());
        let memory = super::memory(pid).unwrap();
        assert!(memory.peak >= memory.now && memory.now > memory.anonymous && memory.anonymous > 0, "{memory:?}");
        let end = std::time::Instant::now() + std::time::Duration::from_millis(60);
        while std::time::Instant::now() < end {}
        assert!(super::processor(pid).unwrap() > before);
    }
}
