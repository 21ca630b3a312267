//! The quality report for people.

use std::fmt::Write as _;

use greentune_core_config::preparation::{DatasetPreparation, Histogram, PreparedSplit};

use super::histogram::short;
use crate::error::describe;

/// The report as Markdown, with the pictures beside it.
pub(super) fn markdown(preparation: &DatasetPreparation, name: &str) -> String {
    let mut page = format!("# Quality of {}\n\n", escaped(name));
    let files: Vec<_> = preparation.datasets.iter().map(|path| format!("`{}`", path.display())).collect();
    let duplicates = match (preparation.duplicates, preparation.deduplicated) {
        (0, _) => "None repeats an earlier one".to_owned(),
        (number, true) => format!("{number} repeat an earlier one and are left out"),
        (number, false) => format!("{number} repeat an earlier one and are kept"),
    };
    let _ = writeln!(
        page,
        "Records as {} from {}: {}. {duplicates}.\n",
        preparation.schema,
        files.join(", "),
        describe(&preparation.counts),
    );
    warnings(&mut page, preparation);
    splits(&mut page, preparation);
    leaks(&mut page, preparation);
    page += "## Distributions\n\n| | least | median | 95th percentile | most |\n|---|--:|--:|--:|--:|\n";
    let histograms = [
        ("tokens per record", Some(&preparation.tokens).filter(|_| preparation.tokens_counted)),
        ("share that is learnt", Some(&preparation.label_share).filter(|_| preparation.tokens_counted)),
        ("quality", preparation.quality.as_ref()),
    ];
    for (what, histogram) in histograms {
        if let Some(Histogram { least, median, p95, most, .. }) = histogram {
            let [least, median, p95, most] = [least, median, p95, most].map(|value| short(*value));
            let _ = writeln!(page, "| {what} | {least} | {median} | {p95} | {most} |");
        }
    }
    page.push('\n');
    if preparation.tokens_counted {
        let _ = writeln!(
            page,
            "![Tokens per record](<{name}-tokens.svg>)\n![Share that is learnt](<{name}-labels.svg>)"
        );
    }
    if preparation.quality.is_some() {
        let _ = writeln!(page, "![Quality](<{name}-quality.svg>)");
    }
    words(&mut page, preparation);
    problems(&mut page, preparation);
    page
}

fn warnings(page: &mut String, preparation: &DatasetPreparation) {
    for warning in &preparation.warnings {
        let _ = writeln!(page, "- **Look at this:** {warning}.");
    }
    if !preparation.warnings.is_empty() {
        page.push('\n');
    }
}

fn splits(page: &mut String, preparation: &DatasetPreparation) {
    let _ = writeln!(
        page,
        "## Splits\n\nBy the hash of each record and the seed {}, in the same shares for records of high quality.\n\n\
         | split | records | of high quality | their share of draws | tokens | learnt |\n|---|--:|--:|--:|--:|--:|",
        preparation.seed
    );
    for PreparedSplit {
        name,
        records,
        high_quality_records,
        high_quality_draws,
        tokens,
        labelled_tokens,
        ..
    } in &preparation.splits
    {
        let draws = high_quality_draws * 100.0;
        let _ = writeln!(
            page,
            "| {name} | {records} | {high_quality_records} | {draws:.0} % | {tokens} | {labelled_tokens} |"
        );
    }
}

fn leaks(page: &mut String, preparation: &DatasetPreparation) {
    let leaks = &preparation.leaks;
    let _ = writeln!(
        page,
        "\n## Leaks into validation and test\n\n| | records |\n|---|--:|\n| also training records | {} |\n\
         | same prompt as a training record | {} |\n| near duplicate of a training record (estimated) | {} |\n",
        leaks.same_record, leaks.same_prompt, leaks.near_duplicate
    );
    for leak in &leaks.examples {
        let _ = writeln!(
            page,
            "- {}, {}: `{}` and `{}`",
            leak.split,
            leak.kind.replace('_', " "),
            leak.record,
            leak.train_record
        );
    }
    if !leaks.examples.is_empty() {
        page.push('\n');
    }
}

fn words(page: &mut String, preparation: &DatasetPreparation) {
    if preparation.quality_words.is_empty() {
        return;
    }
    page.push_str("\n| quality | records |\n|---|--:|\n");
    for count in &preparation.quality_words {
        let _ = writeln!(page, "| {} | {} |", escaped(&count.word), count.records);
    }
}

fn problems(page: &mut String, preparation: &DatasetPreparation) {
    if preparation.counts.problems.is_empty() {
        return;
    }
    page.push_str("\n## Records that cannot be used\n\n");
    for problem in preparation.counts.table() {
        let _ = writeln!(page, "- {}", escaped(&problem.to_string()));
    }
}

/// Text of the data as text: on one line, and none of it markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            '\n' | '\r' => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}
