//! The sizes of a decoder that memory depends on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Families that do not normalise queries and keys, so that attention keeps them once.
const WITHOUT_QUERY_KEY_NORM: &[&str] = &["llama", "mistral", "olmo", "qwen2"];

/// The sizes of a decoder, under the names of its `config.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelShape {
    /// Tokens in the vocabulary.
    pub vocab_size: u64,
    /// Width of the residual stream.
    pub hidden_size: u64,
    /// Width inside the MLP.
    pub intermediate_size: u64,
    /// Layers.
    pub num_hidden_layers: u64,
    /// Query heads.
    pub num_attention_heads: u64,
    /// Key and value heads.
    pub num_key_value_heads: u64,
    /// Size of a head.
    pub head_dim: u64,
    /// Tokens that the model can see at once.
    pub max_position_embeddings: u64,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// Whether queries and keys are normalised before they are rotated.
    pub query_key_norm: bool,
}

impl ModelShape {
    /// The shape that a `config.json` describes; `None` when it lacks a size.
    pub fn from_config(config: &Value) -> Option<Self> {
        let size = |key: &str| config.get(key).and_then(Value::as_u64).filter(|size| *size > 0);
        let (hidden_size, num_attention_heads) = (size("hidden_size")?, size("num_attention_heads")?);
        let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
        Some(Self {
            vocab_size: size("vocab_size")?,
            hidden_size,
            intermediate_size: size("intermediate_size")?,
            num_hidden_layers: size("num_hidden_layers")?,
            num_attention_heads,
            num_key_value_heads: size("num_key_value_heads").unwrap_or(num_attention_heads),
            head_dim: size("head_dim").unwrap_or(hidden_size / num_attention_heads),
            max_position_embeddings: size("max_position_embeddings")?,
            tie_word_embeddings: config.get("tie_word_embeddings").and_then(Value::as_bool).unwrap_or(false),
            query_key_norm: !WITHOUT_QUERY_KEY_NORM.contains(&model_type),
        })
    }

    /// Width of all query heads.
    pub fn query_width(&self) -> u64 {
        self.num_attention_heads * self.head_dim
    }

    /// Width of all key (or value) heads.
    pub fn key_width(&self) -> u64 {
        self.num_key_value_heads * self.head_dim
    }

    /// Inputs and outputs of the projection `name`, such as `q_proj`.
    fn projection(&self, name: &str) -> (u64, u64) {
        match name {
            "q_proj" => (self.hidden_size, self.query_width()),
            "k_proj" | "v_proj" => (self.hidden_size, self.key_width()),
            "o_proj" => (self.query_width(), self.hidden_size),
            "down_proj" => (self.intermediate_size, self.hidden_size),
            _ => (self.hidden_size, self.intermediate_size),
        }
    }

    /// Weights of all projections.
    pub fn projection_parameters(&self) -> u64 {
        let layer = crate::settings::LORA_TARGETS.iter().map(|name| self.projection(name));
        self.num_hidden_layers * layer.map(|(inputs, outputs)| inputs * outputs).sum::<u64>()
    }

    /// Weights of embedding, head and norms.
    pub fn embedding_parameters(&self) -> u64 {
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        let query_key = if self.query_key_norm { self.query_width() + self.key_width() } else { 0 };
        let norms = self.hidden_size + self.num_hidden_layers * (2 * self.hidden_size + query_key);
        tables * self.vocab_size * self.hidden_size + norms
    }

    /// All weights of the base model.
    pub fn parameters(&self) -> u64 {
        self.projection_parameters() + self.embedding_parameters()
    }

    /// Weights of LoRA adapters of `rank` on `targets`: `rank · (inputs + outputs)` each.
    pub fn trainable_parameters(&self, rank: u64, targets: &[String]) -> u64 {
        let layer = targets.iter().map(|name| self.projection(name));
        self.num_hidden_layers * layer.map(|(inputs, outputs)| rank * (inputs + outputs)).sum::<u64>()
    }
}
