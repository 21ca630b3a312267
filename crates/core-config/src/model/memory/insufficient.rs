//! The refusal of a run that does not fit into memory.

use super::{MemoryEstimate, Reduction};
use crate::{Problem, ProblemKind, Suggestion, plan::AvailableMemory};

/// Parts that are named; the rest is summed up.
const NAMED_PARTS: usize = 4;

/// The problem `memory.insufficient`: what is needed by part, what is free, and what would lower the need.
///
/// `None` when it fits, or when it is not known what is free.
pub fn insufficient(
    estimate: &MemoryEstimate,
    available: &AvailableMemory,
    reductions: &[Reduction],
) -> Option<Problem> {
    let (needed, free) = (estimate.peak_bytes(), available.bytes?);
    if needed <= free {
        return None;
    }
    let message = format!(
        "training needs about {} of memory at its peak, and {} has {} free; {}",
        bytes_in_words(needed),
        available.limited_by,
        bytes_in_words(free),
        largest_parts(estimate),
    );
    let problem = Problem::new(ProblemKind::Unsupported, "memory.insufficient", message);
    let all_the_same = Suggestion::new("train all the same", "start_training").with("memory_check", false);
    Some(problem.with_hint(hint(reductions, free)).suggesting(all_the_same).at_key("training.memory_check"))
}

/// `1.23 GB`, `41.0 MB`; in units of 10^9 and 10^6 bytes.
pub fn bytes_in_words(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes >= 1e9 { format!("{:.2} GB", bytes / 1e9) } else { format!("{:.1} MB", bytes / 1e6) }
}

fn largest_parts(estimate: &MemoryEstimate) -> String {
    let mut parts: Vec<_> = estimate.parts.iter().collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.bytes));
    let (named, others) = parts.split_at(parts.len().min(NAMED_PARTS));
    let named = named.iter().map(|part| format!("{} {}", part.name, bytes_in_words(part.bytes)));
    let others = others.iter().fold(0_u64, |sum, part| sum.saturating_add(part.bytes));
    let others = (others > 0).then(|| format!("others {}", bytes_in_words(others)));
    named.chain(others).collect::<Vec<_>>().join(", ")
}

fn hint(reductions: &[Reduction], free: u64) -> String {
    let lower = reductions.iter().map(|reduction| {
        let enough = if reduction.needed_bytes <= free { "" } else { ", still too much" };
        format!("{} ({}{enough})", reduction.settings.join(" "), bytes_in_words(reduction.needed_bytes))
    });
    let lower: Vec<_> = lower.collect();
    let lower = if lower.is_empty() {
        String::from("choose a smaller base model")
    } else {
        format!("configure a run with less: {}", lower.join("; "))
    };
    format!("{lower}; or free some memory")
}
