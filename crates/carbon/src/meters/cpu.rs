//! Power of a processor without a readable counter: rated power times load, in the manner of CodeCarbon.

use crate::{
    machine::Identity,
    meters::{
        evidence::Evidence,
        tdp::{self, Match},
    },
};

/// The model's source and uncertainty. It is known to be too low and not known to be too high, so its interval is
/// lopsided: 67 % too low means that the true value is 1 / (1 - 0.67) = 3 times as large.
pub(crate) const EVIDENCE: Evidence = Evidence {
    source: "CodeCarbon 3.3 load model. Interval: Fischer, Ground-Truthing AI Energy Consumption (arXiv 2509.22092), \
             against wall meters; recomputed from its data, figures are 20 to 67 % too low, so the true value may be up \
             to 3 times this one; half as the lower end is assumed",
    year: Some(2025),
    factors: [0.5, 3.0],
};

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
    /// The model in words.
    pub method: String,
}

impl LoadModel {
    pub fn new(identity: &Identity, load_known: bool) -> Self {
        let (tdp_w, tdp) = rated_power(identity);
        let load = if load_known { "x (0.1 + 0.9 x load^3)" } else { "x 0.5, load unreadable" };
        Self { tdp_w, method: format!("load model: {tdp} {load}") }
    }

    /// W at a share of the processor's time that was busy, in `[0, 1]`.
    pub fn power_w(&self, load: Option<f64>) -> f64 {
        self.tdp_w * load.map_or(ASSUMED_LOAD, |load| 0.1 + 0.9 * load.powi(3))
    }
}

/// Rated power of what can be seen of the processors, and the words for it.
fn rated_power(identity: &Identity) -> (f64, String) {
    let threads = identity.threads;
    let by_threads = threads.map(|threads| W_PER_THREAD * f64::from(threads));
    match (tdp::find(&identity.cpu_model), by_threads) {
        (Some(Match { name, tdp_w }), by_threads) => {
            let sockets = identity.sockets.max(1);
            let rated_w = tdp_w * f64::from(sockets);
            let entry = format!("{tdp_w} W of {name:?} x {sockets} socket(s)");
            match by_threads.filter(|by_threads| identity.is_virtual && *by_threads < rated_w) {
                // The table has no threads, so what part of the processor this is has to be assumed.
                Some(part_w) => {
                    let threads = threads.unwrap_or_default();
                    let part = format!(
                        "a virtual machine's {threads} threads of it at {W_PER_THREAD} W each (assumed)"
                    );
                    (part_w, format!("TDP {entry}; {part}, {part_w} W"))
                }
                None => (rated_w, format!("TDP {entry}")),
            }
        }
        (None, Some(tdp_w)) => {
            let threads = threads.unwrap_or_default();
            (
                tdp_w,
                format!("TDP {tdp_w} W ({W_PER_THREAD} W per thread of an unknown CPU, {threads} threads)"),
            )
        }
        (None, None) => (UNDETECTED_W, format!("TDP {UNDETECTED_W} W (CPU not detected)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(cpu_model: &str, threads: Option<u32>, is_virtual: bool) -> Identity {
        Identity { cpu_model: cpu_model.into(), threads, is_virtual, ..Identity::default() }
    }

    #[test]
    fn power_is_cubic_above_a_tenth() {
        let model = LoadModel::new(&cpu("", Some(2), false), true);
        for (load, watts) in [(0.0, 0.8), (0.5, 1.7), (1.0, 8.0)] {
            assert!((model.power_w(Some(load)) - watts).abs() < 1e-12);
        }
    }

    #[test]
    fn nothing_known_is_half_of_85_w() {
        let model = LoadModel::new(&cpu("", None, false), false);
        assert!((model.power_w(None) - 42.5).abs() < 1e-12);
        assert!(model.method.contains("85 W") && model.method.contains("not detected"), "{}", model.method);
    }

    #[test]
    fn the_table_knows_the_processor_and_a_virtual_machine_has_a_part_of_it() {
        let name = "Intel(R) Xeon(R) CPU E5-2620 v4 @ 2.10GHz";
        let whole = LoadModel::new(&Identity { sockets: 2, ..cpu(name, Some(32), false) }, true);
        assert!((whole.power_w(Some(1.0)) - 170.0).abs() < 1e-9, "{whole:?}");
        let part = LoadModel::new(&cpu(name, Some(2), true), true);
        assert!((part.power_w(Some(1.0)) - 8.0).abs() < 1e-9, "{part:?}");
        assert!(part.method.contains("E5-2620 v4") && part.method.contains("assumed"), "{}", part.method);
    }
}
