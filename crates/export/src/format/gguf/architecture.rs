//! A decoder as llama.cpp names and lays it out, and what of it llama.cpp cannot compute.

use greentune_core_config::model::{ModelConfig, RopeScaling, module_path};

use super::header::{Metadata, Value};

/// How llama.cpp knows an architecture.
pub(super) struct Architecture {
    /// Its name, which its keys begin with.
    pub(super) name: &'static str,
    /// Whether it rotates neighbouring dimensions instead of the two halves of a head, so that the rows of queries and
    /// keys have to be reordered.
    interleaved: bool,
    /// Whether the head must be stored even where it is the embedding.
    stores_head: bool,
    /// Whether it has windows, by layer.
    windows: bool,
    /// Whether all query heads together must be as wide as the residual stream.
    square_attention: bool,
    /// Whether it reads a factor for each rotary frequency.
    rope_factors: bool,
    /// Projections that may have a bias.
    biases: &'static [&'static str],
}

const LLAMA: Architecture = Architecture {
    name: "llama",
    interleaved: true,
    stores_head: false,
    windows: false,
    square_attention: false,
    rope_factors: true,
    biases: &["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
};

const QWEN2: Architecture = Architecture {
    name: "qwen2",
    interleaved: false,
    square_attention: true,
    rope_factors: false,
    biases: &["q_proj", "k_proj", "v_proj"],
    ..LLAMA
};

const QWEN3: Architecture = Architecture { name: "qwen3", square_attention: false, biases: &[], ..QWEN2 };

const OLMO: Architecture =
    Architecture { name: "olmo", square_attention: true, rope_factors: false, biases: &[], ..LLAMA };

const OLMO2: Architecture =
    Architecture { name: "olmo2", interleaved: false, stores_head: true, windows: true, ..OLMO };

impl Architecture {
    /// What llama.cpp computes a model of `config` with; else what it cannot.
    pub(super) fn of(config: &ModelConfig) -> Result<&'static Self, String> {
        let model_type = config.architecture.model_type;
        let architecture = match model_type {
            "llama" | "mistral" => &LLAMA,
            "olmo" => &OLMO,
            "olmo2" | "olmo3" => &OLMO2,
            "qwen2" => &QWEN2,
            "qwen3" => &QWEN3,
            other => return Err(format!("it has no architecture for {other}")),
        };
        architecture.check(config)?;
        Ok(architecture)
    }

    fn check(&self, config: &ModelConfig) -> Result<(), String> {
        let name = self.name;
        let (width, hidden) = (config.query_width(), config.hidden_size);
        if self.square_attention && width != hidden {
            return Err(format!(
                "its {name} takes heads that are together as wide as the model: {} heads of {} are not {hidden}",
                config.num_attention_heads, config.head_dim
            ));
        }
        if let Some(biased) = config.biased.iter().find(|biased| !self.biases.contains(biased)) {
            return Err(format!("its {name} has no bias for {biased}"));
        }
        self.check_windows(config)?;
        match &config.rotary.scaling {
            RopeScaling::Unscaled | RopeScaling::Linear { .. } => Ok(()),
            RopeScaling::Llama3 { .. } if self.rope_factors => Ok(()),
            RopeScaling::Llama3 { .. } => Err(format!("its {name} has no rotary scaling of the kind llama3")),
            RopeScaling::Yarn { factor, beta_fast, beta_slow, truncate, .. } => {
                let usual = (*beta_fast, *beta_slow) == (32.0, 1.0);
                if usual && *truncate && *factor > 1.0 {
                    return Ok(());
                }
                Err(format!(
                    "its {name} takes rotary scaling of the kind yarn only with beta_fast = 32, beta_slow = 1, \
                     truncate = true and a factor above 1; here they are {beta_fast}, {beta_slow}, {truncate} and \
                     {factor}"
                ))
            }
        }
    }

    fn check_windows(&self, config: &ModelConfig) -> Result<(), String> {
        let context = config.max_position_embeddings;
        let mut windows = config.windows.iter().flatten();
        if !self.windows {
            return match windows.find(|window| **window < context) {
                None => Ok(()),
                Some(window) => Err(format!(
                    "its {} has no sliding window: this model's layers see {window} of {context} positions",
                    self.name
                )),
            };
        }
        let Some(first) = windows.next() else { return Ok(()) };
        let rotary = &config.window_rotary;
        if windows.any(|window| window != first) {
            return Err(format!("its {} has one sliding window for all layers that have one", self.name));
        }
        if rotary.scaling != RopeScaling::Unscaled || rotary.theta.to_bits() != config.rotary.theta.to_bits()
        {
            return Err(format!(
                "its {} rotates layers with a sliding window without scaling, by the base of the others",
                self.name
            ));
        }
        Ok(())
    }

    /// Whether the head gets a tensor of its own.
    pub(super) fn has_head(&self, config: &ModelConfig) -> bool {
        self.stores_head || !config.tie_word_embeddings
    }

    /// Heads whose rows are reordered in the projection `name`.
    pub(super) fn reordered_heads(&self, name: &str, config: &ModelConfig) -> Option<usize> {
        match name {
            "q_proj" if self.interleaved => Some(config.num_attention_heads),
            "k_proj" if self.interleaved => Some(config.num_key_value_heads),
            _ => None,
        }
    }

    /// Every key that describes the architecture.
    pub(super) fn describe(&self, config: &ModelConfig, metadata: &mut Metadata) {
        let name = self.name;
        let mut put = |key: &str, value: Value| metadata.put(format!("{name}.{key}"), value);
        let count = |number: usize| Value::U32(number as u32);
        put("vocab_size", count(config.vocab_size));
        put("context_length", count(config.max_position_embeddings));
        put("embedding_length", count(config.hidden_size));
        put("block_count", count(config.num_hidden_layers));
        put("feed_forward_length", count(config.intermediate_size));
        put("attention.head_count", count(config.num_attention_heads));
        put("attention.head_count_kv", count(config.num_key_value_heads));
        put("attention.key_length", count(config.head_dim));
        put("attention.value_length", count(config.head_dim));
        put("rope.dimension_count", count(config.head_dim));
        put("rope.freq_base", Value::F32(config.rotary.theta as f32));
        let epsilon = if name == OLMO.name { "layer_norm_epsilon" } else { "layer_norm_rms_epsilon" };
        put(&format!("attention.{epsilon}"), Value::F32(config.norm_eps));
        if let Some(clamp) = config.clip_qkv {
            put("attention.clamp_kqv", Value::F32(clamp));
        }
        if self.windows
            && let Some(window) = config.windows.iter().flatten().next()
        {
            put("attention.sliding_window", count(*window));
            let sliding = config.windows.iter().map(Option::is_some).collect();
            put("attention.sliding_window_pattern", Value::Bools(sliding));
        }
        describe_scaling(&config.rotary.scaling, put);
    }
}

fn describe_scaling(scaling: &RopeScaling, mut put: impl FnMut(&str, Value)) {
    match scaling {
        // The factors of Llama 3 are a tensor.
        RopeScaling::Unscaled | RopeScaling::Llama3 { .. } => {}
        RopeScaling::Linear { factor } => {
            put("rope.scaling.type", Value::Text("linear".into()));
            put("rope.scaling.factor", Value::F32(*factor as f32));
        }
        RopeScaling::Yarn { factor, original, attention_factor, .. } => {
            put("rope.scaling.type", Value::Text("yarn".into()));
            put("rope.scaling.factor", Value::F32(*factor as f32));
            put("rope.scaling.original_context_length", Value::U32(*original as u32));
            // llama.cpp multiplies by the usual factor itself.
            let usual = 0.1 * factor.ln() + 1.0;
            put("rope.scaling.attn_factor", Value::F32((attention_factor / usual) as f32));
        }
    }
}

/// The factor that llama.cpp divides each rotary frequency by, where a tensor says it.
pub(super) fn rope_factors(config: &ModelConfig) -> Option<Vec<f32>> {
    if !matches!(config.rotary.scaling, RopeScaling::Llama3 { .. }) {
        return None;
    }
    let plain =
        greentune_core_config::model::Rotary { theta: config.rotary.theta, scaling: RopeScaling::Unscaled };
    let (plain, scaled) =
        (plain.frequencies(config.head_dim).0, config.rotary.frequencies(config.head_dim).0);
    Some(plain.iter().zip(scaled).map(|(plain, scaled)| (plain / scaled) as f32).collect())
}

/// A tensor of the model, as safetensors and as GGUF name it.
pub(super) struct Named {
    pub(super) source: String,
    pub(super) name: String,
    /// Its layer, if it has one.
    pub(super) layer: Option<usize>,
    /// The projection that it belongs to, if it does.
    pub(super) projection: Option<&'static str>,
}

/// Every tensor of the model, in the order of its own list; the head where `architecture` has one.
pub(super) fn tensors(architecture: &Architecture, config: &ModelConfig) -> Result<Vec<Named>, String> {
    let mut all = Vec::new();
    for (source, _) in config.tensors() {
        all.push(named(source, config)?);
    }
    if architecture.has_head(config) && config.tie_word_embeddings {
        let source = String::from("model.embed_tokens.weight");
        all.push(Named { source, name: "output.weight".into(), layer: None, projection: None });
    }
    Ok(all)
}

fn named(source: String, config: &ModelConfig) -> Result<Named, String> {
    let whole = match source.as_str() {
        "model.embed_tokens.weight" => Some("token_embd.weight"),
        "model.norm.weight" => Some("output_norm.weight"),
        "lm_head.weight" => Some("output.weight"),
        _ => None,
    };
    if let Some(name) = whole {
        return Ok(Named { name: name.into(), source, layer: None, projection: None });
    }
    let of_layer = source.strip_prefix("model.layers.").and_then(|rest| {
        let (layer, rest) = rest.split_once('.')?;
        let (module, part) = rest.rsplit_once('.')?;
        Some((layer.parse::<usize>().ok()?, module, part))
    });
    let unknown = || format!("it has no place for the tensor {source}");
    let (layer, module, part) = of_layer.ok_or_else(unknown)?;
    let place = place_of(module, config).ok_or_else(unknown)?;
    let name = format!("blk.{layer}.{place}.{part}");
    let projection = PROJECTIONS.iter().map(|(name, _)| *name).find(|name| module_path(name) == module);
    Ok(Named { source, name, layer: Some(layer), projection })
}

/// Projections of a layer, with what llama.cpp calls them.
const PROJECTIONS: [(&str, &str); 7] = [
    ("q_proj", "attn_q"),
    ("k_proj", "attn_k"),
    ("v_proj", "attn_v"),
    ("o_proj", "attn_output"),
    ("gate_proj", "ffn_gate"),
    ("up_proj", "ffn_up"),
    ("down_proj", "ffn_down"),
];

fn place_of(module: &str, config: &ModelConfig) -> Option<&'static str> {
    use greentune_core_config::model::NormPlacement;
    let norms = match config.architecture.placement {
        NormPlacement::BlockInput => ["attn_norm", "ffn_norm"],
        NormPlacement::BlockOutput => ["post_attention_norm", "post_ffw_norm"],
    };
    let of_norms = config.architecture.placement.names().into_iter().zip(norms);
    let of_queries_and_keys = [("self_attn.q_norm", "attn_q_norm"), ("self_attn.k_norm", "attn_k_norm")];
    let of_projections = PROJECTIONS.into_iter().find(|(name, _)| module_path(name) == module);
    let mut of_other_norms = of_norms.chain(of_queries_and_keys);
    of_projections.or_else(|| of_other_norms.find(|(name, _)| *name == module)).map(|(_, place)| place)
}
