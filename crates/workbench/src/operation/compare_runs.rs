//! Compares sparse with full training: what was saved, and how certain that is.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use greentune_core_config::{
    Basis, Suggestion,
    manifest::{RunManifest, RunStatus},
    platform::PlatformKind,
};
use greentune_reports::comparison::{
    Caveat, Comparison, ComparisonRow, Quantities, Quantity, Rendered, RunFigures, base_of, compare, data_of,
    differing_settings, length_of,
};
use greentune_run_folder::{LocalLiveness, manifest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Result, Workbench, WorkbenchError, command_line::command, job_store::runs_of, run::Run, run_ids::RunIds,
};

/// Compare runs of adaptive sparse training with full training.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct CompareRuns {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// The run; several are a group over seeds.
    pub ast_run_id: RunIds,
    /// What to compare with; when absent the completed twin in the project that selects no samples.
    pub baseline_run_id: Option<RunIds>,
    /// The form of `text` in the response; `table` when absent.
    pub format: Option<ComparisonFormat>,
}

/// A form of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComparisonFormat {
    /// Plain text for a terminal.
    #[default]
    Table,
    /// GitHub's Markdown.
    Markdown,
    /// A `table` environment with booktabs.
    Latex,
    /// The response itself.
    Json,
    /// A line per metric, figures in full.
    Csv,
}

/// A comparison. Savings are baseline less AST, differences of rows AST less baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CompareRunsResponse {
    /// The AST runs.
    pub ast_run_ids: Vec<String>,
    /// The runs they were compared with; empty when there is none.
    pub baseline_run_ids: Vec<String>,
    /// Accuracy of AST less that of the baseline, in `[-1, 1]`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accuracy_diff: Option<f64>,
    /// Share of the baseline's energy that was not used; never without `energy_savings_basis`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub energy_savings: Option<f64>,
    /// How the saving of energy is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(schema_with = "greentune_core_config::basis::of_saving")]
    pub energy_savings_basis: Option<Basis>,
    /// Hours that training was shorter.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub time_savings_hours: Option<f64>,
    /// Money that electricity cost less, where its price is set in USD for all runs; in another currency it is among
    /// `quantities`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cost_savings_usd: Option<f64>,
    /// What `cost_savings_usd` lacks, where it is absent: a price, its currency, or a baseline.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cost_savings_lack: Option<String>,
    /// g CO2-equivalent that were emitted less.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub emissions_avoided_g: Option<f64>,
    /// The same figures with their intervals and bases.
    pub quantities: Quantities,
    /// One row per metric.
    pub rows: Vec<ComparisonRow>,
    /// Caveats of the comparison.
    pub caveats: Vec<Caveat>,
    /// The comparison in the form that was asked for; absent for JSON, which is this response.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// As Markdown.
    pub markdown: String,
    /// As LaTeX.
    pub latex: String,
    /// As CSV.
    pub csv: String,
}

impl Workbench {
    /// Compares one run, or a group of runs over seeds, with full training.
    ///
    /// Errors: a run is unknown, named twice or not completed; runs of another task or model; a damaged file of emissions.
    pub async fn compare_runs(&self, request: CompareRuns) -> Result<CompareRunsResponse> {
        self.blocking(move |workbench| {
            let comparison = workbench.comparison(&request)?;
            response(comparison, request.format.unwrap_or_default())
        })
        .await
    }

    /// Finds, checks and compares the runs that `request` names.
    pub(crate) fn comparison(&self, request: &CompareRuns) -> Result<Comparison> {
        let read = |key, ids: &RunIds| self.completed_runs(request.project_path.as_deref(), key, ids);
        let ast = read("ast_run_id", &request.ast_run_id)?;
        let baseline = match &request.baseline_run_id {
            Some(ids) => read("baseline_run_id", ids)?,
            None => twins(&ast),
        };
        check_comparable(&ast, &baseline)?;
        let figures =
            |runs: &[Run]| runs.iter().map(RunFigures::read).collect::<greentune_reports::Result<Vec<_>>>();
        let mut comparison = compare(figures(&ast)?, figures(&baseline)?);
        if baseline.is_empty() {
            comparison.caveats.insert(0, without_other(&ast[0]));
        }
        Ok(comparison)
    }

    fn completed_runs(&self, project: Option<&Path>, key: &'static str, ids: &RunIds) -> Result<Vec<Run>> {
        if ids.is_empty() {
            return Err(WorkbenchError::InvalidValue {
                key,
                found: String::from("nothing"),
                allowed: String::from("the id of a run, or several"),
            });
        }
        ids.iter()
            .map(|id| {
                let run = self.read_run_with_files(project, id)?;
                let manifest = &run.manifest;
                let is_whole = manifest.stages.iter().all(|stage| stage.status == RunStatus::Completed);
                if manifest.status == RunStatus::Completed && is_whole && !manifest.stages.is_empty() {
                    return Ok(run);
                }
                let status = if is_whole { manifest.status } else { unfinished(manifest) };
                Err(WorkbenchError::NotCompleted { run_id: manifest.run_id.clone(), status })
            })
            .collect()
    }
}

/// The status of a run that ended before its last stage.
fn unfinished(manifest: &RunManifest) -> RunStatus {
    let stage = manifest.stages.iter().find(|stage| stage.status != RunStatus::Completed);
    stage.map_or(manifest.status, |stage| stage.status)
}

/// Refuses a run with itself, and runs of another task or model.
fn check_comparable(ast: &[Run], baseline: &[Run]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for run in ast.iter().chain(baseline) {
        if !seen.insert(run.layout.folder()) {
            return Err(WorkbenchError::CannotCompare {
                reason: format!(
                    "the run {} is named twice; a run tells nothing beside itself",
                    run.manifest.run_id
                ),
                instead: comparable_words(&ast[0]),
            });
        }
    }
    let first = &ast[0].manifest;
    for run in ast.iter().chain(baseline) {
        let other = &run.manifest;
        let what = if other.settings.task() != first.settings.task() {
            "task"
        } else if base_of(other) != base_of(first) {
            "model"
        } else {
            continue;
        };
        return Err(WorkbenchError::CannotCompare {
            reason: format!(
                "{} trains {}, {} trains {}: another {what}",
                first.run_id,
                trained(first),
                other.run_id,
                trained(other)
            ),
            instead: comparable_words(&ast[0]),
        });
    }
    Ok(())
}

fn trained(manifest: &RunManifest) -> String {
    match &manifest.settings.vision.model {
        Some(architecture) => format!("the image classifier {architecture}"),
        None => format!("the language model {}", manifest.base_model_path.display()),
    }
}

/// Runs of the project that `run` can be compared with.
fn comparable_words(run: &Run) -> String {
    let others = completed_like(run).into_iter().map(|other| other.manifest.run_id);
    let ids: Vec<_> = others.take(5).collect();
    if ids.is_empty() {
        return String::from(
            "train the same model on the same data with ast.enabled = false, and compare with that run",
        );
    }
    format!("{} can be compared with {}", run.manifest.run_id, ids.join(", "))
}

/// Completed runs of the project of `run` that train the same model, the newest first.
fn completed_like(run: &Run) -> Vec<Run> {
    let own = &run.manifest;
    let mut others: Vec<Run> = runs_of(run.layout.project())
        .into_iter()
        .filter(|layout| *layout != run.layout)
        .filter(|layout| {
            // A folder that cannot be read is no candidate.
            manifest::read(layout).is_ok_and(|other| {
                other.settings.task() == own.settings.task() && base_of(&other) == base_of(own)
            })
        })
        .filter_map(|layout| Run::read(layout, &LocalLiveness).ok())
        .filter(|other| other.manifest.status == RunStatus::Completed)
        .filter(|other| other.manifest.stages.iter().all(|stage| stage.status == RunStatus::Completed))
        .collect();
    others.sort_by_key(|other| std::cmp::Reverse((other.manifest.created_at, other.manifest.run_id.clone())));
    others
}

/// The completed twin of a run that selects samples: the same on all of them.
pub(super) fn twin_of(run: &Run) -> Option<Run> {
    let is_sparse = run.manifest.settings.ast.enabled;
    let run = Run::read(run.layout.clone(), &LocalLiveness).ok().filter(|_| is_sparse)?;
    twins(&[run]).pop()
}

/// The baselines of `ast` in their projects: for each run the one with the fewest other settings, the newest of those.
fn twins(ast: &[Run]) -> Vec<Run> {
    let mut found: Vec<Run> = Vec::new();
    for run in ast.iter().filter(|run| run.manifest.settings.ast.enabled) {
        let own = &run.manifest;
        let is_twin = |other: &RunManifest| {
            !other.settings.ast.enabled
                && other.settings.training.seed == own.settings.training.seed
                && length_of(other) == length_of(own)
                && same_data(own, other)
        };
        let twin = completed_like(run)
            .into_iter()
            .filter(|other| is_twin(&other.manifest))
            .filter(|other| ast.iter().chain(&found).all(|known| known.layout != other.layout))
            .min_by_key(|other| differing_settings(&own.settings, &other.manifest.settings));
        found.extend(twin);
    }
    found
}

fn same_data(a: &RunManifest, b: &RunManifest) -> bool {
    let data = |manifest: &RunManifest| {
        [1, 2].map(|stage| {
            let of = [manifest.data.train_of(stage), manifest.data.validation_of(stage)];
            of.map(|path| data_of(manifest, path))
        })
    };
    data(a) == data(b)
}

/// What a comparison of `run` lacks, and how to get it.
fn without_other(run: &Run) -> Caveat {
    if run.manifest.settings.ast.enabled { without_baseline(&run.manifest) } else { is_baseline(run) }
}

/// A run on all samples has no baseline: it is one.
fn is_baseline(run: &Run) -> Caveat {
    let manifest = &run.manifest;
    let id = &manifest.run_id;
    let is = format!("{id} trains on all samples, so it is the baseline of a comparison");
    let sparse = completed_like(run).into_iter().map(|other| other.manifest).find(|other| {
        other.settings.ast.enabled
            && other.settings.training.seed == manifest.settings.training.seed
            && length_of(other) == length_of(manifest)
            && same_data(other, manifest)
    });
    let message = match (sparse, &manifest.settings.vision.model) {
        (Some(sparse), _) => {
            let compare = Suggestion::new("compare", "compare_runs")
                .with("ast_run_id", sparse.run_id.as_str())
                .with("baseline_run_id", id.as_str());
            format!("{is}: `{}`", command(&compare))
        }
        (None, Some(model)) => {
            let mut train = twin(manifest, model).with("ast_config", Map::new());
            train.arguments.remove("baseline");
            format!("{is}; train a run on selected samples to compare with it: `{}`", command(&train))
        }
        (None, None) => format!("{is}; configure a run like it with ast.enabled = true, and train that"),
    };
    Caveat { code: String::from("ast.absent"), message }
}

/// How to train what is missing.
fn without_baseline(manifest: &RunManifest) -> Caveat {
    let none = "no completed run of this project has the same model, data, length and seed with ast.enabled = false, so \
                nothing is measured against full training";
    let message = match &manifest.settings.vision.model {
        Some(model) => format!("{none}; train one: `{}`", command(&twin(manifest, model))),
        None => {
            format!("{none}; configure a run like {} with ast.enabled = false and train it", manifest.run_id)
        }
    };
    Caveat { code: String::from("baseline.absent"), message }
}

/// What trains the twin of an image classifier's run: with whatever the run did not take from its project.
fn twin(manifest: &RunManifest, model: &str) -> Suggestion {
    let settings = &manifest.settings;
    let (vision, seed) = (&settings.vision, settings.training.seed);
    let said =
        ["vision.model", "vision.epochs", "vision.batch_size", "vision.learning_rate", "training.seed"];
    let all = serde_json::to_value(settings).unwrap_or_default();
    let is_of_training = |key: &str| key.starts_with("vision.") || key.starts_with("training.");
    let mut others: Map<String, Value> = manifest
        .sources
        .keys()
        .filter(|key| is_of_training(key) && !said.contains(&key.as_str()))
        .filter_map(|key| Some((key.clone(), all.pointer(&format!("/{}", key.replace('.', "/")))?.clone())))
        .collect();
    others.insert(String::from("ast.warmup_epochs"), settings.warmup_epochs().into());
    Suggestion::new("train one", "configure_image_run")
        .with("platform", PlatformKind::Local.as_str())
        .with("model", model)
        .with("dataset", manifest.data.train.to_string_lossy())
        .with("baseline", true)
        .with("epochs", vision.epochs)
        .with("seed", seed)
        .with("batch_size", vision.batch_size)
        .with("learning_rate", vision.learning_rate)
        .with("override_params", others)
}

fn response(comparison: Comparison, format: ComparisonFormat) -> Result<CompareRunsResponse> {
    let Rendered { table, markdown, latex, csv } = comparison.rendered()?;
    let text = match format {
        ComparisonFormat::Table => Some(table),
        ComparisonFormat::Markdown => Some(markdown.clone()),
        ComparisonFormat::Latex => Some(latex.clone()),
        ComparisonFormat::Csv => Some(csv.clone()),
        ComparisonFormat::Json => None,
    };
    let ids = |runs: &[RunFigures]| runs.iter().map(|run| run.run_id.clone()).collect();
    let value = |quantity: &Option<Quantity>| quantity.as_ref().map(|quantity| quantity.value);
    let Quantities { accuracy_diff, energy_savings, time_savings_hours, cost_savings, emissions_avoided_g } =
        &comparison.quantities;
    let in_usd = cost_savings.as_ref().filter(|cost| cost.unit == "USD").map(|cost| cost.value);
    Ok(CompareRunsResponse {
        cost_savings_lack: comparison.cost_lacks().filter(|_| in_usd.is_none()),
        ast_run_ids: ids(&comparison.ast),
        baseline_run_ids: ids(&comparison.baseline),
        accuracy_diff: value(accuracy_diff),
        energy_savings: value(energy_savings),
        energy_savings_basis: comparison.energy_savings_basis,
        time_savings_hours: value(time_savings_hours),
        cost_savings_usd: in_usd,
        emissions_avoided_g: value(emissions_avoided_g),
        quantities: comparison.quantities,
        rows: comparison.rows,
        caveats: comparison.caveats,
        text,
        markdown,
        latex,
        csv,
    })
}
