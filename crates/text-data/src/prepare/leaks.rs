//! What validation and test have in common with training.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use greentune_core_config::preparation::{Leak, LeakReport};

use super::{Entry, split::SPLITS};

/// Leaks that are named in full; the rest are counted.
const EXAMPLES: usize = 10;

/// Looks for every record outside training what it shares with one in training.
pub(super) fn find(entries: &[Entry], splits: &[usize], files: &[PathBuf]) -> LeakReport {
    let train =
        Training::of(entries.iter().zip(splits).filter(|(_, split)| **split == 0).map(|(entry, _)| entry));
    let mut report = LeakReport::default();
    for (entry, split) in entries.iter().zip(splits).filter(|(_, split)| **split != 0) {
        let Some((kind, other)) = train.like(entry) else { continue };
        *match kind {
            "same_record" => &mut report.same_record,
            "same_prompt" => &mut report.same_prompt,
            _ => &mut report.near_duplicate,
        } += 1;
        if report.examples.len() < EXAMPLES {
            report.examples.push(Leak {
                kind: kind.to_owned(),
                split: SPLITS[*split].to_owned(),
                record: place(entry, files),
                train_record: place(other, files),
            });
        }
    }
    report
}

/// The training records by what they could share.
#[derive(Default)]
struct Training<'a> {
    contents: HashMap<u128, &'a Entry>,
    prompts: HashMap<u128, &'a Entry>,
    /// One record per band, which keeps this small; another of the same band is nearly the same anyway.
    bands: HashMap<u64, &'a Entry>,
}

impl<'a> Training<'a> {
    fn of(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut training = Self::default();
        for entry in entries {
            training.contents.entry(entry.fingerprint.content).or_insert(entry);
            if let Some(prompt) = entry.fingerprint.prompt {
                training.prompts.entry(prompt).or_insert(entry);
            }
            for band in entry.fingerprint.bands() {
                training.bands.entry(band).or_insert(entry);
            }
        }
        training
    }

    fn like(&self, entry: &Entry) -> Option<(&'static str, &'a Entry)> {
        let fingerprint = &entry.fingerprint;
        if let Some(other) = self.contents.get(&fingerprint.content) {
            return Some(("same_record", other));
        }
        if let Some(other) = fingerprint.prompt.and_then(|prompt| self.prompts.get(&prompt)) {
            return Some(("same_prompt", other));
        }
        let near = |band| self.bands.get(&band).filter(|other| fingerprint.is_near(&other.fingerprint));
        fingerprint.bands().find_map(near).map(|other| ("near_duplicate", *other))
    }
}

fn place(entry: &Entry, files: &[PathBuf]) -> String {
    let file = files.get(entry.file).map_or(Path::new(""), PathBuf::as_path);
    format!("{}:{}", file.display(), entry.line)
}
