//! What a comparison knows of a run, read once from its manifest, its events and its files of emissions.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use greentune_core_config::{
    Basis,
    emissions::MeteredProperty,
    evaluation::EvaluatedModel,
    event::{EpochMetrics, EventKind},
    manifest::{RunData, RunManifest, StageRecord},
    quantities::sum,
    selection::SelectionSoFar,
    settings::{AstSettings, Settings, Task},
};
use greentune_run_folder::Run;
use serde_json::Value;

use crate::{
    Result,
    run_energy::{RunEnergy, Total},
    statistics::Proportion,
};

/// Settings that make no difference to what is learnt, or that a comparison names by themselves.
const PASSED_OVER: [&str; 12] = [
    "ast.",
    "carbon.",
    "evaluation.",
    "huggingface.",
    "mlflow.",
    "project.",
    "training.device",
    "training.keep_checkpoints",
    "training.memory_check",
    "training.save_steps",
    "training.seed",
    "wandb.",
];

/// A run in figures.
#[derive(Clone, Debug, PartialEq)]
pub struct RunFigures {
    /// The run.
    pub run_id: String,
    pub(crate) run_name: String,
    pub(crate) task: Task,
    /// What is trained, as a reader calls it.
    pub(crate) model: String,
    /// How samples were selected; `None` when all were trained on.
    pub(crate) ast: Option<AstSettings>,
    pub(crate) seed: u64,
    /// Epochs or steps, in words.
    pub(crate) length: String,
    /// Hash of the training data, or its path where there is none.
    pub(crate) train_data: String,
    pub(crate) validation_data: String,
    /// Settings by dotted key, without [`PASSED_OVER`].
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) greentune_version: String,
    pub(crate) git_revision: String,
    pub(crate) device: String,
    pub(crate) is_resumed: bool,
    /// What is said of the run's events where they are damaged.
    pub(crate) damage: Vec<String>,
    pub(crate) has_changed_inputs: bool,
    /// Share of validation images (of tokens, for a language model) that are right after the last stage. Trials of a
    /// language model are records: the tokens of one record err together.
    pub(crate) accuracy: Option<Proportion>,
    pub(crate) top5_accuracy: Option<Proportion>,
    /// In nats, per image or token.
    pub(crate) validation_loss: Option<f64>,
    /// Validation images or records behind them.
    pub(crate) evaluated: Option<u64>,
    /// Seconds of training, without the evaluations of a language model; of all that was metered, once a comparison has
    /// found that all of its runs know that.
    pub(crate) seconds: Option<f64>,
    pub(crate) samples_trained: Option<u64>,
    /// Share of candidates that was trained on while samples were selected; 1 where none were.
    pub(crate) activation_rate: f64,
    /// Share of full training's arithmetic that the whole run spared, its warm-up included.
    pub(crate) compute_savings: Option<f64>,
    /// `None` when a stage was not metered.
    pub(crate) meter: Option<Metered>,
    pub(crate) price: Option<Price>,
    pub(crate) curve: Vec<CurvePoint>,
}

/// What the meters say of a run, over its stages.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Metered {
    pub energy_kwh: f64,
    /// Seconds of all that the energy is of: loading, training, scoring and evaluation.
    pub seconds: f64,
    /// What else was metered on its machine at the same time, in a sentence.
    pub shared: Option<String>,
    /// `None` when a stage has no provenance.
    pub energy_interval: Option<[f64; 2]>,
    pub emissions_g: f64,
    pub emissions_interval: Option<[f64; 2]>,
    /// How the energy is known; unknown without provenance.
    pub basis: Basis,
    pub cpu: String,
    pub gpu: String,
    pub tracking_mode: String,
    /// The overhead that is in energy and emissions.
    pub pue: f64,
    pub meter: String,
    pub place: String,
    pub has_slept: bool,
}

impl Metered {
    /// Emissions per energy; `None` without energy.
    pub fn g_per_kwh(&self) -> Option<f64> {
        (self.energy_kwh > 0.0).then(|| self.emissions_g / self.energy_kwh)
    }
}

/// What a kWh costs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Price {
    pub per_kwh: f64,
    pub currency: Option<String>,
}

/// An evaluation while training.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CurvePoint {
    /// Epochs done over all stages; steps of a language model.
    pub at: f64,
    pub accuracy: f64,
    pub energy_kwh: Option<f64>,
    pub activation_rate: Option<f64>,
    pub threshold: Option<f64>,
}

impl RunFigures {
    /// Reads the figures of `run`.
    ///
    /// Errors: a file of emissions that is damaged.
    pub fn read(run: &Run) -> Result<Self> {
        let manifest = &run.manifest;
        let settings = &manifest.settings;
        let last = manifest.stages.last();
        let selections: Vec<_> =
            manifest.stages.iter().filter_map(|stage| stage.selection.as_ref()).collect();
        let evaluation = last.map(Evaluation::of).unwrap_or_default();
        let meter = read_meter(run)?;
        Ok(Self {
            run_id: manifest.run_id.clone(),
            run_name: manifest.run_name.clone(),
            task: settings.task(),
            model: model_name(manifest),
            ast: settings.ast.enabled.then(|| settings.ast.clone()),
            seed: settings.training.seed,
            length: length_of(manifest),
            train_data: data_of_stages(manifest, RunData::train_of),
            validation_data: validation_of(manifest),
            settings: compared_settings(settings),
            greentune_version: manifest.greentune_version.clone(),
            git_revision: manifest.git_revision.clone().unwrap_or_default(),
            device: devices(run),
            damage: run.damage.clone(),
            is_resumed: run
                .events
                .iter()
                .any(|event| matches!(event.kind, EventKind::Started { resumed: true, .. })),
            has_changed_inputs: !manifest.changed_inputs.is_empty(),
            accuracy: evaluation.accuracy,
            top5_accuracy: evaluation.top5_accuracy,
            validation_loss: evaluation.loss,
            evaluated: evaluation.accuracy.map(|accuracy| accuracy.trials),
            seconds: manifest.stages.iter().try_fold(0.0, |sum, stage| Some(sum + stage.duration_seconds?)),
            samples_trained: manifest.stages.iter().map(|stage| Some(run.samples_of(stage)?.selected)).sum(),
            activation_rate: selections.last().map_or(1.0, |selection| selection.activation_rate()),
            compute_savings: run.compute_savings(),
            meter,
            price: settings
                .carbon
                .electricity_price_per_kwh
                .map(|per_kwh| Price { per_kwh, currency: settings.carbon.electricity_currency.clone() }),
            curve: curve(run),
        })
    }

    /// The trials of its accuracy, as a reader calls them.
    pub(crate) fn records(&self) -> &'static str {
        match self.task {
            Task::ImageClassification => "images",
            Task::LanguageModel => "records",
        }
    }

    /// What the run used costs, in the currency of its price.
    pub(crate) fn cost(&self) -> Option<f64> {
        Some(self.meter.as_ref()?.energy_kwh * self.price.as_ref()?.per_kwh)
    }
}

/// What makes the model of a run the same as another's: its architecture, or the hash of its base's configuration.
pub fn base_of(manifest: &RunManifest) -> String {
    match &manifest.settings.vision.model {
        Some(architecture) => architecture.clone(),
        None => data_of(manifest, &manifest.base_model_path.join("config.json")),
    }
}

/// Hash of the input at `path`, or the path where the manifest has none.
pub fn data_of(manifest: &RunManifest, path: &Path) -> String {
    let path = path.to_string_lossy();
    manifest.input_hashes.get(&*path).cloned().unwrap_or_else(|| path.into_owned())
}

/// How long a run trains, in epochs or in steps of its stages.
pub fn length_of(manifest: &RunManifest) -> String {
    let settings = &manifest.settings;
    match settings.task() {
        Task::ImageClassification => format!("{} epochs", settings.vision.epochs),
        Task::LanguageModel => {
            let steps = |stage: &StageRecord| settings.training.stage(stage.stage).iterations.to_string();
            manifest.stages.iter().map(steps).collect::<Vec<_>>().join(" + ") + " steps"
        }
    }
}

/// Keys of the settings that differ and may matter.
pub fn differing_settings(a: &Settings, b: &Settings) -> usize {
    let (a, b) = (compared_settings(a), compared_settings(b));
    a.iter().filter(|(key, value)| b.get(*key) != Some(*value)).count()
}

/// The last stage's validation.
#[derive(Default)]
struct Evaluation {
    accuracy: Option<Proportion>,
    top5_accuracy: Option<Proportion>,
    loss: Option<f64>,
}

impl Evaluation {
    fn of(stage: &StageRecord) -> Self {
        if let Some(report) =
            stage.classification.as_ref().filter(|report| report.dataset_role == "validation")
        {
            let share = |share| Proportion { share, trials: report.images };
            return Self {
                accuracy: Some(share(report.accuracy)),
                top5_accuracy: report.top5_accuracy.map(share),
                loss: Some(report.loss),
            };
        }
        let role = format!("stage{} validation", stage.stage);
        let own = stage
            .evaluations
            .iter()
            .find(|report| report.model == EvaluatedModel::Stage(stage.stage) && report.dataset_role == role);
        own.map_or_else(Self::default, |report| Self {
            accuracy: Some(Proportion { share: report.token_accuracy, trials: report.records }),
            top5_accuracy: None,
            loss: Some(report.loss),
        })
    }
}

/// What is trained, as a reader calls it: an architecture, an id of the Hub, or the name of a folder.
pub fn model_name(manifest: &RunManifest) -> String {
    let settings = &manifest.settings;
    let folder = manifest.base_model_path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match &settings.vision.model {
        Some(architecture) => architecture.clone(),
        None if settings.base_model.local_path.is_none() => settings.base_model.model_id.clone(),
        None => folder,
    }
}

/// The data of all stages, each once.
fn data_of_stages(manifest: &RunManifest, of: fn(&RunData, u8) -> &PathBuf) -> String {
    let mut data: Vec<_> =
        manifest.stages.iter().map(|stage| data_of(manifest, of(&manifest.data, stage.stage))).collect();
    data.dedup();
    data.join(" and ")
}

/// The validation data; where it is held out of the training data, with the share that is.
fn validation_of(manifest: &RunManifest) -> String {
    let data = data_of_stages(manifest, RunData::validation_of);
    if manifest.settings.task() == Task::ImageClassification
        && manifest.data.validation_of(2) == manifest.data.train_of(2)
    {
        return format!("{data} ({} held out)", manifest.settings.vision.validation_share);
    }
    data
}

fn compared_settings(settings: &Settings) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    if let Ok(value) = serde_json::to_value(settings) {
        flatten("", &value, &mut flat);
    }
    flat.retain(|key, _| !PASSED_OVER.iter().any(|passed| key.starts_with(passed)));
    // Named in words by `length_of`, and by the model.
    flat.remove("vision.epochs");
    flat.remove("vision.model");
    flat
}

fn flatten(prefix: &str, value: &Value, flat: &mut BTreeMap<String, String>) {
    let Value::Object(fields) = value else {
        flat.insert(prefix.to_owned(), value.to_string());
        return;
    };
    for (name, value) in fields {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        flatten(&key, value, flat);
    }
}

fn devices(run: &Run) -> String {
    let devices = run.events.iter().filter_map(|event| match &event.kind {
        EventKind::Started { device, .. } => Some(device.as_str()),
        _ => None,
    });
    devices.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" and ")
}

/// What the meters say of all stages; `None` when one was not metered.
fn read_meter(run: &Run) -> Result<Option<Metered>> {
    let stages: Vec<&StageRecord> = run.manifest.stages.iter().collect();
    let energy = RunEnergy::read(&run.layout, &stages)?;
    Ok(energy.whole().map(|total| metered(&energy, &total)))
}

fn metered(energy: &RunEnergy, total: &Total) -> Metered {
    let rows = || energy.stages.iter().filter_map(|stage| stage.record.as_ref());
    let over = |property: MeteredProperty| property.over(rows());
    let sidecars: Vec<_> = energy.stages.iter().filter_map(|stage| stage.provenance.as_ref()).collect();
    let mut notes = sidecars.iter().flat_map(|sidecar| &sidecar.notes);
    Metered {
        energy_kwh: total.kwh,
        seconds: total.seconds,
        shared: energy.shared.clone(),
        energy_interval: total.range_kwh,
        emissions_g: 1000.0 * total.kg,
        emissions_interval: total.range_kg.map(|range| range.map(|kg| 1000.0 * kg)),
        basis: if sidecars.len() == energy.stages.len() { total.basis } else { Basis::Unknown },
        cpu: over(MeteredProperty::PROCESSOR),
        gpu: over(MeteredProperty::GPU),
        tracking_mode: over(MeteredProperty::TRACKING_MODE),
        // A file of an older version may have no PUE, which then was 1.
        pue: rows().map(|row| row.pue).fold(1.0, f64::max),
        meter: over(MeteredProperty::METER),
        place: over(MeteredProperty::GRID),
        // The ledger's own words for a machine that slept.
        has_slept: notes.any(|note| note.starts_with("sleep:")),
    }
}

/// Accuracy as it rose, with the energy up to then.
fn curve(run: &Run) -> Vec<CurvePoint> {
    let epochs: Vec<_> = run.manifest.stages.iter().flat_map(|stage| &stage.epochs).collect();
    if epochs.is_empty() {
        return evaluations(run);
    }
    let point = |epoch: &&EpochMetrics| CurvePoint {
        at: epoch.epoch as f64,
        accuracy: epoch.accuracy,
        energy_kwh: epoch.energy_kwh,
        activation_rate: Some(epoch.selection.as_ref().map_or(1.0, SelectionSoFar::activation_rate)),
        threshold: epoch.selection.as_ref().and_then(|selection| selection.threshold),
    };
    epochs.iter().map(point).collect()
}

/// The evaluations of a language model, with the energy that was last reported before each.
fn evaluations(run: &Run) -> Vec<CurvePoint> {
    let mut points: BTreeMap<(u8, u64), CurvePoint> = BTreeMap::new();
    let mut energy: BTreeMap<u8, f64> = BTreeMap::new();
    let mut selection: Option<&SelectionSoFar> = None;
    let steps_before = |stage: u8| {
        run.manifest
            .stages
            .iter()
            .filter(|known| known.stage < stage)
            .map(|known| known.steps_done)
            .sum::<u64>()
    };
    for event in &run.events {
        match &event.kind {
            EventKind::Emissions(so_far) => {
                energy.insert(so_far.stage, so_far.energy_kwh);
            }
            EventKind::Step(step) => {
                selection = step.samples.as_ref().and_then(|samples| samples.selection.as_ref());
            }
            EventKind::Evaluated { stage, step, token_accuracy, .. } => {
                let point = CurvePoint {
                    at: (steps_before(*stage) + step) as f64,
                    accuracy: *token_accuracy,
                    energy_kwh: (!energy.is_empty()).then(|| sum(energy.values().copied())),
                    activation_rate: selection.map(SelectionSoFar::activation_rate),
                    threshold: selection.and_then(|selection| selection.threshold),
                };
                points.insert((*stage, *step), point);
            }
            _ => {}
        }
    }
    points.into_values().collect()
}

#[cfg(test)]
impl RunFigures {
    /// A run of an image classifier, metered by counters that are good to 5 %, without PUE.
    pub(crate) fn example(seed: u64, kwh: f64) -> Self {
        Self {
            run_id: format!("run-{seed}"),
            run_name: String::from("run"),
            task: Task::ImageClassification,
            model: String::from("resnet18"),
            ast: None,
            seed,
            length: String::from("10 epochs"),
            train_data: String::from("train"),
            validation_data: String::from("val"),
            settings: BTreeMap::new(),
            greentune_version: String::from("1"),
            git_revision: String::new(),
            device: String::from("cpu"),
            is_resumed: false,
            damage: Vec::new(),
            has_changed_inputs: false,
            accuracy: Some(Proportion { share: 0.9, trials: 1000 }),
            top5_accuracy: None,
            validation_loss: Some(0.3),
            evaluated: Some(1000),
            seconds: Some(100.0),
            samples_trained: Some(1000),
            activation_rate: 1.0,
            compute_savings: None,
            meter: Some(Metered {
                energy_kwh: kwh,
                energy_interval: Some([kwh * 0.95, kwh * 1.05]),
                emissions_g: kwh * 400.0,
                basis: Basis::Measured,
                pue: 1.0,
                ..Metered::default()
            }),
            price: None,
            curve: Vec::new(),
        }
    }
}
