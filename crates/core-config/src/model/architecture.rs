//! What differs between the decoders that are supported: one table entry each.

use crate::settings::ModelType;

/// What differs between the architectures: one entry per `model_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
    /// Its class in transformers.
    pub class: &'static str,
    /// The family that `base_model.type` names it by.
    pub family: ModelType,
    /// How it normalises.
    pub norm: Norm,
    /// Where a layer normalises.
    pub placement: NormPlacement,
    /// How queries and keys are normalised before they are rotated.
    pub query_key_norm: QueryKeyNorm,
    /// Which projections have a bias.
    pub(super) bias: Bias,
    /// Which layers see a window alone.
    pub(super) window: Window,
    /// Base of the rotary frequencies where `config.json` does not say it.
    pub(super) rope_theta: u32,
    /// Key and value heads where `config.json` does not say it; as many as query heads when `None`, or for null.
    pub(super) num_key_value_heads: Option<usize>,
    /// Size of a head where `config.json` does not say it; `hidden_size / num_attention_heads` when `None`.
    pub(super) head_dim: Option<usize>,
}

/// How a decoder normalises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// Root mean square norm with a weight (Zhang & Sennrich 2019).
    Rms,
    /// Layer norm without weight and bias (OLMo).
    Layer,
}

/// Where a layer normalises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPlacement {
    /// What a block reads (Llama).
    BlockInput,
    /// What a block returns, before it is added to the residual (OLMo-2).
    BlockOutput,
}

impl NormPlacement {
    /// Names of the norms of attention and MLP.
    pub fn names(self) -> [&'static str; 2] {
        match self {
            Self::BlockInput => ["input_layernorm", "post_attention_layernorm"],
            Self::BlockOutput => ["post_attention_layernorm", "post_feedforward_layernorm"],
        }
    }
}

/// How queries and keys are normalised before they are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryKeyNorm {
    /// Not at all.
    Absent,
    /// Over the width of all heads (OLMo-2).
    Width,
    /// Each head for itself (Qwen3).
    Head,
}

/// Which projections have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bias {
    /// None.
    Never,
    /// Queries, keys and values, always (Qwen2).
    QueryKeyValue,
    /// The four of attention if `attention_bias` says so.
    Attention,
    /// As [`Bias::Attention`], and the three of the MLP if `mlp_bias` says so (Llama).
    AttentionAndMlp,
}

/// Which layers see a window alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    /// None.
    Never,
    /// All of them, when `sliding_window` is a number (Mistral).
    AllLayers,
    /// `layer_types` says it by layer, else those from `max_window_layers` on; only with `use_sliding_window` (Qwen).
    FromLayer,
    /// `layer_types` says it by layer, else three of four; those rotate without scaling (OLMo-3).
    ThreeOfFour,
}

const OLMO2: Architecture = Architecture {
    model_type: "olmo2",
    class: "Olmo2ForCausalLM",
    family: ModelType::Olmo,
    norm: Norm::Rms,
    placement: NormPlacement::BlockOutput,
    query_key_norm: QueryKeyNorm::Width,
    bias: Bias::Attention,
    ..LLAMA
};

const LLAMA: Architecture = Architecture {
    model_type: "llama",
    class: "LlamaForCausalLM",
    family: ModelType::Llama,
    norm: Norm::Rms,
    placement: NormPlacement::BlockInput,
    query_key_norm: QueryKeyNorm::Absent,
    bias: Bias::AttentionAndMlp,
    window: Window::Never,
    rope_theta: 10_000,
    num_key_value_heads: None,
    head_dim: None,
};

/// The architectures that can be trained.
pub const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        model_type: "olmo",
        class: "OlmoForCausalLM",
        family: ModelType::Olmo,
        norm: Norm::Layer,
        bias: Bias::Attention,
        ..LLAMA
    },
    OLMO2,
    Architecture {
        model_type: "olmo3",
        class: "Olmo3ForCausalLM",
        window: Window::ThreeOfFour,
        rope_theta: 500_000,
        ..OLMO2
    },
    LLAMA,
    Architecture {
        model_type: "mistral",
        class: "MistralForCausalLM",
        family: ModelType::Mistral,
        bias: Bias::Never,
        window: Window::AllLayers,
        num_key_value_heads: Some(8),
        ..LLAMA
    },
    Architecture {
        model_type: "qwen2",
        class: "Qwen2ForCausalLM",
        family: ModelType::Custom,
        bias: Bias::QueryKeyValue,
        window: Window::FromLayer,
        num_key_value_heads: Some(32),
        ..LLAMA
    },
    Architecture {
        model_type: "qwen3",
        class: "Qwen3ForCausalLM",
        family: ModelType::Custom,
        query_key_norm: QueryKeyNorm::Head,
        bias: Bias::Attention,
        window: Window::FromLayer,
        num_key_value_heads: Some(32),
        head_dim: Some(128),
        ..LLAMA
    },
];

impl Architecture {
    /// The entry for a `model_type`.
    pub fn of_model_type(model_type: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|architecture| architecture.model_type == model_type)
    }

    /// The entry for a class of transformers.
    pub fn of_class(class: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|architecture| architecture.class == class)
    }

    /// Every supported `model_type`, for messages.
    pub fn supported() -> String {
        ARCHITECTURES.iter().map(|architecture| architecture.model_type).collect::<Vec<_>>().join(", ")
    }
}
