//! Whether a file is still the one that was read.

use std::{
    fmt, fs, io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long a file has to be left alone before a change to it is sure to show: the coarsest file systems note the time of a
/// change in steps of two seconds (FAT).
const SETTLED: Duration = Duration::from_secs(3);

/// What tells whether a file is still the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    length: u64,
    /// Since 1970, in nanoseconds.
    modified_ns: i128,
    inode: u64,
}

impl Stamp {
    /// The stamp of the file at `path`.
    ///
    /// Errors: there is none, or it cannot be looked at.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Ok(Self { length: metadata.len(), modified_ns: metadata.modified().map_or(0, since_1970), inode })
    }

    /// Whether the file was left alone long enough for its next change to show in its stamp, whatever its length is then.
    pub fn is_settled(&self) -> bool {
        since_1970(SystemTime::now()) - self.modified_ns >= SETTLED.as_nanos().cast_signed()
    }
}

fn since_1970(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos().cast_signed(),
        Err(before) => -before.duration().as_nanos().cast_signed(),
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.length, self.modified_ns, self.inode)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_file_that_was_changed_or_replaced_has_another_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert!(Stamp::of(&path).is_err());
        fs::write(&path, "one").unwrap();
        let begun = SystemTime::now();
        let dated = |seconds: u64| {
            let time = begun - Duration::from_secs(seconds);
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            Stamp::of(&path).unwrap()
        };
        let (old, now) = (dated(60), dated(0));
        assert!(old.is_settled() && !now.is_settled() && old != now);
        fs::write(&path, "three").unwrap();
        assert_ne!(dated(60), old, "of another length");
        fs::write(&path, "one").unwrap();
        assert_eq!(dated(60), old, "as it was, as far as a stamp tells");
        let other = folder.path().join("other");
        fs::write(&other, "one").unwrap();
        fs::rename(&other, &path).unwrap();
        #[cfg(unix)]
        assert_ne!(dated(60).to_string(), old.to_string(), "another file");
    }
}
