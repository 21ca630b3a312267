//! `greentune emissions calibrate`: what a wall meter showed beside the counters.

use std::path::PathBuf;

use clap::Args;
use greentune_carbon::{
    CarbonError, Host,
    calibration::{Calibration, Measurement},
    codecarbon, sidecar, track,
};
use greentune_core_config::{Diagnostic, ProblemKind};
use jiff::Zoned;
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
        let calibration = self.record(session)?;
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

    fn record(&self, session: &Session) -> Result<Calibration, Failure> {
        let reported = |error: CarbonError| Failure(error.problem());
        let refused = |message: String| {
            let hint = "meter a span with `greentune emissions track --tracking-mode machine -- COMMAND`, without \
                        carbon.calibration_file, and read the wall meter before and after";
            Err(Failure::new(ProblemKind::InvalidInput, "carbon.calibration", message).with_hint(hint))
        };
        let from = session.here(&self.from);
        let Some(row) = codecarbon::last(&from).map_err(reported)? else {
            return refused(format!("{} has no rows", from.display()));
        };
        let provenance = sidecar::read(&track::provenance_file(&from, &row.run_id)).map_err(reported)?;
        if provenance.is_some_and(|known| known.calibration.is_some()) {
            return refused(format!("the last row of {} is calibrated already", from.display()));
        }
        if row.tracking_mode != "machine" {
            return refused(format!("the last row of {} is of mode {}", from.display(), row.tracking_mode));
        }
        let measurement = Measurement {
            date: Zoned::now().date().to_string(),
            host: row.os.clone(),
            cpu_model: Host::default().processor().0,
            wall_meter: self.wall_meter.clone(),
            wall_wh: self.wall_wh,
            counters_wh: row.energy_consumed * 1000.0 / row.pue.max(1.0),
            seconds: row.duration,
        };
        if measurement.cpu_model != row.cpu_model {
            return refused(format!(
                "the last row of {} is of another processor: {:?}",
                from.display(),
                row.cpu_model
            ));
        }
        Calibration::record(&session.here(&self.to), measurement).map_err(reported)
    }
}
