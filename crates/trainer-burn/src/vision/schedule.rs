//! The course of the learning rate over the epochs: a function of the share of candidates that are done, so that a
//! run that trains on fewer of them takes the same course as its baseline.

use greentune_core_config::settings::{VisionScheduler, VisionSettings};

/// Learning rate after the share `done` of all epochs, in `[0, 1]`.
pub fn learning_rate(settings: &VisionSettings, done: f64) -> f64 {
    /// PyTorch's `OneCycleLR`: share of the rise, start against peak, end against start.
    const RISE: f64 = 0.3;
    const START: f64 = 1.0 / 25.0;
    const END: f64 = START * 1e-4;
    let cosine = |from: f64, to: f64, share: f64| {
        to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * share.clamp(0.0, 1.0)).cos())
    };
    settings.learning_rate
        * match settings.scheduler {
            VisionScheduler::Constant => 1.0,
            VisionScheduler::Cosine => cosine(1.0, 0.0, done),
            VisionScheduler::OneCycle if done < RISE => cosine(START, 1.0, done / RISE),
            VisionScheduler::OneCycle => cosine(1.0, END, (done - RISE) / (1.0 - RISE)),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(scheduler: VisionScheduler, done: f64) -> f64 {
        learning_rate(&VisionSettings { scheduler, learning_rate: 1.0, ..VisionSettings::default() }, done)
    }

    #[test]
    fn courses_start_peak_and_end_where_they_should() {
        let one_cycle = |done| at(VisionScheduler::OneCycle, done);
        assert!((one_cycle(0.0) - 0.04).abs() < 1e-12 && (one_cycle(0.3) - 1.0).abs() < 1e-12);
        assert!((one_cycle(0.15) - 0.52).abs() < 1e-12 && (one_cycle(1.0) - 4e-6).abs() < 1e-12);
        let cosine = |done| at(VisionScheduler::Cosine, done);
        assert!(
            (cosine(0.0) - 1.0).abs() < 1e-12 && (cosine(0.5) - 0.5).abs() < 1e-12 && cosine(1.0) < 1e-12
        );
        assert!((at(VisionScheduler::Constant, 0.9) - 1.0).abs() < 1e-12);
    }
}
