//! The Rust side of the training benchmark (`just bench-train`): the same model, batches and adapter as
//! `fixtures/bench/torch_step.py`, the same JSON printed.
//!
//! `train_step MODEL BATCHES.json STEPS ADAPTER [q8|q4|f16|bf16] [recompute]`
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)] // a tool for developers
#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::{path::Path, time::Instant};

use burn::backend::{Autodiff, Flex, flex::FlexDevice};
use greentune_text_data::Example;
use greentune_trainer_burn::{
    model::{Adapters, Decoder, config, weights},
    ops::Packing,
    training::{
        optimizer::{Optimizer, OptimizerSettings, clip},
        step::{self, Activations, Trained, Weighted},
    },
};

/// As in the released binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LEARNING_RATE: f64 = 1e-3;
const WARMUP: usize = 2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, model, batches, steps, adapter, options @ ..] = arguments.as_slice() else {
        return Err("usage: train_step MODEL BATCHES.json STEPS ADAPTER [q8|q4|f16|bf16] [recompute]".into());
    };
    let has = |option: &str| options.iter().any(|given| given == option);
    let packing = [("q8", Packing::Q8), ("q4", Packing::Q4), ("f16", Packing::F16), ("bf16", Packing::Bf16)]
        .into_iter()
        .find_map(|(option, packing)| has(option).then_some(packing));
    let activations = if has("recompute") { Activations::Recomputed } else { Activations::Kept };
    let (started, empty) = (Instant::now(), peak_resident_mb());
    let batches: Vec<Vec<Example>> = batches_of(&serde_json::from_slice(&std::fs::read(batches)?)?);
    let config = config::read(Path::new(model))?;
    let weights = weights::load(Path::new(model), &config, packing, &FlexDevice)?;
    let decoder = Decoder::<Flex>::new(config, weights);
    let mut adapters = Adapters::load(Path::new(adapter), &decoder, &FlexDevice)?;
    let mut optimizer = Optimizer::new(&adapters.parameters, OptimizerSettings::default());
    let loaded = started.elapsed().as_secs_f64();
    let before = peak_resident_mb();
    let (mut seconds, mut losses) = (Vec::new(), Vec::new());
    for index in 0..steps.parse::<usize>()? {
        let begin = Instant::now();
        let batch = Weighted::whole(&batches[index % batches.len()]);
        let trained = Trained::Adapters(adapters.clone());
        let out = step::gradients::<Autodiff<Flex>>(&decoder, &trained, &[batch], activations, 0);
        let (gradients, _) = clip(out.gradients, 1.0);
        adapters.parameters = optimizer.update(&adapters.parameters, &gradients, LEARNING_RATE);
        losses.push(out.loss);
        seconds.push(begin.elapsed().as_secs_f64());
    }
    let mut counted: Vec<f64> = seconds.iter().skip(WARMUP).copied().collect();
    counted.sort_by(f64::total_cmp);
    let median = f64::midpoint(counted[(counted.len() - 1) / 2], counted[counted.len() / 2]);
    let out = serde_json::json!({
        "seconds_to_load": loaded,
        "seconds": seconds,
        "losses": losses,
        "median_seconds": median,
        "resident_without_model_mb": empty,
        "peak_resident_mb": peak_resident_mb(),
        "peak_resident_before_training_mb": before,
        "trainable_parameters": adapters.parameters.count(),
    });
    println!("{out}");
    Ok(())
}

/// The batches of `make_batches.py`: labels are −100 on the first part of a row.
fn batches_of(json: &serde_json::Value) -> Vec<Vec<Example>> {
    let row = |ids: &serde_json::Value, labels: &serde_json::Value| {
        let masked =
            labels.as_array().unwrap().iter().take_while(|label| label.as_i64() == Some(-100)).count();
        let tokens: Vec<u32> = ids.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let labels = masked..tokens.len();
        Example::new(tokens, [labels])
    };
    let rows = |batch: &serde_json::Value| {
        let (ids, labels) = (batch["input_ids"].as_array().unwrap(), batch["labels"].as_array().unwrap());
        ids.iter().zip(labels).map(|(ids, labels)| row(ids, labels)).collect()
    };
    json["batches"].as_array().unwrap().iter().map(rows).collect()
}

/// Linux: the high-water mark of resident memory.
fn peak_resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0 / 1e6
}
