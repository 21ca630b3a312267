//! Files that settings name: regular ones, of a size that a person writes.

use std::{io, path::Path};

/// The largest such file.
const LARGEST: u64 = 4 << 20;

/// The bytes of the regular file at `path`.
///
/// Errors: it cannot be read, is a device, a pipe or a folder, or is larger than 4 MiB.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    greentune_durable::read_at_most(path, LARGEST)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn devices_folders_and_huge_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let huge = folder.path().join("huge");
        File::create(&huge).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(read(&huge).unwrap_err().to_string().contains("4 MiB"));
        for path in [folder.path(), Path::new("/dev/zero")] {
            assert!(read(path).unwrap_err().to_string().contains("no regular file"), "{path:?}");
        }
        fs::write(&huge, "text").unwrap();
        assert_eq!(read(&huge).unwrap(), b"text");
    }
}
