//! Energy of a stage: sampled in the background, written to CodeCarbon's CSV and the sidecar as it goes.

use std::time::{Duration, Instant};

use greentune_carbon::{CarbonError, Carried, Meter, MeterConfig, Surroundings, codecarbon, sidecar};
use greentune_core_config::{
    Diagnostic, Problem, event::EmissionsSoFar, layout::RunLayout, settings::Settings,
};

/// How often figures are reported to followers of the run.
const REPORT_EVERY: Duration = Duration::from_secs(2);
/// How often a row is written; CodeCarbon's own interval.
const WRITE_EVERY: Duration = Duration::from_secs(15);

/// The meter of one stage, or nothing when metering is off or impossible.
pub struct StageMeter {
    meter: Option<Meter>,
    layout: RunLayout,
    stage: u8,
    reported: Instant,
    written: Instant,
}

impl StageMeter {
    /// Starts metering `stage`, adding to what earlier attempts recorded. A meter that cannot start must not keep
    /// a model from being trained: the problem is returned beside a meter that measures nothing.
    pub fn start(
        settings: &Settings,
        layout: &RunLayout,
        stage: u8,
        surroundings: &Surroundings,
    ) -> (Self, Option<Problem>) {
        let meter = if settings.carbon.enabled {
            start(settings, layout, stage, surroundings).map(Some)
        } else {
            Ok(None)
        };
        let (meter, problem) = match meter {
            Ok(meter) => (meter, None),
            Err(error) => (None, Some(error.problem())),
        };
        let now = Instant::now();
        (Self { meter, layout: layout.clone(), stage, reported: now, written: now }, problem)
    }

    /// Figures so far, when it is time for them again; a row is written now and then.
    pub fn tick(&mut self) -> Result<Option<EmissionsSoFar>, CarbonError> {
        let Some(meter) = &self.meter else { return Ok(None) };
        if self.reported.elapsed() < REPORT_EVERY {
            return Ok(None);
        }
        self.reported = Instant::now();
        if self.written.elapsed() >= WRITE_EVERY {
            self.written = self.reported;
            return self.write();
        }
        Ok(Some(meter.so_far().so_far(self.stage)))
    }

    /// Writes a row and the sidecar now; the figures.
    pub fn write(&self) -> Result<Option<EmissionsSoFar>, CarbonError> {
        let Some(meter) = &self.meter else { return Ok(None) };
        let snapshot = meter.so_far();
        codecarbon::append(&self.layout.emissions_csv(self.stage), &snapshot.record)?;
        sidecar::write(&self.layout.provenance(self.stage), &meter.provenance())?;
        Ok(Some(snapshot.so_far(self.stage)))
    }
}

fn start(
    settings: &Settings,
    layout: &RunLayout,
    stage: u8,
    surroundings: &Surroundings,
) -> Result<Meter, CarbonError> {
    let carbon = &settings.carbon;
    let name = carbon.project_name.as_ref().unwrap_or(&settings.project.name);
    Meter::start(MeterConfig {
        experiment_id: settings.project.name.clone(),
        carried: Carried::read(&layout.emissions_csv(stage), &layout.provenance(stage))?,
        ..MeterConfig::of(carbon, surroundings, format!("{name}-stage{stage}"), layout.run_id())?
    })
}
