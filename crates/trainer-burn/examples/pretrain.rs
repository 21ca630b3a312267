//! Trains every weight of a fresh decoder on text, with this crate's own steps: how the bundled base model was made
//! (`just base-model`).
//!
//! `pretrain FOLDER CORPUS STEPS`: FOLDER has config.json and tokenizer.json and gets model.safetensors (f16);
//! CORPUS is a JSONL file of `{"text": …}` documents.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)] // a tool for developers
#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::{collections::BTreeMap, path::Path, time::Instant};

use burn::backend::{Autodiff, Flex, flex::FlexDevice};
use greentune_core_config::settings::{Scheduler, Stage2Settings};
use greentune_text_data::{Example, Tokenizer};
use greentune_trainer_burn::{
    evaluate,
    model::{Decoder, ModelConfig, Parameters, config, parameters::HostTensor},
    training::{
        optimizer::{Optimizer, OptimizerSettings, clip},
        schedule::learning_rate,
        step::{self, Activations, Trained, Weighted},
    },
};
use half::f16;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use safetensors::{Dtype, tensor::TensorView};

const SEQUENCE: usize = 128;
const BATCH: usize = 24;
const PEAK_LEARNING_RATE: f64 = 3e-3;
const SEED: u64 = 20_261_122;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, corpus, steps] = arguments.as_slice() else {
        return Err("usage: pretrain FOLDER CORPUS STEPS".into());
    };
    let folder = Path::new(folder);
    let sequences = sequences(&Tokenizer::load(folder)?, &std::fs::read_to_string(corpus)?)?;
    let (held_out, train) = sequences.split_at(64);
    println!("{} sequences of {SEQUENCE} tokens", train.len());
    let config = config::read(folder)?;
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut decoder = Decoder::<Flex>::new(config.clone(), fresh(&config, &mut rng).into());
    println!("{} parameters", decoder.weights.full.count());
    let mut optimizer = Optimizer::new(
        &decoder.weights.full,
        OptimizerSettings { weight_decay: 0.01, ..OptimizerSettings::default() },
    );
    let schedule = Stage2Settings {
        iterations: steps.parse()?,
        learning_rate: PEAK_LEARNING_RATE,
        warmup_steps: 50,
        scheduler: Scheduler::Cosine,
        ..Stage2Settings::default()
    };
    let begin = Instant::now();
    for index in 0..schedule.iterations {
        let batch = Weighted::whole((0..BATCH).map(|_| &train[rng.next_u64() as usize % train.len()]));
        let out =
            step::gradients::<Autodiff<Flex>>(&decoder, &Trained::AllWeights, &[batch], Activations::Kept, 0);
        let (gradients, norm) = clip(out.gradients, 1.0);
        let rate = learning_rate(&schedule, index);
        decoder.weights.full = optimizer.update(&decoder.weights.full, &gradients, rate);
        if index % 25 == 0 || index + 1 == schedule.iterations {
            let seconds = begin.elapsed().as_secs_f64();
            println!("step {index}: loss {:.4}, norm {norm:.2}, rate {rate:.2e}, {seconds:.0} s", out.loss);
        }
        if index % 250 == 249 || index + 1 == schedule.iterations {
            let scores = evaluate::score(&decoder, None, held_out);
            println!("held out: loss {:.4}, accuracy {:.3}", scores.loss, scores.token_accuracy);
            save(&folder.join("model.safetensors"), &config, &decoder.weights.full)?;
        }
    }
    Ok(())
}

/// The documents one after another, each ended, cut into sequences.
fn sequences(tokenizer: &Tokenizer, corpus: &str) -> Result<Vec<Example>, Box<dyn std::error::Error>> {
    let mut stream = Vec::new();
    for line in corpus.lines() {
        let document: serde_json::Value = serde_json::from_str(line)?;
        stream.extend(tokenizer.encode(document["text"].as_str().ok_or("a document without text")?)?);
        stream.push(tokenizer.eos_id());
    }
    let example = |tokens: &[u32]| Example::new(tokens.to_vec(), [1..tokens.len()]);
    Ok(stream.chunks_exact(SEQUENCE + 1).map(example).collect())
}

/// Weights as transformers initialises them: normal with deviation 0.02, norms 1.
fn fresh(config: &ModelConfig, rng: &mut ChaCha8Rng) -> Parameters<Flex> {
    let mut uniform = || (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.0;
    let mut normal = || (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
    let host: BTreeMap<String, HostTensor> = config
        .tensors()
        .into_iter()
        .map(|(name, shape)| {
            let tensor = match shape.as_slice() {
                [n] => HostTensor { shape: [1, *n], values: vec![1.0; *n] },
                other => HostTensor {
                    shape: [other[0], other[1]],
                    values: (0..other[0] * other[1]).map(|_| (normal() * 0.02) as f32).collect(),
                },
            };
            (name, tensor)
        })
        .collect();
    Parameters::from_host(host, &FlexDevice)
}

/// Writes the weights as f16 with the shapes that the architecture states.
fn save(
    path: &Path,
    config: &ModelConfig,
    weights: &Parameters<Flex>,
) -> Result<(), Box<dyn std::error::Error>> {
    let host = weights.to_host();
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = config
        .tensors()
        .into_iter()
        .map(|(name, shape)| {
            let bytes = host[&name].values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let mut views = Vec::new();
    for (name, shape, bytes) in &bytes {
        views.push((name.as_str(), TensorView::new(Dtype::F16, shape.clone(), bytes)?));
    }
    let metadata = [(String::from("format"), String::from("pt"))].into();
    std::fs::write(path, safetensors::serialize(views, Some(metadata))?)?;
    Ok(())
}
