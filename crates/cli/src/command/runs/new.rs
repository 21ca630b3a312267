//! `greentune runs new`: configures a run.

use std::path::{Path, PathBuf};

use clap::Args;
use greentune_core_config::quantities::{counted, number};
use greentune_workbench::operation::{
    ConfigurationSummary, ConfigureTrainingRun, ConfigureTrainingRunResponse, TrainingData,
};

use crate::{failure::Failure, output::Paint, progress::Transfers, session::Session};

/// Arguments of `runs new`.
#[derive(Args, Debug)]
pub struct NewRun {
    /// Name of the run: letters, digits, `.`, `_` and `-`
    #[arg(long)]
    name: String,
    /// Training records
    #[arg(long, value_name = "FILE")]
    train: PathBuf,
    /// Validation records
    #[arg(long, value_name = "FILE")]
    validation: PathBuf,
    /// Test records
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// Training records of stage 2 [default: those of --train]
    #[arg(long, value_name = "FILE")]
    stage2_train: Option<PathBuf>,
    /// Validation records of stage 2 [default: those of --validation]
    #[arg(long, value_name = "FILE")]
    stage2_validation: Option<PathBuf>,
    /// Override a setting for this run only, such as lora.rank=16
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl NewRun {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let optional = |path: Option<PathBuf>| path.map(|path| session.input(&path)).transpose();
        let request = ConfigureTrainingRun {
            project_path: session.project_or_here(),
            run_name: self.name,
            training_data: TrainingData {
                train_dataset: session.input(&self.train)?,
                validation_dataset: session.input(&self.validation)?,
                test_dataset: optional(self.test)?,
                stage2_train_dataset: optional(self.stage2_train)?,
                stage2_validation_dataset: optional(self.stage2_validation)?,
            },
            override_params: None,
        };
        let (transfers, workbench) = Transfers::of(&session.workbench_with(&self.set)?, session.output);
        let response = transfers.during(workbench.configure_training_run(request)).await?;
        session.output.answer(&response, |paint| page(&response, paint))
    }
}

fn page(response: &ConfigureTrainingRunResponse, paint: Paint) -> String {
    let summary = &response.configuration_summary;
    let ConfigurationSummary { base_model, architecture, frozen_weights, adapters, device, .. } = summary;
    let mut lines = vec![
        format!("configured the run {}", paint.heading(&response.run_id)),
        format!("  base model  {} ({architecture}, weights kept as {frozen_weights})", base_model.display()),
        format!("  adapters    {adapters} on {}", summary.target_modules.join(", ")),
        format!("  device      {device}"),
    ];
    let from_hub = summary.model_id.as_ref().zip(summary.commit.as_ref());
    lines.extend(from_hub.map(|(id, commit)| format!("  from hub    {id} at {commit}")));
    lines.extend(summary.stages.iter().map(|stage| {
        format!(
            "  stage {}     {} of {} from {}, learning rate {}",
            stage.stage,
            counted(stage.iterations, "step"),
            counted(stage.records_per_step, "record"),
            file_name(&stage.train_dataset),
            number(stage.learning_rate),
        )
    }));
    lines.extend(summary.selection.iter().map(|selection| format!("  trains on   {selection}")));
    lines.extend(summary.warnings.iter().map(|warning| paint.doubtful(format!("warning: {warning}"))));
    lines.push(format!("next: greentune train {0}, or greentune runs plan {0} first", response.run_id));
    lines.join("\n")
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
