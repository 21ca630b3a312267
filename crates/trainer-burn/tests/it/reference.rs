//! Against PyTorch, transformers and PEFT: what `fixtures/reference/make_reference.py` recorded.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use burn::backend::{Autodiff, Flex, flex::FlexDevice};
use greentune_text_data::Example;
use greentune_trainer_burn::{
    evaluate,
    model::{Adapters, Batch, Decoder, config, weights},
    training::{
        optimizer::{Optimizer, OptimizerSettings, clip},
        step::{self, Activations, Trained, Weighted},
    },
};
use safetensors::{Dtype, SafeTensors};

const PREFIX: &str = "base_model.model.";

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference")
}

/// A reference's tensors, shape and values: integers and floats alike as f64.
pub type Expected = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

fn expected() -> Expected {
    expected_in(&fixtures().join("expected.safetensors"))
}

pub fn expected_in(file: &Path) -> Expected {
    let bytes = std::fs::read(file).unwrap();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    all.tensors()
        .into_iter()
        .map(|(name, view)| {
            let values = match view.dtype() {
                Dtype::I64 => {
                    view.data().as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect()
                }
                Dtype::F32 => {
                    view.data().as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect()
                }
                other => panic!("unexpected type {other:?}"),
            };
            (name, (view.shape().to_vec(), values))
        })
        .collect()
}

/// Steps of each thread. Without `only_graph` these steps showed no fault either; burn's own operations did, in 3 of 800 runs
/// of `oracle.rs` on a busy machine.
const STEPS_AT_ONCE: usize = 200;

fn numbers() -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("expected.json")).unwrap()).unwrap()
}

fn decoder() -> Decoder<Flex> {
    let folder = fixtures().join("olmo2-tiny");
    let config = config::read(&folder).unwrap();
    let weights = weights::load(&folder, &config, None, &FlexDevice).unwrap();
    Decoder::new(config, weights)
}

fn adapters(decoder: &Decoder<Flex>) -> Adapters<Flex> {
    Adapters::load(&fixtures().join("olmo2-tiny-lora"), decoder, &FlexDevice).unwrap()
}

fn examples() -> Vec<Example> {
    examples_of(&expected())
}

/// The reference's batch, without its padding.
pub fn examples_of(all: &Expected) -> Vec<Example> {
    let (shape, ids) = &all["input_ids"];
    let (mask, labels) = (&all["attention_mask"].1, &all["labels"].1);
    (0..shape[0])
        .map(|row| {
            let range = row * shape[1]..(row + 1) * shape[1];
            let length = mask[range.clone()].iter().filter(|value| **value > 0.5).count();
            let row = range.start..range.start + length;
            let tokens: Vec<u32> = ids[row.clone()].iter().map(|id| *id as u32).collect();
            let masked = labels[row].iter().position(|label| *label >= 0.0).unwrap();
            let labels = masked..tokens.len();
            Example::new(tokens, [labels])
        })
        .collect()
}

pub fn worst(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max)
}

/// The largest difference between our logits, sequence after sequence, and the reference's padded ones.
pub fn worst_logits(logits: &[f32], (shape, values): &(Vec<usize>, Vec<f64>), examples: &[Example]) -> f64 {
    let (columns, mut start, mut largest) = (shape[2], 0, 0.0f64);
    for (row, example) in examples.iter().enumerate() {
        let length = example.tokens.len() * columns;
        let reference = &values[row * shape[1] * columns..][..length];
        largest = largest.max(worst(&logits[start..start + length], reference));
        start += length;
    }
    largest
}

#[test]
fn threads_that_train_at_once_get_the_gradients_that_each_gets_alone() {
    let (decoder, examples) = (decoder(), examples());
    let trained = Trained::Adapters(adapters(&decoder));
    let batch = [Weighted::whole(&examples)];
    let step = || step::gradients::<Autodiff<Flex>>(&decoder, &trained, &batch, Activations::Kept, 0);
    let alone = step().gradients.to_host();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..STEPS_AT_ONCE {
                    assert!(step().gradients.to_host() == alone);
                }
            });
        }
    });
}

#[test]
fn logits_equal_the_reference_with_and_without_adapters() {
    let (decoder, all, examples) = (decoder(), expected(), examples());
    let adapters = adapters(&decoder);
    let batch = Batch::of(examples.iter().map(|example| example.tokens.as_slice()));
    for (name, adapters) in [("logits_base", None), ("logits_adapter", Some(&adapters))] {
        let logits = decoder.logits(decoder.forward(&batch, adapters));
        let logits: Vec<f32> = logits.into_data().iter::<f32>().collect();
        let difference = worst_logits(&logits, &all[name], &examples);
        assert!(difference < 1e-4, "{name}: largest difference {difference}");
    }
}

#[test]
fn gradients_and_twenty_adamw_steps_equal_the_reference() {
    let (decoder, all, numbers) = (decoder(), expected(), numbers());
    let (examples, mut adapters) = (examples(), adapters(&decoder));
    let batch = vec![Weighted::whole(&examples)];
    let mut optimizer = Optimizer::new(
        &adapters.parameters,
        OptimizerSettings { weight_decay: 0.01, ..OptimizerSettings::default() },
    );
    for (index, loss) in numbers["losses"].as_array().unwrap().iter().enumerate() {
        let trained = Trained::Adapters(adapters.clone());
        let out = step::gradients::<Autodiff<Flex>>(&decoder, &trained, &batch, Activations::Kept, 0);
        let reference = loss.as_f64().unwrap();
        assert!((out.loss - reference).abs() < 1e-3, "step {index}: {} is not {reference}", out.loss);
        if index == 0 {
            assert!((out.loss - reference).abs() < 1e-5);
            for (name, gradient) in out.gradients.to_host() {
                let expected = &all[&format!("gradient.{PREFIX}{name}")].1;
                let scale = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
                let relative = worst(&gradient.values, expected) / scale;
                assert!(relative < 1e-3, "{name}: relative difference {relative}");
            }
        }
        let (gradients, norm) = clip(out.gradients, 1.0);
        let reference = numbers["gradient_norms"][index].as_f64().unwrap();
        assert!((norm - reference).abs() / reference < 1e-3, "norm at {index}: {norm} is not {reference}");
        adapters.parameters = optimizer.update(&adapters.parameters, &gradients, 1e-3);
    }
    for (name, tensor) in adapters.parameters.to_host() {
        let expected = &all[&format!("trained.{PREFIX}{name}")].1;
        // Adam divides by the root of squared gradients: where those are near 0, rounding moves a weight further.
        let difference = worst(&tensor.values, expected);
        assert!(difference < 2e-3, "{name} after 20 steps: {difference}");
    }
    let after = evaluate::score(&decoder, Some(&adapters), &examples).loss;
    let reference = numbers["loss_after_training"].as_f64().unwrap();
    assert!((after - reference).abs() < 1e-3, "{after} is not {reference}");
}

#[test]
fn greedy_generation_equals_the_reference() {
    let (decoder, numbers) = (decoder(), numbers());
    let adapters = adapters(&decoder);
    let ids = |value: &serde_json::Value| -> Vec<u32> {
        value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    let prompt = ids(&numbers["generation"]["prompt"]);
    let expected = ids(&numbers["generation"]["tokens"]);
    let out = evaluate::generate(&decoder, Some(&adapters), &prompt, &[], expected.len());
    assert_eq!(out, expected);
}
