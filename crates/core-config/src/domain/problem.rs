//! What went wrong, in a form that every front end can show: RFC 9457 in spirit.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::suggestion::{Suggestion, advice};

/// The class of a problem; front ends map it to an exit code, an HTTP status or an MCP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProblemKind {
    /// The request, a file or a setting is wrong.
    InvalidInput,
    /// Something that was named does not exist.
    NotFound,
    /// The state does not allow it now: already running, already there.
    Conflict,
    /// A credential is missing or refused.
    Credentials,
    /// A service or resource does not answer.
    Unavailable,
    /// A service asks to slow down.
    RateLimited,
    /// Not possible on this machine or not available yet.
    Unsupported,
    /// Ended on request.
    Cancelled,
    /// A defect of greentune, or an operating system failure nobody can act on.
    Internal,
}

/// Where in the user's input a problem is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Location {
    /// The file, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<PathBuf>,
    /// Line in the file, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u64>,
    /// Dotted key of a setting or request field, such as `training.stage1.learning_rate`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
}

/// A problem as users meet it: on standard error, in an MCP result, in an HTTP body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Class of the problem.
    pub kind: ProblemKind,
    /// Stable code `area.reason`, such as `data.empty`.
    pub code: String,
    /// What was wrong, with what was found and what is allowed.
    pub message: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// Operations that help, with their arguments; front ends word them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub suggestions: Vec<Suggestion>,
    /// Whether trying again unchanged can help.
    pub retryable: bool,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub location: Option<Location>,
    /// The single problems, when several were found at once.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub problems: Vec<Problem>,
}

impl Problem {
    /// A problem of `kind` with a stable `code` and a `message`.
    pub fn new(kind: ProblemKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: code.into(),
            message: message.into(),
            hint: None,
            suggestions: Vec::new(),
            retryable: matches!(kind, ProblemKind::Unavailable | ProblemKind::RateLimited),
            location: None,
            problems: Vec::new(),
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds an operation that helps.
    #[must_use]
    pub fn suggesting(mut self, suggestion: Suggestion) -> Self {
        self.suggestions.push(suggestion);
        self
    }

    /// The same problem, and those in it, with its suggestions in the hint, each worded by `words`.
    #[must_use]
    pub fn worded(mut self, words: &dyn Fn(&Suggestion) -> String) -> Self {
        self.hint = advice(&self.suggestions, self.hint.as_deref(), words);
        self.problems = self.problems.into_iter().map(|problem| problem.worded(words)).collect();
        self
    }

    /// Whether the message begins with `key`, as a word of its own.
    pub fn begins_with(&self, key: &str) -> bool {
        let rest = self.message.strip_prefix(key);
        rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || "._".contains(next)))
    }

    /// Adds where it is.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }

    /// Adds the dotted key it is about.
    #[must_use]
    pub fn at_key(mut self, key: impl Into<String>) -> Self {
        self.location.get_or_insert_default().key = Some(key.into());
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(location) = &self.location {
            if let Some(file) = &location.file {
                write!(f, "{}", file.display())?;
                if let Some(line) = location.line {
                    write!(f, ":{line}")?;
                }
                write!(f, ": ")?;
            }
            // Many messages begin with the key; it is not said twice.
            if let Some(key) = location.key.as_ref().filter(|key| !self.begins_with(key)) {
                write!(f, "{key}: ")?;
            }
        }
        write!(f, "{}", self.message)?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// An error that can present itself as a [`Problem`]. Each crate's error enum implements it once.
pub trait Diagnostic: std::error::Error {
    /// The problem as users meet it.
    fn problem(&self) -> Problem;
}

impl Diagnostic for Problem {
    fn problem(&self) -> Problem {
        self.clone()
    }
}
