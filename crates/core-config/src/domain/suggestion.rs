//! What somebody may do next: an operation and its arguments, which each front end words in its own way.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An operation that helps, such as `resume_training` for a run that was cancelled.
///
/// No room below the front ends knows how an operation is called: the command line makes a command of a suggestion, MCP
/// a tool call, HTTP a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Suggestion {
    /// What it is good for, such as `go on from the last checkpoint`.
    pub purpose: String,
    /// Name of the operation.
    pub operation: String,
    /// Its arguments, as far as they are known; a word in capitals stands for what the user chooses.
    #[serde(skip_serializing_if = "Map::is_empty", default)]
    pub arguments: Map<String, Value>,
}

impl Suggestion {
    /// The operation `operation`, without arguments.
    pub fn new(purpose: impl Into<String>, operation: impl Into<String>) -> Self {
        Self { purpose: purpose.into(), operation: operation.into(), arguments: Map::new() }
    }

    /// Adds the argument `name`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.arguments.insert(name.to_owned(), value.into());
        self
    }
}

/// `suggestions` and `hint` in one sentence, `None` when there is neither; `words` says how an operation is called.
pub fn advice(
    suggestions: &[Suggestion],
    hint: Option<&str>,
    words: &dyn Fn(&Suggestion) -> String,
) -> Option<String> {
    let worded =
        suggestions.iter().map(|suggestion| format!("{} with {}", suggestion.purpose, words(suggestion)));
    let parts: Vec<_> = worded.chain(hint.map(str::to_owned)).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Problem, ProblemKind};

    #[test]
    fn advice_has_every_suggestion_and_the_hint() {
        let words = |suggestion: &Suggestion| suggestion.operation.clone();
        let two = [
            Suggestion::new("follow it", "monitor"),
            Suggestion::new("end it", "cancel").with("run_id", "r"),
        ];
        assert_eq!(advice(&two, None, &words).as_deref(), Some("follow it with monitor, end it with cancel"));
        assert_eq!(
            advice(&two[..1], Some("or wait"), &words).as_deref(),
            Some("follow it with monitor, or wait")
        );
        assert_eq!(advice(&[], Some("wait"), &words).as_deref(), Some("wait"));
        assert_eq!(advice(&[], None, &words), None);
    }

    #[test]
    fn wording_reaches_the_problems_in_a_problem() {
        let single =
            Problem::new(ProblemKind::Conflict, "a.b", "no").suggesting(Suggestion::new("go on", "resume"));
        let mut all = Problem::new(ProblemKind::Conflict, "a.c", "two");
        all.problems.push(single);
        let worded = all.worded(&|suggestion| format!("`{}`", suggestion.operation));
        assert_eq!((worded.hint, worded.problems[0].hint.as_deref()), (None, Some("go on with `resume`")));
    }
}
