//! Why a command did not succeed.

use greentune_core_config::{Diagnostic, Problem, ProblemKind, Suggestion};

/// The problem that ends a command; any error of the workspace turns into it.
#[derive(Debug)]
pub struct Failure(pub Problem);

impl<E: Diagnostic> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.problem())
    }
}

impl Failure {
    /// A failure of kind `kind` with `code` and `message`.
    pub fn new(kind: ProblemKind, code: &str, message: impl Into<String>) -> Self {
        Self(Problem::new(kind, code, message))
    }

    /// Adds an operation that helps.
    pub fn suggesting(self, suggestion: Suggestion) -> Self {
        Self(self.0.suggesting(suggestion))
    }

    /// Adds what to do next.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self(self.0.with_hint(hint))
    }
}
