use serde::{Deserialize, Serialize};

/// A proportional-integral controller in positional form, with a clamped output and conditional integration.
///
/// `u = kp·e + ki·Σe`. The output is the correction itself; it is not added to the last one, which would integrate
/// twice and swing. While the output is at a limit, errors that would push it further are not summed (Åström &
/// Hägglund, *PID Controllers*, 1995, section 3.5), so that nothing has to be unwound afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PiController {
    /// Output per error.
    pub kp: f64,
    /// Output per sum of errors.
    pub ki: f64,
    /// Most and least output.
    pub limits: (f64, f64),
    /// The integral part of the output.
    pub integral: f64,
}

impl PiController {
    /// A controller at rest.
    pub fn new(kp: f64, ki: f64, limits: (f64, f64)) -> Self {
        Self { kp, ki, limits, integral: 0.0 }
    }

    /// The output after one more `error` (wanted minus measured). An error that is no number changes nothing.
    pub fn update(&mut self, error: f64) -> f64 {
        let error = if error.is_finite() { error } else { 0.0 };
        let (low, high) = self.limits;
        let integral = self.integral + self.ki * error;
        let output = self.kp * error + integral;
        if (low..=high).contains(&output) || (output > high && error < 0.0) || (output < low && error > 0.0) {
            self.integral = integral.clamp(low, high);
        }
        output.clamp(low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_disturbance_is_cancelled() {
        let mut control = PiController::new(0.2, 0.05, (-1.0, 1.0));
        let mut output = 0.0;
        for _ in 0..400 {
            let measured = 0.7 + output - 0.3; // a plant that is 0.3 too low
            output = control.update(0.7 - measured);
        }
        assert!((output - 0.3).abs() < 1e-3, "{output}");
    }

    #[test]
    fn a_long_saturation_leaves_nothing_to_unwind() {
        let mut control = PiController::new(0.2, 0.05, (-0.5, 0.5));
        for _ in 0..10_000 {
            assert!(control.update(1.0) <= 0.5);
        }
        let steps = (0..100).take_while(|_| control.update(-1.0) > 0.0).count();
        assert!(steps < 10, "{steps} steps to come back");
    }
}
