//! The keys of `config.json` that matter here, and what is made of them.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    ModelConfig, ModelConfigError, Norm, TensorShape,
    architecture::{ARCHITECTURES, Architecture, Bias, Window},
    quantisation, rope_keys,
};
use crate::settings::{LORA_TARGETS, ModelType};

type Result<T> = std::result::Result<T, ModelConfigError>;

/// Keys that change what a decoder computes in ways that are not supported, with the value that changes nothing.
const ALTERING: &[(&str, f64)] = &[
    ("attention_multiplier", 0.0),
    ("attn_logit_softcapping", 0.0),
    ("dim_model_base", 0.0),
    ("embedding_multiplier", 1.0),
    ("final_logit_softcapping", 0.0),
    ("logit_scale", 1.0),
    ("logits_scaling", 1.0),
    ("no_rope_layer_interval", 0.0),
    ("num_experts", 0.0),
    ("num_local_experts", 0.0),
    ("partial_rotary_factor", 1.0),
    ("query_pre_attn_scalar", 0.0),
    ("residual_multiplier", 1.0),
    ("scale_depth", 1.0),
    ("scale_emb", 1.0),
];

/// Architectures with the tensors of a supported one that compute something else with them: an offset in the norms and
/// scaled embeddings (Gemma), rotated pairs beside each other (Helium, ERNIE), layers without positions (SmolLM3).
const SAME_TENSORS_ALONE: &[&str] = &["ernie4_5", "gemma", "helium", "smollm3"];

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
    tie_word_embeddings: Option<bool>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    clip_qkv: Option<f32>,
    #[serde(default = "default_window")]
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
}

/// transformers' default where `sliding_window` is absent; null means that there is none.
#[allow(clippy::unnecessary_wraps)] // the field's type
fn default_window() -> Option<usize> {
    Some(4096)
}

/// See [`ModelConfig::parse`].
pub(super) fn read(text: &str, tensors: Option<&[TensorShape]>) -> Result<ModelConfig> {
    let json: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| ModelConfigError::invalid(format!("not a JSON object: {error}")))?;
    let model_type = json.get("model_type").and_then(Value::as_str);
    let class = json.get("architectures").and_then(|classes| classes.get(0)).and_then(Value::as_str);
    quantisation::refuse(&json)?;
    let known = match model_type {
        Some(model_type) => Architecture::of_model_type(model_type),
        None => class.and_then(Architecture::of_class),
    };
    if let Some(architecture) = known {
        return build(architecture, &json);
    }
    let found = match (model_type, class) {
        (None, None) => String::from("nothing (neither model_type nor architectures)"),
        (found, class) => [found, class].into_iter().flatten().collect::<Vec<_>>().join(", "),
    };
    let unsupported = || {
        let supported = Architecture::supported();
        ModelConfigError::unsupported(format!(
            "architecture {found} is not supported; supported: {supported}, and what has the same tensors as one of them"
        ))
    };
    if model_type.is_some_and(|model_type| SAME_TENSORS_ALONE.contains(&model_type)) {
        return Err(unsupported());
    }
    recognise(&json, tensors.ok_or_else(unsupported)?).ok_or_else(unsupported)
}

/// The one architecture that explains every tensor, for a `config.json` that names none of the table.
fn recognise(json: &Map<String, Value>, tensors: &[TensorShape]) -> Option<ModelConfig> {
    // Rotary frequencies are stored by old checkpoints and computed anew.
    let mut found: Vec<_> =
        tensors.iter().filter(|(name, _)| !name.ends_with("rotary_emb.inv_freq")).collect();
    found.sort();
    let explains = |config: &ModelConfig| {
        let mut expected = config.tensors();
        expected.sort();
        expected.iter().eq(found.iter().copied()) && has_windows_of(config, json)
    };
    // Architectures with and without a window differ by no tensor: `sliding_window` decides between them.
    let has_window = json.get("sliding_window").is_some_and(|window| !window.is_null());
    let candidates = ARCHITECTURES.iter().filter_map(|architecture| build(architecture, json).ok());
    let mut fitting: Vec<_> = candidates.filter(explains).collect();
    fitting.sort_by_key(|config| config.windows.iter().any(Option::is_some) != has_window);
    fitting.into_iter().next().map(|config| ModelConfig { recognised_by_tensors: true, ..config })
}

/// Whether the windows of `config` lie where `layer_types` says, when it says something.
fn has_windows_of(config: &ModelConfig, json: &Map<String, Value>) -> bool {
    let Some(types) = json.get("layer_types").and_then(Value::as_array) else { return true };
    let windows = config.windows.iter().map(Option::is_some);
    windows.eq(types.iter().map(|kind| kind.as_str() == Some("sliding_attention")))
}

fn build(architecture: &'static Architecture, json: &Map<String, Value>) -> Result<ModelConfig> {
    refuse_altering(json)?;
    let raw: Raw = serde_json::from_value(Value::Object(json.clone()))
        .map_err(|error| ModelConfigError::invalid(error.to_string()))?;
    let act = raw.hidden_act.as_deref().or(raw.hidden_activation.as_deref());
    if let Some(other) = act.filter(|act| !matches!(*act, "silu" | "swish")) {
        return Err(ModelConfigError::unsupported(format!(
            "hidden_act `{other}` is not supported; supported: silu"
        )));
    }
    refuse_absurd(&raw)?;
    let (rotary, window_rotary) = rope_keys::read(architecture, json, raw.max_position_embeddings)?;
    let key_value_heads = match raw.num_key_value_heads {
        None if !json.contains_key("num_key_value_heads") => architecture.num_key_value_heads,
        given => given,
    };
    let head_dim = raw.head_dim.or(architecture.head_dim);
    let config = ModelConfig {
        architecture,
        recognised_by_tensors: false,
        vocab_size: raw.vocab_size,
        hidden_size: raw.hidden_size,
        intermediate_size: raw.intermediate_size,
        num_hidden_layers: raw.num_hidden_layers,
        num_attention_heads: raw.num_attention_heads,
        num_key_value_heads: key_value_heads.unwrap_or(raw.num_attention_heads),
        head_dim: head_dim.unwrap_or(raw.hidden_size / raw.num_attention_heads.max(1)),
        max_position_embeddings: raw.max_position_embeddings,
        norm_eps: match (architecture.norm, architecture.family) {
            // Fixed in OLMo's layer norm; the others' are transformers' defaults.
            (Norm::Layer, _) => 1e-5,
            (Norm::Rms, ModelType::Olmo) => raw.rms_norm_eps.unwrap_or(1e-5),
            (Norm::Rms, _) => raw.rms_norm_eps.unwrap_or(1e-6),
        },
        rotary,
        window_rotary,
        windows: windows(architecture.window, &raw)?,
        // transformers clamps in OLMo alone.
        clip_qkv: raw.clip_qkv.filter(|_| architecture.norm == Norm::Layer),
        biased: biased(architecture.bias, &raw),
        tie_word_embeddings: raw.tie_word_embeddings.unwrap_or(false),
    };
    check_sizes(&config)?;
    Ok(config)
}

/// The greatest sizes that are read, several times those of the largest models. Products of them, such as the bytes of
/// all weights, stay below 2^64.
const MOST_LAYERS: usize = 1 << 12;
const MOST_TOKENS: usize = 1 << 24;
const MOST_WIDTH: usize = 1 << 18;
const MOST_INNER_WIDTH: usize = 1 << 20;
const MOST_HEADS: usize = 1 << 12;
const MOST_POSITIONS: usize = 1 << 30;

/// Refuses sizes that no model has, before anything is laid out by them.
fn refuse_absurd(raw: &Raw) -> Result<()> {
    let optional = |size: Option<usize>| size.unwrap_or(0);
    let heads = raw.num_attention_heads;
    let sizes = [
        ("num_hidden_layers", raw.num_hidden_layers, MOST_LAYERS),
        ("vocab_size", raw.vocab_size, MOST_TOKENS),
        ("hidden_size", raw.hidden_size, MOST_WIDTH),
        ("intermediate_size", raw.intermediate_size, MOST_INNER_WIDTH),
        ("num_attention_heads", heads, MOST_HEADS),
        ("num_key_value_heads", optional(raw.num_key_value_heads), MOST_HEADS),
        ("head_dim", optional(raw.head_dim), MOST_WIDTH),
        ("num_attention_heads x head_dim", heads.saturating_mul(optional(raw.head_dim)), MOST_INNER_WIDTH),
        ("max_position_embeddings", raw.max_position_embeddings, MOST_POSITIONS),
        ("sliding_window", optional(raw.sliding_window), MOST_POSITIONS),
    ];
    match sizes.into_iter().find(|(_, size, most)| size > most) {
        Some((key, size, most)) => {
            Err(ModelConfigError::invalid(format!("{key} is {size}; it can be {most} at most")))
        }
        None => Ok(()),
    }
}

fn refuse_altering(json: &Map<String, Value>) -> Result<()> {
    for (key, neutral) in ALTERING {
        let altered = match json.get(*key) {
            None | Some(Value::Null) => false,
            Some(value) => value.as_f64().is_none_or(|value| (value - neutral).abs() > f64::EPSILON),
        };
        if altered {
            return Err(ModelConfigError::unsupported(format!("{key} = {} is not supported", json[*key])));
        }
    }
    Ok(())
}

fn biased(bias: Bias, raw: &Raw) -> &'static [&'static str] {
    let of_mlp = raw.mlp_bias && bias == Bias::AttentionAndMlp;
    match (bias, raw.attention_bias, of_mlp) {
        (Bias::QueryKeyValue, ..) => &["q_proj", "k_proj", "v_proj"],
        (Bias::Never, ..) | (_, false, false) => &[],
        (_, true, false) => &["q_proj", "k_proj", "v_proj", "o_proj"],
        (_, false, true) => &["gate_proj", "up_proj", "down_proj"],
        (_, true, true) => LORA_TARGETS,
    }
}

/// The window of each layer.
fn windows(window: Window, raw: &Raw) -> Result<Vec<Option<usize>>> {
    let layers = raw.num_hidden_layers;
    let by_type = |default: &dyn Fn(usize) -> bool| -> Result<Vec<Option<usize>>> {
        let Some(types) = &raw.layer_types else {
            return Ok((0..layers).map(|layer| raw.sliding_window.filter(|_| default(layer))).collect());
        };
        if types.len() != layers {
            let message = format!("layer_types has {} entries; num_hidden_layers = {layers}", types.len());
            return Err(ModelConfigError::invalid(message));
        }
        types
            .iter()
            .map(|kind| match kind.as_str() {
                // transformers' name of old is `attention`.
                "full_attention" | "attention" => Ok(None),
                "sliding_attention" => raw.sliding_window.map(Some).ok_or_else(|| {
                    ModelConfigError::invalid("layer_types has sliding_attention; sliding_window is missing")
                }),
                other => Err(ModelConfigError::unsupported(format!(
                    "layer_types `{other}` is not supported; supported: full_attention, sliding_attention"
                ))),
            })
            .collect()
    };
    match window {
        Window::Never => Ok(vec![None; layers]),
        Window::AllLayers => Ok(vec![raw.sliding_window; layers]),
        Window::FromLayer if raw.use_sliding_window != Some(true) => Ok(vec![None; layers]),
        Window::FromLayer => {
            // 28 is transformers' default.
            let first = raw.max_window_layers.unwrap_or(28);
            by_type(&|layer| layer >= first)
        }
        Window::ThreeOfFour => by_type(&|layer| (layer + 1) % 4 != 0),
    }
}

fn check_sizes(config: &ModelConfig) -> Result<()> {
    let sizes = [
        ("vocab_size", config.vocab_size),
        ("hidden_size", config.hidden_size),
        ("intermediate_size", config.intermediate_size),
        ("num_hidden_layers", config.num_hidden_layers),
        ("num_attention_heads", config.num_attention_heads),
        ("num_key_value_heads", config.num_key_value_heads),
        ("head_dim", config.head_dim),
        ("max_position_embeddings", config.max_position_embeddings),
    ];
    let smallest_window = config.windows.iter().flatten().copied().min().unwrap_or(1);
    if let Some((key, _)) =
        sizes.into_iter().chain([("sliding_window", smallest_window)]).find(|(_, size)| *size == 0)
    {
        return Err(ModelConfigError::invalid(format!("{key} is 0; it must be at least 1")));
    }
    if !config.num_attention_heads.is_multiple_of(config.num_key_value_heads) {
        return Err(ModelConfigError::invalid(format!(
            "num_attention_heads = {} is not a multiple of num_key_value_heads = {}",
            config.num_attention_heads, config.num_key_value_heads
        )));
    }
    if !config.head_dim.is_multiple_of(2) {
        return Err(ModelConfigError::invalid(format!("head_dim = {} is odd", config.head_dim)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn small(model_type: &str, further: &Value) -> String {
        let mut config = json!({
            "model_type": model_type, "vocab_size": 32, "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 64,
        });
        for (key, value) in further.as_object().unwrap() {
            config[key] = value.clone();
        }
        config.to_string()
    }

    fn parse(model_type: &str, further: &Value) -> ModelConfig {
        ModelConfig::parse(&small(model_type, further), None).unwrap()
    }

    fn refusal(model_type: &str, further: &Value) -> String {
        ModelConfig::parse(&small(model_type, further), None).unwrap_err().message
    }

    #[test]
    fn windows_by_architecture() {
        let window = json!({"sliding_window": 8});
        assert_eq!(parse("llama", &window).windows, [None; 4]);
        assert_eq!(parse("mistral", &window).windows, [Some(8); 4]);
        assert_eq!(parse("mistral", &json!({"sliding_window": null})).windows, [None; 4]);
        assert_eq!(parse("olmo3", &window).windows, [Some(8), Some(8), Some(8), None]);
        let types = json!({"sliding_window": 8, "layer_types":
            ["full_attention", "sliding_attention", "full_attention", "full_attention"]});
        assert_eq!(parse("olmo3", &types).windows, [None, Some(8), None, None]);
        assert_eq!(parse("qwen2", &window).windows, [None; 4]);
        let from = json!({"sliding_window": 8, "use_sliding_window": true, "max_window_layers": 3});
        assert_eq!(parse("qwen2", &from).windows, [None, None, None, Some(8)]);
    }

    #[test]
    fn what_computes_something_else_is_refused_by_name() {
        for (further, named) in [
            (json!({"hidden_act": "gelu"}), "gelu"),
            (json!({"rope_scaling": {"type": "dynamic", "factor": 2.0}}), "dynamic"),
            (json!({"rope_parameters": {"rope_type": "longrope"}}), "longrope"),
            (json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor"),
            (json!({"num_local_experts": 8}), "num_local_experts"),
            (json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}), "low_freq_factor"),
            (json!({"num_key_value_heads": 3}), "num_key_value_heads"),
        ] {
            let message = refusal("llama", &further);
            assert!(message.contains(named), "{message}");
        }
        let message = refusal("gemma2", &json!({}));
        assert!(message.contains("gemma2") && message.contains("olmo2, olmo3, llama"), "{message}");
    }

    #[test]
    fn sizes_that_no_model_has_are_refused_before_they_take_memory() {
        for key in [
            "num_hidden_layers",
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "max_position_embeddings",
            "sliding_window",
        ] {
            for architecture in ["olmo3", "llama", "qwen3"] {
                let message = refusal(architecture, &json!({key: 1u64 << 40}));
                assert!(message.contains(key) && message.contains("at most"), "{message}");
            }
        }
        let wide = refusal("llama", &json!({"num_attention_heads": 4096, "head_dim": 4096}));
        assert!(wide.contains("num_attention_heads x head_dim is 16777216"), "{wide}");
        for key in ["num_experts", "num_local_experts"] {
            assert!(refusal("llama", &json!({key: 1u64 << 40})).contains("is not supported"));
        }
    }

    #[test]
    fn what_the_architecture_leaves_out_is_its_default_in_transformers() {
        let heads = |model_type, further: &Value| {
            let mut config: Value = serde_json::from_str(&small(model_type, further)).unwrap();
            config["num_attention_heads"] = 64.into();
            config["hidden_size"] = 256.into();
            config.as_object_mut().unwrap().remove("num_key_value_heads");
            config.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
            let config = ModelConfig::parse(&config.to_string(), None).unwrap();
            (config.num_key_value_heads, config.head_dim)
        };
        assert_eq!(heads("llama", &json!({})), (64, 4));
        assert_eq!(heads("mistral", &json!({})), (8, 4));
        assert_eq!(heads("mistral", &json!({"num_key_value_heads": null})), (64, 4));
        assert_eq!(heads("qwen2", &json!({})), (32, 4));
        assert_eq!(heads("qwen3", &json!({})), (32, 128));
        // 28 layers see everything.
        let windowed = json!({"sliding_window": 8, "use_sliding_window": true});
        assert_eq!(parse("qwen2", &windowed).windows, [None; 4]);
        let biased = json!({"attention_bias": true, "mlp_bias": true, "clip_qkv": 8.0});
        assert_eq!(parse("llama", &biased).biased.len(), 7);
        assert_eq!(parse("olmo2", &biased).biased.len(), 4);
        assert_eq!(parse("mistral", &biased).biased.len(), 0);
        assert_eq!(parse("olmo2", &biased).clip_qkv, None);
        assert!(parse("olmo", &biased).clip_qkv.is_some());
    }

    #[test]
    fn an_unnamed_architecture_is_recognised_by_every_one_of_its_tensors() {
        for architecture in ["olmo", "olmo2", "llama", "qwen2", "qwen3"] {
            let named = parse(architecture, &json!({"head_dim": 4}));
            let tensors = named.tensors();
            let small = |model_type, _: &Value| small(model_type, &json!({"head_dim": 4}));
            let found = ModelConfig::parse(&small("my_model", &json!({})), Some(&tensors)).unwrap();
            assert!(found.recognised_by_tensors);
            assert_eq!(found.architecture.model_type, architecture);
            let mut more = tensors.clone();
            more.push((String::from("model.layers.0.mlp.router.weight"), vec![4, 16]));
            assert!(ModelConfig::parse(&small("my_model", &json!({})), Some(&more)).is_err());
            assert!(ModelConfig::parse(&small("my_model", &json!({})), Some(&tensors[1..])).is_err());
        }
    }

    #[test]
    fn a_window_decides_between_architectures_of_the_same_tensors() {
        let window = json!({"sliding_window": 8});
        for (model_type, expected) in [("mistral", "mistral"), ("olmo3", "olmo3")] {
            let tensors = parse(model_type, &window).tensors();
            let found = ModelConfig::parse(&small("my_model", &window), Some(&tensors)).unwrap();
            assert_eq!(found.architecture.model_type, expected);
        }
    }

    #[test]
    fn classes_stand_in_for_a_missing_model_type() {
        let mut config: Value = serde_json::from_str(&small("x", &json!({}))).unwrap();
        config.as_object_mut().unwrap().remove("model_type");
        config["architectures"] = json!(["Olmo3ForCausalLM"]);
        assert_eq!(ModelConfig::parse(&config.to_string(), None).unwrap().architecture.model_type, "olmo3");
    }

    #[test]
    fn yarn_scales_attention_by_its_own_formula_when_no_factor_is_given() {
        let rope = json!({"rope_theta": 5e5, "rope_scaling": {"rope_type": "yarn", "factor": 8.0,
            "original_max_position_embeddings": 8192}});
        let crate::model::RopeScaling::Yarn { attention_factor, beta_fast, .. } =
            parse("olmo3", &rope).rotary.scaling
        else {
            panic!("not yarn");
        };
        assert!((attention_factor - (0.1 * 8f64.ln() + 1.0)).abs() < 1e-12);
        assert!((beta_fast - 32.0).abs() < f64::EPSILON);
    }
}
