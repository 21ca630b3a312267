//! A run beside a baseline: the figures of the baseline, and what was saved.

use std::path::PathBuf;

use greentune_core_config::{manifest::RunManifest, settings::Task};
use greentune_run_folder::Run;

use super::{
    figures::{accuracy, devices, training_seconds},
    quantities::{percent, percent_range},
    trained_up_to,
};
use crate::{
    ReportError, Result,
    comparison::{self, EnergySavingsBasis, RunFigures},
    run_energy::{RunEnergy, StageEnergy},
};

/// What a baseline run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct BaselineFigures {
    /// The run.
    pub run_id: String,
    /// Share of right answers at its end, in `[0, 1]`.
    pub accuracy: Option<f64>,
    /// kWh of all of its training.
    pub energy_kwh: Option<f64>,
    /// Bounds in kWh.
    pub energy_range: Option<[f64; 2]>,
    /// Seconds of training.
    pub duration_seconds: Option<f64>,
    /// kg CO2-equivalent of all of its training.
    pub emissions_kg: Option<f64>,
    /// `measured`, `modelled`, `mixed` or `unknown`.
    pub energy_basis: Option<&'static str>,
}

/// What was saved against the baseline; negative where more was used.
#[derive(Clone, Debug, PartialEq)]
pub struct Saving {
    /// Share of the baseline's energy (of its arithmetic, where the basis is that).
    pub fraction: f64,
    /// Bounds of it.
    pub range: Option<[f64; 2]>,
    /// How it is known.
    pub basis: EnergySavingsBasis,
}

/// A run beside a baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The baseline.
    pub baseline: BaselineFigures,
    /// Absent where the runs differ in what was trained, or neither energy nor selection is known.
    pub saving: Option<Saving>,
    /// In what the runs differ, so that no saving is stated.
    pub differences: Vec<String>,
    /// In what else they differ.
    pub caveats: Vec<String>,
}

/// Compares `run` with `baseline`, both completed, from their own files.
///
/// Errors: the baseline is the run itself, or trained another kind of model; a damaged file of emissions.
pub fn compare(run: &Run, baseline: &Run) -> Result<Comparison> {
    check(run, baseline)?;
    let (own, theirs) = (trained_up_to(&run.manifest, u8::MAX), trained_up_to(&baseline.manifest, u8::MAX));
    let (energy, their_energy) =
        (RunEnergy::read(&run.layout, &own)?, RunEnergy::read(&baseline.layout, &theirs)?);
    let total = their_energy.whole();
    let figures = BaselineFigures {
        run_id: baseline.manifest.run_id.clone(),
        accuracy: theirs.last().and_then(|stage| accuracy(stage)).map(|(accuracy, _)| accuracy),
        energy_kwh: total.as_ref().map(|total| total.kwh),
        energy_range: total.as_ref().and_then(|total| total.range_kwh),
        duration_seconds: training_seconds(&theirs),
        emissions_kg: total.as_ref().map(|total| total.kg),
        energy_basis: total.map(|total| total.basis),
    };
    let differences = differences(&run.manifest, &baseline.manifest);
    let saving = if differences.is_empty() { saving(run, baseline)? } else { None };
    let caveats = caveats(run, baseline, &energy, &their_energy);
    Ok(Comparison { baseline: figures, saving, differences, caveats })
}

/// The saving that `compare_runs` finds of the two.
fn saving(run: &Run, baseline: &Run) -> Result<Option<Saving>> {
    let compared = comparison::compare(vec![RunFigures::read(run)?], vec![RunFigures::read(baseline)?]);
    let known = compared.quantities.energy_savings.zip(compared.energy_savings_basis);
    Ok(known.map(|(found, basis)| Saving { fraction: found.value, range: found.interval, basis }))
}

fn check(run: &Run, baseline: &Run) -> Result<()> {
    let refused =
        |found: String, allowed: &str| Err(ReportError::NoBaseline { found, allowed: allowed.to_owned() });
    if run.layout == baseline.layout {
        return refused(String::from("the run itself"), "another run");
    }
    let (task, theirs) = (run.manifest.settings.task(), baseline.manifest.settings.task());
    if task != theirs {
        return refused(
            format!("a run that trained {}", kind(theirs)),
            &format!("one that trained {}", kind(task)),
        );
    }
    Ok(())
}

const fn kind(task: Task) -> &'static str {
    match task {
        Task::LanguageModel => "a language model",
        Task::ImageClassification => "an image classifier",
    }
}

/// What makes the two trainings different tasks.
fn differences(own: &RunManifest, theirs: &RunManifest) -> Vec<String> {
    let model = |manifest: &RunManifest| {
        let (path, vision) = (&manifest.base_model_path, &manifest.settings.vision);
        if let Some(model) = &vision.model {
            let start = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (model.clone(), start, vision.image_size)
        } else {
            let name = manifest.settings.base_model.model_id.clone();
            (name, path.to_string_lossy().into_owned(), None)
        }
    };
    let content = |manifest: &RunManifest, path: &PathBuf| {
        let path = path.to_string_lossy().into_owned();
        manifest.input_hashes.get(&path).cloned().unwrap_or(path)
    };
    let data = |manifest: &RunManifest| [1, 2].map(|stage| content(manifest, manifest.data.train_of(stage)));
    let validation = |manifest: &RunManifest| content(manifest, &manifest.data.validation);
    let differs = [
        ("the model", model(own) != model(theirs)),
        ("the training data", data(own) != data(theirs)),
        ("the validation data", validation(own) != validation(theirs)),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what.to_owned()).collect()
}

/// What differs beside what was to be compared.
fn caveats(run: &Run, baseline: &Run, energy: &RunEnergy, theirs: &RunEnergy) -> Vec<String> {
    let (own_settings, their_settings) = (&run.manifest.settings, &baseline.manifest.settings);
    let first =
        |energy: &RunEnergy, of: fn(&StageEnergy) -> Option<String>| energy.stages.first().and_then(of);
    let pairs = [
        ("epochs", own_settings.vision.epochs.to_string(), their_settings.vision.epochs.to_string()),
        (
            "batch size",
            own_settings.vision.batch_size.to_string(),
            their_settings.vision.batch_size.to_string(),
        ),
        ("seed", own_settings.training.seed.to_string(), their_settings.training.seed.to_string()),
        ("device", devices(run).join(", "), devices(baseline).join(", ")),
        ("greentune", run.manifest.greentune_version.clone(), baseline.manifest.greentune_version.clone()),
    ];
    let metered: [(&str, OfStage); 3] = [
        ("processor", |stage| stage.record.as_ref().map(|row| row.cpu_model.clone())),
        ("GPU", |stage| stage.record.as_ref().map(|row| row.gpu_model.clone())),
        ("grid", |stage| stage.record.as_ref().map(|row| format!("{} {}", row.country_iso_code, row.region))),
    ];
    let metered = metered.into_iter().filter_map(|(what, of)| {
        Some((what, first(energy, of)?.trim().to_owned(), first(theirs, of)?.trim().to_owned()))
    });
    let all = pairs.into_iter().chain(metered);
    let words = |text: String| if text.is_empty() { String::from("none") } else { text };
    all.filter(|(_, own, theirs)| own != theirs)
        .map(|(what, own, theirs)| format!("{what}: {} here, {} in the baseline", words(own), words(theirs)))
        .collect()
}

/// A figure of a stage's meter.
type OfStage = fn(&StageEnergy) -> Option<String>;

impl Comparison {
    /// The saving in a sentence, with its basis.
    pub(super) fn sentence(&self) -> Option<String> {
        let saving = self.saving.as_ref()?;
        let (size, word) = (percent(saving.fraction.abs(), 1), saving.basis.as_str());
        let less = if saving.fraction >= 0.0 { "less" } else { "more" };
        if saving.basis == EnergySavingsBasis::Compute {
            return Some(format!(
                "Trained with {size} {less} arithmetic than training on all samples ({word}: from counted samples, \
                 not from energy)."
            ));
        }
        let interval =
            saving.range.map_or(String::new(), |range| format!(", interval {}", percent_range(range, 1)));
        let doubt = match saving.range {
            Some([low, high]) if low <= 0.0 && high >= 0.0 => {
                " The meters cannot tell this from no difference."
            }
            _ => "",
        };
        Some(format!(
            "Trained with {size} {less} energy than the baseline run {} ({word}{interval}).{doubt}",
            self.baseline.run_id
        ))
    }
}
