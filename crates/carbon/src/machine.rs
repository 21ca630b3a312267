//! What `/proc` says of this machine: processor, memory, load.

use std::{
    fs, io,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
};

use crate::BYTES_PER_GB;

/// The machine whose `/proc` lies under `root`.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    root: PathBuf,
}

/// What does not change while a program runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Identity {
    /// Such as `Linux-6.8.0-x86_64`.
    pub os: String,
    /// Name of the processor; empty when unknown.
    pub cpu_model: String,
    /// Hardware threads.
    pub threads: Option<u32>,
    /// Memory of the machine in GB.
    pub ram_total_gb: Option<f64>,
}

/// Processor time since boot in clock ticks, over all threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticks {
    /// All time, idle or not.
    pub total: u64,
    /// Time in which something ran.
    pub busy: u64,
    /// Time of this process and of its children that ended.
    pub own: Option<u64>,
}

/// Memory in use, in GB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Memory {
    /// By the machine.
    pub used_gb: f64,
    /// By this process.
    pub own_gb: Option<f64>,
}

impl Machine {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    pub fn identity(&self) -> Identity {
        let cpuinfo = self.read("proc/cpuinfo").unwrap_or_default();
        let listed = cpuinfo.lines().filter(|line| field(line, "processor").is_some()).count() as u32;
        let release = self.read("proc/sys/kernel/osrelease").unwrap_or_default();
        let parts = [std::env::consts::OS, release.trim(), std::env::consts::ARCH];
        Identity {
            os: parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-"),
            cpu_model: cpuinfo.lines().find_map(|line| field(line, "model name")).unwrap_or("").to_owned(),
            threads: if listed > 0 { Some(listed) } else { scheduler_threads() },
            ram_total_gb: self.read("proc/meminfo").ok().and_then(|text| meminfo_gb(&text, "MemTotal")),
        }
    }

    pub fn ticks(&self) -> io::Result<Ticks> {
        let (total, busy) = parse_stat(&self.read("proc/stat")?)
            .ok_or_else(|| io::Error::other("no `cpu` line in /proc/stat"))?;
        let own = self.read("proc/self/stat").ok().and_then(|text| parse_own_stat(&text));
        Ok(Ticks { total, busy, own })
    }

    pub fn memory(&self) -> Option<Memory> {
        let meminfo = self.read("proc/meminfo").ok()?;
        let total = meminfo_gb(&meminfo, "MemTotal")?;
        let available = meminfo_gb(&meminfo, "MemAvailable")?;
        let own_gb = self.read("proc/self/status").ok().and_then(|text| meminfo_gb(&text, "VmRSS"));
        Some(Memory { used_gb: total - available, own_gb })
    }

    fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.root.join(file))
    }
}

fn scheduler_threads() -> Option<u32> {
    thread::available_parallelism().ok().map(NonZero::get).map(|threads| threads as u32)
}

/// The value of a `name : value` line.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = line.split_once(':')?;
    (key.trim() == name).then(|| value.trim())
}

/// A `name: value kB` line of `/proc/meminfo` or `/proc/self/status`, in GB.
fn meminfo_gb(text: &str, name: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| field(line, name))?;
    let kib: f64 = value.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / BYTES_PER_GB)
}

/// Total and busy ticks of the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
///
/// The guest columns after them are already counted in user and nice (proc_stat(5)).
fn parse_stat(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().find(|line| line.starts_with("cpu "))?;
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).take(8).map_while(|word| word.parse().ok()).collect();
    let idle = ticks.get(3)? + ticks.get(4).unwrap_or(&0);
    let total: u64 = ticks.iter().sum();
    Some((total, total - idle))
}

/// utime + stime + cutime + cstime of `/proc/self/stat` (fields 14 to 17).
fn parse_own_stat(text: &str) -> Option<u64> {
    // The command's name, in parentheses, may itself hold spaces and parentheses.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<u64> =
        rest.split_whitespace().skip(11).take(4).map_while(|word| word.parse().ok()).collect();
    (fields.len() == 4).then(|| fields.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_leaves_out_idle_and_waiting() {
        let text = "cpu  100 5 50 800 40 1 2 3 99 7\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(parse_stat(text), Some((1001, 161)));
        assert_eq!(parse_stat("intr 1 2 3\n"), None);
    }

    #[test]
    fn own_time_survives_a_strange_command_name() {
        let text = "42 (a) b (c) R 1 2 3 4 -1 4194304 103 0 0 0 30 12 5 1 20 0 1 0 107401 3133440 390";
        assert_eq!(parse_own_stat(text), Some(48));
        assert_eq!(parse_own_stat("42 (cut"), None);
    }

    #[test]
    fn memory_is_in_gb() {
        assert_eq!(meminfo_gb("MemFree: 1 kB\nMemTotal:       16777216 kB\n", "MemTotal"), Some(16.0));
        assert_eq!(meminfo_gb("MemFree: 1 kB\n", "MemTotal"), None);
    }
}
