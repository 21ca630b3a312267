//! Energy of a stage: sampled in the background, written to CodeCarbon's CSV and the sidecar as it goes.

use std::time::{Duration, Instant};

use greentune_carbon::{CarbonError, Carried, Meter, MeterConfig, MeterEnvironment, codecarbon, sidecar};
use greentune_core_config::{
    Diagnostic, Problem,
    emissions::{EmissionsProvenance, EmissionsRecord, ROW_INTERVAL},
    event::EmissionsSoFar,
    layout::RunLayout,
    settings::Settings,
};

/// How often figures are reported to followers of the run.
const REPORT_EVERY: Duration = Duration::from_secs(2);
/// Time from one row to the next for each unit of time that writing one takes: rows cost a hundredth of training at most.
const ROWS_COST_AT_MOST: u32 = 100;

/// The meter of one stage, or nothing when metering is off or impossible.
pub struct StageMeter {
    meter: Option<Meter>,
    layout: RunLayout,
    stage: u8,
    reported: Instant,
    written: Instant,
    /// Time that the last row took to write.
    row_took: Duration,
    is_troubled: bool,
}

impl StageMeter {
    /// A meter that measures nothing.
    pub fn off(layout: &RunLayout, stage: u8) -> Self {
        let now = Instant::now();
        Self {
            meter: None,
            layout: layout.clone(),
            stage,
            reported: now,
            written: now,
            row_took: Duration::ZERO,
            is_troubled: false,
        }
    }

    /// Starts metering `stage`, adding to what earlier attempts recorded. A meter that cannot start must not keep
    /// a model from being trained: the problem is returned beside a meter that measures nothing.
    pub fn start(
        settings: &Settings,
        layout: &RunLayout,
        stage: u8,
        surroundings: &MeterEnvironment,
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
        let mut this = Self::off(layout, stage);
        this.meter = meter;
        (this, problem)
    }

    /// Figures so far, when it is time for them again. They are in the row too, so that a run that is killed has the same
    /// figures in its events and in its file; on a slow disk the row is written less often.
    pub fn tick(&mut self) -> Reading {
        if self.meter.is_none() || self.reported.elapsed() < REPORT_EVERY {
            return Reading::default();
        }
        self.reported = Instant::now();
        if self.written.elapsed() >= self.row_interval() { self.write() } else { self.look() }
    }

    fn row_interval(&self) -> Duration {
        ROW_INTERVAL.min(self.row_took * ROWS_COST_AT_MOST)
    }

    /// Writes a row and the sidecar now; the figures.
    pub fn write(&mut self) -> Reading {
        let Some(meter) = &self.meter else { return Reading::default() };
        let snapshot = meter.so_far();
        // Reported once: the row is cumulative, so the next one includes what cannot be written now.
        let began = Instant::now();
        let problem = self.save(&snapshot.record, &meter.provenance()).err().map(|error| error.problem());
        (self.written, self.row_took) = (Instant::now(), began.elapsed());
        let problem = problem.filter(|_| !self.is_troubled);
        self.is_troubled |= problem.is_some();
        Reading { so_far: Some(snapshot.so_far(self.stage)), problem }
    }

    /// Writes the last row; nothing is metered any more.
    pub fn finish(&mut self) -> Reading {
        let reading = self.write();
        self.meter = None;
        reading
    }

    fn look(&self) -> Reading {
        let so_far = self.meter.as_ref().map(|meter| meter.so_far().so_far(self.stage));
        Reading { so_far, problem: None }
    }

    /// The row takes the place of the one before it, so that a program that adds up a file counts the stage once.
    fn save(&self, record: &EmissionsRecord, provenance: &EmissionsProvenance) -> Result<(), CarbonError> {
        codecarbon::update(&self.layout.emissions_csv(self.stage), record)?;
        sidecar::write(&self.layout.provenance(self.stage), provenance)
    }
}

impl Drop for StageMeter {
    /// A stage that fails still records the energy that it used up to then.
    fn drop(&mut self) {
        if let Some(meter) = self.meter.take() {
            let (record, provenance) = meter.finish();
            // Nobody is left to report it to.
            let _ = self.save(&record, &provenance);
        }
    }
}

/// Figures of a meter, and a problem with its files.
#[derive(Default)]
pub struct Reading {
    /// Figures, when there are any to report.
    pub so_far: Option<EmissionsSoFar>,
    /// Why the files could not be written, said once; training goes on.
    pub problem: Option<Problem>,
}

fn start(
    settings: &Settings,
    layout: &RunLayout,
    stage: u8,
    surroundings: &MeterEnvironment,
) -> Result<Meter, CarbonError> {
    let carbon = &settings.carbon;
    let name = carbon.project_name.as_ref().unwrap_or(&settings.project.name);
    Meter::start(MeterConfig {
        experiment_id: settings.project.name.clone(),
        carried: Carried::read(&layout.emissions_csv(stage), &layout.provenance(stage))?,
        ..MeterConfig::of(carbon, surroundings, format!("{name}-stage{stage}"), layout.run_id())?
    })
}
