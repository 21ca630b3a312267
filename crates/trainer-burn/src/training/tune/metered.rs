//! The energy of a run's trials, in files of their own.

use greentune_carbon::{
    CarbonError, Carried, Meter, MeterConfig, MeterEnvironment, Snapshot, codecarbon, sidecar,
};
use greentune_core_config::{
    Diagnostic, emissions::EmissionsProvenance, event::EmissionsSoFar, layout::RunLayout, settings::Settings,
};

/// The meter of the trials, or nothing when metering is off or impossible.
pub(super) struct TuningMeter {
    meter: Option<Meter>,
    layout: RunLayout,
    problem: Option<String>,
}

impl TuningMeter {
    /// Begins to meter, adding to what earlier trials of the run used. Beside it why it does not, where it should.
    pub fn start(
        settings: &Settings,
        layout: &RunLayout,
        surroundings: &MeterEnvironment,
    ) -> (Self, Option<String>) {
        let started = settings.carbon.enabled.then(|| start(settings, layout, surroundings)).transpose();
        let (meter, problem) = match started {
            Ok(meter) => (meter, None),
            Err(error) => (None, Some(error.problem().message)),
        };
        (Self { meter, layout: layout.clone(), problem: None }, problem)
    }

    /// Writes what was used so far. A problem is kept for the end: trials go on.
    pub fn write(&mut self) {
        let Some(meter) = &self.meter else { return };
        let saved = save(&meter.so_far(), &meter.provenance(), &self.layout);
        self.note(saved);
    }

    /// Writes the whole; the figures, and the problem with their files, if there was one.
    pub fn finish(mut self) -> (Option<EmissionsSoFar>, Option<String>) {
        let Some(meter) = self.meter.take() else { return (None, None) };
        // What is said is what is written.
        let last = meter.so_far();
        self.note(save(&last, &meter.provenance(), &self.layout));
        // The trials are no stage.
        (Some(last.so_far(0)), self.problem.take())
    }

    fn note(&mut self, saved: Result<(), CarbonError>) {
        if let Err(error) = saved {
            self.problem = Some(error.problem().message);
        }
    }
}

impl Drop for TuningMeter {
    /// Trials that fail have used energy too.
    fn drop(&mut self) {
        self.write();
    }
}

fn start(
    settings: &Settings,
    layout: &RunLayout,
    surroundings: &MeterEnvironment,
) -> Result<Meter, CarbonError> {
    let carbon = &settings.carbon;
    let name = carbon.project_name.as_ref().unwrap_or(&settings.project.name);
    Meter::start(MeterConfig {
        experiment_id: settings.project.name.clone(),
        carried: Carried::read(&layout.tuning_emissions_csv(), &layout.tuning_provenance())?,
        ..MeterConfig::of(carbon, surroundings, format!("{name}-tune"), layout.run_id())?
    })
}

fn save(so_far: &Snapshot, provenance: &EmissionsProvenance, layout: &RunLayout) -> Result<(), CarbonError> {
    codecarbon::update(&layout.tuning_emissions_csv(), &so_far.record)?;
    sidecar::write(&layout.tuning_provenance(), provenance)
}
