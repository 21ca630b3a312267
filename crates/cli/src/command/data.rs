//! `greentune data`: prepares data and looks at it.

mod inspect;
mod prepare;

use clap::Subcommand;
use greentune_core_config::{
    quantities::{count, counted},
    task::DatasetCounts,
};

use crate::{failure::Failure, session::Session};

/// Commands of `data`.
#[derive(Debug, Subcommand)]
pub enum Data {
    /// Split records for training, validation and test, without duplicates, and report on their quality
    Prepare(prepare::Prepare),
    /// Show what the model will see: template, labelled part, token counts
    Inspect(inspect::Inspect),
}

impl Data {
    pub(super) fn operation(&self) -> &'static str {
        match self {
            Self::Prepare(_) => "prepare_dataset",
            Self::Inspect(_) => "inspect_dataset",
        }
    }

    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Prepare(prepare) => prepare.run(session).await,
            Self::Inspect(inspect) => inspect.run(session).await,
        }
    }
}

/// What was read, kept and dropped.
fn records(counts: &DatasetCounts) -> String {
    let dropped = [
        (counts.broken_lines, "broken lines"),
        (counts.missing_field, "without a field"),
        (counts.empty_response, "with an empty response"),
        (counts.nothing_to_learn, "with nothing to learn"),
        (counts.unsupported_part, "with a part that is no text"),
        (counts.unknown_role, "with an unknown role"),
        (counts.ends_with_user, "without an answer at the end"),
        (counts.template_failed, "refused by the template"),
        (counts.too_long, "too long for a response"),
        (counts.given_up, "given up for their work"),
    ];
    let truncated = match counts.truncated {
        0 => String::new(),
        number => format!(" ({} of them truncated)", count(number)),
    };
    let dropped = dropped.into_iter().filter(|(number, _)| *number > 0);
    let dropped = dropped.map(|(number, why)| format!(", {} dropped: {why}", count(number)));
    let unlearnt = match counts.unlearnt_answers {
        0 => String::new(),
        number => format!("; {} read and not learnt", counted(number, "earlier answer")),
    };
    format!(
        "{} read, {} kept{truncated}{}{unlearnt}",
        count(counts.read),
        count(counts.kept),
        dropped.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_dropped_is_mentioned() {
        let counts =
            DatasetCounts { read: 1220, kept: 1217, broken_lines: 1, too_long: 2, ..Default::default() };
        assert_eq!(
            records(&counts),
            "1,220 read, 1,217 kept, 1 dropped: broken lines, 2 dropped: too long for a response"
        );
        let fine = DatasetCounts { read: 3, kept: 3, ..Default::default() };
        assert_eq!(records(&fine), "3 read, 3 kept");
        let rewritten = DatasetCounts { unlearnt_answers: 2, ..fine };
        assert_eq!(records(&rewritten), "3 read, 3 kept; 2 earlier answers read and not learnt");
    }
}
