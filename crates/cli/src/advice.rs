//! What to do next, as commands.

use greentune_core_config::{Suggestion, suggestion};
use greentune_workbench::command_line::command;

/// `suggestions` and `hint` in a sentence, operations as commands.
pub fn advice(suggestions: &[Suggestion], hint: Option<&str>) -> Option<String> {
    suggestion::advice(suggestions, hint, &quoted)
}

/// The command of `suggestion`, as it stands in a sentence.
pub fn quoted(suggestion: &Suggestion) -> String {
    format!("`{}`", command(suggestion))
}
