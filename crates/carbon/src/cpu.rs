//! Power of a processor without a readable counter: rated power times load, in the manner of CodeCarbon.

use greentune_core_config::settings::TrackingMode;

/// What the model rests on.
pub(crate) const SOURCE: &str = "CodeCarbon 3.3 load model. Uncertainty: published validation of CodeCarbon against a \
     wall meter found figures 20 to 67 % too low, so the true value may be up to 3 times this one";

/// If the figure is 67 % too low the true value is 1 / (1 - 0.67) = 3 times as large: two more.
pub(crate) const UNCERTAINTY: f64 = 2.0;

/// W per hardware thread of a processor that is not in a table (CodeCarbon's `DEFAULT_POWER_PER_CORE`).
const W_PER_THREAD: f64 = 4.0;
/// W of a processor of which nothing is known (CodeCarbon's fallback).
const UNDETECTED_W: f64 = 85.0;
/// Load that is assumed where none can be read (CodeCarbon's `CONSUMPTION_PERCENTAGE_CONSTANT`).
const ASSUMED_LOAD: f64 = 0.5;

/// Rated power times load.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadModel {
    tdp_w: f64,
    mode: TrackingMode,
    /// The model in words.
    pub method: String,
}

impl LoadModel {
    pub fn new(threads: Option<u32>, mode: TrackingMode, load_known: bool) -> Self {
        let (tdp_w, tdp) = match threads {
            Some(n) => {
                let tdp_w = W_PER_THREAD * f64::from(n);
                (tdp_w, format!("TDP {tdp_w} W ({W_PER_THREAD} W per thread of an unknown CPU, {n} threads)"))
            }
            None => (UNDETECTED_W, format!("TDP {UNDETECTED_W} W (CPU not detected)")),
        };
        let load = match mode {
            _ if !load_known => "x 0.5, load unreadable",
            TrackingMode::Machine => "x (0.1 + 0.9 x load^3)",
            TrackingMode::Process => "x share of this process",
        };
        Self { tdp_w, mode, method: format!("load model: {tdp} {load}") }
    }

    /// The share of the processor's time that the model goes by.
    pub fn share_of(&self, busy: f64, own: Option<f64>) -> Option<f64> {
        match self.mode {
            TrackingMode::Machine => Some(busy),
            TrackingMode::Process => own,
        }
    }

    /// W at a share of the processor's time, in `[0, 1]`: all that was busy, or this process's own.
    pub fn power_w(&self, share: Option<f64>) -> f64 {
        match (share, self.mode) {
            (None, _) => self.tdp_w * ASSUMED_LOAD,
            (Some(load), TrackingMode::Machine) => self.tdp_w * (0.1 + 0.9 * load.powi(3)),
            (Some(share), TrackingMode::Process) => self.tdp_w * share,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_mode_is_cubic_above_a_tenth() {
        let model = LoadModel::new(Some(2), TrackingMode::Machine, true);
        assert!((model.power_w(Some(0.0)) - 0.8).abs() < 1e-12);
        assert!((model.power_w(Some(0.5)) - 1.7).abs() < 1e-12);
        assert!((model.power_w(Some(1.0)) - 8.0).abs() < 1e-12);
    }

    #[test]
    fn process_mode_is_the_share() {
        let model = LoadModel::new(Some(4), TrackingMode::Process, true);
        assert!((model.power_w(Some(0.25)) - 4.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_known_is_half_of_85_w() {
        let model = LoadModel::new(None, TrackingMode::Machine, false);
        assert!((model.power_w(None) - 42.5).abs() < 1e-12);
        assert!(model.method.contains("85 W") && model.method.contains("not detected"), "{}", model.method);
    }
}
