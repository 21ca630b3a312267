//! Where the adapters of a decoder come from and go to: fresh ones, and PEFT's files.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use burn::tensor::Tensor;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde_json::json;

use super::{
    adapters::{Adapters, LoraSettings, MAGNITUDE},
    config::module_path,
    decoder::Decoder,
    parameters::{HostTensor, Parameters},
    weights::{WeightFile, write_safetensors},
};
use crate::{durable, error::TrainError, ops::Ops};

/// PEFT's prefix of every tensor.
const PREFIX: &str = "base_model.model.";
const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG: &str = "adapter_config.json";

impl<B: Ops> Adapters<B> {
    /// Fresh adapters, which change nothing yet: A is drawn as PEFT does (Kaiming uniform, a = √5, which is
    /// uniform within ±1/√in), B is zero.
    /// DoRA's magnitudes are the norms of the base weight's rows.
    pub fn fresh(decoder: &Decoder<B>, settings: LoraSettings, seed: u64, device: &B::Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut host = BTreeMap::new();
        for (path, [out, input]) in adapted(decoder, &settings) {
            let bound = 1.0 / (input as f32).sqrt();
            let a = (0..settings.rank * input)
                .map(|_| (rng.next_u32() >> 8) as f32 / (1u32 << 24) as f32)
                .map(|uniform| (2.0 * uniform - 1.0) * bound)
                .collect();
            let b = vec![0.0; out * settings.rank];
            let (a, b) = (
                HostTensor { shape: [settings.rank, input], values: a },
                HostTensor { shape: [out, settings.rank], values: b },
            );
            host.insert(format!("{path}.lora_A.weight"), a);
            host.insert(format!("{path}.lora_B.weight"), b);
        }
        let mut parameters = Parameters::from_host(host, device);
        let squared_norms = squared_norms(decoder, &settings);
        for (path, squares) in &squared_norms {
            parameters.insert(format!("{path}.{MAGNITUDE}"), squares.clone().sqrt().transpose());
        }
        Self { settings, parameters, dropout_seed: None, squared_norms: Arc::new(squared_norms) }
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors`, each atomically.
    pub fn save(&self, folder: &Path, base_model: &str) -> Result<(), TrainError> {
        std::fs::create_dir_all(folder).map_err(TrainError::io(folder))?;
        let host = self.parameters.to_host();
        let tensors = host.iter().map(|(name, tensor)| {
            // PEFT keeps magnitudes as vectors.
            let shape = if name.ends_with(MAGNITUDE) { &tensor.shape[1..] } else { &tensor.shape };
            (format!("{PREFIX}{name}"), shape, tensor.values.as_slice())
        });
        write_safetensors(&folder.join(WEIGHTS), tensors)?;
        let config = json!({
            "auto_mapping": null,
            "base_model_name_or_path": base_model,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": number(self.settings.alpha),
            "lora_dropout": self.settings.dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.settings.rank,
            "target_modules": self.settings.target_modules,
            "task_type": "CAUSAL_LM",
            "use_dora": self.settings.use_dora,
            "use_rslora": self.settings.use_rslora,
        });
        durable::write(&folder.join(CONFIG), format!("{config:#}\n").as_bytes())
    }

    /// Reads adapters in PEFT's layout and checks that they fit the model.
    pub fn load(folder: &Path, decoder: &Decoder<B>, device: &B::Device) -> Result<Self, TrainError> {
        let path = folder.join(CONFIG);
        let broken = |message: String| TrainError::Checkpoint { path: path.clone(), message };
        let text = std::fs::read_to_string(&path).map_err(TrainError::io(&path))?;
        let json: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| broken(format!("not valid JSON: {error}")))?;
        let settings = LoraSettings {
            rank: json["r"].as_u64().filter(|r| *r > 0).ok_or_else(|| broken("`r` is missing".into()))?
                as usize,
            alpha: json["lora_alpha"].as_f64().ok_or_else(|| broken("`lora_alpha` is missing".into()))?,
            dropout: json["lora_dropout"].as_f64().unwrap_or(0.0),
            target_modules: serde_json::from_value(json["target_modules"].clone())
                .map_err(|error| broken(format!("`target_modules`: {error}")))?,
            use_rslora: json["use_rslora"].as_bool().unwrap_or(false),
            use_dora: json["use_dora"].as_bool().unwrap_or(false),
        };
        let file = WeightFile::open(&folder.join(WEIGHTS))?;
        let mut host = BTreeMap::new();
        for name in file.names() {
            let module = name.strip_prefix(PREFIX).unwrap_or(&name).to_owned();
            host.insert(module, file.matrix(&name)?);
        }
        check(&host, decoder, &settings).map_err(broken)?;
        let squared_norms = Arc::new(squared_norms(decoder, &settings));
        let parameters = Parameters::from_host(host, device);
        Ok(Self { settings, parameters, dropout_seed: None, squared_norms })
    }
}

/// The modules that get an adapter, with the shapes of their weights.
fn adapted<B: Ops>(
    decoder: &Decoder<B>,
    settings: &LoraSettings,
) -> impl Iterator<Item = (String, [usize; 2])> {
    let config = decoder.config();
    (0..config.num_hidden_layers).flat_map(move |layer| {
        settings.target_modules.iter().map(move |target| {
            let path = format!("model.layers.{layer}.{}", module_path(target));
            (path, config.projection_shape(target))
        })
    })
}

/// With DoRA: by module the squared norms of the base weight's rows.
fn squared_norms<B: Ops>(decoder: &Decoder<B>, settings: &LoraSettings) -> BTreeMap<String, Tensor<B, 2>> {
    let adapted = adapted(decoder, settings).filter(|_| settings.use_dora);
    adapted
        .map(|(path, _)| {
            let weight = decoder.weights.matrix(&format!("{path}.weight")).full();
            (path, (weight.clone() * weight).sum_dim(1))
        })
        .collect()
}

/// Checks that the tensors are those of the settings, in the model's shapes.
fn check<B: Ops>(
    host: &BTreeMap<String, HostTensor>,
    decoder: &Decoder<B>,
    settings: &LoraSettings,
) -> Result<(), String> {
    let mut expected = 0;
    for (path, [out, input]) in adapted(decoder, settings) {
        let magnitude = settings.use_dora.then(|| (MAGNITUDE.to_owned(), [1, out]));
        let pair = [
            (String::from("lora_A.weight"), [settings.rank, input]),
            (String::from("lora_B.weight"), [out, settings.rank]),
        ];
        for (name, shape) in pair.into_iter().chain(magnitude) {
            let name = format!("{path}.{name}");
            let found = host.get(&name).ok_or_else(|| format!("tensor `{name}` is missing"))?;
            if found.shape != shape {
                return Err(format!(
                    "tensor `{name}` has shape {:?}; the base model needs {shape:?}",
                    found.shape
                ));
            }
            expected += 1;
        }
    }
    if expected == host.len() {
        Ok(())
    } else {
        Err(format!("{} tensors are there; target_modules explains {expected} of them", host.len()))
    }
}

/// A number as people write it: `16`, not `16.0`.
fn number(value: f64) -> serde_json::Value {
    if value.fract() == 0.0 { json!(value as i64) } else { json!(value) }
}
