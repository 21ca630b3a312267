//! The model that is served: its files, and the names that the Hub gives their content.

use std::{fmt::Write as _, fs, io, path::Path};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A model.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) id: String,
    /// 40 digits that stand for what the files contain; git's own id would need a history.
    pub(super) commit: String,
    pub(super) files: Vec<ServedFile>,
}

/// A file of it.
#[derive(Debug)]
pub(super) struct ServedFile {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    /// SHA-256 of the content.
    pub(super) digest: String,
}

impl Model {
    pub(super) fn read(folder: &Path, id: &str) -> io::Result<Self> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.path().is_file() {
                let bytes = fs::read(entry.path())?;
                let name = entry.file_name().to_string_lossy().into_owned();
                files.push(ServedFile { name, digest: digest(&bytes), bytes });
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let all: String = files.iter().flat_map(|file| [file.name.as_str(), &file.digest]).collect();
        Ok(Self { id: id.to_owned(), commit: digest(all.as_bytes())[..40].to_owned(), files })
    }
}

impl ServedFile {
    /// Whether it is large by the Hub's rules.
    pub(super) fn is_stored_apart(&self) -> bool {
        Path::new(&self.name).extension().is_some_and(|ending| ending == "safetensors" || ending == "bin")
    }

    /// The name of its content: SHA-256 of what is stored apart, else 40 digits in place of git's object id.
    pub(super) fn etag(&self) -> &str {
        if self.is_stored_apart() { &self.digest } else { &self.digest[..40] }
    }

    /// Its entry in the list of files.
    pub(super) fn in_tree(&self) -> Value {
        let mut entry =
            json!({ "type": "file", "oid": self.digest[..40], "size": self.bytes.len(), "path": self.name });
        if self.is_stored_apart() {
            entry["lfs"] = json!({ "oid": self.digest, "size": self.bytes.len(), "pointerSize": 134 });
        }
        entry
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
