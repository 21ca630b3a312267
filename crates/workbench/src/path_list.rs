//! A plain list of folders in greentune's home, one a line.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
};

/// A file with a path on each line. Several processes may add to it at once.
#[derive(Clone, Debug)]
pub(crate) struct PathList(PathBuf);

impl PathList {
    /// The list in `file`, which need not exist.
    pub(crate) fn new(file: PathBuf) -> Self {
        Self(file)
    }

    /// Whether there is a list.
    pub(crate) fn exists(&self) -> bool {
        self.0.is_file()
    }

    /// Adds `path`, unless it is there.
    pub(crate) fn add(&self, path: &str) -> io::Result<()> {
        let known = self.text();
        // A line break in a path would make two of it.
        if path.contains('\n') || known.lines().any(|line| line == path) {
            return Ok(());
        }
        if let Some(folder) = self.0.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = File::options().create(true).append(true).open(&self.0)?;
        // A machine that lost its power may have torn the last line.
        let gap = if known.is_empty() || known.ends_with('\n') { "" } else { "\n" };
        file.write_all(format!("{gap}{path}\n").as_bytes())
    }

    /// The absolute paths in it.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.text().lines().map(PathBuf::from).filter(|path| path.is_absolute()).collect()
    }

    fn text(&self) -> String {
        let bytes = fs::read(&self.0).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_listed_once_and_a_torn_line_costs_no_other() {
        let home = tempfile::tempdir().unwrap();
        let list = PathList::new(home.path().join("list"));
        assert!(!list.exists());
        fs::write(&list.0, "/torn/proj").unwrap();
        for path in ["/a", "/b", "/a", "/two\nlines"] {
            list.add(path).unwrap();
        }
        assert_eq!(list.paths(), ["/torn/proj", "/a", "/b"].map(PathBuf::from));
    }
}
