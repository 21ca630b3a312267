//! Files that are read whole, of which somebody else decides how large they are.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// The bytes of the regular file at `path` (links are followed), when there are `most` at most.
///
/// Errors: it cannot be read; it is a pipe, a device, a socket or a folder, which is neither opened nor waited for; it is
/// larger.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    // Asked before it is opened: opening a pipe waits for a writer.
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let too_large = || {
        let most = if most < 1 << 20 { format!("{} KiB", most >> 10) } else { format!("{} MiB", most >> 20) };
        io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {most}"))
    };
    if metadata.len() > most {
        return Err(too_large());
    }
    // Room for its end too: a file that fits is read at once.
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default() + 64);
    // It may have grown, and files of the kernel have no length.
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(bytes) }
}

/// The same as text.
///
/// Errors: also what is not UTF-8.
pub fn read_text_at_most(path: &Path, most: u64) -> io::Result<String> {
    let not_utf_8 = |_| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8");
    String::from_utf8(read_at_most(path, most)?).map_err(not_utf_8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_folders_and_huge_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let huge = folder.path().join("huge");
        // Nothing of it takes room on the disk.
        File::create(&huge).unwrap().set_len(1 << 40).unwrap();
        assert!(read_at_most(&huge, 4 << 20).unwrap_err().to_string().contains("4 MiB"));
        for path in [folder.path(), Path::new("/dev/zero")] {
            assert!(read_at_most(path, 9).unwrap_err().to_string().contains("no regular file"), "{path:?}");
        }
        fs::write(&huge, "text").unwrap();
        assert_eq!(read_at_most(&huge, 4).unwrap(), b"text");
        assert!(read_text_at_most(&huge, 3).unwrap_err().to_string().contains("0 KiB"));
        fs::write(&huge, [0xff]).unwrap();
        assert_eq!(read_text_at_most(&huge, 4).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_of_the_kernel_without_a_length_is_read_no_further_than_allowed() {
        // /proc says that it has 0 bytes.
        assert!(read_at_most(Path::new("/proc/self/maps"), 10).is_err());
    }
}
