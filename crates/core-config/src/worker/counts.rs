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
    /// Conversations whose messages are all marked as not to be learnt (`weight` 0, `train` false).
    #[serde(default)]
    pub nothing_to_learn: u64,
    /// Conversations with a part that is no text, such as an image.
    #[serde(default)]
    pub unsupported_part: u64,
    /// Conversations with a turn of a role that is unknown.
    pub unknown_role: u64,
    /// Conversations that do not end with the assistant's turn.
    pub ends_with_user: u64,
    /// Records that the prompt template refuses.
    pub template_failed: u64,
    /// Records whose prompt leaves no room for a response in the context.
    pub too_long: u64,
    /// Records that take too long to render or to tokenise, or on which a regular expression of the tokenizer fails.
    #[serde(default)]
    pub given_up: u64,
    /// Answers of used conversations that are read and not learnt, because the chat template writes them otherwise, once
    /// more follows, than they are generated.
    #[serde(default)]
    pub unlearnt_answers: u64,
    /// The first few problems, with file and line.
    pub problems: Vec<Problem>,
    /// The kinds of problems, each once.
    #[serde(default)]
    pub faults: Vec<FaultKind>,
}

/// Rows that have the same fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FaultKind {
    /// How many there are.
    pub rows: u64,
    /// The fault of the first, with file and line.
    pub first: Problem,
    /// Lines of the next few.
    pub more_lines: Vec<u64>,
}

/// Problems that are kept in full.
const KEPT_PROBLEMS: usize = 20;
/// Kinds that are told apart; rows with another are counted with the last.
const KEPT_KINDS: usize = 20;
/// Lines that are kept of a kind beside the first.
const MORE_LINES: usize = 4;

impl DatasetCounts {
    /// Notes the problem of a row: with those of its kind, which differ in numbers alone.
    pub fn note(&mut self, problem: &Problem) {
        if self.problems.len() < KEPT_PROBLEMS {
            self.problems.push(problem.clone());
        }
        let is_full = self.faults.len() == KEPT_KINDS;
        let same = self.faults.iter().position(|kind| kind.is_like(problem));
        match same.or_else(|| is_full.then_some(KEPT_KINDS - 1)) {
            Some(index) => self.faults[index].add(problem),
            None => self.faults.push(FaultKind { rows: 1, first: problem.clone(), more_lines: Vec::new() }),
        }
    }

    /// A problem for each kind, the most frequent first, which says how many rows have it and where.
    pub fn table(&self) -> Vec<Problem> {
        let mut kinds: Vec<_> = self.faults.iter().collect();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.rows));
        kinds.into_iter().map(FaultKind::problem).collect()
    }
}

impl FaultKind {
    fn is_like(&self, problem: &Problem) -> bool {
        self.first.code == problem.code
            && without_numbers(&self.first.message).eq(without_numbers(&problem.message))
    }

    fn add(&mut self, problem: &Problem) {
        self.rows += 1;
        let file = |problem: &Problem| problem.location.as_ref().map(|location| location.file.clone());
        let line = problem.location.as_ref().and_then(|location| location.line);
        if self.more_lines.len() < MORE_LINES && file(problem) == file(&self.first) {
            self.more_lines.extend(line);
        }
    }

    fn problem(&self) -> Problem {
        let mut problem = self.first.clone();
        if self.rows > 1 {
            let lines: Vec<_> = self.more_lines.iter().map(ToString::to_string).collect();
            let are_all = lines.len() as u64 + 1 == self.rows;
            let place = match (lines.is_empty(), are_all) {
                (true, _) => String::new(),
                (false, true) => format!(" (also on lines {})", lines.join(", ")),
                (false, false) => format!(" (also on lines {}, …)", lines.join(", ")),
            };
            problem.message = format!("{} records: {}{place}", self.rows, problem.message);
        }
        problem
    }
}

/// The message, with one zero for each number.
fn without_numbers(message: &str) -> impl Iterator<Item = char> + '_ {
    let mut is_in_number = false;
    message.chars().filter_map(move |letter| {
        let was_in_number = std::mem::replace(&mut is_in_number, letter.is_ascii_digit());
        match (letter.is_ascii_digit(), was_in_number) {
            (true, true) => None,
            (true, false) => Some('0'),
            _ => Some(letter),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Location, ProblemKind};

    #[test]
    fn rows_with_the_same_fault_are_one_line_of_the_table() {
        let mut counts = DatasetCounts::default();
        let mut note = |line: u64, message: &str| {
            let location = Location { file: Some("a.jsonl".into()), line: Some(line), key: None };
            counts.note(&Problem::new(ProblemKind::InvalidInput, "data.too_long", message).at(location));
        };
        note(2, "empty");
        for line in 3..13 {
            note(line, &format!("the prompt has {} tokens", line * line));
        }
        let table = counts.table();
        let messages: Vec<_> = table.iter().map(|problem| problem.message.as_str()).collect();
        let many = "10 records: the prompt has 9 tokens (also on lines 4, 5, 6, 7, …)";
        assert_eq!(messages, [many, "empty"]);
        assert_eq!(counts.problems.len(), 11);
    }
}
