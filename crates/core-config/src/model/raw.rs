//! The keys of `config.json` that matter here, and what is made of them.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    ModelConfig, ModelConfigError, Norm, RopeScaling, Rotary, TensorShape,
    architecture::{ARCHITECTURES, Architecture, Bias, Window},
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
    rope_parameters: Option<Value>,
    rope_scaling: Option<Value>,
    original_max_position_embeddings: Option<f64>,
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

/// The keys of `rope_parameters` (transformers 5) or `rope_scaling` (before).
#[derive(Default, Deserialize)]
struct RawRope {
    rope_theta: Option<f64>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    attention_factor: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    truncate: Option<bool>,
    partial_rotary_factor: Option<f64>,
}

/// See [`ModelConfig::parse`].
pub(super) fn read(text: &str, tensors: Option<&[TensorShape]>) -> Result<ModelConfig> {
    let json: Map<String, Value> = serde_json::from_str(text)
        .map_err(|error| ModelConfigError::invalid(format!("not a JSON object: {error}")))?;
    let model_type = json.get("model_type").and_then(Value::as_str);
    let class = json.get("architectures").and_then(|classes| classes.get(0)).and_then(Value::as_str);
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
        expected.iter().eq(found.iter().copied())
    };
    // Architectures with and without a window differ by no tensor: `sliding_window` decides between them.
    let has_window = json.get("sliding_window").is_some_and(|window| !window.is_null());
    let candidates = ARCHITECTURES.iter().filter_map(|architecture| build(architecture, json).ok());
    let mut fitting: Vec<_> = candidates.filter(explains).collect();
    fitting.sort_by_key(|config| config.windows.iter().any(Option::is_some) != has_window);
    fitting.into_iter().next().map(|config| ModelConfig { recognised_by_tensors: true, ..config })
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
    let (rotary, window_rotary) = rotary(architecture.window, &raw)?;
    let config = ModelConfig {
        architecture,
        recognised_by_tensors: false,
        vocab_size: raw.vocab_size,
        hidden_size: raw.hidden_size,
        intermediate_size: raw.intermediate_size,
        num_hidden_layers: raw.num_hidden_layers,
        num_attention_heads: raw.num_attention_heads,
        num_key_value_heads: raw.num_key_value_heads.unwrap_or(raw.num_attention_heads),
        head_dim: raw.head_dim.unwrap_or(raw.hidden_size / raw.num_attention_heads.max(1)),
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
        clip_qkv: raw.clip_qkv,
        biased: biased(architecture.bias, &raw),
        tie_word_embeddings: raw.tie_word_embeddings.unwrap_or(false),
    };
    check_sizes(&config)?;
    Ok(config)
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
    match (bias, raw.attention_bias, raw.mlp_bias) {
        (Bias::Never, ..) | (Bias::Configured, false, false) => &[],
        (Bias::QueryKeyValue, ..) => &["q_proj", "k_proj", "v_proj"],
        (Bias::Configured, true, false) => &["q_proj", "k_proj", "v_proj", "o_proj"],
        (Bias::Configured, false, true) => &["gate_proj", "up_proj", "down_proj"],
        (Bias::Configured, true, true) => LORA_TARGETS,
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
                "full_attention" => Ok(None),
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
            let first = raw.max_window_layers.unwrap_or(0);
            by_type(&|layer| layer >= first)
        }
        Window::ThreeOfFour => by_type(&|layer| (layer + 1) % 4 != 0),
    }
}

/// Rotary positions of layers that see everything, and of those that see a window.
fn rotary(window: Window, raw: &Raw) -> Result<(Rotary, Rotary)> {
    let present = |value: &Option<Value>| value.clone().filter(|value| !value.is_null());
    let (parameters, scaling) = (present(&raw.rope_parameters), present(&raw.rope_scaling));
    // transformers 5 gives parameters by the type of layer where they differ.
    if let Some(Value::Object(by_type)) = &parameters
        && by_type.contains_key("full_attention")
    {
        let of = |kind: &str| one_rotary(by_type.get(kind).cloned(), None, raw);
        return Ok((of("full_attention")?, of("sliding_attention")?));
    }
    let full = one_rotary(parameters, scaling, raw)?;
    let unscaled = Rotary { theta: full.theta, scaling: RopeScaling::Unscaled };
    let of_windows = if window == Window::ThreeOfFour { unscaled } else { full.clone() };
    Ok((full, of_windows))
}

fn one_rotary(parameters: Option<Value>, scaling: Option<Value>, raw: &Raw) -> Result<Rotary> {
    let read = |value: Option<Value>| -> Result<Option<RawRope>> {
        let value = value.map(serde_json::from_value).transpose();
        value.map_err(|error| ModelConfigError::invalid(format!("rope_parameters: {error}")))
    };
    let (parameters, scaling) = (read(parameters)?, read(scaling)?);
    let theta = parameters.as_ref().and_then(|rope| rope.rope_theta).or(raw.rope_theta).unwrap_or(10_000.0);
    let rope = scaling.or(parameters).unwrap_or_default();
    if rope.partial_rotary_factor.is_some_and(|factor| (factor - 1.0).abs() > f64::EPSILON) {
        return Err(ModelConfigError::unsupported("partial_rotary_factor is not supported"));
    }
    Ok(Rotary { theta, scaling: rope_scaling(&rope, raw)? })
}

fn rope_scaling(rope: &RawRope, raw: &Raw) -> Result<RopeScaling> {
    let kind = rope.rope_type.as_deref().unwrap_or("default");
    let needed = |value: Option<f64>, key: &str| {
        let missing = || ModelConfigError::invalid(format!("rope_type `{kind}` needs {key}"));
        value.filter(|value| value.is_finite() && *value > 0.0).ok_or_else(missing)
    };
    let original = rope.original_max_position_embeddings.or(raw.original_max_position_embeddings);
    match kind {
        "default" => Ok(RopeScaling::Unscaled),
        "linear" => Ok(RopeScaling::Linear { factor: needed(rope.factor, "factor")? }),
        "llama3" => Ok(RopeScaling::Llama3 {
            factor: needed(rope.factor, "factor")?,
            low_freq_factor: needed(rope.low_freq_factor, "low_freq_factor")?,
            high_freq_factor: needed(rope.high_freq_factor, "high_freq_factor")?,
            original: needed(original, "original_max_position_embeddings")?,
        }),
        "yarn" => {
            let context = raw.max_position_embeddings as f64;
            let original = original.unwrap_or(context);
            let factor = needed(rope.factor.or(Some(context / original)), "factor")?;
            let attention_factor = match (rope.attention_factor, rope.mscale, rope.mscale_all_dim) {
                (Some(given), ..) => given,
                (None, Some(mscale), Some(all)) if mscale != 0.0 && all != 0.0 => {
                    RopeScaling::yarn_attention_factor(factor, mscale)
                        / RopeScaling::yarn_attention_factor(factor, all)
                }
                _ => RopeScaling::yarn_attention_factor(factor, 1.0),
            };
            Ok(RopeScaling::Yarn {
                factor,
                original,
                beta_fast: rope.beta_fast.unwrap_or(32.0),
                beta_slow: rope.beta_slow.unwrap_or(1.0),
                attention_factor,
                truncate: rope.truncate.unwrap_or(true),
            })
        }
        other => Err(ModelConfigError::unsupported(format!(
            "rope_type `{other}` is not supported; supported: default, linear, llama3, yarn"
        ))),
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
    fn an_unnamed_architecture_is_recognised_by_every_one_of_its_tensors() {
        for architecture in ["olmo", "olmo2", "llama", "qwen2", "qwen3"] {
            let named = parse(architecture, &json!({}));
            let tensors = named.tensors();
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
        let rope = json!({"rope_parameters": {"rope_type": "yarn", "rope_theta": 5e5, "factor": 8.0,
            "original_max_position_embeddings": 8192}});
        let RopeScaling::Yarn { attention_factor, beta_fast, .. } = parse("olmo3", &rope).rotary.scaling
        else {
            panic!("not yarn");
        };
        assert!((attention_factor - (0.1 * 8f64.ln() + 1.0)).abs() < 1e-12);
        assert!((beta_fast - 32.0).abs() < f64::EPSILON);
    }
}
