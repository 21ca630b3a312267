//! Memory of this machine and of this process, as Linux tells it; unknown elsewhere.

use std::{
    fs,
    path::{Path, PathBuf},
};

use greentune_core_config::plan::AvailableMemory;
use nvml_wrapper::Nvml;

use super::Host;

/// Files of a control group, by version.
struct ControlGroup {
    limit: PathBuf,
    usage: PathBuf,
    stat: PathBuf,
    /// Name in `stat` of the page cache that is given back first.
    inactive: &'static str,
    kills: PathBuf,
}

/// Memory that this process can still take: the machine's, or what its control groups leave if that is less.
pub fn available(host: &Host) -> AvailableMemory {
    let machine = read(host, "proc/meminfo").and_then(|text| kib(&text, "MemAvailable"));
    let group = groups(host).iter().filter_map(left_in).min();
    let limited_by = match (machine, group) {
        (None, None) => "this system does not report its free memory",
        (Some(machine), Some(group)) if group < machine => "the control group",
        (None, Some(_)) => "the control group",
        _ => "the machine",
    };
    let bytes = [machine, group].into_iter().flatten().min();
    AvailableMemory { bytes, limited_by: limited_by.to_owned() }
}

/// Free memory of the first NVIDIA GPU.
pub fn gpu_available() -> AvailableMemory {
    let free = || {
        let nvml = Nvml::init()?;
        nvml.device_by_index(0)?.memory_info().map(|memory| memory.free)
    };
    match free() {
        Ok(bytes) => AvailableMemory { bytes: Some(bytes), limited_by: String::from("the GPU") },
        Err(error) => AvailableMemory {
            bytes: None,
            limited_by: format!("the GPU's free memory is not known (NVML: {error})"),
        },
    }
}

/// Resident memory of this process now, in bytes.
pub fn resident(host: &Host) -> Option<u64> {
    kib(&read(host, "proc/self/status")?, "VmRSS")
}

/// Largest resident memory of this process so far, in bytes.
pub fn peak_resident(host: &Host) -> Option<u64> {
    kib(&read(host, "proc/self/status")?, "VmHWM")
}

/// Processes that the kernel has killed in this process's control groups because memory ran out; of the whole machine
/// where no group counts them.
pub fn out_of_memory_kills(host: &Host) -> Option<u64> {
    let of_group = |group: &ControlGroup| counter(&fs::read_to_string(&group.kills).ok()?, "oom_kill");
    let groups = groups(host).iter().filter_map(of_group).max();
    let machine = || counter(&read(host, "proc/vmstat")?, "oom_kill");
    [groups, machine()].into_iter().flatten().max()
}

/// The control groups that this process is in, from its own up to the root; none where there is no memory controller.
fn groups(host: &Host) -> Vec<ControlGroup> {
    let text = read(host, "proc/self/cgroup").unwrap_or_default();
    let mount = host.root.join("sys/fs/cgroup");
    let mut groups = Vec::new();
    for line in text.lines() {
        // hierarchy:controllers:path (cgroups(7))
        let mut fields = line.splitn(3, ':');
        let (_, Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let path = Path::new(path.trim_start_matches('/'));
        if controllers.is_empty() {
            groups.extend(path.ancestors().map(|level| version2(&mount.join(level))));
        } else if controllers.split(',').any(|controller| controller == "memory") {
            groups.extend(path.ancestors().map(|level| version1(&mount.join("memory").join(level))));
        }
    }
    groups
}

fn version1(folder: &Path) -> ControlGroup {
    ControlGroup {
        limit: folder.join("memory.limit_in_bytes"),
        usage: folder.join("memory.usage_in_bytes"),
        stat: folder.join("memory.stat"),
        inactive: "total_inactive_file",
        kills: folder.join("memory.oom_control"),
    }
}

fn version2(folder: &Path) -> ControlGroup {
    ControlGroup {
        limit: folder.join("memory.max"),
        usage: folder.join("memory.current"),
        stat: folder.join("memory.stat"),
        inactive: "inactive_file",
        kills: folder.join("memory.events"),
    }
}

/// What a group's limit leaves; `None` without a limit.
fn left_in(group: &ControlGroup) -> Option<u64> {
    let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    // `max`, and in version 1 the largest multiple of a page, stand for none.
    let limit = number(&group.limit).filter(|limit| *limit < i64::MAX as u64 / 2)?;
    let cache = fs::read_to_string(&group.stat).ok().and_then(|stat| counter(&stat, group.inactive));
    let used = number(&group.usage)?.saturating_sub(cache.unwrap_or(0));
    Some(limit.saturating_sub(used))
}

fn read(host: &Host, file: &str) -> Option<String> {
    fs::read_to_string(host.root.join(file)).ok()
}

/// A `name: value kB` line, in bytes.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// A `name value` line.
fn counter(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let host = Host { root: root.path().to_path_buf(), nvml: false };
        (root, host)
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal: 8000 kB\nMemAvailable:    4000 kB\n");

    #[test]
    fn without_a_limit_it_is_the_machines() {
        let (_root, host) = host(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/user\n"),
            ("sys/fs/cgroup/user/memory.max", "max\n"),
            ("sys/fs/cgroup/user/memory.current", "5\n"),
        ]);
        assert_eq!(
            available(&host),
            AvailableMemory { bytes: Some(4_096_000), limited_by: "the machine".into() }
        );
    }

    #[test]
    fn the_tightest_group_counts_without_its_cache() {
        let (_root, host) = host(&[
            MEMINFO,
            ("proc/self/cgroup", "1:cpu:/x\n0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "1000000\n"),
            ("sys/fs/cgroup/a/memory.current", "700000\n"),
            ("sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 200000\n"),
            ("sys/fs/cgroup/a/memory.events", "low 0\noom 3\noom_kill 2\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
        ]);
        let found = available(&host);
        assert_eq!((found.bytes, found.limited_by.as_str()), (Some(500_000), "the control group"));
        assert_eq!(out_of_memory_kills(&host), Some(2));
    }

    #[test]
    fn the_first_version_of_groups_is_read_too() {
        let (_root, host) = host(&[
            MEMINFO,
            ("proc/self/cgroup", "4:memory:/job\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "77\n"),
            ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "3000000\n"),
            ("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "1000000\n"),
            ("sys/fs/cgroup/memory/job/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
        ]);
        assert_eq!(available(&host).bytes, Some(2_000_000));
        assert_eq!(out_of_memory_kills(&host), Some(1));
    }

    #[test]
    fn nothing_known_is_said() {
        let (_root, host) = host(&[]);
        let found = available(&host);
        assert_eq!(found.bytes, None);
        assert!(found.limited_by.contains("does not report"));
        assert_eq!((resident(&host), out_of_memory_kills(&host)), (None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_remembers_memory_that_was_given_back() {
        let host = Host::default();
        let bytes = 64 << 20;
        // Written, so that its pages are really there; large enough to be mapped and unmapped on its own.
        let block = std::hint::black_box(vec![1_u8; bytes]);
        drop(block);
        assert!(resident(&host).unwrap() > 0);
        assert!(peak_resident(&host).unwrap() >= bytes as u64);
    }
}
