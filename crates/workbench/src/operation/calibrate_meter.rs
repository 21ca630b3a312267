//! Notes what a wall meter showed beside the counters.

use std::path::PathBuf;

use greentune_carbon::calibration::{Calibration, Measurement};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError, reach::Access};

/// Note what a wall meter showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CalibrateMeter {
    /// Energy that the wall meter showed for the span, in Wh.
    pub wall_wh: f64,
    /// The wall meter, such as "Shelly Plug S".
    pub wall_meter: String,
    /// Emissions file whose last row is that span, written without a calibration in mode machine.
    pub emissions_file: PathBuf,
    /// The calibration file, to which the measurement is added; `carbon.calibration_file` names it.
    pub calibration_file: PathBuf,
}

/// What the measurements say together: wall energy is `factor` times that of the counters and `overhead_w` times time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CalibrateMeterResponse {
    /// Always true; a problem is an error.
    pub success: bool,
    /// The calibration file.
    pub calibration_file: PathBuf,
    /// Measurements in it.
    pub measurements: usize,
    /// By which the counters' energy is multiplied.
    pub factor: f64,
    /// Power that is drawn whatever the counters say, in W.
    pub overhead_w: f64,
    /// Relative half-width of the interval.
    pub uncertainty: f64,
}

impl Workbench {
    /// Adds a measurement to a calibration file, which is made where there is none.
    ///
    /// Errors: the row is calibrated already, of one process alone or of another processor; the file is of another
    /// machine or wall meter; a path lies outside the allowed roots.
    pub async fn calibrate_meter(&self, request: CalibrateMeter) -> Result<CalibrateMeterResponse> {
        self.blocking(move |workbench| workbench.calibrate(&request)).await
    }

    fn calibrate(&self, request: &CalibrateMeter) -> Result<CalibrateMeterResponse> {
        let CalibrateMeter { wall_wh, wall_meter, emissions_file, calibration_file } = request;
        self.reach(emissions_file, emissions_file, Access::Read)?;
        self.reach(calibration_file, calibration_file, Access::Write)?;
        let calibration = Measurement::of_last_row(emissions_file, wall_meter, *wall_wh)
            .and_then(|measurement| Calibration::record(calibration_file, measurement))
            .map_err(WorkbenchError::reported)?;
        let fit = calibration.fit();
        Ok(CalibrateMeterResponse {
            success: true,
            calibration_file: calibration_file.clone(),
            measurements: calibration.measurements().len(),
            factor: fit.factor,
            overhead_w: fit.overhead_w,
            uncertainty: fit.uncertainty,
        })
    }
}
