#![allow(missing_docs, clippy::float_cmp)]

mod accounting;
mod input;
mod own_policy;
mod rates;
mod resume;
mod sundew;
mod unbiased;

use greentune_ast_sparsity::{Needs, Observation, Progress, Selected, Selector, Settings};

/// Settings of a policy.
fn settings(policy: &str, samples: usize, target: f64) -> Settings {
    Settings { policy: policy.to_owned(), target_activation_rate: target, ..Settings::new(samples) }
}

/// A made-up loss of a sample in an epoch: skewed, falling, with its own share of chance.
fn observation(id: usize, epoch: usize) -> Observation {
    let mix = |key: u64| {
        let mut z = (key ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 29)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 32)) >> 40) as f32 / (1u64 << 24) as f32
    };
    let (own, now) = (mix(id as u64), mix(((id as u64) << 20) | epoch as u64));
    let loss = 3.0 * own.powi(4) * (1.0 + now) / (1.0 + epoch as f32 / 4.0);
    Observation { loss, entropy: loss.min(2.0) * 0.7 }
}

/// One epoch as a trainer drives it, in chunks of `chunk`; what was selected.
fn train_epoch(selector: &mut Selector, samples: usize, progress: Progress, chunk: usize) -> Vec<Selected> {
    let needs = selector.start_epoch(progress).unwrap();
    let order: Vec<usize> = (0..samples).map(|i| (i * 7919 + progress.epoch) % samples).collect();
    let mut all = Vec::new();
    for candidates in order.chunks(chunk) {
        all.extend(train_chunk(selector, needs, candidates, progress.epoch));
    }
    all
}

fn train_chunk(selector: &mut Selector, needs: Needs, candidates: &[usize], epoch: usize) -> Vec<Selected> {
    let told = |ids: &[usize]| -> Vec<Observation> { ids.iter().map(|&id| observation(id, epoch)).collect() };
    let fresh = if needs == Needs::Fresh { told(candidates) } else { Vec::new() };
    let mut selected = Vec::new();
    selector.select(candidates, &fresh, &mut selected).unwrap();
    let ids: Vec<usize> = selected.iter().map(|sample| sample.id).collect();
    selector.observe(&ids, &told(&ids)).unwrap();
    selected
}
