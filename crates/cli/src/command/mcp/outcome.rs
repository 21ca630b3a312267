//! What became of a client's files.

use std::path::PathBuf;

use serde::Serialize;

use super::install::Scope;
use crate::output::Paint;

/// What becomes of an entry or of the skill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Added,
    Changed,
    Removed,
    AlreadyThere,
    AlreadyGone,
}

/// What was done, or would be.
#[derive(Debug, Serialize)]
pub struct Outcome<'a> {
    pub client: &'a str,
    pub scope: Scope,
    pub name: &'a str,
    pub dry_run: bool,
    pub files: Vec<FileOutcome>,
    pub notes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<&'a str>,
}

/// The same of one file.
#[derive(Debug, Serialize)]
pub struct FileOutcome {
    pub what: &'static str,
    pub action: Action,
    pub path: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<PathBuf>,
}

impl Outcome<'_> {
    /// For people; the notes were told before.
    pub fn page(&self, paint: Paint) -> String {
        let mut lines: Vec<_> = self.files.iter().flat_map(|file| self.of_file(file, paint)).collect();
        lines.extend(self.dry_run.then(|| String::from("--dry-run: nothing was written")));
        lines.extend(self.next.map(|next| format!("{}: {next}", paint.heading("next"))));
        lines.join("\n")
    }

    fn of_file(&self, file: &FileOutcome, paint: Paint) -> Vec<String> {
        let path = file.path.display();
        let what = if file.what == "server" { self.name } else { "the skill" };
        let done = |done: &str| {
            if self.dry_run {
                format!("{what} would be {done}: {path}")
            } else {
                format!("{what} {}: {path}", paint.good(format!("was {done}")))
            }
        };
        let line = match file.action {
            Action::Added => done("added"),
            Action::Changed => done("changed"),
            Action::Removed => done("removed"),
            Action::AlreadyThere => format!("{what} is there already: {path}"),
            Action::AlreadyGone => format!("{what} is not there: {path}"),
        };
        let copy = file.backup.iter().map(|copy| format!("  the file as it was: {}", copy.display()));
        [line].into_iter().chain(copy).collect()
    }
}
