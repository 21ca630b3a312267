//! What the demo does: its project and its run.

use std::path::Path;

use greentune_core_config::{
    Problem,
    resolve::{Argument, overrides_from_text},
    settings::ModelType,
};
use greentune_workbench::operation::{
    BaseModelConfig, ConfigureTrainingRun, GenerateFineTuningProject, TrainingData,
};

use crate::bundle::{BASE_MODEL_FOLDER, DATA_FOLDER};

/// The run's settings: enough steps to learn the task visibly in about a minute on two cores.
const SETTINGS: &[(&str, &str)] = &[
    ("training.device", "cpu"),
    ("training.max_seq_length", "128"),
    ("training.eval_steps", "90"),
    ("training.save_steps", "90"),
    ("training.stage1.iterations", "110"),
    ("training.stage1.learning_rate", "5e-3"),
    ("training.stage1.batch_size", "16"),
    ("training.stage1.warmup_steps", "10"),
    ("training.stage2.iterations", "360"),
    ("training.stage2.learning_rate", "6e-3"),
    ("training.stage2.batch_size", "8"),
    ("training.stage2.warmup_steps", "10"),
    ("training.stage2.replay_ratio", "0.15"),
    ("lora.rank", "8"),
    ("lora.alpha", "16"),
    ("lora.dropout", "0.0"),
    ("lora.target_modules", "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"),
    ("evaluation.generate_records", "16"),
];

/// The project in `folder`, with the base model that is unpacked into it.
pub fn project(folder: &Path) -> GenerateFineTuningProject {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    GenerateFineTuningProject {
        project_name: name,
        output_dir: folder.parent().unwrap_or(folder).to_owned(),
        description: Some(String::from("Health narratives from structured readings, in two stages")),
        base_model_config: BaseModelConfig::from([
            ("type", ModelType::Olmo.as_str().into()),
            ("model_id", "greentune-base".into()),
            ("local_path", BASE_MODEL_FOLDER.into()),
        ]),
        ..GenerateFineTuningProject::default()
    }
}

/// The run: general instructions first, narratives second.
pub fn run(project: &Path) -> Result<ConfigureTrainingRun, Problem> {
    let data = |name: &str| Path::new(DATA_FOLDER).join(name);
    let settings: Vec<_> = SETTINGS.iter().map(|(key, text)| Argument::new("demo", *key, *text)).collect();
    Ok(ConfigureTrainingRun {
        project_path: project.to_owned(),
        run_name: String::from("demo"),
        training_data: TrainingData {
            train_dataset: data("general_train.jsonl"),
            validation_dataset: data("general_validation.jsonl"),
            test_dataset: Some(data("narratives_test.jsonl")),
            stage2_train_dataset: Some(data("narratives_train.jsonl")),
            stage2_validation_dataset: Some(data("narratives_validation.jsonl")),
        },
        override_params: Some(overrides_from_text(&settings)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_the_demo_is_a_setting() {
        let overrides = run(Path::new("demo")).unwrap().override_params.unwrap();
        assert_eq!(overrides.len(), SETTINGS.len());
        assert_eq!(overrides["lora.target_modules"].as_array().unwrap().len(), 7);
        assert!(overrides["training.stage2.learning_rate"].is_number());
    }
}
