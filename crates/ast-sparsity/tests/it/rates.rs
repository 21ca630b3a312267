//! How many samples are selected.

use greentune_ast_sparsity::{Observation, Progress, Selector, Settings};
use proptest::prelude::*;

use super::{settings, train_epoch};

/// Scores of a batch at a step.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Uniform,
    Exponential,
    /// Most far below the others.
    Bimodal,
    /// So many zeros, and the rest spread.
    Zeros(f32),
    /// Five values.
    Steps,
    Constant,
}

/// What happens to the scores over time.
#[derive(Clone, Copy, Debug)]
struct Shift {
    shape: Shape,
    /// Scale from the first disturbance on.
    jump: f32,
    /// Growth per batch.
    drift: f32,
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Uniform),
        Just(Shape::Exponential),
        Just(Shape::Bimodal),
        (0.1..0.95f32).prop_map(Shape::Zeros),
        Just(Shape::Steps),
        Just(Shape::Constant),
    ]
}

fn shift() -> impl Strategy<Value = Shift> {
    (shape(), -1.0..1.0f32, -0.01..0.01f32).prop_map(|(shape, jump, drift)| Shift {
        shape,
        jump: 10f32.powf(jump),
        drift: 1.0 + drift,
    })
}

impl Shift {
    fn loss(self, unit: f32, batch: usize, jumped: bool) -> f32 {
        let shaped = match self.shape {
            Shape::Uniform => unit,
            Shape::Exponential => -(1.0 - unit).ln(),
            Shape::Bimodal => {
                if unit < 0.7 {
                    0.01 + unit * 0.01
                } else {
                    5.0 + unit
                }
            }
            Shape::Zeros(share) => (unit - share).max(0.0),
            Shape::Steps => (unit * 5.0).floor(),
            Shape::Constant => 1.0,
        };
        shaped * self.drift.powf(batch as f32) * if jumped { self.jump } else { 1.0 }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// 200 batches after the scores jumped and changed their shape, the rate of the next 200 is within 2 points.
    #[test]
    fn the_quantile_holds_any_rate_on_any_scores(
        target in 0.05..=0.95f64, size in prop_oneof![Just(64usize), Just(128)],
        before in shift(), after in shift(), seed in 0..1000u64,
    ) {
        let mut selector =
            Selector::new(&Settings { seed, ..settings("quantile", size, target) }).unwrap();
        selector.start_epoch(Progress { epoch: 0, epochs: 1 }).unwrap();
        let candidates: Vec<usize> = (0..size).collect();
        let mut random = seed;
        let mut unit = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 40) as f32 / (1u64 << 24) as f32
        };
        let mut selected = Vec::new();
        for batch in 0..500 {
            let shift = if batch < 100 { before } else { after };
            let fresh: Vec<Observation> = (0..size)
                .map(|_| shift.loss(unit(), batch, batch >= 100))
                .map(|loss| Observation { loss, entropy: 0.0 })
                .collect();
            if batch == 300 {
                selected.clear();
            }
            selector.select(&candidates, &fresh, &mut selected).unwrap();
        }
        let rate = selected.len() as f64 / (200 * size) as f64;
        prop_assert!((rate - target).abs() < 0.02, "{rate} of {target}");
    }

    /// The mean over all epochs, the full ones at the end among them, is the target.
    #[test]
    fn planned_policies_spend_the_budget_and_no_more(
        target in 0.05..=1.0f64, samples in 50..600usize, epochs in 1..25usize, seed in 0..1000u64,
    ) {
        for (policy, annealing) in [("random", None), ("ast", None), ("ast", Some(0.125))] {
            let settings = Settings { seed, annealing_share: annealing, ..settings(policy, samples, target) };
            let mut selector = Selector::new(&settings).unwrap();
            for epoch in 0..epochs {
                train_epoch(&mut selector, samples, Progress { epoch, epochs }, 64);
            }
            let off = selector.accounting().selected as f64 - target * (samples * epochs) as f64;
            prop_assert!(off.abs() <= 1.0, "{policy} is {off} samples off");
        }
    }
}

/// Scores that only fall lie below all of the past: the level learns where, so that nothing has to be made up for.
#[test]
fn the_level_of_the_quantile_learns_a_drift() {
    for (drift, reached) in [(0.9956f32, 0.9..1.0), (1.0044, 0.0..0.01)] {
        let mut selector = Selector::new(&settings("quantile", 64, 0.05)).unwrap();
        selector.start_epoch(Progress { epoch: 0, epochs: 1 }).unwrap();
        let ids: Vec<usize> = (0..64).collect();
        for batch in 0..3000 {
            let fresh = vec![Observation { loss: drift.powi(batch), entropy: 0.0 }; 64];
            selector.select(&ids, &fresh, &mut Vec::new()).unwrap();
        }
        let level = selector.snapshot().numbers["level"];
        assert!(reached.contains(&level), "{level} for scores that grow {drift}-fold");
    }
}

#[test]
fn random_takes_every_sample_equally_often_and_none_twice_in_an_epoch() {
    let samples = 101;
    let mut selector = Selector::new(&settings("random", samples, 0.37)).unwrap();
    let mut taken = vec![0; samples];
    for epoch in 0..23 {
        let selected = train_epoch(&mut selector, samples, Progress { epoch, epochs: 23 }, 10);
        let mut ids: Vec<usize> = selected.iter().map(|sample| sample.id).collect();
        for &id in &ids {
            taken[id] += 1;
        }
        ids.sort_unstable();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        let (least, most) = (taken.iter().min().unwrap(), taken.iter().max().unwrap());
        assert!(most - least <= 1, "{least} to {most} times");
    }
}

#[test]
fn infobatch_prunes_half_of_what_is_below_the_mean_and_ends_in_full() {
    let samples = 1000;
    let mut selector = Selector::new(&settings("infobatch", samples, 0.4)).unwrap();
    let mut losses = vec![3.0f32; samples];
    for epoch in 0..16 {
        let mean = losses.iter().sum::<f32>() / samples as f32;
        let below = losses.iter().filter(|loss| **loss < mean).count();
        let selected = train_epoch(&mut selector, samples, Progress { epoch, epochs: 16 }, 100);
        // δ·16 = 14 epochs are pruned.
        let due = if epoch < 14 { samples - below + below / 2 } else { samples };
        assert_eq!(selected.len(), due, "epoch {epoch}");
        let pruned = epoch < 14;
        for sample in &selected {
            let rescaled = pruned && losses[sample.id] < mean;
            assert_eq!(sample.weight, if rescaled { 2.0 } else { 1.0 });
        }
        for sample in selected {
            losses[sample.id] = super::observation(sample.id, epoch).loss;
        }
    }
}

#[test]
fn infobatch_reaches_a_target_within_its_reach() {
    let (samples, epochs) = (2000, 24);
    let toward = |target| {
        let settings = Settings { prune_probability: None, ..settings("infobatch", samples, target) };
        let mut selector = Selector::new(&settings).unwrap();
        let rates: Vec<f64> = (0..epochs)
            .map(|epoch| train_epoch(&mut selector, samples, Progress { epoch, epochs }, 100).len() as f64)
            .map(|selected| selected / samples as f64)
            .collect();
        // The first epoch knows no losses, and the last three are full.
        rates[1..21].iter().sum::<f64>() / 20.0
    };
    assert!((toward(0.7) - (0.7 * 24.0 - 3.0) / 21.0).abs() < 0.01);
    assert!(toward(0.1) > 0.15, "out of reach: nine tenths of those below the mean is the most");
}
