//! A file of another program that is to be changed: looked at, shown, and replaced as long as it is what was looked at.

use std::{
    fs::{self, Permissions},
    io,
    path::{Path, PathBuf},
};

use greentune_core_config::{Problem, ProblemKind};
use greentune_durable::{read_at_most, replace_in_place};
use similar::{ChangeTag, TextDiff};

use crate::{failure::Failure, output::Paint};

/// Larger settings are none: those of Claude Code, which hold its history, take a few MB.
const MOST_BYTES: u64 = 64 << 20;
/// Of a longer line the rest is left out, of a longer change the other lines.
const SHOWN_CHARS: usize = 160;
const SHOWN_LINES: usize = 60;
/// What the former file's copy is called behind the file's own name.
const BACKUP: &str = ".greentune-backup";

/// A file as it is.
#[derive(Debug)]
pub struct Former {
    pub path: PathBuf,
    /// Its text and permissions; none when it is not there.
    there: Option<(String, Permissions)>,
}

/// A change of a file.
#[derive(Debug)]
pub struct Edit {
    pub former: Former,
    /// The text that it is to have; none when it is to go.
    pub text: Option<String>,
    /// Whether a copy of the former file stays beside it.
    pub is_backed_up: bool,
}

impl Former {
    /// The file at `path`, below `root` where that is given.
    ///
    /// Errors: it is a link, no file, for reading alone, another user's, no text, or cannot be read; its folder is a link
    /// to somewhere outside of `root`.
    pub fn look(path: PathBuf, root: Option<&Path>) -> Result<Self, Failure> {
        if let Some(root) = root {
            stays_below(&path, root)?;
        }
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self { path, there: None }),
            Err(error) => return Err(io_failure(&error, "cannot look at", &path)),
        };
        if metadata.is_symlink() {
            let target = fs::read_link(&path).unwrap_or_default();
            return Err(refused(
                &path,
                &format!("it is a link to {}, which stays as it is", target.display()),
            ));
        }
        if !metadata.is_file() {
            return Err(refused(&path, "it is no regular file"));
        }
        if metadata.permissions().readonly() {
            return Err(refused(&path, "it is read-only"));
        }
        if !is_own(&metadata) {
            return Err(refused(&path, "it belongs to another user, and would be yours afterwards"));
        }
        let bytes =
            read_at_most(&path, MOST_BYTES).map_err(|error| io_failure(&error, "cannot read", &path))?;
        let text = String::from_utf8(bytes).map_err(|_| refused(&path, "it is no text in UTF-8"))?;
        Ok(Self { path, there: Some((text, metadata.permissions())) })
    }

    /// Its text; empty when it is not there.
    pub fn text(&self) -> &str {
        self.there.as_ref().map(|(text, _)| text.as_str()).unwrap_or_default()
    }

    /// Whether it is there.
    pub fn is_there(&self) -> bool {
        self.there.is_some()
    }
}

impl Edit {
    /// The lines that change, each with `-` or `+`, and where. Others are not shown: they may hold credentials.
    pub fn shown(&self, paint: Paint) -> String {
        let after = self.text.as_deref().unwrap_or_default();
        let diff = TextDiff::from_lines(self.former.text(), after);
        let mut lines = Vec::new();
        for group in diff.grouped_ops(0) {
            let Some(first) = group.first() else { continue };
            let place = if self.former.is_there() {
                format!("line {}", first.new_range().start + 1)
            } else {
                String::from("a new file")
            };
            lines.push(paint.faint(place));
            for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
                let line = shortened(change.value().trim_end_matches(['\r', '\n']));
                lines.push(match change.tag() {
                    ChangeTag::Delete => paint.bad(format!("-{line}")),
                    ChangeTag::Insert => paint.good(format!("+{line}")),
                    ChangeTag::Equal => continue,
                });
            }
        }
        let rest = lines.len().saturating_sub(SHOWN_LINES);
        lines.truncate(SHOWN_LINES);
        lines.extend((rest > 0).then(|| paint.faint(format!("… and {rest} lines more"))));
        lines.join("\n")
    }

    /// Makes the change. Answers where the copy of the former file is.
    ///
    /// Errors: the file is no longer what was looked at, or cannot be written; nothing is changed then.
    pub fn apply(&self, root: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
        let path = &self.former.path;
        let now = Former::look(path.clone(), root)?;
        if (now.text(), now.is_there()) != (self.former.text(), self.former.is_there()) {
            let message = format!(
                "{} was changed meanwhile, by the client perhaps; nothing was written",
                path.display()
            );
            return Err(Failure::new(ProblemKind::Conflict, "mcp.changed_meanwhile", message)
                .with_hint("try again, or close the client first"));
        }
        let failed = |what: &'static str| move |error: io::Error| io_failure(&error, what, path);
        let backup = match &now.there {
            Some((text, permissions)) if self.is_backed_up => {
                let copy = backup_of(path);
                replace_in_place(&copy, text.as_bytes(), Some(permissions.clone()))
                    .map_err(failed("cannot keep a copy of"))?;
                Some(copy)
            }
            _ => None,
        };
        match &self.text {
            Some(text) => {
                let folder = path.parent().unwrap_or(Path::new("."));
                fs::create_dir_all(folder).map_err(failed("cannot make the folder of"))?;
                let permissions = now.there.map(|(_, permissions)| permissions);
                replace_in_place(path, text.as_bytes(), permissions).map_err(failed("cannot write"))?;
            }
            None => fs::remove_file(path).map_err(failed("cannot remove"))?,
        }
        Ok(backup)
    }
}

fn backup_of(path: &Path) -> PathBuf {
    let mut copy = path.as_os_str().to_owned();
    copy.push(BACKUP);
    copy.into()
}

/// A project may come from a stranger: a link in it must not lead the change elsewhere.
fn stays_below(path: &Path, root: &Path) -> Result<(), Failure> {
    let there = path.ancestors().skip(1).find(|folder| folder.exists()).unwrap_or(root);
    let real =
        |path: &Path| fs::canonicalize(path).map_err(|error| io_failure(&error, "cannot follow", path));
    if real(there)?.starts_with(real(root)?) {
        return Ok(());
    }
    Err(refused(path, &format!("a link leads out of the project {}", root.display())))
}

fn shortened(line: &str) -> String {
    let count = line.chars().count();
    if count <= SHOWN_CHARS {
        return line.to_owned();
    }
    let shown: String = line.chars().take(SHOWN_CHARS).collect();
    format!("{shown}… ({} characters more)", count - SHOWN_CHARS)
}

fn refused(path: &Path, why: &str) -> Failure {
    let message = format!("{} is not changed: {why}", path.display());
    Failure::new(ProblemKind::Conflict, "mcp.file_refused", message)
        .with_hint("`greentune mcp install --print --client C` prints what to put there by hand")
}

fn io_failure(error: &io::Error, what: &str, path: &Path) -> Failure {
    Failure(Problem::of_file(error, format!("{what} {}: {error}", path.display())))
}

#[cfg(unix)]
fn is_own(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    metadata.uid() == rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn is_own(_: &fs::Metadata) -> bool {
    true
}
