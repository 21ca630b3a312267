//! What a meter is to count.

use std::{path::PathBuf, time::Duration};

use greentune_core_config::settings::{CarbonSettings, TrackingMode};

use super::{Carried, calibration::Calibration, sensors::Counted};
use crate::{
    CarbonError,
    grid::{GridSource, LiveAccess},
};

/// What a meter is to count, and where.
#[derive(Clone, Debug)]
pub struct MeterConfig {
    /// CodeCarbon's `project_name`.
    pub project_name: String,
    /// CodeCarbon's `run_id`.
    pub run_id: String,
    /// CodeCarbon's `experiment_id`.
    pub experiment_id: String,
    /// Where the carbon intensity comes from, and with it the place.
    pub grid: GridSource,
    /// Power usage effectiveness of the data centre, at least 1; multiplies energy.
    pub pue: f64,
    /// Time between samples, above 0 and at most 60 s.
    pub interval: Duration,
    /// Whose energy is counted: the machine's, or the estimated share of one process and its descendants.
    pub tracking_mode: TrackingMode,
    /// Earlier attempts of the same stage, to which this one adds.
    pub carried: Option<Carried>,
    /// The process of `tracking_mode` process; `None`: this one.
    pub process: Option<u32>,
    /// The GPUs that are counted, by index or UUID as in `CUDA_VISIBLE_DEVICES` (whose indices are NVML's where
    /// `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`); `None`: all.
    pub gpu_ids: Option<Vec<String>>,
    /// A file that all meters of a job on this host name: the one that holds its lock counts the machine, the others
    /// count no energy until it ends. Its GPUs should then be those of all. Has no meaning in mode process.
    pub host_lock: Option<PathBuf>,
    /// A wall meter's calibration, applied if it is of this machine.
    pub calibration: Option<Calibration>,
}

/// What a meter's settings do not say: what the edge of a program reads from its environment.
#[derive(Clone, Debug, Default)]
pub struct MeterEnvironment {
    /// Access to live figures of carbon intensity.
    pub live: LiveAccess,
    /// `CUDA_VISIBLE_DEVICES`; all GPUs count when absent.
    pub gpu_ids: Option<Vec<String>>,
}

impl MeterConfig {
    /// A meter as `settings` have it.
    ///
    /// # Errors
    /// The calibration file cannot be read.
    pub fn of(
        settings: &CarbonSettings,
        surroundings: &MeterEnvironment,
        project_name: impl Into<String>,
        run_id: impl Into<String>,
    ) -> Result<Self, CarbonError> {
        let grid = GridSource::of(settings, &surroundings.live);
        Ok(Self {
            pue: settings.pue,
            // What is no span of time is refused with those that are too short or too long, when a meter starts.
            interval: Duration::try_from_secs_f64(settings.measure_interval_seconds.max(0.0))
                .unwrap_or(Duration::MAX),
            tracking_mode: settings.tracking_mode,
            gpu_ids: surroundings.gpu_ids.clone(),
            calibration: settings.calibration_file.as_deref().map(Calibration::read).transpose()?,
            ..Self::new(project_name, run_id, grid)
        })
    }

    /// A meter of the whole machine, each second, without anything else.
    pub fn new(project_name: impl Into<String>, run_id: impl Into<String>, grid: GridSource) -> Self {
        Self {
            project_name: project_name.into(),
            run_id: run_id.into(),
            experiment_id: String::new(),
            grid,
            pue: 1.0,
            interval: Duration::from_secs(1),
            tracking_mode: TrackingMode::Machine,
            carried: None,
            process: None,
            gpu_ids: None,
            host_lock: None,
            calibration: None,
        }
    }

    /// Whose energy is counted.
    pub(crate) fn counted(&self) -> Counted<'_> {
        Counted { mode: self.tracking_mode, process: self.process, gpu_ids: self.gpu_ids.as_deref() }
    }
}
