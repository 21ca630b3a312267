//! What a worker does besides training.

use std::path::Path;

use burn::tensor::backend::AutodiffBackend;
use greentune_core_config::{
    Diagnostic, Problem, ProblemKind,
    evaluation::{EvaluatedModel, EvaluationReport},
    layout::RunLayout,
    manifest::RunManifest,
    settings::Task,
    task::{EvaluateTask, WorkerAnswer, WorkerTask},
};
use greentune_text_data::Dataset;

use crate::{backend, error::TrainError, evaluate::Plan, model::Adapters, ops::Ops, training};

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

/// The stage's report on the task's data set, and the base model's beside it.
pub(crate) fn evaluate<A>(
    task: &EvaluateTask,
    manifest: &RunManifest,
    layout: &RunLayout,
    device: &A::Device,
) -> Result<Vec<EvaluationReport>, TrainError>
where
    A: AutodiffBackend<InnerBackend: Ops>,
{
    let settings = &manifest.settings;
    let (encoder, decoder) =
        training::open::<A>(&manifest.base_model_path, settings, manifest.created_at, device)?;
    let adapters = Adapters::<A::InnerBackend>::load(&layout.adapters(task.stage), &decoder, device)?;
    let dataset = Dataset::load(
        &task.dataset,
        settings,
        &encoder,
        // Several evaluations of a run may be under way.
        &layout.evaluation(task.stage).join(format!("evaluated-{}.examples", std::process::id())),
    )?;
    let plan = Plan { encoder: &encoder, generate_records: task.generate_records };
    let stage = EvaluatedModel::Stage(task.stage);
    let mut reports = vec![plan.report(&decoder, Some(&adapters), &dataset, stage, "test")?];
    if task.with_base {
        reports.push(plan.report(&decoder, None, &dataset, EvaluatedModel::Base, "test")?);
    }
    Ok(reports)
}
