//! The sizes of a decoder that memory depends on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{ModelConfig, QueryKeyNorm};

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

impl From<&ModelConfig> for ModelShape {
    fn from(config: &ModelConfig) -> Self {
        Self {
            vocab_size: config.vocab_size as u64,
            hidden_size: config.hidden_size as u64,
            intermediate_size: config.intermediate_size as u64,
            num_hidden_layers: config.num_hidden_layers as u64,
            num_attention_heads: config.num_attention_heads as u64,
            num_key_value_heads: config.num_key_value_heads as u64,
            head_dim: config.head_dim as u64,
            max_position_embeddings: config.max_position_embeddings as u64,
            tie_word_embeddings: config.tie_word_embeddings,
            query_key_norm: config.architecture.query_key_norm != QueryKeyNorm::Absent,
        }
    }
}

impl ModelShape {
    /// The shape that the text of a `config.json` describes; `None` when it cannot be trained.
    pub fn from_config(config: &str) -> Option<Self> {
        ModelConfig::parse(config, None).ok().map(|config| Self::from(&config))
    }

    /// Width of all query heads.
    pub fn query_width(&self) -> u64 {
        self.num_attention_heads * self.head_dim
    }

    /// Width of all key (or value) heads.
    pub fn key_width(&self) -> u64 {
        self.num_key_value_heads * self.head_dim
    }

    /// Outputs of the projection `name`.
    pub(super) fn outputs_of(&self, name: &str) -> u64 {
        self.projection(name).1
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

    /// Weights of embedding and head.
    pub fn table_parameters(&self) -> u64 {
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        tables * self.vocab_size * self.hidden_size
    }

    /// Weights of norms.
    pub fn norm_parameters(&self) -> u64 {
        let query_key = if self.query_key_norm { self.query_width() + self.key_width() } else { 0 };
        self.hidden_size + self.num_hidden_layers * (2 * self.hidden_size + query_key)
    }

    /// All weights of the base model.
    pub fn parameters(&self) -> u64 {
        self.projection_parameters() + self.table_parameters() + self.norm_parameters()
    }

    /// Weights of LoRA adapters of `rank` on `targets`: `rank · (inputs + outputs)` each.
    pub fn trainable_parameters(&self, rank: u64, targets: &[String]) -> u64 {
        let layer = targets.iter().map(|name| self.projection(name));
        self.num_hidden_layers * layer.map(|(inputs, outputs)| rank * (inputs + outputs)).sum::<u64>()
    }
}
