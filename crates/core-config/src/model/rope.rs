//! Rotary positions (Su et al. 2021) and the ways in which their frequencies are stretched.

use std::f64::consts::TAU;

/// Base of the rotary frequencies, and their scaling.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotary {
    /// Base of the frequencies: `theta^(-2i / head_dim)`.
    pub theta: f64,
    /// How they are stretched to a longer context.
    pub scaling: RopeScaling,
}

/// How rotary frequencies are stretched; formulas as in transformers' `modeling_rope_utils`.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    Unscaled,
    /// Positions divided by `factor` (Chen et al. 2023).
    Linear {
        /// How many times longer the context became.
        factor: f64,
    },
    /// Long wavelengths divided by `factor`, short ones kept, a ramp between (Llama 3.1).
    Llama3 {
        /// How many times longer the context became.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// The context before.
        original: f64,
    },
    /// NTK by parts, with attention scaled (YaRN, Peng et al. 2023).
    Yarn {
        /// How many times longer the context became.
        factor: f64,
        /// The context before.
        original: f64,
        /// Rotations above which a frequency is kept.
        beta_fast: f64,
        /// Rotations below which a frequency is divided.
        beta_slow: f64,
        /// Factor of cosine and sine.
        attention_factor: f64,
        /// Whether the ramp's ends are rounded outwards to whole dimensions.
        truncate: bool,
    },
}

impl Rotary {
    /// The `head_dim / 2` inverse frequencies in radians per position, and the factor of cosine and sine.
    pub fn frequencies(&self, head_dim: usize) -> (Vec<f64>, f64) {
        self.scaling.frequencies(self.theta, head_dim)
    }
}

impl RopeScaling {
    fn frequencies(&self, theta: f64, head_dim: usize) -> (Vec<f64>, f64) {
        let dim = head_dim as f64;
        let plain = (0..head_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / dim));
        match self {
            Self::Unscaled => (plain.collect(), 1.0),
            Self::Linear { factor } => (plain.map(|frequency| frequency / factor).collect(), 1.0),
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original } => {
                let stretched = plain.map(|frequency| {
                    let turns = original * frequency / TAU;
                    let smooth = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    let kept = smooth.clamp(0.0, 1.0);
                    (1.0 - kept) * frequency / factor + kept * frequency
                });
                (stretched.collect(), 1.0)
            }
            Self::Yarn { factor, original, beta_fast, beta_slow, attention_factor, truncate } => {
                // The dimension whose frequency makes this many rotations over the original context.
                let dimension = |turns: f64| dim * (original / (turns * TAU)).ln() / (2.0 * theta.ln());
                let (mut low, mut high) = (dimension(*beta_fast), dimension(*beta_slow));
                if *truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                let (low, mut high) = (low.max(0.0), high.min(dim - 1.0));
                if (high - low).abs() < f64::EPSILON {
                    high += 0.001;
                }
                let stretched = plain.enumerate().map(|(i, frequency)| {
                    let divided = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    divided * frequency / factor + (1.0 - divided) * frequency
                });
                (stretched.collect(), *attention_factor)
            }
        }
    }

    /// YaRN's factor of cosine and sine when none is given: `0.1 · ln(factor) + 1`.
    pub(super) fn yarn_attention_factor(factor: f64, mscale: f64) -> f64 {
        if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_keeps_short_wavelengths_and_divides_long_ones() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original: 8192.0,
        };
        let (plain, _) = RopeScaling::Unscaled.frequencies(500_000.0, 128);
        let (scaled, factor) = scaling.frequencies(500_000.0, 128);
        assert!((scaled[0] - plain[0]).abs() < 1e-12);
        assert!((scaled[63] - plain[63] / 8.0).abs() < 1e-18);
        assert!(scaled.windows(2).all(|pair| pair[0] > pair[1]));
        assert!((factor - 1.0).abs() < f64::EPSILON);
    }
}
