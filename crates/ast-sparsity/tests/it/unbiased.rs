//! Weights that keep the expected gradient, and no sample forgotten.

use greentune_ast_sparsity::{Observation, Progress, Selector, Settings};

use super::{settings, train_epoch};

/// The mean over seeds of what a sample weighs in one epoch, for samples of unequal remembered losses.
fn mean_weights(policy: &str, seeds: u64) -> Vec<f64> {
    let samples = 60;
    let mut sums = vec![0.0; samples];
    for seed in 0..seeds {
        let mut selector = Selector::new(&Settings { seed, ..settings(policy, samples, 0.4) }).unwrap();
        let ids: Vec<usize> = (0..samples).collect();
        selector.start_epoch(Progress { epoch: 0, epochs: 40 }).unwrap();
        let losses: Vec<Observation> =
            ids.iter().map(|&id| Observation { loss: (id * id) as f32 / 1000.0, entropy: 0.1 }).collect();
        selector.observe(&ids, &losses).unwrap();
        selector.start_epoch(Progress { epoch: 1, epochs: 40 }).unwrap();
        let mut selected = Vec::new();
        selector.select(&ids, &[], &mut selected).unwrap();
        for sample in selected {
            sums[sample.id] += f64::from(sample.weight) / seeds as f64;
        }
    }
    sums
}

#[test]
fn every_sample_has_the_same_expected_weight() {
    for (policy, expected) in [("infobatch", 1.0), ("random", 0.4)] {
        let weights = mean_weights(policy, 12_000);
        for (id, weight) in weights.iter().enumerate() {
            assert!((weight - expected).abs() < 0.15 * expected, "{policy}: {weight} of sample {id}");
        }
    }
}

/// Frequencies between a twelfth and 1, and yet every sample counts the same in the end.
#[test]
fn wholly_corrected_samples_weigh_the_same_over_training() {
    let samples = 400;
    let settings = Settings { correction: 1.0, max_age: 100, ..settings("ast", samples, 0.3) };
    let mut selector = Selector::new(&settings).unwrap();
    let ids: Vec<usize> = (0..samples).collect();
    let losses: Vec<Observation> =
        ids.iter().map(|&id| Observation { loss: (id as f32 / 100.0).powi(3), entropy: 0.0 }).collect();
    let (mut weights, mut times) = (vec![0.0; samples], vec![0; samples]);
    for epoch in 0..400 {
        selector.start_epoch(Progress { epoch, epochs: 4000 }).unwrap();
        let mut selected = Vec::new();
        selector.select(&ids, &[], &mut selected).unwrap();
        selector.observe(&ids, &losses).unwrap();
        for sample in selected {
            weights[sample.id] += f64::from(sample.weight);
            times[sample.id] += 1;
        }
    }
    assert!(times[399] > 9 * times[0], "{} and {} times", times[0], times[399]);
    let mean = weights.iter().sum::<f64>() / samples as f64;
    for (id, weight) in weights.iter().enumerate() {
        assert!((weight / mean - 1.0).abs() < 0.1, "sample {id} weighs {weight} of {mean}");
    }
}

/// The law behind it, exactly: where no weight is cut, waiting is paid in full when a sample comes.
#[test]
fn a_sample_has_been_paid_for_all_its_waiting_when_it_comes() {
    let (samples, rate, epochs) = (400, 0.3, 400);
    let mut selector = Selector::new(&settings("ast", samples, rate)).unwrap();
    let ids: Vec<usize> = (0..samples).collect();
    let losses: Vec<Observation> =
        ids.iter().map(|&id| Observation { loss: (id as f32 / 100.0).powi(3), entropy: 0.0 }).collect();
    let (mut weights, mut last) = (vec![0.0; samples], vec![0; samples]);
    for epoch in 0..epochs {
        selector.start_epoch(Progress { epoch, epochs }).unwrap();
        let mut selected = Vec::new();
        selector.select(&ids, &[], &mut selected).unwrap();
        selector.observe(&ids, &losses).unwrap();
        for sample in selected {
            weights[sample.id] += f64::from(sample.weight);
            last[sample.id] = epoch + 1;
        }
    }
    for (id, (weight, &last)) in weights.iter().zip(&last).enumerate() {
        let more = weight - rate * f64::from(last as u32);
        assert!((-1e-3..2.0).contains(&more), "sample {id} weighs {weight} and came last in epoch {last}");
    }
}

#[test]
fn high_losses_come_more_often_and_no_weight_is_above_four() {
    let samples = 2000;
    let mut selector = Selector::new(&settings("ast", samples, 0.3)).unwrap();
    let (mut hard, mut weights) = (0usize, Vec::new());
    for epoch in 0..20 {
        let selected = train_epoch(&mut selector, samples, Progress { epoch, epochs: 100 }, 128);
        if epoch >= 10 {
            hard += selected.iter().filter(|sample| super::observation(sample.id, 0).loss > 1.0).count();
            weights.extend(selected.iter().map(|sample| sample.weight));
        }
    }
    let all = (0..samples).filter(|&id| super::observation(id, 0).loss > 1.0).count() * 10;
    assert!(hard as f64 > 0.5 * all as f64, "{hard} of {all} hard ones at a rate of 0.3");
    assert!(weights.iter().all(|weight| *weight <= 4.0 + 1e-4));
}

#[test]
fn no_sample_waits_longer_than_the_bound_on_age() {
    let (samples, max_age) = (1000, 6);
    let mut selector = Selector::new(&Settings { max_age, ..settings("ast", samples, 0.4) }).unwrap();
    // The epoch, from 1, that trained on a sample last.
    let mut last = vec![0; samples];
    for epoch in 0..40 {
        let selected = train_epoch(&mut selector, samples, Progress { epoch, epochs: 100 }, 100);
        for sample in selected {
            last[sample.id] = epoch + 1;
        }
        let oldest = last.iter().map(|last| epoch + 1 - last).max().unwrap();
        assert!(oldest < max_age, "{oldest} epochs without training after epoch {epoch}");
    }
    let counted = selector.accounting();
    assert!(counted.forced > 0 && counted.forced_share() <= 0.5, "{}", counted.forced_share());
}

/// Wrong labels keep their loss: one sample in ten is a hundred times above the others, and yet does not take over.
#[test]
fn samples_that_never_learn_do_not_take_the_budget() {
    let samples = 1000;
    let mut selector = Selector::new(&Settings { max_age: 1000, ..settings("ast", samples, 0.2) }).unwrap();
    let ids: Vec<usize> = (0..samples).collect();
    let mut noisy = 0;
    let mut total = 0;
    for epoch in 0..10 {
        selector.start_epoch(Progress { epoch, epochs: 1000 }).unwrap();
        let mut selected = Vec::new();
        selector.select(&ids, &[], &mut selected).unwrap();
        let told =
            |id: usize| Observation { loss: if id.is_multiple_of(50) { 100.0 } else { 1.0 }, entropy: 0.0 };
        let observations: Vec<Observation> = ids.iter().map(|&id| told(id)).collect();
        selector.observe(&ids, &observations).unwrap();
        if epoch > 0 {
            noisy += selected.iter().filter(|sample| sample.id.is_multiple_of(50)).count();
            total += selected.len();
        }
    }
    let share = noisy as f64 / total as f64;
    assert!(share < 0.03, "{share} of training for 2 % of the samples");
}
