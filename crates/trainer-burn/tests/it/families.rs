//! Every architecture against transformers and PEFT: what `fixtures/reference/make_families.py` recorded.

use std::path::{Path, PathBuf};

use burn::backend::{Autodiff, Flex, flex::FlexDevice};
use greentune_core_config::model::ARCHITECTURES;
use greentune_text_data::Example;
use greentune_trainer_burn::{
    model::{Adapters, Batch, Decoder, config, parameters::HostTensor, weights},
    ops::Packing,
    training::step::{self, Activations, StepGradients, Trained, Weighted},
};

use crate::reference::{self, Expected, worst};

fn families() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference/families");
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

struct Family {
    name: String,
    decoder: Decoder<Flex>,
    adapters: Adapters<Flex>,
    expected: Expected,
    examples: Vec<Example>,
}

impl Family {
    fn load(folder: &Path, packing: Option<Packing>) -> Self {
        let config = config::read(folder).unwrap();
        let weights = weights::load(folder, &config, packing, &FlexDevice).unwrap();
        let decoder = Decoder::new(config, weights);
        let expected = reference::expected_in(&folder.join("expected.safetensors"));
        Self {
            name: folder.file_name().unwrap().to_string_lossy().into_owned(),
            adapters: Adapters::load(&folder.join("adapter"), &decoder, &FlexDevice).unwrap(),
            examples: reference::examples_of(&expected),
            decoder,
            expected,
        }
    }

    fn gradients(&self, activations: Activations) -> StepGradients<Flex> {
        let trained = Trained::Adapters(self.adapters.clone());
        let batch = vec![Weighted::whole(&self.examples)];
        step::gradients::<Autodiff<Flex>>(&self.decoder, &trained, &batch, activations, 3)
    }
}

#[test]
fn every_architecture_has_a_reference() {
    let covered: Vec<_> =
        families().iter().map(|folder| config::read(folder).unwrap().architecture.model_type).collect();
    for architecture in ARCHITECTURES {
        assert!(covered.contains(&architecture.model_type), "{} has none", architecture.model_type);
    }
}

#[test]
fn logits_equal_transformers_with_and_without_adapters() {
    for folder in families() {
        let family = Family::load(&folder, None);
        let batch = Batch::of(family.examples.iter().map(|example| example.tokens.as_slice()));
        for (name, adapters) in [("logits_base", None), ("logits_adapter", Some(&family.adapters))] {
            let logits = family.decoder.logits(family.decoder.forward(&batch, adapters));
            let logits: Vec<f32> = logits.into_data().iter::<f32>().collect();
            let difference = reference::worst_logits(&logits, &family.expected[name], &family.examples);
            assert!(difference < 1e-4, "{}, {name}: largest difference {difference}", family.name);
        }
    }
}

#[test]
fn adapter_gradients_equal_peft_however_activations_are_kept() {
    for folder in families() {
        let family = Family::load(&folder, None);
        for activations in [Activations::Kept, Activations::Recomputed] {
            let gradients = family.gradients(activations).gradients.to_host();
            let of_reference = family.expected.keys().filter(|name| name.starts_with("gradient."));
            assert_eq!(of_reference.count(), gradients.len(), "{}", family.name);
            for (name, gradient) in gradients {
                let expected = &family.expected[&format!("gradient.base_model.model.{name}")].1;
                let scale = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
                let relative = worst(&gradient.values, expected) / scale;
                assert!(relative < 1e-3, "{}, {name}, {activations:?}: {relative}", family.name);
            }
        }
    }
}

#[test]
fn recomputed_activations_give_the_same_gradients_bit_for_bit() {
    for folder in families() {
        let mut family = Family::load(&folder, None);
        family.adapters.settings.dropout = 0.3;
        let (kept, recomputed) =
            (family.gradients(Activations::Kept), family.gradients(Activations::Recomputed));
        assert_eq!(kept.loss.to_bits(), recomputed.loss.to_bits(), "{}", family.name);
        assert_eq!(kept.gradients.to_host(), recomputed.gradients.to_host(), "{}", family.name);
    }
}

#[test]
fn generation_token_by_token_equals_the_forward_pass_of_the_whole() {
    for folder in families() {
        let family = Family::load(&folder, None);
        let tokens = &family.examples[0].tokens;
        let batch = Batch::of([tokens.as_slice()]);
        let whole = family.decoder.forward(&batch, Some(&family.adapters));
        let mut cache = family.decoder.cache();
        let mut rows = Vec::new();
        for part in [&tokens[..11], &tokens[11..12], &tokens[12..]] {
            let hidden = family.decoder.extend(part, &mut cache, Some(&family.adapters));
            rows.extend(hidden.into_data().iter::<f32>().map(f64::from));
        }
        let whole: Vec<f32> = whole.into_data().iter::<f32>().collect();
        let difference = worst(&whole, &rows);
        assert!(difference < 1e-4, "{}: {difference}", family.name);
    }
}

#[test]
fn weights_stored_as_halves_lose_nothing_when_they_are_kept_as_halves() {
    for folder in families() {
        let (full, packed) = (Family::load(&folder, None), Family::load(&folder, Some(Packing::F16)));
        let (a, b) = (full.gradients(Activations::Kept), packed.gradients(Activations::Kept));
        assert!((a.loss - b.loss).abs() < 1e-6, "{}: {} is not {}", full.name, b.loss, a.loss);
        for (a, b) in hosts(&a).zip(hosts(&b)) {
            let scale = a.values.iter().fold(1e-6f32, |largest, value| largest.max(value.abs()));
            for (a, b) in a.values.iter().zip(&b.values) {
                assert!((a - b).abs() / scale < 1e-4, "{}: {b} is not {a}", full.name);
            }
        }
    }
}

fn hosts(step: &StepGradients<Flex>) -> impl Iterator<Item = HostTensor> {
    step.gradients.to_host().into_values()
}
