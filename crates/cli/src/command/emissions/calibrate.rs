//! `greentune emissions calibrate`: records the reading of a wall meter beside the counters.

use std::path::PathBuf;

use clap::Args;
use greentune_core_config::quantities::number;
use greentune_workbench::operation::{CalibrateMeter, CalibrateMeterResponse};

use crate::{failure::Failure, output::Paint, session::Session};

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
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = CalibrateMeter {
            wall_wh: self.wall_wh,
            wall_meter: self.wall_meter,
            emissions_file: session.here(&self.from),
            calibration_file: session.here(&self.to),
        };
        let response = session.workbench()?.calibrate_meter(request).await?;
        session.output.answer(&response, |paint| page(&response, paint))
    }
}

fn page(response: &CalibrateMeterResponse, paint: Paint) -> String {
    let CalibrateMeterResponse { calibration_file, measurements, factor, overhead_w, uncertainty, .. } =
        response;
    let file = calibration_file.display();
    format!(
        "{} wall = {} x counters + {} W, within {} % ({measurements} of them in {file})\nuse it with {}",
        paint.heading("measurement added:"),
        number(*factor),
        number(*overhead_w),
        number(uncertainty * 100.0),
        paint.heading(format!("carbon.calibration_file = \"{file}\"")),
    )
}
