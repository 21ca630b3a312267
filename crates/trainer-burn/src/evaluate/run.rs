//! A finished stage of a run, evaluated on other data.

use burn::tensor::backend::AutodiffBackend;
use greentune_core_config::{
    evaluation::{EvaluatedModel, EvaluationReport},
    layout::RunLayout,
    manifest::RunManifest,
    task::EvaluateTask,
};
use greentune_text_data::Dataset;

use super::Plan;
use crate::{error::TrainError, model::Adapters, ops::Ops, training};

/// The stage's report on the task's data set, and the base model's beside it.
pub(crate) fn of_run<A>(
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
