//! A run beside a baseline: the figures of the baseline, and what was saved.

use std::slice;

use greentune_core_config::{
    Basis,
    emissions::MeteredProperty,
    manifest::RunManifest,
    quantities::{percent, range},
    settings::Task,
};
use greentune_run_folder::Run;

use super::{
    figures::{accuracy, training_seconds},
    trained_up_to,
};
use crate::{
    ReportError, Result,
    comparison::{self, Difference, RunFigures, data_of, differing_keys},
    run_energy::RunEnergy,
};

/// What a baseline run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct BaselineFigures {
    /// The run.
    pub run_id: String,
    /// Share of right answers at its end, in `[0, 1]`.
    pub accuracy: Option<f64>,
    /// Seconds of training.
    pub duration_seconds: Option<f64>,
    /// Seconds of all that was metered: loading, training, scoring and evaluation; absent where not all of it was.
    pub metered_seconds: Option<f64>,
    /// kg CO2-equivalent of all of its training.
    pub emissions_kg: Option<f64>,
    /// Whether other runs were metered on its machine at the same time, so that its energy is not of it alone.
    pub shared_its_machine: bool,
}

/// What was saved against the baseline; negative where more was used.
#[derive(Clone, Debug, PartialEq)]
pub struct Saving {
    /// Share of the baseline's energy (of its arithmetic, where the basis is that).
    pub fraction: f64,
    /// Bounds of it.
    pub range: Option<[f64; 2]>,
    /// How it is known.
    pub basis: Basis,
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
    let theirs = trained_up_to(&baseline.manifest, u8::MAX);
    let energy = RunEnergy::read(&baseline.layout, &theirs)?;
    let whole = energy.whole();
    let figures = BaselineFigures {
        run_id: baseline.manifest.run_id.clone(),
        accuracy: theirs.last().and_then(|stage| accuracy(stage)).map(|(accuracy, _)| accuracy),
        duration_seconds: training_seconds(&theirs),
        metered_seconds: whole.as_ref().map(|total| total.seconds),
        emissions_kg: whole.map(|total| total.kg),
        shared_its_machine: energy.shared.is_some(),
    };
    let differences = differences(&run.manifest, &baseline.manifest);
    let (own, theirs) = (RunFigures::read(run)?, RunFigures::read(baseline)?);
    let caveats = caveats(&own, &theirs);
    let saving = if differences.is_empty() { saving(own, theirs) } else { None };
    Ok(Comparison { baseline: figures, saving, differences, caveats })
}

/// The saving that a comparison finds of the two.
fn saving(run: RunFigures, baseline: RunFigures) -> Option<Saving> {
    let compared = comparison::compare(vec![run], vec![baseline]);
    let known = compared.quantities.energy_savings.zip(compared.energy_savings_basis);
    known.map(|(found, basis)| Saving { fraction: found.value, range: found.interval, basis })
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
    let data = |manifest: &RunManifest| [1, 2].map(|stage| data_of(manifest, manifest.data.train_of(stage)));
    let validation = |manifest: &RunManifest| data_of(manifest, &manifest.data.validation);
    let differs = [
        ("the model", model(own) != model(theirs)),
        ("the training data", data(own) != data(theirs)),
        ("the validation data", validation(own) != validation(theirs)),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what.to_owned()).collect()
}

/// What differs beside what was to be compared.
fn caveats(own: &RunFigures, theirs: &RunFigures) -> Vec<String> {
    let (one, other) = (slice::from_ref(own), slice::from_ref(theirs));
    // Other data are no caveat: they leave no saving to be stated.
    let is_caveat = |difference: &Difference| !difference.property.code.starts_with("data.");
    let differs =
        |what: &str, ours: &str, theirs: &str| format!("{what}: {ours} here, {theirs} in the baseline");
    let mut caveats: Vec<String> = comparison::differences(one, other)
        .iter()
        .filter(|difference| is_caveat(difference))
        .map(|difference| differs(difference.property.what, &difference.ours, &difference.theirs))
        .collect();
    let keys: Vec<_> = differing_keys(one, other).into_iter().collect();
    caveats.extend((!keys.is_empty()).then(|| format!("settings that differ: {}", keys.join(", "))));
    if let (Some(own), Some(theirs)) = (&own.meter, &theirs.meter)
        && own.place != theirs.place
    {
        let words = |place: &str| if place.is_empty() { String::from("not known") } else { place.to_owned() };
        caveats.push(differs(MeteredProperty::GRID.name, &words(&own.place), &words(&theirs.place)));
    }
    let shared = [own, theirs].into_iter().filter_map(|run| run.meter.as_ref()?.shared.clone());
    caveats.extend(shared);
    let seeds = (own.seed != theirs.seed).then(|| (own.seed.to_string(), theirs.seed.to_string()));
    caveats.extend(seeds.map(|(own, theirs)| differs("seed", &own, &theirs)));
    caveats
}

impl Comparison {
    /// The saving in a sentence, with its basis.
    pub(super) fn sentence(&self) -> Option<String> {
        let saving = self.saving.as_ref()?;
        let (size, word) = (percent(saving.fraction.abs()), saving.basis.as_str());
        let less = if saving.fraction >= 0.0 { "less" } else { "more" };
        if saving.basis == Basis::Compute {
            return Some(format!(
                "Trained with {size} {less} arithmetic than training on all samples ({word}: from counted samples, \
                 not from energy)."
            ));
        }
        let interval =
            saving.range.map_or(String::new(), |bounds| format!(", interval {}", range(bounds, percent)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_lists_what_a_comparison_finds() {
        let mut own = RunFigures::example(1, 0.5);
        assert!(caveats(&own, &own).is_empty());
        let mut theirs = RunFigures { length: String::from("20 epochs"), ..RunFigures::example(7, 1.0) };
        theirs.train_data = String::from("other");
        theirs.settings.insert(String::from("vision.batch_size"), String::from("128"));
        own.settings.insert(String::from("vision.batch_size"), String::from("64"));
        if let Some(meter) = &mut theirs.meter {
            meter.basis = Basis::Modelled;
            meter.place = String::from("NOR");
        }
        assert_eq!(
            caveats(&own, &theirs),
            [
                "length of training: 10 epochs here, 20 epochs in the baseline",
                "basis of the energy: measured here, modelled in the baseline",
                "settings that differ: vision.batch_size",
                "grid: not known here, NOR in the baseline",
                "seed: 1 here, 7 in the baseline",
            ]
        );
    }
}
