//! Energy and emissions of a run, with equivalents and recommendations.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use greentune_carbon::{
    aggregate::{aggregate_paths, files_of_project},
    equivalence::EquivalenceTable,
    intensity::{LiveAccess, Place, live_config},
    sci::FunctionalUnit,
    summary::{
        CleanerHours, CurrentEmissions, EmissionsSummary, RunFacts, SparseTraining, current, summarize_in,
        summarize_paths, summarize_with,
    },
};
use greentune_core_config::{
    layout::RunLayout,
    manifest::{RunManifest, StageRecord},
    quantities::sum,
    settings::Task,
};
use greentune_run_folder::{EvaluatedAt, RunView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError, out_of_memory::shape_of, reach::Access};

/// Ask for a run's emissions.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetEmissionsSummary {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run, or a path: a CodeCarbon file or folder.
    pub run_id: String,
}

/// Ask for the latest figures of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetCurrentEmissions {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run.
    pub run_id: String,
}

impl Workbench {
    /// Sums what the stages of the run left in `emissions/`.
    ///
    /// Where live figures are set up, the service is asked for its forecast too; without an answer that advice is left
    /// out.
    ///
    /// Errors: the run is unknown, or nothing was metered yet; a file is missing, or no file of emissions.
    pub async fn get_emissions_summary(&self, request: GetEmissionsSummary) -> Result<EmissionsSummary> {
        self.blocking(move |workbench| {
            let project = request.project_path.as_deref();
            if let Some(file) = workbench.emissions_path(project, &request.run_id)? {
                let factors = workbench.factors_of(project)?;
                return summarize_paths(&[file], &factors).map_err(WorkbenchError::reported);
            }
            let run = match workbench.find_run(project, &request.run_id) {
                Ok(run) => run,
                Err(unknown) => return workbench.tracked_program(project, &request.run_id).ok_or(unknown),
            };
            let seen = |view: &RunView| (view.manifest().clone(), sparse_training(view));
            let (manifest, sparse_training) = workbench.look(&run, seen)?;
            workbench.bring_files(&run, &manifest)?;
            // Its data are not read.
            workbench.check_settings_files(&manifest)?;
            let factors = factors(manifest.settings.carbon.equivalences_file.as_deref())?;
            let cleaner_hours = cleaner_hours(&manifest, &workbench.config().meter.live);
            let facts = facts(workbench, &run, &manifest, &factors)?;
            let facts = RunFacts { cleaner_hours, sparse_training, ..facts };
            summarize_with(&run, &factors, &facts).map_err(WorkbenchError::reported)
        })
        .await
    }

    /// The row of the stage that was metered last, and the run so far.
    ///
    /// Errors: the run is unknown, or nothing was metered yet.
    pub async fn get_current_emissions(&self, request: GetCurrentEmissions) -> Result<CurrentEmissions> {
        self.blocking(move |workbench| {
            let run = workbench.find_run(request.project_path.as_deref(), &request.run_id)?;
            current(&run).map_err(WorkbenchError::reported)
        })
        .await
    }
}

impl Workbench {
    /// The path that `run_or_path` is: what has a separator or ends in `.csv`.
    ///
    /// Errors: it lies outside the allowed roots.
    pub(crate) fn emissions_path(
        &self,
        project: Option<&Path>,
        run_or_path: &str,
    ) -> Result<Option<PathBuf>> {
        let path = Path::new(run_or_path);
        let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        if !is_csv && path.components().count() < 2 {
            return Ok(None);
        }
        self.allowed(project, path, Access::Read).map(Some)
    }

    /// The factors that the settings of the project name, if there is one.
    pub(crate) fn factors_of(&self, project: Option<&Path>) -> Result<EquivalenceTable> {
        let project = project.map(|project| self.open_project(project)).transpose()?;
        let settings = self.resolve_settings(project.as_ref(), None)?.settings;
        factors(settings.carbon.equivalences_file.as_deref())
    }

    /// A program that `track_emissions` metered in the project, by the id of its row.
    fn tracked_program(&self, project: Option<&Path>, id: &str) -> Option<EmissionsSummary> {
        let project = self.open_project(project?).ok()?;
        let factors = self.factors_of(Some(project.root())).ok()?;
        summarize_in(&project, id, &factors).ok()
    }
}

/// The factors of the file that the settings name, else the built-in ones.
pub(crate) fn factors(file: Option<&Path>) -> Result<EquivalenceTable> {
    file.map_or_else(|| Ok(EquivalenceTable::default()), EquivalenceTable::read)
        .map_err(WorkbenchError::reported)
}

/// When a run of the same length would emit least from now on; `None` where no service is configured.
fn cleaner_hours(manifest: &RunManifest, access: &LiveAccess) -> Option<CleanerHours> {
    let carbon = &manifest.settings.carbon;
    let config = live_config(carbon, access)?;
    let stages = manifest.stages.iter().filter_map(|stage| stage.emissions.as_ref());
    let seconds = sum(stages.map(|stage| stage.duration_seconds));
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    CleanerHours::fetch(&Place::from(carbon), &config, duration).ok().flatten()
}

/// What the run's events say beside its emissions.
fn facts(
    workbench: &Workbench,
    run: &RunLayout,
    manifest: &RunManifest,
    factors: &EquivalenceTable,
) -> Result<RunFacts> {
    let (tokens, steps_after_best_validation) = workbench
        .series_of(run, |series| (series.tokens(), after_best_validation(manifest, series.evaluations())))?;
    let all_runs =
        aggregate_paths(&files_of_project(run.project()), factors).map_err(WorkbenchError::reported)?;
    let base = &manifest.base_model_path;
    let may_be_read = workbench.check_base_folder(base).is_ok();
    Ok(RunFacts {
        parameters: may_be_read.then(|| shape_of(base)).flatten().map(|shape| shape.parameters()),
        steps_after_best_validation,
        functional_unit: (tokens > 0).then(|| FunctionalUnit {
            count: tokens as f64 / 1e6,
            unit: String::from("million tokens trained"),
        }),
        all_runs: Some(all_runs),
        ..RunFacts::default()
    })
}

/// Adaptive sparse training by the run's settings, for a run that trained on all samples. `None` if it selected, or if
/// it made fewer than two passes: in a first pass there are no scores.
fn sparse_training(run: &RunView) -> Option<SparseTraining> {
    let settings = &run.manifest().settings;
    let passes = match settings.task() {
        Task::ImageClassification => settings.vision.epochs as f64,
        Task::LanguageModel => {
            let passes = |stage: &StageRecord| {
                let records = run.train_records(stage.stage)?.max(1);
                Some(run.samples_of(stage)?.candidates as f64 / records as f64)
            };
            run.manifest().stages.iter().map(passes).sum::<Option<f64>>()?
        }
    };
    let sparse = SparseTraining {
        rate: settings.ast.target_activation_rate,
        passes,
        warm_up: settings.warmup_epochs() as f64,
    };
    (!settings.ast.enabled && passes >= 2.0).then_some(sparse)
}

/// Steps of all stages from the best evaluation to the last one, and steps in all. Steps after the last evaluation are
/// not counted, because they may have been better still.
fn after_best_validation(manifest: &RunManifest, evaluations: &[EvaluatedAt]) -> Option<(u64, u64)> {
    if manifest.settings.task() == Task::ImageClassification {
        return epochs_after_best_validation(manifest);
    }
    let (mut after, mut all) = (0, 0);
    for stage in &manifest.stages {
        let mut evaluated = evaluations.iter().filter(|evaluated| evaluated.stage == stage.stage);
        let best = evaluated.clone().min_by(|a, b| a.validation_loss.total_cmp(&b.validation_loss))?;
        let last = evaluated.next_back()?;
        after += last.step.saturating_sub(best.step);
        all += stage.steps_done;
    }
    Some((after, all))
}

/// The same of an image classifier, whose stages are one training.
fn epochs_after_best_validation(manifest: &RunManifest) -> Option<(u64, u64)> {
    let (mut done, mut best) = (0, None);
    for stage in &manifest.stages {
        for epoch in &stage.epochs {
            let (step, loss) = (done + epoch.step, epoch.validation_loss);
            if best.is_none_or(|(_, least)| loss < least) {
                best = Some((step, loss));
            }
        }
        done += stage.steps_done;
    }
    best.map(|(step, _)| (done.saturating_sub(step), done))
}
