//! What a run used and selected, from its manifest and the files of its meters.

use greentune_carbon::{codecarbon, sidecar};
use greentune_core_config::{
    emissions::{EmissionsProvenance, EmissionsRecord, basis_of},
    evaluation::{EvaluatedModel, EvaluationReport},
    event::EventKind,
    layout::RunLayout,
    manifest::StageRecord,
};

use crate::{Result, WorkbenchError, run::Run};

/// Energy and emissions of the trained stages.
#[derive(Clone, Debug, Default)]
pub(super) struct RunEnergy {
    /// Stages that were metered, in order.
    pub stages: Vec<StageEnergy>,
    /// Stages that were not.
    pub unmetered: Vec<u8>,
}

/// Energy and emissions of a stage.
#[derive(Clone, Debug)]
pub(super) struct StageEnergy {
    pub stage: u8,
    pub kwh: f64,
    pub kg: f64,
    /// Seconds that were metered.
    pub seconds: f64,
    /// `measured`, `modelled`, `mixed`, or `unknown` without provenance.
    pub basis: String,
    /// The last row of its emissions file.
    pub record: Option<EmissionsRecord>,
    pub provenance: Option<EmissionsProvenance>,
}

/// Sums over the metered stages.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Total {
    pub kwh: f64,
    pub kg: f64,
    pub seconds: f64,
    /// As of a stage where all agree, else `mixed`.
    pub basis: String,
    /// Absent when a stage has no provenance.
    pub range_kwh: Option<[f64; 2]>,
    pub range_kg: Option<[f64; 2]>,
}

impl RunEnergy {
    /// Reads what the meters of `stages` left; the manifest stands in for a file that is gone.
    pub(super) fn read(run: &RunLayout, stages: &[&StageRecord]) -> Result<Self> {
        let mut energy = Self::default();
        for record in stages {
            match StageEnergy::read(run, record)? {
                Some(stage) => energy.stages.push(stage),
                None => energy.unmetered.push(record.stage),
            }
        }
        Ok(energy)
    }

    /// Sums; `None` when nothing was metered.
    pub(super) fn total(&self) -> Option<Total> {
        let first = self.stages.first()?;
        let agree = self.stages.iter().all(|stage| stage.basis == first.basis);
        let sum = |of: fn(&StageEnergy) -> f64| self.stages.iter().map(of).sum();
        Some(Total {
            kwh: sum(|stage| stage.kwh),
            kg: sum(|stage| stage.kg),
            seconds: sum(|stage| stage.seconds),
            basis: if agree { first.basis.clone() } else { String::from("mixed") },
            range_kwh: self.range(EmissionsProvenance::energy_interval_kwh),
            range_kg: self.range(EmissionsProvenance::emissions_interval_kg),
        })
    }

    /// The sums where every stage was metered, so that they are of the whole training.
    pub(super) fn whole(&self) -> Option<Total> {
        self.total().filter(|_| self.unmetered.is_empty())
    }

    /// The stages' intervals added up: their errors may have common causes.
    fn range(&self, of: fn(&EmissionsProvenance) -> [f64; 2]) -> Option<[f64; 2]> {
        self.stages.iter().try_fold([0.0, 0.0], |[low, high], stage| {
            let [less, more] = of(stage.provenance.as_ref()?);
            Some([low + less, high + more])
        })
    }
}

impl StageEnergy {
    fn read(run: &RunLayout, stage: &StageRecord) -> Result<Option<Self>> {
        let csv = run.emissions_csv(stage.stage);
        let record = codecarbon::last(&csv).map_err(WorkbenchError::reported)?;
        let provenance = sidecar::read(&run.provenance(stage.stage)).map_err(WorkbenchError::reported)?;
        let known = stage.emissions.as_ref();
        let Some((kwh, kg, seconds)) =
            record.as_ref().map(|row| (row.energy_consumed, row.emissions, row.duration)).or_else(|| {
                known.map(|known| (known.energy_kwh, known.emissions_kg_co2, known.duration_seconds))
            })
        else {
            return Ok(None);
        };
        let basis = match (&provenance, known) {
            (Some(provenance), _) => basis_of(&provenance.components).to_owned(),
            (None, Some(known)) => known.basis.clone(),
            (None, None) => String::from("unknown"),
        };
        Ok(Some(Self { stage: stage.stage, kwh, kg, seconds, basis, record, provenance }))
    }
}

/// Seconds of training over the stages; `None` when one does not say.
pub(super) fn training_seconds(stages: &[&StageRecord]) -> Option<f64> {
    stages.iter().map(|stage| stage.duration_seconds).sum()
}

/// Share of right answers at a stage's end, and of how many: images of a classifier, tokens of a language model.
pub(super) fn accuracy(stage: &StageRecord) -> Option<(f64, u64)> {
    let of_images = stage.classification.as_ref().map(|report| (report.accuracy, report.images));
    of_images.or_else(|| own_evaluation(stage).map(|report| (report.token_accuracy, report.tokens)))
}

/// The stage's evaluation on its own validation records, else its first.
pub(super) fn own_evaluation(stage: &StageRecord) -> Option<&EvaluationReport> {
    let role = format!("stage{} validation", stage.stage);
    let mut own = own_evaluations(stage);
    own.clone().find(|report| report.dataset_role == role).or_else(|| own.next())
}

/// The stage's evaluations, without those of the base model beside it.
pub(super) fn own_evaluations(stage: &StageRecord) -> impl Iterator<Item = &EvaluationReport> + Clone {
    stage.evaluations.iter().filter(move |report| report.model == EvaluatedModel::Stage(stage.stage))
}

/// Parameters that `stage` trained.
pub(super) fn trained_parameters(run: &Run, stage: u8) -> Option<u64> {
    run.events.iter().rev().find_map(|event| match event.kind {
        EventKind::StageStarted { stage: of, trainable_parameters, .. } if of == stage => {
            Some(trainable_parameters)
        }
        _ => None,
    })
}

/// Devices that the run was trained on, each once, in order.
pub(super) fn devices(run: &Run) -> Vec<&str> {
    let mut devices: Vec<&str> = Vec::new();
    for event in &run.events {
        if let EventKind::Started { device, .. } = &event.kind
            && !devices.contains(&device.as_str())
        {
            devices.push(device);
        }
    }
    devices
}
