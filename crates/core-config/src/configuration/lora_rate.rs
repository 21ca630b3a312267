//! Learning rates at which LoRA learns.
//!
//! The built-in rates (`training.stage1.learning_rate` 2e-5, `training.stage2.learning_rate` 1e-6) are of the kind that
//! suits training all weights; in a hundred steps they leave an adapter nearly where it was. LoRA takes about ten times
//! the rate of full training and more in short runs (Schulman et al. 2025, "LoRA Without Regret"), a rate that hardly
//! depends on the rank as long as the update is scaled by alpha / rank (the same; Hu et al. 2021), and a lower one for
//! wider models.

use crate::settings::{LoraSettings, OptimizerKind, TrainingSettings};

/// A rate of AdamW below this, whose sum over a stage stays below [`LITTLE_IN_ALL`] too, hardly moves adapters: no weight
/// of them moves by more than that sum.
const LITTLE: f64 = 5e-5;
/// See [`LITTLE`].
const LITTLE_IN_ALL: f64 = 5e-3;

/// The rate at rank 8 and alpha 16 for [`USUAL_WIDTH`] and [`USUAL_STEPS`]; measured in `docs/benchmarks/defaults.md`.
const USUAL_RATE: f64 = 8e-4;
/// A width of the residual stream (1 to 2 billion weights).
const USUAL_WIDTH: f64 = 2048.0;
/// The width that stands for one that is not known: too low a rate does less harm than too high a one.
const UNKNOWN_WIDTH: f64 = 4096.0;
/// How the best rate falls with the width, as Schulman et al. fitted it for Llama.
const WIDTH_EXPONENT: f64 = 0.775;
/// Between these, whatever the formula says.
const BOUNDS: [f64; 2] = [5e-5, 5e-3];
const USUAL_STEPS: f64 = 100.0;
const USUAL_ALPHA: f64 = 16.0;
/// The factor that sets stage 2's rate against stage 1's: it goes on from adapters that have learnt.
const SECOND_STAGE: f64 = 0.7;

/// The peak learning rate at which the adapters of `stage` learn, with two significant digits.
///
/// `hidden_size` is the width of the base model, when it is known.
pub fn lora_learning_rate(
    stage: u8,
    training: &TrainingSettings,
    lora: &LoraSettings,
    hidden_size: Option<u64>,
) -> f64 {
    let width = hidden_size.map_or(UNKNOWN_WIDTH, |size| size as f64);
    let steps = training.stage(stage).iterations as f64;
    // What one step of the rate moves the output by: rank · scale.
    let alpha = if lora.use_rslora { lora.alpha * (lora.rank as f64).sqrt() } else { lora.alpha };
    let by_width = (USUAL_WIDTH / width).powf(WIDTH_EXPONENT);
    let by_steps = (USUAL_STEPS / steps.max(1.0)).powf(0.25).clamp(0.4, 1.0);
    let by_stage = if stage > 1 { SECOND_STAGE } else { 1.0 };
    // SGD moves a weight by its gradient, not by about the rate.
    let by_optimizer = if training.optimizer == OptimizerKind::Sgd { 1000.0 } else { 1.0 };
    let rate = USUAL_RATE * (USUAL_ALPHA / alpha) * by_width * by_steps * by_stage;
    rounded(rate.clamp(BOUNDS[0], BOUNDS[1]) * by_optimizer)
}

/// Whether the adapters of `stage` hardly move at its learning rate in its steps.
pub fn learns_little(training: &TrainingSettings, stage: u8) -> bool {
    let settings = training.stage(stage);
    let (rate, steps) = (settings.learning_rate, settings.iterations as f64);
    training.optimizer == OptimizerKind::AdamW && rate < LITTLE && rate * steps < LITTLE_IN_ALL
}

/// `value` with two significant digits.
fn rounded(value: f64) -> f64 {
    format!("{value:.1e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_rates_teach_little_in_few_steps() {
        let mut training = TrainingSettings::default();
        assert!(learns_little(&training, 1) && learns_little(&training, 2));
        training.stage1.learning_rate = 1e-4;
        training.stage2.iterations = 10_000;
        assert!(!learns_little(&training, 1) && !learns_little(&training, 2));
    }

    #[test]
    fn rates_follow_width_alpha_steps_and_stage() {
        let (training, lora) = (TrainingSettings::default(), LoraSettings::default());
        let rate = |stage, training: &TrainingSettings, lora: &LoraSettings, width| {
            format!("{:e}", lora_learning_rate(stage, training, lora, width))
        };
        let by_width = [None, Some(192), Some(576), Some(2048), Some(4096)]
            .map(|width| rate(1, &training, &lora, width));
        assert_eq!(by_width, ["4.7e-4", "5e-3", "2.1e-3", "8e-4", "4.7e-4"]);
        assert_eq!(rate(2, &training, &lora, Some(2048)), "5.1e-4");
        let strong = LoraSettings { alpha: 64.0, ..LoraSettings::default() };
        assert_eq!(rate(1, &training, &strong, Some(2048)), "2e-4");
        let stabilised = LoraSettings { use_rslora: true, rank: 16, ..LoraSettings::default() };
        assert_eq!(rate(1, &training, &stabilised, Some(2048)), "2e-4");
        let higher = LoraSettings { rank: 64, ..LoraSettings::default() };
        assert_eq!(rate(1, &training, &higher, Some(2048)), "8e-4");
        let mut long = TrainingSettings::default();
        long.stage1.iterations = 10_000;
        assert_eq!(rate(1, &long, &lora, Some(2048)), "3.2e-4");
    }
}
