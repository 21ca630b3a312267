//! Low-rank adapters (LoRA, Hu et al. 2021) on a decoder's projections, and PEFT's files of them.

use std::{collections::BTreeMap, path::Path};

use burn::tensor::{
    Tensor,
    backend::{AutodiffBackend, Backend},
};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde_json::json;

use super::{
    config::{ModelConfig, module_path},
    parameters::{HostTensor, Parameters},
    weights::{WeightFile, write_safetensors},
};
use crate::{durable, error::TrainError, ops::Dropout};

/// What the adapters of a run look like.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraSettings {
    /// Rank of the update.
    pub rank: usize,
    /// The update is scaled by alpha / rank.
    pub alpha: f64,
    /// Dropout on the adapter's input in training.
    pub dropout: f64,
    /// Projections that have an adapter, such as `q_proj`.
    pub target_modules: Vec<String>,
}

impl LoraSettings {
    /// alpha / rank.
    pub fn scale(&self) -> f32 {
        (self.alpha / self.rank as f64) as f32
    }
}

/// Adapters: `{module}.lora_A.weight [rank, in]` and `{module}.lora_B.weight [out, rank]`.
#[derive(Clone, Debug)]
pub struct Adapters<B: Backend> {
    /// Their settings.
    pub settings: LoraSettings,
    /// Their tensors, by name without PEFT's prefix.
    pub parameters: Parameters<B>,
    /// Seed of this step's dropout masks; no dropout when absent.
    dropout_seed: Option<u64>,
}

/// PEFT's prefix of every tensor.
const PREFIX: &str = "base_model.model.";
const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG: &str = "adapter_config.json";

impl<B: Backend> Adapters<B> {
    /// Fresh adapters, which change nothing yet: A is drawn as PEFT does (Kaiming uniform, a = √5, which is
    /// uniform within ±1/√in), B is zero.
    pub fn fresh(config: &ModelConfig, settings: LoraSettings, seed: u64, device: &B::Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut host = BTreeMap::new();
        for layer in 0..config.num_hidden_layers {
            for target in &settings.target_modules {
                let [out, input] = config.projection_shape(target);
                let path = format!("model.layers.{layer}.{}", module_path(target));
                let bound = 1.0 / (input as f32).sqrt();
                let a = (0..settings.rank * input)
                    .map(|_| (rng.next_u32() >> 8) as f32 / (1u32 << 24) as f32)
                    .map(|uniform| (2.0 * uniform - 1.0) * bound)
                    .collect();
                let b = vec![0.0; out * settings.rank];
                host.insert(
                    format!("{path}.lora_A.weight"),
                    HostTensor { shape: [settings.rank, input], values: a },
                );
                host.insert(
                    format!("{path}.lora_B.weight"),
                    HostTensor { shape: [out, settings.rank], values: b },
                );
            }
        }
        Self { settings, parameters: Parameters::from_host(host, device), dropout_seed: None }
    }

    /// `(A, B, dropout)` of a module such as `model.layers.0.self_attn.q_proj`, when it has an adapter.
    pub fn pair(&self, module: &str) -> Option<(Tensor<B, 2>, Tensor<B, 2>, Option<Dropout>)> {
        let a = self.parameters.get(&format!("{module}.lora_A.weight"))?.clone();
        let b = self.parameters.get(&format!("{module}.lora_B.weight"))?.clone();
        let dropout = self.dropout_seed.filter(|_| self.settings.dropout > 0.0).map(|seed| {
            // Each module draws its own mask: FNV-1a of its name mixed into the step's seed.
            let hash = module.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
            });
            Dropout { rate: self.settings.dropout as f32, seed: seed ^ hash }
        });
        Some((a, b, dropout))
    }

    /// The same adapters as leaves that get gradients, with this step's dropout.
    pub fn tracked<A: AutodiffBackend<InnerBackend = B>>(&self, dropout_seed: u64) -> Adapters<A> {
        Adapters {
            settings: self.settings.clone(),
            parameters: self.parameters.lift(true),
            dropout_seed: Some(dropout_seed),
        }
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors`, each atomically.
    pub fn save(&self, folder: &Path, base_model: &str) -> Result<(), TrainError> {
        std::fs::create_dir_all(folder).map_err(TrainError::io(folder))?;
        let host = self.parameters.to_host();
        let tensors = host.iter().map(|(name, tensor)| (format!("{PREFIX}{name}"), tensor));
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
            "use_dora": false,
            "use_rslora": false,
        });
        durable::write(&folder.join(CONFIG), format!("{config:#}\n").as_bytes())
    }

    /// Reads adapters in PEFT's layout and checks that they fit the model.
    pub fn load(folder: &Path, config: &ModelConfig, device: &B::Device) -> Result<Self, TrainError> {
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
        };
        let file = WeightFile::open(&folder.join(WEIGHTS))?;
        let mut host = BTreeMap::new();
        for name in file.names() {
            let module = name.strip_prefix(PREFIX).unwrap_or(&name).to_owned();
            host.insert(module, file.matrix(&name)?);
        }
        let adapters = Self { settings, parameters: Parameters::default(), dropout_seed: None };
        adapters.check(&host, config).map_err(broken)?;
        Ok(Self { parameters: Parameters::from_host(host, device), ..adapters })
    }

    fn check(&self, host: &BTreeMap<String, HostTensor>, config: &ModelConfig) -> Result<(), String> {
        let rank = self.settings.rank;
        let mut expected = 0;
        for layer in 0..config.num_hidden_layers {
            for target in &self.settings.target_modules {
                let [out, input] = config.projection_shape(target);
                let path = format!("model.layers.{layer}.{}", module_path(target));
                for (name, shape) in [("lora_A", [rank, input]), ("lora_B", [out, rank])] {
                    let name = format!("{path}.{name}.weight");
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
        }
        if expected == host.len() {
            Ok(())
        } else {
            Err(format!("{} tensors are there; target_modules explains {expected} of them", host.len()))
        }
    }
}

/// A number as people write it: `16`, not `16.0`.
fn number(value: f64) -> serde_json::Value {
    if value.fract() == 0.0 { json!(value as i64) } else { json!(value) }
}
