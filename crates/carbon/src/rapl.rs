//! RAPL, the processor's energy counters, through `/sys/class/powercap`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What the counters are worth.
pub(crate) const SOURCE: &str = "processor's RAPL package counters by way of Linux powercap. Uncertainty: assumed, \
     wider than the few per cent that published comparisons with a reference meter report";

/// See [`SOURCE`].
pub(crate) const UNCERTAINTY: f64 = 0.1;

/// A package domain: one counter in microjoules that wraps around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// Such as `package-0`.
    pub name: String,
    /// Value at which the counter starts again from 0.
    pub range_uj: u64,
    energy_file: PathBuf,
}

impl Package {
    pub fn read_uj(&self) -> Option<u64> {
        read_number(&self.energy_file).ok()
    }
}

/// The package domains of the machine under `root`; or, in words, why they cannot be read.
///
/// Only top-level domains named `package…` count: sub-domains (core, uncore, dram) and psys overlap them, and the
/// `intel-rapl-mmio` control type shows the same counters again. One unreadable package refuses all, because a sum over
/// the others would pass for the whole machine.
pub(crate) fn packages(root: &Path) -> Result<Vec<Package>, String> {
    let folder = root.join("sys/class/powercap");
    let entries = fs::read_dir(&folder).map_err(|error| format!("RAPL: {}: {error}", folder.display()))?;
    let mut numbered: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.file_name()?.to_str()?.strip_prefix("intel-rapl:")?.parse().ok()?;
            Some((number, path))
        })
        .collect();
    numbered.sort();
    let mut packages = Vec::new();
    for (_, domain) in numbered {
        packages.extend(package(&domain)?);
    }
    if packages.is_empty() {
        Err(format!("RAPL: no package domain in {}", folder.display()))
    } else {
        Ok(packages)
    }
}

fn package(domain: &Path) -> Result<Option<Package>, String> {
    let name_file = domain.join("name");
    let name = fs::read_to_string(&name_file).map_err(|error| unreadable(&name_file, &error))?;
    let name = name.trim();
    if !name.starts_with("package") {
        return Ok(None);
    }
    let range_file = domain.join("max_energy_range_uj");
    let range_uj = read_number(&range_file).map_err(|error| unreadable(&range_file, &error))?;
    let energy_file = domain.join("energy_uj");
    read_number(&energy_file).map_err(|error| unreadable(&energy_file, &error))?;
    Ok(Some(Package { name: name.to_owned(), range_uj, energy_file }))
}

fn unreadable(file: &Path, error: &io::Error) -> String {
    let advice = if error.kind() == io::ErrorKind::PermissionDenied {
        " (readable by root alone since CVE-2020-8694; an administrator can allow it)"
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

    #[test]
    fn only_packages_are_counted() {
        let root = tempfile::tempdir().unwrap();
        domain(root.path(), "intel-rapl:1", "package-1", "7\n");
        domain(root.path(), "intel-rapl:0", "package-0", "5\n");
        domain(root.path(), "intel-rapl:0:0", "core", "3\n");
        domain(root.path(), "intel-rapl:2", "psys", "99\n");
        domain(root.path(), "intel-rapl-mmio:0", "package-0", "5\n");
        let packages = packages(root.path()).unwrap();
        let names: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(names, ["package-0", "package-1"]);
        assert_eq!(packages[1].read_uj(), Some(7));
        assert_eq!(packages[0].range_uj, 262_143_328_850);
    }

    #[test]
    fn what_is_missing_is_said() {
        let root = tempfile::tempdir().unwrap();
        assert!(packages(root.path()).unwrap_err().contains("powercap"));
        domain(root.path(), "intel-rapl:0", "psys", "99\n");
        assert!(packages(root.path()).unwrap_err().contains("no package domain"));
    }

    #[test]
    fn one_unreadable_package_refuses_all() {
        let root = tempfile::tempdir().unwrap();
        domain(root.path(), "intel-rapl:0", "package-0", "5\n");
        domain(root.path(), "intel-rapl:1", "package-1", "what\n");
        let why = packages(root.path()).unwrap_err();
        assert!(why.contains("intel-rapl:1") && why.contains("what"), "{why}");
    }

    #[test]
    fn permission_denied_names_its_reason() {
        let why = unreadable(Path::new("energy_uj"), &io::Error::from(io::ErrorKind::PermissionDenied));
        assert!(why.contains("CVE-2020-8694") && why.contains("permission denied"), "{why}");
    }
}
