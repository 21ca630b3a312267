//! A decoder as its Hugging Face `config.json` describes it, and the table of architectures.

use std::path::Path;

use serde::Deserialize;

use crate::error::TrainError;

/// What differs between the architectures that this decoder covers: one entry per `model_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
    /// Where a layer normalises: [`NormPlacement`].
    pub norms: NormPlacement,
    /// Whether queries and keys are normalised over their whole width before they are rotated.
    pub query_key_norm: bool,
}

/// Where a layer normalises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPlacement {
    /// What a block returns, before it is added to the residual (OLMo-2).
    BlockOutput,
}

/// The architectures that can be trained.
pub const ARCHITECTURES: &[Architecture] =
    &[Architecture { model_type: "olmo2", norms: NormPlacement::BlockOutput, query_key_norm: true }];

/// A decoder's shape.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Its entry in [`ARCHITECTURES`].
    pub architecture: &'static Architecture,
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Size of a head.
    pub head_dim: usize,
    /// Tokens that the model can see at once.
    pub max_position_embeddings: usize,
    /// Epsilon of the norms.
    pub rms_norm_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
}

/// The keys of `config.json` that matter here.
#[derive(Deserialize)]
struct Raw {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    rms_norm_eps: Option<f32>,
    rope_theta: Option<f64>,
    rope_parameters: Option<RopeParameters>,
    rope_scaling: Option<RopeParameters>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    hidden_act: Option<String>,
}

#[derive(Deserialize)]
struct RopeParameters {
    rope_theta: Option<f64>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
}

impl ModelConfig {
    /// Reads `config.json` in the model's folder.
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
        if !folder.is_dir() {
            return Err(TrainError::Model {
                code: "model.not_found",
                path: folder.to_path_buf(),
                message: String::from("the base model's folder does not exist"),
                hint: "Set base_model.local_path to a folder with config.json, *.safetensors and tokenizer.json.",
            });
        }
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(TrainError::io(&path))?;
        Self::parse(&text).map_err(|(code, message)| TrainError::Model {
            code,
            path,
            message,
            hint: "Use a base model of a supported architecture, with its unchanged config.json.",
        })
    }

    fn parse(text: &str) -> Result<Self, (&'static str, String)> {
        let broken = |message: String| ("model.config_invalid", message);
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|error| broken(format!("not valid JSON: {error}")))?;
        let model_type = value.get("model_type").and_then(|v| v.as_str()).unwrap_or("(none)").to_owned();
        let architecture = ARCHITECTURES
            .iter()
            .find(|architecture| architecture.model_type == model_type)
            .ok_or_else(|| {
                let known: Vec<_> = ARCHITECTURES.iter().map(|a| a.model_type).collect();
                let message =
                    format!("model_type `{model_type}` is not supported; supported: {}", known.join(", "));
                ("model.unsupported", message)
            })?;
        let raw: Raw = serde_json::from_value(value).map_err(|error| broken(error.to_string()))?;
        let config = Self {
            architecture,
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            intermediate_size: raw.intermediate_size,
            num_hidden_layers: raw.num_hidden_layers,
            num_attention_heads: raw.num_attention_heads,
            num_key_value_heads: raw.num_key_value_heads.unwrap_or(raw.num_attention_heads),
            head_dim: raw.head_dim.unwrap_or(raw.hidden_size / raw.num_attention_heads.max(1)),
            max_position_embeddings: raw.max_position_embeddings,
            rms_norm_eps: raw.rms_norm_eps.unwrap_or(1e-6),
            rope_theta: raw
                .rope_parameters
                .as_ref()
                .and_then(|rope| rope.rope_theta)
                .or(raw.rope_theta)
                .unwrap_or(10_000.0),
            tie_word_embeddings: raw.tie_word_embeddings,
        };
        config.check(&raw)
    }

    /// Refuses by name what would silently compute something else.
    fn check(self, raw: &Raw) -> Result<Self, (&'static str, String)> {
        let unsupported = |what: String| Err(("model.unsupported", what));
        let scaling = [&raw.rope_parameters, &raw.rope_scaling].into_iter().flatten();
        for rope in scaling {
            match rope.rope_type.as_deref() {
                None | Some("default") => {}
                Some(other) => {
                    return unsupported(format!("rope_type `{other}` is not supported; supported: default"));
                }
            }
        }
        if raw.attention_bias {
            return unsupported(String::from("attention_bias = true is not supported"));
        }
        if let Some(other) = raw.hidden_act.as_deref().filter(|act| *act != "silu") {
            return unsupported(format!("hidden_act `{other}` is not supported; supported: silu"));
        }
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(("model.config_invalid", format!("{key} is 0; it must be at least 1")));
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            let message = format!(
                "num_attention_heads = {} is not a multiple of num_key_value_heads = {}",
                self.num_attention_heads, self.num_key_value_heads
            );
            return Err(("model.config_invalid", message));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(("model.config_invalid", format!("head_dim = {} is odd", self.head_dim)));
        }
        Ok(self)
    }

    /// Width of all query heads.
    pub fn query_width(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of all key (or value) heads.
    pub fn key_width(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// `[out, in]` of the projection `name`, such as `q_proj`.
    pub fn projection_shape(&self, name: &str) -> [usize; 2] {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        match name {
            "q_proj" => [self.query_width(), hidden],
            "k_proj" | "v_proj" => [self.key_width(), hidden],
            "o_proj" => [hidden, self.query_width()],
            "down_proj" => [hidden, inner],
            _ => [inner, hidden],
        }
    }

    /// Every tensor of the model in its file's name and shape.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let hidden = self.hidden_size;
        let mut all = vec![
            (String::from("model.embed_tokens.weight"), vec![self.vocab_size, hidden]),
            (String::from("model.norm.weight"), vec![hidden]),
        ];
        if !self.tie_word_embeddings {
            all.push((String::from("lm_head.weight"), vec![self.vocab_size, hidden]));
        }
        for layer in 0..self.num_hidden_layers {
            let prefix = format!("model.layers.{layer}");
            for name in greentune_core_config::settings::LORA_TARGETS {
                let shape = self.projection_shape(name).to_vec();
                all.push((format!("{prefix}.{}.weight", module_path(name)), shape));
            }
            match self.architecture.norms {
                NormPlacement::BlockOutput => {
                    for name in ["post_attention_layernorm", "post_feedforward_layernorm"] {
                        all.push((format!("{prefix}.{name}.weight"), vec![hidden]));
                    }
                }
            }
            if self.architecture.query_key_norm {
                all.push((format!("{prefix}.self_attn.q_norm.weight"), vec![self.query_width()]));
                all.push((format!("{prefix}.self_attn.k_norm.weight"), vec![self.key_width()]));
            }
        }
        all
    }
}

/// The projection `name` with the module that it lies in, such as `self_attn.q_proj`.
pub fn module_path(name: &str) -> String {
    let module = if matches!(name, "gate_proj" | "up_proj" | "down_proj") { "mlp" } else { "self_attn" };
    format!("{module}.{name}")
}
