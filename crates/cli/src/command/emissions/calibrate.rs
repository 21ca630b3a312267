//! `greentune emissions calibrate`: what a wall meter showed beside the counters.

use std::path::PathBuf;

use clap::Args;
use greentune_carbon::calibration::{Calibration, Measurement};
use greentune_core_config::Diagnostic;
use serde_json::json;

use crate::{failure::Failure, figures::number, session::Session};

/// Arguments of `emissions calibrate`.
#[derive(Args, Debug)]
pub struct Calibrate {
    /// Energy that the wall meter showed for the same span, in Wh
    #[arg(long, value_name = "WH")]
    wall_wh: f64,
    /// The wall meter, such as "Shelly Plug S"
    #[arg(long, value_name = "NAME")]
    wall_meter: String,
    /// Emissions file whose last row is that span, written without a calibration in mode machine
    #[arg(long, value_name = "CSV")]
    from: PathBuf,
    /// The calibration file, to which the measurement is added; name it in carbon.calibration_file
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

impl Calibrate {
    pub(super) fn run(self, session: &Session) -> Result<(), Failure> {
        let measurement = Measurement::of_last_row(&session.here(&self.from), &self.wall_meter, self.wall_wh);
        let calibration = measurement
            .and_then(|measurement| Calibration::record(&session.here(&self.to), measurement))
            .map_err(|error| Failure(error.problem()))?;
        let fit = calibration.fit();
        let answer = json!({
            "success": true,
            "calibration_file": self.to,
            "measurements": calibration.measurements().len(),
            "factor": fit.factor,
            "overhead_w": fit.overhead_w,
            "uncertainty": fit.uncertainty,
        });
        session.output.answer(&answer, |paint| {
            format!(
                "{} wall = {} x counters + {} W, within {} % ({} of them in {})\nuse it with {}",
                paint.heading("measurement added:"),
                number(fit.factor),
                number(fit.overhead_w),
                number(fit.uncertainty * 100.0),
                calibration.measurements().len(),
                self.to.display(),
                paint.heading(format!("carbon.calibration_file = \"{}\"", self.to.display())),
            )
        })
    }
}
