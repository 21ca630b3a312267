//! What the meters of a run's stages left, added up.

use greentune_carbon::{
    codecarbon::{self, OwnRow},
    overlap, sidecar,
};
use greentune_core_config::{
    Basis,
    emissions::{EmissionsProvenance, EmissionsRecord, basis_of},
    layout::RunLayout,
    manifest::StageRecord,
    quantities,
};

use crate::Result;

/// Energy and emissions of the trained stages.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunEnergy {
    /// Stages that were metered, in order.
    pub stages: Vec<StageEnergy>,
    /// Stages that were not.
    pub unmetered: Vec<u8>,
    /// Other runs that were metered on the same machine at the same time, in a sentence: its energy is not of this run alone.
    pub shared: Option<String>,
    /// Where several meters of the run itself counted one machine, which is counted once, in sentences.
    pub counted_once: Vec<String>,
}

/// Energy and emissions of a stage.
#[derive(Clone, Debug)]
pub(crate) struct StageEnergy {
    pub stage: u8,
    pub kwh: f64,
    pub kg: f64,
    /// Seconds that were metered.
    pub seconds: f64,
    /// How the energy is known; unknown where neither provenance nor manifest says.
    pub basis: Basis,
    /// The row of its emissions file.
    pub record: Option<EmissionsRecord>,
    pub provenance: Option<EmissionsProvenance>,
}

/// Sums over the metered stages.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Total {
    pub kwh: f64,
    pub kg: f64,
    pub seconds: f64,
    /// How their energy is known.
    pub basis: Basis,
    /// Absent when a stage has no provenance.
    pub range_kwh: Option<[f64; 2]>,
    pub range_kg: Option<[f64; 2]>,
}

impl RunEnergy {
    /// Reads what the meters of `stages` left; the manifest stands in for a file that is gone.
    pub(crate) fn read(run: &RunLayout, stages: &[&StageRecord]) -> Result<Self> {
        let shared = overlap::beside(run)?.map(|beside| beside.message);
        let mut energy = Self { shared, ..Self::default() };
        for record in stages {
            let own = codecarbon::of_run(&run.emissions_csv(record.stage), &run.run_id())?;
            energy.counted_once.extend(own.as_ref().and_then(OwnRow::shared_machine));
            match StageEnergy::read(run, record, own.map(|own| own.record))? {
                Some(stage) => energy.stages.push(stage),
                None => energy.unmetered.push(record.stage),
            }
        }
        Ok(energy)
    }

    /// Sums; `None` when nothing was metered.
    pub(crate) fn total(&self) -> Option<Total> {
        let basis = Basis::of_sum(self.stages.iter().map(|stage| stage.basis))?;
        let sum = |of: fn(&StageEnergy) -> f64| quantities::sum(self.stages.iter().map(of));
        Some(Total {
            kwh: sum(|stage| stage.kwh),
            kg: sum(|stage| stage.kg),
            seconds: sum(|stage| stage.seconds),
            basis,
            range_kwh: self.range(EmissionsProvenance::energy_interval_kwh),
            range_kg: self.range(EmissionsProvenance::emissions_interval_kg),
        })
    }

    /// The sums where every stage was metered, so that they are of the whole training.
    pub(crate) fn whole(&self) -> Option<Total> {
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
    fn read(run: &RunLayout, stage: &StageRecord, record: Option<EmissionsRecord>) -> Result<Option<Self>> {
        let provenance = sidecar::read(&run.provenance(stage.stage))?;
        let known = stage.emissions.as_ref();
        let Some((kwh, kg, seconds)) =
            record.as_ref().map(|row| (row.energy_consumed, row.emissions, row.duration)).or_else(|| {
                known.map(|known| (known.energy_kwh, known.emissions_kg_co2, known.duration_seconds))
            })
        else {
            return Ok(None);
        };
        let basis = provenance.as_ref().map_or_else(
            || Basis::of_energy(known.map_or("", |known| known.basis.as_str())),
            |provenance| basis_of(&provenance.components),
        );
        Ok(Some(Self { stage: stage.stage, kwh, kg, seconds, basis, record, provenance }))
    }
}
