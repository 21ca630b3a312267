//! What a worker does besides training.

use std::path::Path;

use greentune_core_config::{
    Diagnostic, Problem, ProblemKind,
    layout::RunLayout,
    manifest::RunManifest,
    settings::Task,
    task::{WorkerAnswer, WorkerTask},
};

use crate::{backend, error::TrainError};

/// Does a task; problems are answers too.
pub fn answer(task: &WorkerTask) -> WorkerAnswer {
    let failed = |problem: Problem| WorkerAnswer::Failed { problem };
    match task {
        WorkerTask::ProbeDevices => WorkerAnswer::Devices { devices: backend::devices() },
        WorkerTask::Inspect(task) => match greentune_text_data::inspect(task) {
            Ok(inspection) => WorkerAnswer::Inspected(inspection),
            Err(error) => failed(error.problem()),
        },
        WorkerTask::Prepare(task) => match greentune_text_data::prepare(task) {
            Ok(preparation) => WorkerAnswer::Prepared(Box::new(preparation)),
            Err(error) => failed(error.problem()),
        },
        WorkerTask::Plan(task) => {
            let planned = read_run(&task.run_folder).and_then(|(manifest, layout)| {
                backend::plan(task, &manifest, &layout).map_err(|error| error.problem())
            });
            planned.map_or_else(failed, |findings| WorkerAnswer::Planned(Box::new(findings)))
        }
        WorkerTask::Evaluate(task) => {
            let evaluated = read_run(&task.run_folder).and_then(|(manifest, layout)| {
                let answer = match manifest.settings.task() {
                    Task::LanguageModel => backend::evaluate(task, &manifest, &layout)
                        .map(|reports| WorkerAnswer::Evaluated { reports }),
                    Task::ImageClassification => backend::classify(task, &manifest, &layout)
                        .map(|report| WorkerAnswer::Classified { report: Box::new(report) }),
                };
                answer.map_err(|error| error.problem())
            });
            evaluated.unwrap_or_else(failed)
        }
    }
}

fn read_run(folder: &Path) -> Result<(RunManifest, RunLayout), Problem> {
    let invalid = |message: String| Problem::new(ProblemKind::InvalidInput, "run.manifest_invalid", message);
    let layout = RunLayout::at(folder)
        .ok_or_else(|| invalid(format!("{} is not a run's folder", folder.display())))?;
    let path = layout.manifest();
    let text = std::fs::read_to_string(&path).map_err(|error| TrainError::io(&path)(error).problem())?;
    let manifest =
        serde_json::from_str(&text).map_err(|error| invalid(format!("{}: {error}", path.display())))?;
    Ok((manifest, layout))
}
