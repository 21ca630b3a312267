//! A decoder as its Hugging Face `config.json` describes it, and the table of architectures.
//!
//! Everything that reads `config.json` for a meaning reads it here: what can be trained, which tensors it has, and
//! what is refused by name because it would silently compute something else.

mod architecture;
pub mod memory;
mod quantisation;
mod raw;
mod rope;
mod rope_keys;

pub use architecture::{ARCHITECTURES, Architecture, Norm, NormPlacement, QueryKeyNorm};
pub use rope::{RopeScaling, Rotary};

use crate::settings::LORA_TARGETS;

/// A decoder's shape.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Its entry in [`ARCHITECTURES`].
    pub architecture: &'static Architecture,
    /// Whether `config.json` names no architecture of the table, and this one was recognised by the tensors.
    pub recognised_by_tensors: bool,
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
    pub norm_eps: f32,
    /// Rotary positions of layers that see everything.
    pub rotary: Rotary,
    /// Rotary positions of layers that see a window alone.
    pub window_rotary: Rotary,
    /// By layer: how many of the last positions a query sees, itself included; all of them when `None`.
    pub windows: Vec<Option<usize>>,
    /// Queries, keys and values are clamped to ±this (OLMo).
    pub clip_qkv: Option<f32>,
    /// Projections that add a bias, such as `q_proj`.
    pub biased: &'static [&'static str],
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
}

const UNSUPPORTED: &str = "model.unsupported";

/// Why a `config.json` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelConfigError {
    /// `model.unsupported` or `model.quantised` for what is valid and not supported, else `model.config_invalid`.
    pub code: &'static str,
    /// What was found and what is allowed.
    pub message: String,
}

impl ModelConfigError {
    /// Whether it is valid, and not supported.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.code, UNSUPPORTED | "model.quantised")
    }

    fn unsupported(message: impl Into<String>) -> Self {
        Self { code: UNSUPPORTED, message: message.into() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self { code: "model.config_invalid", message: message.into() }
    }
}

/// A tensor's name and shape, as a safetensors header has them.
pub type TensorShape = (String, Vec<usize>);

impl ModelConfig {
    /// Reads the text of a `config.json`.
    ///
    /// A `model_type` that is not in [`ARCHITECTURES`] is recognised by `tensors` (all tensors of the weight files)
    /// when exactly one architecture explains every one of them; without tensors it is refused.
    ///
    /// # Errors
    /// Not JSON, missing or impossible sizes; an architecture or a feature that is not supported, by name.
    pub fn parse(text: &str, tensors: Option<&[TensorShape]>) -> Result<Self, ModelConfigError> {
        raw::read(text, tensors)
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
    pub fn tensors(&self) -> Vec<TensorShape> {
        let hidden = self.hidden_size;
        let mut all = vec![(String::from("model.embed_tokens.weight"), vec![self.vocab_size, hidden])];
        if !self.tie_word_embeddings {
            all.push((String::from("lm_head.weight"), vec![self.vocab_size, hidden]));
        }
        if self.architecture.norm == Norm::Rms {
            all.push((String::from("model.norm.weight"), vec![hidden]));
        }
        for layer in 0..self.num_hidden_layers {
            self.layer_tensors(layer, &mut all);
        }
        all
    }

    fn layer_tensors(&self, layer: usize, all: &mut Vec<TensorShape>) {
        let prefix = format!("model.layers.{layer}");
        for name in LORA_TARGETS {
            let shape = self.projection_shape(name).to_vec();
            if self.biased.contains(name) {
                all.push((format!("{prefix}.{}.bias", module_path(name)), vec![shape[0]]));
            }
            all.push((format!("{prefix}.{}.weight", module_path(name)), shape));
        }
        if self.architecture.norm == Norm::Rms {
            for name in self.architecture.placement.names() {
                all.push((format!("{prefix}.{name}.weight"), vec![self.hidden_size]));
            }
        }
        let widths = match self.architecture.query_key_norm {
            QueryKeyNorm::Absent => return,
            QueryKeyNorm::Width => [self.query_width(), self.key_width()],
            QueryKeyNorm::Head => [self.head_dim; 2],
        };
        for (name, width) in ["q_norm", "k_norm"].into_iter().zip(widths) {
            all.push((format!("{prefix}.self_attn.{name}.weight"), vec![width]));
        }
    }
}

/// The projection `name` with the module that it lies in, such as `self_attn.q_proj`.
pub fn module_path(name: &str) -> String {
    let module = if matches!(name, "gate_proj" | "up_proj" | "down_proj") { "mlp" } else { "self_attn" };
    format!("{module}.{name}")
}
