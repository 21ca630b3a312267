//! A path as a request writes it: plain, from the home folder (`~/data.jsonl`), or as an address (`file:///data.jsonl`).

use std::path::{Path, PathBuf};

use crate::{Result, Workbench, WorkbenchError};

impl Workbench {
    /// `path` with `~` and `file://` taken for what they mean; anything else as it is.
    ///
    /// Errors: `~` where no home folder is known; an address that is not of this machine, or not a file's.
    pub(crate) fn given_path(&self, path: &Path) -> Result<PathBuf> {
        given_path(path, self.config().user_home.as_deref())
    }
}

/// `path` with a leading `~` replaced by `home`, and a `file://` address (RFC 8089) read as the path that it names.
///
/// Errors: `~` where no home folder is known; an address that is not of this machine, or not a file's.
pub fn given_path(path: &Path, home: Option<&Path>) -> Result<PathBuf> {
    if let Ok(rest) = path.strip_prefix("~") {
        let home = home.ok_or_else(|| refused(path, "a path without ~: no home folder is known here"))?;
        return Ok(if rest.as_os_str().is_empty() { home.to_owned() } else { home.join(rest) });
    }
    let Some(text) = path.to_str() else { return Ok(path.to_owned()) };
    let Some((scheme, rest)) = text.split_once("://") else { return Ok(path.to_owned()) };
    if !scheme.eq_ignore_ascii_case("file") {
        return Ok(path.to_owned());
    }
    let local = rest.strip_prefix("localhost").filter(|rest| rest.starts_with('/')).unwrap_or(rest);
    if !local.starts_with('/') {
        return Err(refused(path, "an address of this machine, such as file:///folder/data.jsonl"));
    }
    let decoded = percent_decoded(local).ok_or_else(|| refused(path, "an address whose %XX are UTF-8"))?;
    Ok(PathBuf::from(decoded))
}

fn refused(path: &Path, allowed: &str) -> WorkbenchError {
    WorkbenchError::InvalidValue {
        key: "path",
        found: path.display().to_string(),
        allowed: allowed.to_owned(),
    }
}

/// `text` with `%XX` decoded; `None` where that is not UTF-8. A `%` without two hexadecimal digits stands for itself.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits
            .filter(|_| *first == b'%')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_folder_and_addresses_of_files_are_paths() {
        let read = |path: &str| {
            given_path(Path::new(path), Some(Path::new("/home/ada")))
                .map(|path| path.display().to_string())
                .map_err(|error| error.to_string())
        };
        for (given, meant) in [
            ("/data/a.jsonl", "/data/a.jsonl"),
            ("data/a.jsonl", "data/a.jsonl"),
            ("~/a.jsonl", "/home/ada/a.jsonl"),
            ("~", "/home/ada"),
            ("~other/a", "~other/a"),
            ("file:///data/with%20space%20%C3%A9.jsonl", "/data/with space é.jsonl"),
            ("file://localhost/data/a", "/data/a"),
            ("FILE:///100%/a", "/100%/a"),
            ("https://host/a", "https://host/a"),
        ] {
            assert_eq!(read(given).as_deref(), Ok(meant), "{given}");
        }
        assert!(read("file://server/share/a").is_err());
        assert!(read("file:///%FF").is_err());
        assert!(given_path(Path::new("~/a"), None).is_err());
    }
}
