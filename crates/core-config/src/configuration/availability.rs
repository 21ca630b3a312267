//! Settings whose engine does not exist yet: they are accepted when read and refused when used.

use crate::{
    Problem, ProblemKind,
    settings::{Settings, Task},
};

/// What `settings` ask for that is not available yet, each with what works now.
///
/// Each is of kind [`ProblemKind::Unsupported`] and has the code `config.not_available_yet`.
pub fn unavailable(settings: &Settings) -> Vec<Problem> {
    let Settings { ast, huggingface, training, .. } = settings;
    let mut problems = Vec::new();
    let mut refuse = |is_asked: bool, key: &str, found: &str, instead: &str| {
        if is_asked {
            problems.push(not_yet(key, found, instead));
        }
    };
    let is_language_model = settings.task() == Task::LanguageModel;
    refuse(
        ast.enabled && is_language_model && training.packing,
        "training.packing",
        "true with ast.enabled",
        "set training.packing = false: records are selected one by one, and batches are never padded",
    );
    refuse(
        huggingface.enabled,
        "huggingface.enabled",
        "true",
        "set huggingface.enabled = false; export writes the Hub's layout to a folder",
    );
    problems
}

fn not_yet(key: &str, found: &str, instead: &str) -> Problem {
    let message = format!("{found} is not available yet; what works now: {instead}");
    Problem::new(ProblemKind::Unsupported, "config.not_available_yet", message).at_key(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_ask_for_nothing_that_is_missing() {
        assert_eq!(unavailable(&Settings::default()), []);
    }

    #[test]
    fn a_single_refusal_is_unsupported_at_its_key() {
        let mut settings = Settings::default();
        settings.base_model.model_id = String::from("allenai/OLMo-2-0425-1B");
        assert_eq!(unavailable(&settings), [], "a model of the Hub is downloaded");
        settings.huggingface.enabled = true;
        let problems = unavailable(&settings);
        insta::assert_snapshot!(problems[0], @"huggingface.enabled: true is not available yet; what works now: set huggingface.enabled = false; export writes the Hub's layout to a folder");
        assert_eq!(
            (problems[0].kind, problems[0].code.as_str()),
            (ProblemKind::Unsupported, "config.not_available_yet")
        );
    }

    #[test]
    fn both_tasks_train_on_selected_samples() {
        let mut settings = Settings::default();
        settings.ast.enabled = true;
        assert_eq!(unavailable(&settings), []);
        settings.vision.model = Some(String::from("resnet18"));
        settings.training.packing = true;
        assert_eq!(unavailable(&settings), [], "packing is not for images");
    }

    #[test]
    fn everything_that_is_missing_is_named_with_what_works() {
        let mut settings = Settings::default();
        settings.ast.enabled = true;
        settings.training.packing = true;
        settings.huggingface.enabled = true;
        let lines: Vec<_> = unavailable(&settings).iter().map(Problem::to_string).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        training.packing: true with ast.enabled is not available yet; what works now: set training.packing = false: records are selected one by one, and batches are never padded
        huggingface.enabled: true is not available yet; what works now: set huggingface.enabled = false; export writes the Hub's layout to a folder
        "#);
    }
}
