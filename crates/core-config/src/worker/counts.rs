//! What became of the records of a data set.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// What was kept of a data set and what was dropped, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetCounts {
    /// Rows of the file; blank lines are none.
    pub read: u64,
    /// Records used.
    pub kept: u64,
    /// Records used after truncation.
    pub truncated: u64,
    /// Rows that cannot be read: a line that is no JSON object, a row with too many or too few cells.
    pub broken_lines: u64,
    /// Records without a field that their schema needs, or with one of the wrong type.
    pub missing_field: u64,
    /// Records with an empty response.
    pub empty_response: u64,
    /// Conversations with a turn of a role that is unknown.
    pub unknown_role: u64,
    /// Conversations that do not end with the assistant's turn.
    pub ends_with_user: u64,
    /// Records that the prompt template refuses.
    pub template_failed: u64,
    /// Records whose prompt leaves no room for a response in the context.
    pub too_long: u64,
    /// The first few problems, with file and line.
    pub problems: Vec<Problem>,
}
