//! Evaluates a stage of a run on a data set, with the base model beside it.

mod custom_metric;
mod eval_results;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use greentune_core_config::{
    evaluation::{ClassificationReport, EvaluatedModel, EvaluationReport, RecordOutputs, metric},
    gate::{self, ThresholdCheck},
    settings::Task,
    task::{EvaluateTask, WorkerAnswer, WorkerTask},
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::custom_metric::CustomMetric;
use self::eval_results::HubDataset;
use crate::{
    Result, Workbench, WorkbenchError, engine::wrong_answer, inputs::check_base_is_unchanged, run::Run,
};

/// Evaluate a stage's adapters.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct EvaluateModel {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run.
    pub run_id: String,
    /// Records or images to evaluate on, relative to the project or absolute.
    pub test_dataset: PathBuf,
    /// 1 or 2, of an image classifier its last.
    pub stage: u8,
    /// Responses to write.
    pub generate_records: Option<u64>,
    /// Ask choices in it.
    pub chat_template: Option<bool>,
    /// A command of the user's that scores what was generated. It is no argument of a call: only the program that holds
    /// this crate can set it, as the command line does with what the user typed.
    #[serde(skip)]
    pub custom_metric: Option<CustomMetric>,
}

/// The figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvaluateModelResponse {
    /// Always true; a problem is an error.
    pub success: bool,
    /// Id of the run.
    pub run_id: String,
    /// Stage that was evaluated.
    pub stage: u8,
    /// Figures of the stage.
    pub evaluation_results: EvaluationResults,
    /// Whether every one of `checks` passed.
    pub passed_thresholds: bool,
    /// Each threshold of the settings beside the figure that must reach it, and why it does or does not.
    pub checks: Vec<ThresholdCheck>,
    /// The stage's threshold in the settings: `evaluation.stage1_threshold` or `stage2_threshold`.
    pub threshold: f64,
    /// Full reports of a language model: the stage first, then the base model.
    pub reports: Vec<EvaluationReport>,
    /// Full report of an image classifier.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub classification: Option<ClassificationReport>,
    /// File that holds the reports.
    pub results_file: PathBuf,
    /// File with the generations of stage and base, a record a line; absent where nothing was generated.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outputs_file: Option<PathBuf>,
    /// The accuracy as a file for `.eval_results/` of a repository on the Hugging Face Hub; for data sets of the Hub alone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub eval_results_file: Option<PathBuf>,
}

/// Figures of the evaluated stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EvaluationResults {
    /// Share of response tokens, or of images, whose most likely prediction is right, in `[0, 1]`; of multiple choice that
    /// of questions.
    pub accuracy: f64,
    /// exp of the mean loss per response token, or per image.
    pub perplexity: f64,
    /// Further figures, the base model's prefixed with `base_`: `exact_match`, `bleu`, `chrf`, `rouge_l`, `loss`,
    /// `base_accuracy`, …; of an
    /// image classifier `loss`, `top5_accuracy`, `images`, `skipped`.
    pub custom_metrics: BTreeMap<String, f64>,
}

/// What is written to the results file.
#[derive(Serialize)]
struct ResultsFile<'a> {
    created_at: Timestamp,
    dataset: &'a Path,
    results: &'a EvaluateModelResponse,
}

impl Workbench {
    /// Evaluates the stage and the base model, or the classifier, in a worker, and keeps the reports in the run's folder.
    ///
    /// `passed_thresholds` is what [`gate::checks`] decides by the run's settings.
    pub async fn evaluate_model(&self, request: EvaluateModel) -> Result<EvaluateModelResponse> {
        let custom_metric = request.custom_metric.clone();
        let (run, task) = self.blocking(move |workbench| workbench.evaluate_task(&request)).await?;
        match self.ask_worker(&WorkerTask::Evaluate(task.clone())).await? {
            WorkerAnswer::Evaluated { mut reports, outputs } => {
                if let Some(metric) = custom_metric {
                    let environment = &self.config().worker_environment;
                    metric.score(&mut reports, &outputs, environment).await?;
                }
                self.blocking(move |_| keep_reports(&run, &task, reports, &outputs)).await
            }
            WorkerAnswer::Classified { report } => {
                self.blocking(move |_| keep_classification(&run, &task, *report)).await
            }
            _ => Err(wrong_answer("evaluate")),
        }
    }

    fn evaluate_task(&self, request: &EvaluateModel) -> Result<(Run, EvaluateTask)> {
        let run = self.read_run_with_files(request.project_path.as_deref(), &request.run_id)?;
        run.trained_stage(request.stage)?;
        self.check_named_files(&run.manifest)?;
        let last = run.manifest.stages.last().map_or(request.stage, |stage| stage.stage);
        let is_classifier = run.manifest.settings.task() == Task::ImageClassification;
        if is_classifier && request.stage != last {
            return Err(WorkbenchError::InvalidValue {
                key: "stage",
                found: request.stage.to_string(),
                allowed: format!("{last}: of an image classifier the model of the last stage is kept"),
            });
        }
        if !is_classifier {
            check_base_is_unchanged(&run.manifest)?;
        }
        if let Some(wanted) = request.chat_template.filter(|_| is_classifier) {
            return Err(WorkbenchError::InvalidValue {
                key: "chat_template",
                found: wanted.to_string(),
                allowed: String::from("nothing: images are no questions"),
            });
        }
        if let Some(metric) = request.custom_metric.as_ref().filter(|_| is_classifier) {
            return Err(metric.failed("images have no texts that it could score"));
        }
        let named = &request.test_dataset;
        let dataset = if is_classifier {
            self.input_path(run.layout.project(), "test_dataset", named)?
        } else {
            self.input_file(run.layout.project(), "test_dataset", named)?
        };
        let generate_records =
            request.generate_records.unwrap_or(run.manifest.settings.evaluation.generate_records);
        let task = EvaluateTask {
            run_folder: run.layout.folder().to_owned(),
            stage: request.stage,
            dataset,
            generate_records: usize::try_from(generate_records).unwrap_or(usize::MAX),
            with_base: true,
            chat_template: request.chat_template,
        };
        Ok((run, task))
    }
}

fn keep_reports(
    run: &Run,
    task: &EvaluateTask,
    reports: Vec<EvaluationReport>,
    outputs: &[RecordOutputs],
) -> Result<EvaluateModelResponse> {
    let report_of = |model| reports.iter().find(|report| report.model == model);
    let stage = report_of(EvaluatedModel::Stage(task.stage)).ok_or_else(|| wrong_answer("evaluate"))?;
    let right_choices = stage.figure(metric::CHOICE_ACCURACY).map(|figure| figure.value);
    let results = EvaluationResults {
        accuracy: right_choices.unwrap_or(stage.token_accuracy),
        perplexity: stage.perplexity,
        custom_metrics: custom_metrics(stage, report_of(EvaluatedModel::Base)),
    };
    let checks = gate::checks(&run.manifest, task.stage, stage);
    let mut response = response(run, task, results, checks);
    response.reports = reports;
    keep(run, task, response, outputs)
}

fn keep_classification(
    run: &Run,
    task: &EvaluateTask,
    report: ClassificationReport,
) -> Result<EvaluateModelResponse> {
    let metrics = [
        ("loss", Some(report.loss)),
        ("top5_accuracy", report.top5_accuracy),
        ("images", Some(report.images as f64)),
        ("skipped", Some(report.skipped as f64)),
    ];
    let results = EvaluationResults {
        accuracy: report.accuracy,
        perplexity: report.loss.exp(),
        custom_metrics: metrics
            .into_iter()
            .filter_map(|(name, figure)| Some((name.to_owned(), figure?)))
            .collect(),
    };
    let checks = gate::classification_checks(&run.manifest, task.stage, &report);
    let mut response = response(run, task, results, checks);
    response.classification = Some(report);
    keep(run, task, response, &[])
}

/// The answer without its reports.
fn response(
    run: &Run,
    task: &EvaluateTask,
    evaluation_results: EvaluationResults,
    checks: Vec<ThresholdCheck>,
) -> EvaluateModelResponse {
    EvaluateModelResponse {
        success: true,
        run_id: run.manifest.run_id.clone(),
        stage: task.stage,
        evaluation_results,
        passed_thresholds: checks.iter().all(|check| check.passed),
        checks,
        threshold: gate::stage_threshold(&run.manifest.settings.evaluation, task.stage),
        reports: Vec::new(),
        classification: None,
        results_file: PathBuf::new(),
        outputs_file: None,
        eval_results_file: None,
    }
}

/// Writes what was generated, the result for the Hub and the results file.
fn keep(
    run: &Run,
    task: &EvaluateTask,
    mut response: EvaluateModelResponse,
    outputs: &[RecordOutputs],
) -> Result<EvaluateModelResponse> {
    let created_at = Timestamp::now();
    response.results_file = results_file(run, task, created_at);
    let folder = run.layout.evaluation(task.stage);
    std::fs::create_dir_all(&folder).map_err(WorkbenchError::file("create", folder))?;
    if !outputs.is_empty() {
        let path = response.results_file.with_extension("outputs.jsonl");
        let line = |record: &RecordOutputs| serde_json::to_string(record).unwrap_or_default() + "\n";
        write(&path, &outputs.iter().map(line).collect::<String>())?;
        response.outputs_file = Some(path);
    }
    if let Some(dataset) =
        HubDataset::of(&task.dataset).filter(|_| response.evaluation_results.accuracy.is_finite())
    {
        let path = response.results_file.with_extension("eval_results.yaml");
        let first = response.checks.first();
        let notes = first.map_or_else(String::new, |check| check.reason.clone());
        let notes = format!("greentune {}: {notes}", env!("CARGO_PKG_VERSION"));
        write(&path, &dataset.result(response.evaluation_results.accuracy, created_at, &notes))?;
        response.eval_results_file = Some(path);
    }
    let content = ResultsFile { created_at, dataset: &task.dataset, results: &response };
    greentune_run_folder::json::write(&response.results_file, &content)?;
    Ok(response)
}

fn write(path: &Path, text: &str) -> Result<()> {
    greentune_durable::write_atomically(path, text.as_bytes()).map_err(WorkbenchError::file("write", path))
}

fn results_file(run: &Run, task: &EvaluateTask, at: Timestamp) -> PathBuf {
    let stem = task.dataset.file_stem().unwrap_or_default().to_string_lossy();
    let name = format!("{stem}-{}.json", at.strftime("%Y%m%d-%H%M%S%.3f"));
    run.layout.evaluation(task.stage).join(name)
}

fn custom_metrics(stage: &EvaluationReport, base: Option<&EvaluationReport>) -> BTreeMap<String, f64> {
    let figures = |report: &EvaluationReport, prefix: &str| {
        let known = [
            ("loss", Some(report.loss)),
            ("exact_match", report.exact_match),
            ("bleu", report.bleu),
            ("records", Some(report.records as f64)),
        ];
        let further = report.figures.iter().map(|figure| (figure.metric.as_str(), Some(figure.value)));
        let further =
            further.filter(|(name, _)| ![metric::PERPLEXITY, metric::TOKEN_ACCURACY].contains(name));
        let all = known.into_iter().chain(further);
        all.map(|(name, figure)| (format!("{prefix}{name}"), figure)).collect::<Vec<_>>()
    };
    let mut metrics = figures(stage, "");
    if let Some(base) = base {
        metrics.extend(figures(base, "base_"));
        let right_choices = base.figure(metric::CHOICE_ACCURACY).map(|figure| figure.value);
        metrics.push((String::from("base_accuracy"), right_choices.or(Some(base.token_accuracy))));
        metrics.push((String::from("base_perplexity"), Some(base.perplexity)));
    }
    metrics.into_iter().filter_map(|(name, figure)| Some((name, figure?))).collect()
}
