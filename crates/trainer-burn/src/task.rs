//! What a worker does besides training.

use std::path::Path;

use greentune_carbon::MeterEnvironment;
use greentune_core_config::{
    Diagnostic, Problem,
    generation::GenerationNote,
    layout::RunLayout,
    manifest::RunManifest,
    settings::Task,
    task::{WorkerAnswer, WorkerTask},
};

use crate::backend;

/// Reads the manifest of the run in a folder, and where its files are.
pub type ReadRun<'a> = &'a dyn Fn(&Path) -> Result<(RunManifest, RunLayout), Problem>;

/// Performs a task. A problem is an answer too. `read_run` reads the run that the task is about, if it is about one;
/// `surroundings` are those of a meter; `listener` hears text while it is written.
pub fn answer(
    task: &WorkerTask,
    read_run: ReadRun<'_>,
    surroundings: &MeterEnvironment,
    listener: &mut dyn FnMut(&GenerationNote),
) -> WorkerAnswer {
    let failed = |problem: Problem| WorkerAnswer::Failed { problem };
    match task {
        WorkerTask::ProbeDevices => WorkerAnswer::Devices { devices: backend::devices() },
        WorkerTask::Generate(task) => match backend::generate(task, listener) {
            Ok(texts) => WorkerAnswer::Generated { texts },
            Err(error) => failed(error.problem()),
        },
        WorkerTask::Agree(task) => WorkerAnswer::Agreed(backend::agree(task)),
        WorkerTask::Inspect(task) => match greentune_text_data::inspect(task) {
            Ok(inspection) => WorkerAnswer::Inspected(inspection),
            Err(error) => failed(error.problem()),
        },
        WorkerTask::CheckData(task) => match greentune_text_data::check(task) {
            Ok(datasets) => WorkerAnswer::DataChecked { datasets },
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
        WorkerTask::Tune(task) => {
            let tuned = read_run(&task.run_folder).and_then(|(manifest, layout)| {
                backend::tune(task, &manifest, &layout, surroundings).map_err(|error| error.problem())
            });
            tuned.map_or_else(failed, |findings| WorkerAnswer::Tuned(Box::new(findings)))
        }
        WorkerTask::Evaluate(task) => {
            let evaluated = read_run(&task.run_folder).and_then(|(manifest, layout)| {
                let answer = match manifest.settings.task() {
                    Task::LanguageModel => backend::evaluate(task, &manifest, &layout)
                        .map(|(reports, outputs)| WorkerAnswer::Evaluated { reports, outputs }),
                    Task::ImageClassification => backend::classify(task, &manifest, &layout)
                        .map(|report| WorkerAnswer::Classified { report: Box::new(report) }),
                };
                answer.map_err(|error| error.problem())
            });
            evaluated.unwrap_or_else(failed)
        }
    }
}
