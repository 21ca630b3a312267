//! The rules between settings, each of which is possible on its own.

use super::{Source, reading::Reading};
use crate::{
    Problem, ProblemKind,
    settings::{AstUnit, Settings, Task},
};

/// Problems between settings that are each valid by themselves.
pub(super) fn relations(settings: &Settings, reading: &Reading) -> Vec<Problem> {
    let training = &settings.training;
    let mut problems = Vec::new();
    for stage in [1, 2] {
        let section = format!("training.stage{stage}");
        let values = training.stage(stage);
        let keys = [format!("{section}.warmup_steps"), format!("{section}.iterations")];
        if !warms_up_in_time(values.warmup_steps, values.iterations) {
            let message = format!(
                "found warmup_steps {} with iterations {}; allowed: warmup_steps of 0, or fewer than iterations",
                values.warmup_steps, values.iterations
            );
            problems.extend(relation(reading, &keys, &message));
        }
    }
    if settings.task() == Task::ImageClassification && settings.ast.unit == AstUnit::Token {
        let keys = ["ast.unit", "vision.model"].map(String::from);
        let message = "found unit token with an image classifier; allowed: sample";
        problems.extend(relation(reading, &keys, message));
    }
    let (warmup, epochs) = (settings.warmup_epochs(), settings.vision.epochs);
    if settings.task() == Task::ImageClassification && warmup > 0 && warmup >= epochs {
        let keys = ["ast.warmup_epochs", "vision.epochs"].map(String::from);
        let message = format!(
            "found warmup_epochs {warmup} with epochs {epochs}; allowed: warmup_epochs of 0, or fewer than epochs"
        );
        problems.extend(relation(reading, &keys, &message));
    }
    let data = &settings.dataset;
    let sum = data.train_split + data.validation_split + data.test_split;
    if (sum - 1.0).abs() > 1e-6 {
        let keys = ["train_split", "validation_split", "test_split"].map(|name| format!("dataset.{name}"));
        let message = format!(
            "found train_split {} + validation_split {} + test_split {} = {sum:.6}; allowed: shares that sum to 1",
            data.train_split, data.validation_split, data.test_split
        );
        problems.extend(relation(reading, &keys, &message));
    }
    problems
}

fn warms_up_in_time(warmup_steps: u64, iterations: u64) -> bool {
    warmup_steps == 0 || warmup_steps < iterations
}

/// Lowers default warm-ups to a tenth of a stage's steps, as they are of the default number of steps. Returns the keys
/// that were lowered.
///
/// A user who sets few steps means to learn in them; a warm-up of the usual length would take most of them.
pub(super) fn lower_defaults(settings: &mut Settings, reading: &Reading) -> Vec<String> {
    let mut lowered = Vec::new();
    let training = &mut settings.training;
    let stages = [
        ("training.stage1.warmup_steps", &mut training.stage1.warmup_steps, training.stage1.iterations),
        ("training.stage2.warmup_steps", &mut training.stage2.warmup_steps, training.stage2.iterations),
    ];
    for (key, warmup_steps, iterations) in stages {
        let is_default = !reading.values.contains_key(key) && !reading.rejected.contains(key);
        let tenth = iterations / 10;
        if is_default && *warmup_steps > tenth {
            *warmup_steps = tenth;
            lowered.push(key.to_owned());
        }
    }
    lowered
}

/// A problem between `keys`, located at the first of them that somebody set. `None` when one of them was refused
/// itself, because its value is then not the intended one.
fn relation(reading: &Reading, keys: &[String], message: &str) -> Option<Problem> {
    if keys.iter().any(|key| reading.rejected.contains(key)) {
        return None;
    }
    let problem = Problem::new(ProblemKind::InvalidInput, "config.out_of_range", message);
    let set = keys.iter().find_map(|key| Some((key, &reading.values.get(key)?.1)));
    let (key, source) = set.unwrap_or((&keys[0], &Source::BuiltIn));
    let problem = problem.at(source.location(key));
    Some(if *key == keys[0] { problem } else { problem.with_hint(format!("set {} as well", keys[0])) })
}
