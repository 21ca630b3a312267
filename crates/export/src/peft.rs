//! LoRA adapters in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`.

mod write;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::error::ExportError;
use greentune_model_folder::{WeightsFile, read_json};

pub use write::write;
pub(crate) use write::{PairShape, WrittenAdapters, write_copy};

/// File of the configuration.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// File of the weights.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";

const KEY_PREFIX: &str = "base_model.model.";
const A_SUFFIX: &str = ".lora_A.weight";
const B_SUFFIX: &str = ".lora_B.weight";
const MAGNITUDE_SUFFIX: &str = ".lora_magnitude_vector";

/// Keys that change what the adapter computes; it is plain LoRA only when they are absent, null, false or empty.
const NOT_PLAIN_LORA: &[&str] = &[
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
];

/// `adapter_config.json`. Keys without a field of their own are kept in `other`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterConfig {
    /// Always `LORA` here.
    pub peft_type: String,
    /// `CAUSAL_LM` for a decoder.
    #[serde(default)]
    pub task_type: Option<String>,
    /// Name or folder of the model that it was trained on.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
    /// Rank of the update.
    pub r: usize,
    /// The update is scaled by `lora_alpha / r`.
    #[serde(serialize_with = "integer_if_integral")]
    pub lora_alpha: f64,
    /// Share of the adapter's inputs that is zeroed in training.
    #[serde(default)]
    pub lora_dropout: f64,
    /// Names of the adapted projections; one regular expression is kept as a list of one.
    #[serde(default, deserialize_with = "one_or_many")]
    pub target_modules: Vec<String>,
    /// Which biases were trained: `none`.
    #[serde(default = "no_bias")]
    pub bias: String,
    /// Whether it is to be used, not trained further.
    #[serde(default)]
    pub inference_mode: bool,
    /// Scales by `lora_alpha / sqrt(r)` instead.
    #[serde(default)]
    pub use_rslora: bool,
    /// Has a magnitude for every row beside the update (DoRA, Liu et al. 2024).
    #[serde(default)]
    pub use_dora: bool,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl AdapterConfig {
    /// Plain LoRA on a decoder's `target_modules`, with the further keys that PEFT writes at their neutral values.
    pub fn lora(r: usize, lora_alpha: f64, lora_dropout: f64, target_modules: Vec<String>) -> Self {
        let mut other: Map<String, Value> = ["auto_mapping", "exclude_modules", "layer_replication"]
            .into_iter()
            .chain(["layers_pattern", "layers_to_transform", "modules_to_save", "revision"])
            .map(|key| (key.to_owned(), Value::Null))
            .collect();
        for (key, value) in [
            ("alpha_pattern", json!({})),
            ("fan_in_fan_out", json!(false)),
            ("init_lora_weights", json!(true)),
            ("lora_bias", json!(false)),
            ("rank_pattern", json!({})),
        ] {
            other.insert(key.to_owned(), value);
        }
        Self {
            peft_type: "LORA".into(),
            task_type: Some("CAUSAL_LM".into()),
            base_model_name_or_path: None,
            r,
            lora_alpha,
            lora_dropout,
            target_modules,
            bias: no_bias(),
            inference_mode: true,
            use_rslora: false,
            use_dora: false,
            other,
        }
    }

    /// The factor of B·A: `lora_alpha / r`, or `lora_alpha / sqrt(r)` with `use_rslora`.
    pub fn scale(&self) -> f64 {
        let rank = self.r as f64;
        self.lora_alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    fn check(&self, folder: &Path) -> Result<(), ExportError> {
        let reason = if self.peft_type != "LORA" {
            format!("its peft_type is {:?}; LORA is supported", self.peft_type)
        } else if self.r == 0 {
            let path = folder.join(CONFIG_FILE);
            return Err(ExportError::Broken { path, reason: "r is 0; allowed: 1 and more".into() });
        } else if self.bias != "none" {
            format!("it trains biases (bias = {:?}); \"none\" is supported", self.bias)
        } else if let Some(key) = NOT_PLAIN_LORA.iter().find(|key| !is_neutral(self.other.get(**key))) {
            format!("it is not plain LoRA: {key} = {}", self.other[*key])
        } else if let Some(Value::String(initialisation)) = self.other.get("init_lora_weights")
            && !["gaussian", "eva", "orthogonal"].contains(&initialisation.as_str())
        {
            format!("init_lora_weights = {initialisation:?} changes the base model's weights")
        } else {
            return Ok(());
        };
        Err(ExportError::UnsupportedAdapter { folder: folder.into(), reason })
    }
}

fn is_neutral(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(_) => false,
    }
}

fn no_bias() -> String {
    "none".into()
}

/// PEFT declares `lora_alpha` as an integer; a fraction is understood all the same.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn integer_if_integral<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let integer = *value as i64;
    if (integer as f64).to_bits() == value.to_bits() {
        serializer.serialize_i64(integer)
    } else {
        serializer.serialize_f64(*value)
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(OneOrMany::One(one)) => vec![one],
        Some(OneOrMany::Many(many)) => many,
    })
}

/// The adapter of one projection: W' = W + scale · B · A, with DoRA each row of it scaled to its magnitude.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraPair {
    /// The projection, such as `model.layers.0.self_attn.q_proj`.
    pub module: String,
    /// Rank r.
    pub rank: usize,
    /// Columns of W.
    pub in_features: usize,
    /// Rows of W.
    pub out_features: usize,
    /// A, `[rank, in_features]`, row by row.
    pub a: Vec<f32>,
    /// B, `[out_features, rank]`, row by row.
    pub b: Vec<f32>,
    /// With DoRA the norm of each row of W', `[out_features]`.
    pub magnitude: Option<Vec<f32>>,
}

/// A PEFT folder, open for reading; its tensors are read one pair at a time.
#[derive(Debug)]
pub struct Adapters {
    folder: PathBuf,
    config: AdapterConfig,
    file: WeightsFile,
    modules: BTreeSet<String>,
}

impl Adapters {
    /// Opens the adapters in `folder` and checks that they are plain LoRA, complete and of the configured rank.
    pub fn open(folder: &Path) -> Result<Self, ExportError> {
        if !folder.is_dir() {
            return Err(ExportError::FolderMissing { what: "adapters", path: folder.into() });
        }
        let config: AdapterConfig = read_json(&folder.join(CONFIG_FILE))?;
        config.check(folder)?;
        let file = WeightsFile::open(&folder.join(WEIGHTS_FILE))?;
        let mut modules = BTreeSet::new();
        for key in file.names() {
            let module = module_of(key).ok_or_else(|| ExportError::UnsupportedAdapter {
                folder: folder.into(),
                reason: format!(
                    "\"{key}\" is no lora_A.weight, lora_B.weight or lora_magnitude_vector of a linear layer"
                ),
            })?;
            modules.insert(module.to_owned());
        }
        if modules.is_empty() {
            let path = folder.join(WEIGHTS_FILE);
            return Err(ExportError::Broken { path, reason: "it holds no tensors".into() });
        }
        let adapters = Self { folder: folder.into(), config, file, modules };
        for module in &adapters.modules {
            adapters.shape(module)?;
        }
        Ok(adapters)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its configuration.
    pub fn config(&self) -> &AdapterConfig {
        &self.config
    }

    /// The adapted projections, sorted.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(String::as_str)
    }

    /// `[out_features, in_features]` of the projection `module`.
    pub fn shape(&self, module: &str) -> Result<[usize; 2], ExportError> {
        let (a, b) = (self.file.tensor(&a_key(module))?, self.file.tensor(&b_key(module))?);
        let ([_, in_features], [out_features, _]) = (a.matrix_shape()?, b.matrix_shape()?);
        a.expect_shape(&[self.config.r, in_features])?;
        b.expect_shape(&[out_features, self.config.r])?;
        if self.config.use_dora {
            self.file.tensor(&magnitude_key(module))?.expect_shape(&[out_features])?;
        }
        Ok([out_features, in_features])
    }

    /// The adapter of the projection `module`, as f32.
    pub fn pair(&self, module: &str) -> Result<LoraPair, ExportError> {
        let [out_features, in_features] = self.shape(module)?;
        let (a, b) = (self.file.tensor(&a_key(module))?, self.file.tensor(&b_key(module))?);
        Ok(LoraPair {
            module: module.to_owned(),
            rank: self.config.r,
            in_features,
            out_features,
            a: a.read_f32()?,
            b: b.read_f32()?,
            magnitude: if self.config.use_dora {
                Some(self.file.tensor(&magnitude_key(module))?.read_f32()?)
            } else {
                None
            },
        })
    }

    /// The projection that a base model's tensor belongs to, when it is adapted.
    pub(crate) fn module_of_weight<'a>(&self, tensor: &'a str) -> Option<&'a str> {
        tensor.strip_suffix(".weight").filter(|module| self.modules.contains(*module))
    }

    pub(crate) fn file(&self) -> &WeightsFile {
        &self.file
    }

    pub(crate) fn weights_path(&self) -> &Path {
        self.file.path()
    }
}

/// The names of the projections `modules` within their layers, as PEFT's configuration lists them.
pub(crate) fn target_modules<'a>(modules: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names: BTreeSet<&str> = modules.map(|module| module.rsplit('.').next().unwrap_or(module)).collect();
    names.into_iter().map(str::to_owned).collect()
}

fn module_of(key: &str) -> Option<&str> {
    let key = key.strip_prefix(KEY_PREFIX)?;
    [A_SUFFIX, B_SUFFIX, MAGNITUDE_SUFFIX].into_iter().find_map(|suffix| key.strip_suffix(suffix))
}

fn a_key(module: &str) -> String {
    format!("{KEY_PREFIX}{module}{A_SUFFIX}")
}

fn b_key(module: &str) -> String {
    format!("{KEY_PREFIX}{module}{B_SUFFIX}")
}

fn magnitude_key(module: &str) -> String {
    format!("{KEY_PREFIX}{module}{MAGNITUDE_SUFFIX}")
}
