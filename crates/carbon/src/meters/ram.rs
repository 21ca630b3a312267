//! Power of memory, guessed from its size: CodeCarbon's DIMM model (3.3, `external/ram.py`).

use super::evidence::Evidence;

/// The model's source and uncertainty.
pub(crate) const EVIDENCE: Evidence = Evidence {
    source: "CodeCarbon 3.3 memory model: 5 W per DIMM on x86, 1.5 W on ARM, DIMMs guessed from the size. Interval: \
             assumed; half or twice the guessed DIMMs would halve or double it",
    year: None,
    factors: [0.5, 2.0],
};

/// Share of a DIMM's power that each further one adds: the n-th range of DIMMs and its factor.
const MARGINAL: [(u32, f64); 4] = [(4, 1.0), (4, 0.9), (8, 0.8), (16, 0.7)];

/// Watts that `total_gb` of memory draws.
pub(crate) fn power_w(total_gb: f64, arm: bool) -> f64 {
    let (per_dimm_w, at_least_w) = if arm { (1.5, 3.0) } else { (5.0, 10.0) };
    let mut left = dimms(total_gb);
    let mut weighted = 0.0;
    for (range, factor) in MARGINAL {
        let here = left.min(range);
        weighted += f64::from(here) * factor;
        left -= here;
    }
    (weighted * per_dimm_w).max(at_least_w)
}

/// DIMMs that a machine with `total_gb` of memory probably has, at most 32.
pub(crate) fn dimms(total_gb: f64) -> u32 {
    match total_gb {
        gb if gb <= 2.0 => 1,
        gb if gb <= 16.0 => 2,
        gb if gb <= 64.0 => 4,
        gb if gb <= 128.0 => 8,
        gb => {
            // Above 128 GB at least 8 DIMMs are assumed, of the largest size that still needs 8.
            let size = [128.0, 64.0, 32.0, 16.0].into_iter().find(|size| size * 8.0 <= gb).unwrap_or(16.0);
            ((gb / size).ceil() as u32).min(32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_those_of_codecarbon() {
        // Values of codecarbon 3.3.2's RAM._calculate_ram_power for the same sizes.
        for (gb, x86_w, arm_w) in [
            (1.0, 10.0, 3.0),
            (16.0, 10.0, 3.0),
            (17.0, 20.0, 6.0),
            (64.0, 20.0, 6.0),
            (128.0, 38.0, 11.4),
            (512.0, 38.0, 11.4),
            (768.0, 54.0, 16.2),
            (100_000.0, 126.0, 37.8),
        ] {
            assert!((power_w(gb, false) - x86_w).abs() < 1e-9, "{gb} GB: {}", power_w(gb, false));
            assert!((power_w(gb, true) - arm_w).abs() < 1e-9, "{gb} GB on ARM: {}", power_w(gb, true));
        }
    }
}
