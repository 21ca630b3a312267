//! What `/proc` says of this machine: processor, memory, load, and the processes that are counted.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, Read as _},
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
    /// Processors that can be told apart; 0 when unknown.
    pub sockets: u32,
    /// Whether this is a virtual machine.
    pub is_virtual: bool,
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
}

/// Memory of the machine in use, in GB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Memory {
    /// Not free and not to be freed at once.
    pub used_gb: f64,
}

/// Samples after which the processes outside the tree are examined again, because a process id may have been reused.
const LOOKS_UNTIL_FORGOTTEN: u32 = 60;

/// Processes known to be outside the tree, so that the cost of a sample depends only on the size of the tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownOutsideTree {
    pids: HashSet<u32>,
    looks: u32,
}

/// A process and its descendants.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tree {
    /// Process ids, as this process's namespace has them.
    pub pids: Vec<u32>,
    /// Processor time in clock ticks, that of children that ended included.
    pub ticks: u64,
    /// Resident memory in GB; pages that several share count for each.
    pub resident_gb: f64,
}

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    pid: u32,
    parent: u32,
    ticks: u64,
    resident_pages: u64,
}

impl Machine {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    pub fn identity(&self) -> Identity {
        let cpuinfo = self.read("proc/cpuinfo").unwrap_or_default();
        let listed = cpuinfo.lines().filter(|line| field(line, "processor").is_some()).count() as u32;
        let mut sockets: Vec<&str> = cpuinfo.lines().filter_map(|line| field(line, "physical id")).collect();
        sockets.sort_unstable();
        sockets.dedup();
        let flags = cpuinfo.lines().find_map(|line| field(line, "flags")).unwrap_or("");
        let release = self.read("proc/sys/kernel/osrelease").unwrap_or_default();
        let parts = [std::env::consts::OS, release.trim(), std::env::consts::ARCH];
        Identity {
            os: parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-"),
            cpu_model: cpuinfo.lines().find_map(|line| field(line, "model name")).unwrap_or("").to_owned(),
            threads: if listed > 0 { Some(listed) } else { scheduler_threads() },
            sockets: sockets.len() as u32,
            is_virtual: flags.split_whitespace().any(|flag| flag == "hypervisor"),
            ram_total_gb: self.read("proc/meminfo").ok().and_then(|text| meminfo_gb(&text, "MemTotal")),
        }
    }

    pub fn ticks(&self) -> io::Result<Ticks> {
        // The first line is all that is wanted; on a large machine there are thousands.
        let mut text = [0; 512];
        let length = File::open(self.root.join("proc/stat"))?.read(&mut text)?;
        let text = String::from_utf8_lossy(&text[..length]);
        let (total, busy) =
            parse_stat(&text).ok_or_else(|| io::Error::other("no `cpu` line in /proc/stat"))?;
        Ok(Ticks { total, busy })
    }

    pub fn memory(&self) -> Option<Memory> {
        let meminfo = self.read("proc/meminfo").ok()?;
        let total = meminfo_gb(&meminfo, "MemTotal")?;
        let available = meminfo_gb(&meminfo, "MemAvailable")?;
        Some(Memory { used_gb: total - available })
    }

    /// The process `root` (`None`: this one) and all that descend from it; `None` when it is gone or unreadable.
    ///
    /// Children that ended are in their parent's time once it has waited for them. A descendant whose parent ended
    /// belongs to init and is no longer seen.
    pub fn tree(&self, root: Option<u32>, outsiders: &mut KnownOutsideTree) -> Option<Tree> {
        let name = root.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
        let first = self.stat(&name)?;
        let found = self.walk(first).unwrap_or_else(|| self.scan(first, outsiders));
        let page_gb = page_bytes() as f64 / BYTES_PER_GB;
        Some(Tree {
            pids: found.iter().map(|stat| stat.pid).collect(),
            ticks: found.iter().fold(0, |sum: u64, stat| sum.saturating_add(stat.ticks)),
            resident_gb: found.iter().fold(0.0, |sum, stat| sum + stat.resident_pages as f64) * page_gb,
        })
    }

    /// Hardware threads' worth of time that the process `root` (`None`: this one) may use at most: the tightest `cpu.max`
    /// from its control group up (cgroup v2); `None` where nothing limits it.
    pub fn cpu_quota(&self, root: Option<u32>) -> Option<f64> {
        let process = root.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
        let groups = self.read(&format!("proc/{process}/cgroup")).ok()?;
        let path = Path::new(groups.lines().find_map(|line| line.strip_prefix("0::/"))?);
        let quotas = path.ancestors().filter_map(|group| {
            let limit =
                fs::read_to_string(self.root.join("sys/fs/cgroup").join(group).join("cpu.max")).ok()?;
            parse_cpu_max(&limit)
        });
        quotas.min_by(f64::total_cmp)
    }

    /// Whether a process of that number can be seen from here.
    pub fn sees(&self, pid: u32) -> bool {
        self.root.join("proc").join(pid.to_string()).exists()
    }

    /// The tree by the kernel's lists of children, which costs what the tree is large; `None` where there are none.
    fn walk(&self, first: Stat) -> Option<Vec<Stat>> {
        let own = self.root.join(format!("proc/{0}/task/{0}/children", first.pid));
        if !own.exists() {
            return None;
        }
        let mut found = vec![first];
        let mut next = 0;
        while let Some(stat) = found.get(next).copied() {
            next += 1;
            for child in self.children(stat.pid) {
                if !found.iter().any(|known| known.pid == child) {
                    found.extend(self.stat(&child.to_string()));
                }
            }
        }
        Some(found)
    }

    /// Children by the threads that started them.
    fn children(&self, pid: u32) -> Vec<u32> {
        let Ok(threads) = fs::read_dir(self.root.join(format!("proc/{pid}/task"))) else { return Vec::new() };
        let lists =
            threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
        lists
            .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect()
    }

    /// The tree by every process's parent.
    fn scan(&self, first: Stat, outsiders: &mut KnownOutsideTree) -> Vec<Stat> {
        let Ok(entries) = fs::read_dir(self.root.join("proc")) else { return vec![first] };
        let listed = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let listed: HashSet<u32> = listed.collect();
        outsiders.looks += 1;
        if outsiders.looks.is_multiple_of(LOOKS_UNTIL_FORGOTTEN) {
            outsiders.pids.clear();
        }
        outsiders.pids.retain(|pid| listed.contains(pid));
        let mut children: HashMap<u32, Vec<Stat>> = HashMap::new();
        for pid in listed.difference(&outsiders.pids) {
            if let Some(stat) = self.stat(&pid.to_string()) {
                children.entry(stat.parent).or_default().push(stat);
            }
        }
        let mut found = vec![first];
        let mut next = 0;
        while let Some(stat) = found.get(next).copied() {
            next += 1;
            // Each list is taken once, so that no circle of parents goes round for ever.
            found.extend(children.remove(&stat.pid).unwrap_or_default());
        }
        outsiders
            .pids
            .extend(children.values().flatten().map(|stat| stat.pid).filter(|pid| *pid != first.pid));
        found
    }

    fn stat(&self, process: &str) -> Option<Stat> {
        parse_process(&self.read(&format!("proc/{process}/stat")).ok()?)
    }

    fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.root.join(file))
    }
}

/// Bytes in a page of memory, the unit of `/proc/PID/stat`.
#[cfg(unix)]
fn page_bytes() -> usize {
    rustix::param::page_size()
}

/// Other systems have no `/proc`, and nothing is counted in pages.
#[cfg(not(unix))]
fn page_bytes() -> usize {
    4096
}

fn scheduler_threads() -> Option<u32> {
    thread::available_parallelism().ok().map(NonZero::get).map(|threads| threads as u32)
}

/// The value of a `name : value` line.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = line.split_once(':')?;
    (key.trim() == name).then(|| value.trim())
}

/// A `name: value kB` line of `/proc/meminfo`, in GB.
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
    let sum = |ticks: &[u64]| ticks.iter().fold(0, |sum: u64, ticks| sum.saturating_add(*ticks));
    let (total, idle) = (sum(&ticks), sum(ticks.get(3..ticks.len().min(5))?));
    (ticks.len() > 3).then_some((total, total - idle))
}

/// Time that may be used over the period it is used in, both in µs; `max` stands for no limit.
fn parse_cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// Fields 1, 4, 14 to 17 and 24 of `/proc/PID/stat` (proc_pid_stat(5)).
fn parse_process(text: &str) -> Option<Stat> {
    // The command's name, in parentheses, may itself hold spaces and parentheses.
    let (before, rest) = text.rsplit_once(')')?;
    let pid = before.split_whitespace().next()?.parse().ok()?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let ticks = (11..15).map(number).sum::<Option<u64>>()?;
    let parent = fields.get(1)?.parse().ok()?;
    Some(Stat { pid, parent, ticks, resident_pages: number(21).unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_leaves_out_idle_and_waiting() {
        let text = "cpu  100 5 50 800 40 1 2 3 99 7\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(parse_stat(text), Some((1001, 161)));
        assert_eq!(parse_stat("intr 1 2 3\n"), None);
        assert_eq!(parse_stat("cpu 1 2\n"), None);
    }

    fn process(root: &Path, pid: u32, parent: u32, ticks: u64) -> String {
        let text = format!(
            "{pid} (a) b (c) R {parent} 2 3 4 -1 4194304 103 0 0 0 {ticks} 0 0 0 20 0 1 0 107401 3133440 1024"
        );
        let folder = root.join(format!("proc/{pid}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("stat"), &text).unwrap();
        text
    }

    #[test]
    fn a_process_survives_a_strange_command_name() {
        let text = "42 (a) b (c) R 1 2 3 4 -1 4194304 103 0 0 0 30 12 5 1 20 0 1 0 107401 3133440 390";
        let stat = Stat { pid: 42, parent: 1, ticks: 48, resident_pages: 390 };
        assert_eq!(parse_process(text), Some(stat));
        assert_eq!(parse_process("42 (cut"), None);
        assert_eq!(parse_process("42 (cut) R 1 2"), None);
    }

    #[test]
    fn a_tree_is_the_process_and_all_that_descend_from_it() {
        let root = tempfile::tempdir().unwrap();
        for (pid, parent, ticks) in [(1, 0, 1000), (10, 1, 1), (11, 10, 2), (12, 11, 4), (20, 1, 500)] {
            process(root.path(), pid, parent, ticks);
        }
        let machine = Machine::new(root.path());
        let outsiders = &mut KnownOutsideTree::default();
        let tree = machine.tree(Some(10), outsiders).unwrap();
        assert_eq!((tree.pids.clone(), tree.ticks), (vec![10, 11, 12], 7));
        assert!(tree.resident_gb > 0.0);
        assert_eq!(machine.tree(Some(99), outsiders), None);
        assert_eq!(machine.tree(None, outsiders), None);

        // Those outside are not looked at again; a new child is seen, and so is a number that was given anew.
        assert_eq!(outsiders.pids, HashSet::from([1, 20]));
        process(root.path(), 13, 12, 8);
        assert_eq!(machine.tree(Some(10), outsiders).unwrap().ticks, 15);
        process(root.path(), 20, 10, 16);
        let looks = (0..LOOKS_UNTIL_FORGOTTEN).map(|_| machine.tree(Some(10), outsiders).unwrap().ticks);
        assert_eq!(looks.max(), Some(31));
        fs::remove_dir_all(root.path().join("proc/13")).unwrap();
        process(root.path(), 20, 1, 500);
        assert!(machine.sees(20) && !machine.sees(99));

        // The kernel's lists of children say the same, whichever thread started them.
        for (file, list) in [("10/task/10", ""), ("10/task/13", "11 "), ("11/task/11", "12")] {
            let folder = root.path().join("proc").join(file);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("children"), list).unwrap();
        }
        assert_eq!(machine.tree(Some(10), &mut KnownOutsideTree::default()).unwrap(), tree);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn children_of_this_very_process_are_seen() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let tree = Machine::new(Path::new("/")).tree(None, &mut KnownOutsideTree::default()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(tree.pids.contains(&std::process::id()) && tree.pids.contains(&child.id()), "{tree:?}");
    }

    #[test]
    fn the_tightest_quota_of_the_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let quota = |pid| Machine::new(root.path()).cpu_quota(pid);
        assert_eq!(quota(None), None);
        write("proc/self/cgroup", "1:cpu:/x\n0::/pod/box\n");
        write("proc/7/cgroup", "0::/\n");
        write("sys/fs/cgroup/pod/box/cpu.max", "max 100000\n");
        assert_eq!(quota(None), None);
        write("sys/fs/cgroup/pod/cpu.max", "250000 100000\n");
        assert_eq!(quota(None), Some(2.5));
        write("sys/fs/cgroup/pod/box/cpu.max", "50000 100000\n");
        assert_eq!((quota(None), quota(Some(7))), (Some(0.5), None));
        // In a container of its own namespace the group stands at the mount itself.
        write("sys/fs/cgroup/cpu.max", "300000 100000\n");
        assert_eq!(quota(Some(7)), Some(3.0));
        write("sys/fs/cgroup/cpu.max", "nonsense\n");
        assert_eq!(quota(Some(7)), None);
    }

    #[test]
    fn memory_is_in_gb() {
        assert_eq!(meminfo_gb("MemFree: 1 kB\nMemTotal:       16777216 kB\n", "MemTotal"), Some(16.0));
        assert_eq!(meminfo_gb("MemFree: 1 kB\n", "MemTotal"), None);
    }
}
