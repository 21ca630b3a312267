//! Low-rank adapters (LoRA, Hu et al. 2021) on a decoder's projections, and PEFT's files of them.
//!
//! With `use_dora` (Liu et al. 2024) each adapted projection also has a magnitude for every row of its weight:
//! `y = m / ‖W + scale · B·A‖ · (W + scale · B·A) x`, the norm by row and taken as a constant, as PEFT does.

use std::{collections::BTreeMap, path::Path, sync::Arc};

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
    config::module_path,
    decoder::Decoder,
    parameters::{HostTensor, Parameters},
    weights::{WeightFile, write_safetensors},
};
use crate::{
    durable,
    error::TrainError,
    ops::{Dropout, Ops, Weight},
};

/// What the adapters of a run look like.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraSettings {
    /// Rank of the update.
    pub rank: usize,
    /// The update is scaled by alpha / rank (or alpha / √rank).
    pub alpha: f64,
    /// Dropout on the adapter's input in training.
    pub dropout: f64,
    /// Projections that have an adapter, such as `q_proj`.
    pub target_modules: Vec<String>,
    /// Scale by alpha / √rank (rsLoRA, Kalajdzievski 2023).
    pub use_rslora: bool,
    /// Train a magnitude for every output beside the low-rank update (DoRA).
    pub use_dora: bool,
}

impl LoraSettings {
    /// Factor of the update: alpha / rank, or alpha / √rank with rsLoRA.
    pub fn scale(&self) -> f32 {
        let rank = self.rank as f64;
        (self.alpha / if self.use_rslora { rank.sqrt() } else { rank }) as f32
    }
}

impl From<&greentune_core_config::settings::LoraSettings> for LoraSettings {
    fn from(settings: &greentune_core_config::settings::LoraSettings) -> Self {
        Self {
            rank: settings.rank as usize,
            alpha: settings.alpha,
            dropout: settings.dropout,
            target_modules: settings.targets(),
            use_rslora: settings.use_rslora,
            use_dora: settings.use_dora,
        }
    }
}

/// Adapters: `{module}.lora_A.weight [rank, in]`, `{module}.lora_B.weight [out, rank]` and, with DoRA,
/// `{module}.lora_magnitude_vector [1, out]`.
#[derive(Clone, Debug)]
pub struct Adapters<B: Backend> {
    /// Their settings.
    pub settings: LoraSettings,
    /// Their tensors, by name without PEFT's prefix.
    pub parameters: Parameters<B>,
    /// Seed of this step's dropout masks; no dropout when absent.
    dropout_seed: Option<u64>,
    /// With DoRA: by module the squared norms of the base weight's rows, `[out, 1]`.
    squared_norms: Arc<BTreeMap<String, Tensor<B, 2>>>,
}

/// The adapter of one projection.
#[derive(Clone, Debug)]
pub struct Adapter<B: Backend> {
    /// `[rank, in]`.
    pub a: Tensor<B, 2>,
    /// `[out, rank]`.
    pub b: Tensor<B, 2>,
    /// Factor of the update.
    pub scale: f32,
    /// Dropout on the adapter's input.
    pub dropout: Option<Dropout>,
    /// With DoRA: magnitudes `[1, out]`, and the squared norms of the base weight's rows, `[out, 1]`.
    magnitude: Option<(Tensor<B, 2>, Tensor<B, 2>)>,
}

impl<B: Ops> Adapter<B> {
    /// With DoRA: what the output of base and update together is multiplied by, `[1, out]`.
    ///
    /// `‖W + s·BA‖² = ‖W‖² + 2s·⟨W, BA⟩ + s²·‖BA‖²` row by row, without composing `BA`.
    pub fn magnitude_factor(&self, weight: &Weight<B>) -> Option<Tensor<B, 2>> {
        let (magnitude, squares) = self.magnitude.clone()?;
        let (a, b) = (self.a.clone().detach(), self.b.clone().detach());
        let inner = (B::project(a.clone(), weight).transpose() * b.clone()).sum_dim(1);
        let update = (b.clone().matmul(a.clone().matmul(a.transpose())) * b).sum_dim(1);
        let norm = (squares + inner * (2.0 * self.scale) + update * self.scale.powi(2)).sqrt();
        Some(magnitude / norm.transpose())
    }
}

/// PEFT's prefix of every tensor.
const PREFIX: &str = "base_model.model.";
const WEIGHTS: &str = "adapter_model.safetensors";
const CONFIG: &str = "adapter_config.json";
const MAGNITUDE: &str = "lora_magnitude_vector";

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

    /// The adapter of a module such as `model.layers.0.self_attn.q_proj`, when it has one.
    pub fn of(&self, module: &str) -> Option<Adapter<B>> {
        let a = self.parameters.get(&format!("{module}.lora_A.weight"))?.clone();
        let b = self.parameters.get(&format!("{module}.lora_B.weight"))?.clone();
        let dropout = self.dropout_seed.filter(|_| self.settings.dropout > 0.0).map(|seed| {
            // Each module draws its own mask: FNV-1a of its name mixed into the step's seed.
            let hash = module.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
            });
            Dropout { rate: self.settings.dropout as f32, seed: seed ^ hash }
        });
        let magnitude = self.parameters.get(&format!("{module}.{MAGNITUDE}"));
        let magnitude = magnitude.cloned().zip(self.squared_norms.get(module).cloned());
        Some(Adapter { a, b, scale: self.settings.scale(), dropout, magnitude })
    }

    /// The same adapters as leaves that get gradients, with this step's dropout.
    pub fn tracked<A: Ops + AutodiffBackend<InnerBackend = B>>(&self, dropout_seed: u64) -> Adapters<A> {
        Adapters {
            settings: self.settings.clone(),
            parameters: self.parameters.lift(true),
            dropout_seed: Some(dropout_seed),
            squared_norms: Arc::new(
                self.squared_norms
                    .iter()
                    .map(|(module, squares)| (module.clone(), Tensor::from_inner(squares.clone())))
                    .collect(),
            ),
        }
    }

    /// The same adapters on the backend inside, dropout included.
    pub fn inner(&self) -> Adapters<B::InnerBackend>
    where
        B: AutodiffBackend<InnerBackend: Ops>,
    {
        let squares = self.squared_norms.iter();
        Adapters {
            settings: self.settings.clone(),
            parameters: self.parameters.map(|_, tensor| tensor.clone().inner()),
            dropout_seed: self.dropout_seed,
            squared_norms: Arc::new(
                squares.map(|(module, squares)| (module.clone(), squares.clone().inner())).collect(),
            ),
        }
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
