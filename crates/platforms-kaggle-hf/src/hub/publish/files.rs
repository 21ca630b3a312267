//! Files that are published, and the names that the Hub gives their content.

use std::{
    fmt::Write as _,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::super::error::{HubError, Result};

/// How much of its beginning the Hub is shown, to tell text from other content, in bytes.
const SAMPLE: u64 = 512;
/// Longest file that is sent within the commit, in bytes. The Hub asks for larger ones to be stored apart.
pub(super) const LONGEST_REGULAR: u64 = 32 << 20;

/// A file that is to be published.
#[derive(Debug)]
pub(super) struct LocalFile {
    /// Its path in the folder and on the Hub.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// Its first bytes.
    pub(super) sample: Vec<u8>,
    /// SHA-256 of its content, in hexadecimal.
    pub(super) sha256: String,
}

/// How a file gets to the Hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UploadMode {
    /// Within the commit.
    Regular,
    /// Stored apart and named by its hash in the commit.
    Lfs,
}

/// What becomes of a file.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) file: LocalFile,
    pub(super) mode: UploadMode,
    /// The Hub has it with the same content.
    pub(super) is_present: bool,
}

impl LocalFile {
    /// The file `name` of `folder`, read once.
    pub(super) fn open(folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(name);
        let mut hash = Sha256::new();
        let mut sample = Vec::new();
        let bytes = each_piece(&path, |piece| {
            let lacking = SAMPLE as usize - sample.len();
            sample.extend_from_slice(&piece[..lacking.min(piece.len())]);
            hash.update(piece);
        })?;
        Ok(Self { name: name.to_owned(), path, bytes, sample, sha256: hexadecimal(&hash.finalize()) })
    }

    /// Its content.
    pub(super) fn content(&self) -> Result<Vec<u8>> {
        std::fs::read(&self.path).map_err(HubError::file("read", &self.path))
    }

    /// The plan for it, where the Hub wants it in this `mode` and has a file of this name with the content `remote`.
    pub(super) fn planned(self, mode: UploadMode, remote: Option<&str>) -> Result<Plan> {
        let here = match (mode, remote) {
            (_, None) => None,
            (UploadMode::Lfs, Some(_)) => Some(self.sha256.clone()),
            (UploadMode::Regular, Some(_)) => Some(self.git_hash()?),
        };
        Ok(Plan { is_present: here.is_some() && here.as_deref() == remote, file: self, mode })
    }

    /// What git calls its content: SHA-1 of `blob`, its length, a zero and the content.
    fn git_hash(&self) -> Result<String> {
        let mut hash = Sha1::new();
        hash.update(format!("blob {}\0", self.bytes));
        each_piece(&self.path, |piece| hash.update(piece))?;
        Ok(hexadecimal(&hash.finalize()))
    }
}

/// Calls `see` with all bytes of the file at `path`, in pieces; how many there were.
fn each_piece(path: &Path, mut see: impl FnMut(&[u8])) -> Result<u64> {
    let mut file = File::open(path).map_err(HubError::file("open", path))?;
    let mut piece = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut piece).map_err(HubError::file("read", path))? {
            0 => return Ok(bytes),
            read => {
                see(&piece[..read]);
                bytes += read as u64;
            }
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_has_the_names_that_git_and_the_hub_give_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.txt"), "hello\n").unwrap();
        let file = LocalFile::open(folder.path(), "a.txt").unwrap();
        assert_eq!((file.bytes, file.sample.as_slice()), (6, b"hello\n".as_slice()));
        // `git hash-object` and `sha256sum` of the same file.
        assert_eq!(file.git_hash().unwrap(), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(file.sha256, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        let plan = file.planned(UploadMode::Regular, Some("ce013625030ba8dba906f756967f9e9ca394464a"));
        assert!(plan.unwrap().is_present);
    }
}
