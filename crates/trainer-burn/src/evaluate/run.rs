//! A finished stage of a run, evaluated on other data.

use burn::tensor::backend::AutodiffBackend;
use greentune_core_config::{
    evaluation::{EvaluatedModel, EvaluationReport, RecordOutputs, side_by_side},
    layout::RunLayout,
    manifest::RunManifest,
    task::EvaluateTask,
};
use greentune_text_data::{DataError, Dataset, Questions};

use super::{Plan, choices};
use crate::{error::TrainError, model::Adapters, ops::Ops, training};

/// The stage's report on the task's data set, and the base model's beside it, with all that they wrote.
pub(crate) fn of_run<A>(
    task: &EvaluateTask,
    manifest: &RunManifest,
    layout: &RunLayout,
    device: &A::Device,
) -> Result<(Vec<EvaluationReport>, Vec<RecordOutputs>), TrainError>
where
    A: AutodiffBackend<InnerBackend: Ops>,
{
    let settings = &manifest.settings;
    let (encoder, decoder) =
        training::open::<A>(&manifest.base_model_path, settings, manifest.created_at, device)?;
    let adapters = Adapters::<A::InnerBackend>::load(&layout.adapters(task.stage), &decoder, device)?;
    let stage = (EvaluatedModel::Stage(task.stage), Some(&adapters));
    let models = [stage].into_iter().chain(task.with_base.then_some((EvaluatedModel::Base, None)));
    if let Some(questions) = Questions::load(&task.dataset, settings)? {
        let form = encoder.choice_form(task.chat_template, settings.dataset.schema)?;
        let report = |(model, adapters)| {
            choices::report(&encoder, &decoder, adapters, (&questions, form), model, "test")
        };
        return Ok((models.map(report).collect::<Result<_, _>>()?, Vec::new()));
    }
    if task.chat_template.is_some() {
        return Err(DataError::NoChoices { path: task.dataset.clone() }.into());
    }
    let dataset = Dataset::load(
        &task.dataset,
        settings,
        &encoder,
        // Several evaluations of a run may be under way.
        &layout.evaluation(task.stage).join(format!("evaluated-{}.examples", std::process::id())),
    )?;
    let plan =
        Plan { encoder: &encoder, generate_records: task.generate_records, settings: &settings.evaluation };
    let report = |(model, adapters)| plan.report(&decoder, adapters, &dataset, model, "test");
    let evaluated: Vec<_> = models.map(report).collect::<Result<_, _>>()?;
    let outputs = side_by_side(evaluated.iter().map(|one| (one.report.model, one.generated.as_slice())));
    Ok((evaluated.into_iter().map(|one| one.report).collect(), outputs))
}
