//! A wall meter against the counters of one machine: what the supply, fans and board draw beyond what they see.

use std::{io, path::Path};

use greentune_core_config::settings::TrackingMode;
use jiff::Zoned;
use serde::{Deserialize, Serialize};

use crate::{
    CarbonError, Host,
    files::{codecarbon, durable, sidecar, small},
};

const FORMAT_VERSION: u32 = 1;
const SECONDS_PER_HOUR: f64 = 3600.0;
/// Relative half-width where there are no more measurements than the fit has constants. Assumed.
const ASSUMED_UNCERTAINTY: f64 = 0.1;
/// Relative error of a wall meter of the usual kind, which adds to the fit's. Assumed.
const WALL_METER_UNCERTAINTY: f64 = 0.02;

/// One measurement: the same span by a wall meter and by this crate's meter without calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// When, such as `2026-01-02`.
    pub date: String,
    /// The machine, in words.
    pub host: String,
    /// The processor's name as rows of emissions have it.
    pub cpu_model: String,
    /// The wall meter, in words.
    pub wall_meter: String,
    /// Energy at the wall, in Wh.
    pub wall_wh: f64,
    /// The same energy by counters and models, without PUE, in Wh.
    pub counters_wh: f64,
    /// Length of the span.
    pub seconds: f64,
}

/// Measurements on one machine with one wall meter, in their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    format_version: u32,
    measurements: Vec<Measurement>,
}

/// Wall energy as `factor` x counters + `overhead_w` x time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// By which the counters' energy is multiplied.
    pub factor: f64,
    /// Power that is drawn whatever the counters say, in W.
    pub overhead_w: f64,
    /// Relative half-width of the interval: twice the residuals' relative standard deviation and the wall meter's own
    /// error; 10 % is assumed for the first where there are too few measurements.
    pub uncertainty: f64,
}

impl Measurement {
    /// What `wall_meter` showed for the span of the last row of `csv`, which [`track`](super::track) wrote.
    ///
    /// # Errors
    /// The row is calibrated already, is of one process alone, or of another processor than this machine's.
    pub fn of_last_row(csv: &Path, wall_meter: &str, wall_wh: f64) -> Result<Self, CarbonError> {
        let refused = |message: String| CarbonError::NotCalibrating { path: csv.to_path_buf(), message };
        let row = codecarbon::last(csv)?.ok_or_else(|| refused(String::from("it has no rows")))?;
        let provenance = sidecar::read(&sidecar::beside(csv, &row.run_id))?;
        if provenance.is_some_and(|known| known.calibration.is_some()) {
            return Err(refused(String::from("its last row is calibrated already")));
        }
        if row.tracking_mode != TrackingMode::Machine.as_str() {
            return Err(refused(format!("its last row is of mode {:?}", row.tracking_mode)));
        }
        let (cpu_model, _) = Host::default().processor();
        if cpu_model != row.cpu_model {
            return Err(refused(format!("its last row is of another processor, {:?}", row.cpu_model)));
        }
        Ok(Self {
            date: Zoned::now().date().to_string(),
            host: row.os,
            cpu_model,
            wall_meter: wall_meter.to_owned(),
            wall_wh,
            counters_wh: row.energy_consumed * 1000.0 / row.pue.max(1.0),
            seconds: row.duration,
        })
    }
}

impl Calibration {
    /// Reads a calibration file (JSON).
    pub fn read(path: &Path) -> Result<Self, CarbonError> {
        let json = small::read(path).map_err(CarbonError::file("read", path))?;
        let calibration: Self = serde_json::from_slice(&json).map_err(|error| {
            let message = format!("is not a calibration file: {error}");
            CarbonError::malformed(path, Some(error.line() as u64), message)
        })?;
        calibration.check(path)?;
        Ok(calibration)
    }

    /// Adds a measurement to the file, which is made where there is none. One of another machine or wall meter than the
    /// file's is refused.
    pub fn record(path: &Path, measurement: Measurement) -> Result<Self, CarbonError> {
        let mut calibration = match Self::read(path) {
            Err(CarbonError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Self { format_version: FORMAT_VERSION, measurements: Vec::new() }
            }
            found => found?,
        };
        calibration.measurements.push(measurement);
        calibration.check(path)?;
        let mut json = serde_json::to_vec_pretty(&calibration).map_err(|error| {
            CarbonError::malformed(path, None, format!("cannot be written as JSON: {error}"))
        })?;
        json.push(b'\n');
        durable::replace(path, &json)?;
        Ok(calibration)
    }

    /// The measurements, in their order.
    pub fn measurements(&self) -> &[Measurement] {
        &self.measurements
    }

    /// The processor that was measured.
    pub fn cpu_model(&self) -> &str {
        self.measurements.first().map_or("", |first| &first.cpu_model)
    }

    /// Least squares through all measurements. Only the factor is fitted where the measurements cannot separate it from
    /// the overhead, or where the overhead would be negative.
    pub fn fit(&self) -> Fit {
        let sum = |of: fn(&Measurement) -> f64| self.measurements.iter().map(of).sum::<f64>();
        let counters_2 = sum(|m| m.counters_wh * m.counters_wh);
        let hours_2 = sum(|m| m.hours() * m.hours());
        let both = sum(|m| m.counters_wh * m.hours());
        let wall_counters = sum(|m| m.wall_wh * m.counters_wh);
        let wall_hours = sum(|m| m.wall_wh * m.hours());
        let determinant = counters_2 * hours_2 - both * both;
        let factor = (wall_counters * hours_2 - wall_hours * both) / determinant;
        let overhead_w = (wall_hours * counters_2 - wall_counters * both) / determinant;
        // Measurements at one load lie on a line through 0, which rounding makes a very thin wedge.
        let is_told = determinant > 1e-9 * counters_2 * hours_2 && factor > 0.0 && overhead_w >= 0.0;
        let (factor, overhead_w, constants) =
            if is_told { (factor, overhead_w, 2) } else { (wall_counters / counters_2, 0.0, 1) };
        let uncertainty = self.residual_spread(factor, overhead_w, constants) + WALL_METER_UNCERTAINTY;
        Fit { factor, overhead_w, uncertainty }
    }

    /// The file in words.
    pub(crate) fn name(&self) -> String {
        let Fit { factor, overhead_w, uncertainty } = self.fit();
        let (first, last) = (self.measurements.first(), self.measurements.last());
        let text =
            |of: Option<&Measurement>, field: fn(&Measurement) -> &str| of.map_or("", field).to_owned();
        format!(
            "{} on {}, {} measurement(s), last {}: wall = {factor:.4} x counters + {overhead_w:.2} W x time, within {:.1} %",
            text(first, |m| &m.wall_meter),
            text(first, |m| &m.host),
            self.measurements.len(),
            text(last, |m| &m.date),
            100.0 * uncertainty
        )
    }

    fn residual_spread(&self, factor: f64, overhead_w: f64, constants: usize) -> f64 {
        let freedom = self.measurements.len().saturating_sub(constants);
        if freedom == 0 {
            return ASSUMED_UNCERTAINTY;
        }
        let residual =
            |m: &Measurement| (factor * m.counters_wh + overhead_w * m.hours() - m.wall_wh) / m.wall_wh;
        let squares: f64 = self.measurements.iter().map(|m| residual(m).powi(2)).sum();
        2.0 * (squares / freedom as f64).sqrt()
    }

    fn check(&self, path: &Path) -> Result<(), CarbonError> {
        let refuse = |message: String| Err(CarbonError::malformed(path, None, message));
        if self.format_version != FORMAT_VERSION {
            let found = self.format_version;
            return refuse(format!("has format_version {found}; this version reads {FORMAT_VERSION}"));
        }
        let Some(first) = self.measurements.first() else { return refuse("has no measurement".into()) };
        for (number, measurement) in self.measurements.iter().enumerate() {
            for (key, found) in [
                ("wall_wh", measurement.wall_wh),
                ("counters_wh", measurement.counters_wh),
                ("seconds", measurement.seconds),
            ] {
                if !(found.is_finite() && found > 0.0) {
                    return refuse(format!(
                        "measurement {}: {key} is {found}; allowed is above 0",
                        number + 1
                    ));
                }
            }
            for (key, found, expected) in [
                ("cpu_model", &measurement.cpu_model, &first.cpu_model),
                ("wall_meter", &measurement.wall_meter, &first.wall_meter),
            ] {
                if found != expected {
                    return refuse(format!(
                        "measurement {}: {key} is {found:?} and the first one's {expected:?}; a file is about one machine \
                         and one wall meter",
                        number + 1
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Measurement {
    fn hours(&self) -> f64 {
        self.seconds / SECONDS_PER_HOUR
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn measured(wall_wh: f64, counters_wh: f64, hours: f64) -> Measurement {
        Measurement {
            date: "2026-01-02".into(),
            host: "bench".into(),
            cpu_model: "Imaginary 9000".into(),
            wall_meter: "Plug".into(),
            wall_wh,
            counters_wh,
            seconds: hours * 3600.0,
        }
    }

    fn of(measurements: Vec<Measurement>) -> Calibration {
        Calibration { format_version: 1, measurements }
    }

    #[test]
    fn one_measurement_gives_the_factor_alone() {
        let fit = of(vec![measured(130.0, 100.0, 1.0)]).fit();
        assert_eq!((fit.factor, fit.overhead_w), (1.3, 0.0));
        assert!((fit.uncertainty - 0.12).abs() < 1e-12);
        // The same load for longer tells no more.
        let fit = of(vec![measured(130.0, 100.0, 1.0), measured(260.0, 200.0, 2.0)]).fit();
        assert!((fit.factor - 1.3).abs() < 1e-12 && fit.overhead_w == 0.0);
        assert!((fit.uncertainty - 0.02).abs() < 1e-9, "{fit:?}");
    }

    #[test]
    fn scatter_widens_the_interval() {
        let fit = of(vec![measured(110.0, 100.0, 1.0), measured(90.0, 100.0, 1.0)]).fit();
        assert!((fit.factor - 1.0).abs() < 1e-12);
        let spread = 2.0 * ((10.0f64 / 110.0).powi(2) + (10.0f64 / 90.0).powi(2)).sqrt();
        assert!((fit.uncertainty - spread - 0.02).abs() < 1e-12);
    }

    #[test]
    fn measurements_are_recorded_and_foreign_ones_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c/calibration.json");
        assert!(Calibration::read(&path).is_err());
        Calibration::record(&path, measured(130.0, 100.0, 1.0)).unwrap();
        let both = Calibration::record(&path, measured(80.0, 50.0, 1.0)).unwrap();
        assert_eq!(Calibration::read(&path).unwrap(), both);
        assert_eq!((both.measurements().len(), both.cpu_model()), (2, "Imaginary 9000"));
        for (bad, said) in [
            (Measurement { cpu_model: "Other".into(), ..measured(1.0, 1.0, 1.0) }, "\"Other\""),
            (Measurement { wall_meter: "Clamp".into(), ..measured(1.0, 1.0, 1.0) }, "\"Clamp\""),
            (measured(f64::NAN, 1.0, 1.0), "wall_wh is NaN"),
            (measured(1.0, 0.0, 1.0), "counters_wh is 0"),
        ] {
            let error = Calibration::record(&path, bad).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(Calibration::read(&path).unwrap(), both);
        for (text, said) in
            [("{", "not a calibration"), (r#"{"format_version":2,"measurements":[]}"#, "format_version 2")]
        {
            fs::write(&path, text).unwrap();
            assert!(Calibration::read(&path).unwrap_err().to_string().contains(said));
        }
    }

    proptest! {
        #[test]
        fn exact_measurements_give_back_their_constants(
            factor in 0.5f64..3.0,
            overhead_w in 0.0f64..200.0,
            loads in prop::collection::vec(1.0f64..500.0, 3..8),
        ) {
            prop_assume!(loads.iter().any(|load| (load - loads[0]).abs() > 20.0));
            let rows = loads.iter().map(|load| measured(factor * load + overhead_w, *load, 1.0)).collect();
            let fit = of(rows).fit();
            prop_assert!((fit.factor - factor).abs() < 1e-6, "{:?}", fit);
            prop_assert!((fit.overhead_w - overhead_w).abs() < 1e-4 || overhead_w < 1e-4, "{:?}", fit);
            prop_assert!(fit.uncertainty < 0.021);
        }
    }
}
