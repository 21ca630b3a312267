//! SHA-256 of a run's inputs.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{Result, WorkbenchError};

/// SHA-256 of the file at `path`, in lower-case hexadecimal.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let failed = |action| WorkbenchError::file(action, path);
    let mut file = File::open(path).map_err(failed("open"))?;
    let mut hasher = HashWriter(Sha256::new());
    io::copy(&mut file, &mut hasher).map_err(failed("read"))?;
    Ok(hex(hasher))
}

/// SHA-256 of `text`, in lower-case hexadecimal.
pub(crate) fn sha256_of_text(text: &str) -> String {
    let mut hasher = HashWriter(Sha256::new());
    hasher.0.update(text);
    hex(hasher)
}

/// Bytes of a folder's files that are read for its digest; of larger folders names and sizes count alone.
const READ_UP_TO: u64 = 1 << 30;

/// SHA-256 of a file, or of all files of a folder with their names, in the order of their paths.
pub(crate) fn sha256_of_all(path: &Path) -> Result<String> {
    if path.is_file() {
        return sha256(path);
    }
    let mut files = Vec::new();
    collect(path, &mut files)?;
    files.sort();
    let total: u64 = files.iter().map(|(_, size)| size).sum();
    let mut hasher = HashWriter(Sha256::new());
    for (file, size) in files {
        let name = file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned();
        hasher.0.update(format!("{name}\n{size}\n"));
        if total <= READ_UP_TO {
            let mut content = File::open(&file).map_err(WorkbenchError::file("open", &file))?;
            io::copy(&mut content, &mut hasher).map_err(WorkbenchError::file("read", &file))?;
        }
    }
    Ok(hex(hasher))
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let failed = || WorkbenchError::file("read", folder);
    for entry in fs::read_dir(folder).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        let metadata = fs::metadata(&path).map_err(WorkbenchError::file("read", &path))?;
        if metadata.is_dir() && !path.is_symlink() {
            collect(&path, files)?;
        } else if metadata.is_file() {
            files.push((path, metadata.len()));
        }
    }
    Ok(())
}

fn hex(hasher: HashWriter) -> String {
    hasher.0.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digest() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "abc").unwrap();
        // FIPS 180-4, example of SHA-256("abc").
        assert_eq!(
            sha256(file.path()).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
