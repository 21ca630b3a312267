//! SHA-256 of a run's inputs.

use std::{fmt::Write as _, fs::File, io, path::Path};

use sha2::{Digest, Sha256};

use crate::{Result, WorkbenchError};

/// SHA-256 of the file at `path`, in lower-case hexadecimal.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let failed = |action| WorkbenchError::file(action, path);
    let mut file = File::open(path).map_err(failed("open"))?;
    let mut hasher = HashWriter(Sha256::new());
    io::copy(&mut file, &mut hasher).map_err(failed("read"))?;
    Ok(hasher.0.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
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
        std::fs::write(file.path(), "abc").unwrap();
        // FIPS 180-4, example of SHA-256("abc").
        assert_eq!(
            sha256(file.path()).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
