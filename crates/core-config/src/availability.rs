//! Settings that are possible and whose engine comes later: accepted when read, refused when used.

use crate::{
    Problem, ProblemKind,
    settings::{DatasetFormat, Precision, Quantization, Settings},
};

/// What `settings` ask for that is not available yet, each with what works now.
///
/// Each is of kind [`ProblemKind::Unsupported`] and has the code `config.not_available_yet`.
pub fn unavailable(settings: &Settings) -> Vec<Problem> {
    let Settings { base_model, training, dataset, ast, carbon, mlflow, wandb, huggingface, .. } = settings;
    let mut problems = Vec::new();
    let mut refuse = |is_asked: bool, key: &str, found: &str, instead: &str| {
        if is_asked {
            problems.push(not_yet(key, found, instead));
        }
    };
    refuse(
        base_model.quantization != Quantization::None,
        "base_model.quantization",
        base_model.quantization.as_str(),
        "set base_model.quantization = \"none\"",
    );
    refuse(
        training.gradient_checkpointing,
        "training.gradient_checkpointing",
        "true",
        "set training.gradient_checkpointing = false; a smaller training.stage1.batch_size with more \
         gradient_accumulation saves memory too",
    );
    refuse(training.packing, "training.packing", "true", "set training.packing = false");
    refuse(
        training.precision != Precision::F32,
        "training.precision",
        training.precision.as_str(),
        "set training.precision = \"f32\"",
    );
    refuse(
        dataset.format != DatasetFormat::Jsonl,
        "dataset.format",
        dataset.format.as_str(),
        "convert the data to one JSON object per line and set dataset.format = \"jsonl\"",
    );
    refuse(ast.enabled, "ast.enabled", "true", "set ast.enabled = false; every sample is trained on");
    refuse(
        carbon.emissions_endpoint.is_some(),
        "carbon.emissions_endpoint",
        "a service for live carbon intensity",
        "leave it out; the yearly intensity of carbon.country_iso_code is used",
    );
    refuse(
        mlflow.enabled,
        "mlflow.enabled",
        "true",
        "set mlflow.enabled = false; the run's events.jsonl holds every figure",
    );
    refuse(
        wandb.project.is_some(),
        "wandb.project",
        "logging to Weights & Biases",
        "leave wandb.project out; the run's events.jsonl holds every figure",
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
        settings.training.packing = true;
        let problems = unavailable(&settings);
        insta::assert_snapshot!(problems[0], @"training.packing: true is not available yet; what works now: set training.packing = false");
        assert_eq!(
            (problems[0].kind, problems[0].code.as_str()),
            (ProblemKind::Unsupported, "config.not_available_yet")
        );
    }

    #[test]
    fn everything_that_is_missing_is_named_with_what_works() {
        let mut settings = Settings::default();
        settings.base_model.quantization = Quantization::Q4;
        settings.training.gradient_checkpointing = true;
        settings.training.packing = true;
        settings.training.precision = Precision::Bf16;
        settings.dataset.format = DatasetFormat::Parquet;
        settings.ast.enabled = true;
        settings.carbon.emissions_endpoint = Some(String::from("https://user:secret@example.org"));
        settings.mlflow.enabled = true;
        settings.wandb.project = Some(String::from("adapters"));
        settings.huggingface.enabled = true;
        let lines: Vec<_> = unavailable(&settings).iter().map(Problem::to_string).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        base_model.quantization: q4 is not available yet; what works now: set base_model.quantization = "none"
        training.gradient_checkpointing: true is not available yet; what works now: set training.gradient_checkpointing = false; a smaller training.stage1.batch_size with more gradient_accumulation saves memory too
        training.packing: true is not available yet; what works now: set training.packing = false
        training.precision: bf16 is not available yet; what works now: set training.precision = "f32"
        dataset.format: parquet is not available yet; what works now: convert the data to one JSON object per line and set dataset.format = "jsonl"
        ast.enabled: true is not available yet; what works now: set ast.enabled = false; every sample is trained on
        carbon.emissions_endpoint: a service for live carbon intensity is not available yet; what works now: leave it out; the yearly intensity of carbon.country_iso_code is used
        mlflow.enabled: true is not available yet; what works now: set mlflow.enabled = false; the run's events.jsonl holds every figure
        wandb.project: logging to Weights & Biases is not available yet; what works now: leave wandb.project out; the run's events.jsonl holds every figure
        huggingface.enabled: true is not available yet; what works now: set huggingface.enabled = false; export writes the Hub's layout to a folder
        "#);
    }
}
