//! What selection costs a sample: `selection_cost [SAMPLES] [CHUNK]`, nanoseconds per candidate of each policy.
#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::time::Instant;

use greentune_ast_sparsity::{
    Needs, Observation, POLICIES, Progress, Selected, SelectionError, Selector, Settings,
};

const EPOCHS: usize = 20;

#[allow(clippy::print_stdout)]
fn main() -> Result<(), SelectionError> {
    let mut arguments = std::env::args().skip(1).map_while(|argument| argument.parse().ok());
    let samples: usize = arguments.next().unwrap_or(50_000);
    let chunk: usize = arguments.next().unwrap_or(128);
    println!("{samples} samples, chunks of {chunk}, {EPOCHS} epochs: ns per candidate");
    for policy in POLICIES {
        let mut selector = Selector::new(&Settings { policy: policy.to_owned(), ..Settings::new(samples) })?;
        let start = Instant::now();
        for epoch in 0..EPOCHS {
            train_epoch(&mut selector, samples, chunk, epoch)?;
        }
        let each = start.elapsed().as_nanos() as f64 / (samples * EPOCHS) as f64;
        println!("{policy:10} {each:7.1}");
    }
    Ok(())
}

/// An epoch in which training is free.
fn train_epoch(
    selector: &mut Selector,
    samples: usize,
    chunk: usize,
    epoch: usize,
) -> Result<(), SelectionError> {
    let needs = selector.start_epoch(Progress { epoch, epochs: EPOCHS })?;
    let (mut ids, mut told): (Vec<usize>, Vec<Observation>) = (Vec::new(), Vec::new());
    let mut selected: Vec<Selected> = Vec::new();
    for first in (0..samples).step_by(chunk) {
        ids.clear();
        ids.extend(first..(first + chunk).min(samples));
        told.clear();
        if needs == Needs::Fresh {
            told.extend(ids.iter().map(|&id| observation(id)));
        }
        selected.clear();
        selector.select(&ids, &told, &mut selected)?;
        ids.clear();
        ids.extend(selected.iter().map(|sample| sample.id));
        told.clear();
        told.extend(ids.iter().map(|&id| observation(id)));
        selector.observe(&ids, &told)?;
    }
    Ok(())
}

/// A loss in no order.
fn observation(id: usize) -> Observation {
    let loss = (id.wrapping_mul(2_654_435_761) % 10_007) as f32 / 2000.0;
    Observation { loss, entropy: 1.0 }
}
