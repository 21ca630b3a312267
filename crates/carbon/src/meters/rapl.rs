//! RAPL, the processor's energy counters, through `/sys/class/powercap`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::evidence::Evidence;

/// Uncertainty of the processors' counters.
pub(crate) const PACKAGE: Evidence = Evidence {
    source: "processor's RAPL counters by way of Linux powercap. Interval: assumed, wider than the few per cent by \
             which Khan et al., RAPL in Action (ACM TOMPECS 3-2), find them off a reference meter",
    year: Some(2018),
    factors: [0.9, 1.1],
};

/// Uncertainty of the memory's counters.
pub(crate) const DRAM: Evidence = Evidence {
    source: "RAPL DRAM counters by way of Linux powercap. Interval: Desrochers, Paradis and Weaver, A Validation of \
             DRAM RAPL Power Measurements (MEMSYS), find them within 20 % of measured power",
    year: Some(2016),
    factors: [0.8, 1.2],
};

/// A domain: one counter in microjoules that wraps around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Domain {
    /// Such as `package-0`.
    pub name: String,
    /// Value at which the counter starts again from 0.
    pub range_uj: u64,
    energy_file: PathBuf,
}

impl Domain {
    pub fn read_uj(&self) -> Option<u64> {
        read_number(&self.energy_file).ok()
    }
}

/// The counters of a machine that do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Domains {
    /// Packages; or the platform alone, where there is no package.
    pub processor: Vec<Domain>,
    /// Memory of each package; empty unless every package has it.
    pub memory: Vec<Domain>,
    /// Whether `processor` is the platform (psys), which holds memory and more.
    pub is_platform: bool,
    /// What could not be read beside these.
    pub notes: Vec<String>,
}

/// The domains of the machine under `root`; or, in words, why they cannot be read.
///
/// Core and uncore lie inside their package, and psys holds the packages: it counts only where there is none. DRAM lies
/// outside. The `intel-rapl-mmio` control type shows the same counters again. One unreadable package refuses all,
/// because a sum over the others would pass for the whole machine.
pub(crate) fn domains(root: &Path) -> Result<Domains, String> {
    let folder = root.join("sys/class/powercap");
    let mut found = listed(&folder)?;
    found.sort();
    let named = |prefix: &'static str| found.iter().filter(move |(_, name, _)| name.starts_with(prefix));
    let packages: Vec<_> = named("package").filter(|(number, ..)| number.len() == 1).collect();
    let open = |(_, name, path): &&(Vec<u32>, String, PathBuf)| domain(path, name.clone());
    if packages.is_empty() {
        let processor: Vec<Domain> =
            named("psys").take(1).map(|psys| open(&psys)).collect::<Result<_, _>>()?;
        return if processor.is_empty() {
            Err(format!("RAPL: no package domain in {}", folder.display()))
        } else {
            Ok(Domains { processor, is_platform: true, ..Domains::default() })
        };
    }
    let processor = packages.iter().map(open).collect::<Result<_, _>>()?;
    let of_package = |number: &[u32]| {
        named("dram").find(|(own, ..)| own.len() == 2 && own.first() == number.first()).map(|dram| {
            let (_, name, path) = dram;
            domain(path, format!("{name}-{}", number[0]))
        })
    };
    let memory: Option<Result<Vec<Domain>, String>> =
        packages.iter().map(|(number, ..)| of_package(number)).collect();
    let (memory, notes) = match memory {
        None => (Vec::new(), Vec::new()),
        Some(Ok(memory)) => (memory, Vec::new()),
        Some(Err(why)) => (Vec::new(), vec![why]),
    };
    Ok(Domains { processor, memory, is_platform: false, notes })
}

/// Number (`[1, 0]` of `intel-rapl:1:0`), name and folder of every domain.
fn listed(folder: &Path) -> Result<Vec<(Vec<u32>, String, PathBuf)>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("RAPL: {}: {error}", folder.display()))?;
    let numbered = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let numbers = path.file_name()?.to_str()?.strip_prefix("intel-rapl:")?.split(':');
        Some((numbers.map(|number| number.parse().ok()).collect::<Option<Vec<u32>>>()?, path))
    });
    numbered
        .map(|(number, path)| {
            let file = path.join("name");
            let name = fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
            Ok((number, name.trim().to_owned(), path))
        })
        .collect()
}

fn domain(folder: &Path, name: String) -> Result<Domain, String> {
    let range_file = folder.join("max_energy_range_uj");
    let range_uj = read_number(&range_file).map_err(|error| unreadable(&range_file, &error))?;
    let energy_file = folder.join("energy_uj");
    read_number(&energy_file).map_err(|error| unreadable(&energy_file, &error))?;
    Ok(Domain { name, range_uj, energy_file })
}

fn unreadable(file: &Path, error: &io::Error) -> String {
    let advice = if error.kind() == io::ErrorKind::PermissionDenied {
        " (readable by root alone since CVE-2020-8694; until the next boot \
         `sudo chmod o+r /sys/class/powercap/intel-rapl*/energy_uj` allows it)"
    } else {
        ""
    };
    format!("RAPL: {}: {error}{advice}", file.display())
}

fn read_number(file: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    text.trim().parse().map_err(|_| io::Error::other(format!("not a number: {:?}", text.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(root: &Path, folder: &str, name: &str, energy: &str) {
        let path = root.join("sys/class/powercap").join(folder);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("name"), format!("{name}\n")).unwrap();
        fs::write(path.join("max_energy_range_uj"), "262143328850\n").unwrap();
        fs::write(path.join("energy_uj"), energy).unwrap();
    }

    fn names(domains: &[Domain]) -> Vec<&str> {
        domains.iter().map(|domain| domain.name.as_str()).collect()
    }

    #[test]
    fn domains_that_overlap_are_not_added() {
        let root = tempfile::tempdir().unwrap();
        domain(root.path(), "intel-rapl:1", "package-1", "7\n");
        domain(root.path(), "intel-rapl:0", "package-0", "5\n");
        domain(root.path(), "intel-rapl:0:0", "core", "3\n");
        domain(root.path(), "intel-rapl:0:1", "dram", "2\n");
        domain(root.path(), "intel-rapl:2", "psys", "99\n");
        domain(root.path(), "intel-rapl-mmio:0", "package-0", "5\n");
        let found = domains(root.path()).unwrap();
        assert_eq!(names(&found.processor), ["package-0", "package-1"]);
        assert_eq!(found.processor[1].read_uj(), Some(7));
        assert_eq!(found.processor[0].range_uj, 262_143_328_850);
        assert!(found.memory.is_empty(), "the second package's memory would be left out");

        domain(root.path(), "intel-rapl:1:0", "dram", "4\n");
        let found = domains(root.path()).unwrap();
        assert_eq!(names(&found.memory), ["dram-0", "dram-1"]);
        domain(root.path(), "intel-rapl:1:0", "dram", "?\n");
        let found = domains(root.path()).unwrap();
        assert!(found.memory.is_empty() && found.notes[0].contains("intel-rapl:1:0"), "{found:?}");
    }

    #[test]
    fn the_platform_counts_where_there_is_no_package() {
        let root = tempfile::tempdir().unwrap();
        assert!(domains(root.path()).unwrap_err().contains("powercap"));
        domain(root.path(), "intel-rapl:0:0", "core", "1\n");
        assert!(domains(root.path()).unwrap_err().contains("no package domain"));
        domain(root.path(), "intel-rapl:1", "psys", "99\n");
        let found = domains(root.path()).unwrap();
        assert!(found.is_platform);
        assert_eq!(names(&found.processor), ["psys"]);
    }

    #[test]
    fn one_unreadable_package_refuses_all() {
        let root = tempfile::tempdir().unwrap();
        domain(root.path(), "intel-rapl:0", "package-0", "5\n");
        domain(root.path(), "intel-rapl:1", "package-1", "what\n");
        let why = domains(root.path()).unwrap_err();
        assert!(why.contains("intel-rapl:1") && why.contains("what"), "{why}");
    }

    #[test]
    fn permission_denied_names_the_command_that_gives_it() {
        let why = unreadable(Path::new("energy_uj"), &io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(why.contains("CVE-2020-8694") && why.contains("sudo chmod o+r"), "{why}");
    }
}
