//! `config.json` as mlx-lm reads it: every key that it reads says what transformers means.

use greentune_core_config::model::{ModelConfig, RopeScaling, Rotary};
use greentune_model_folder::read_json;
use serde_json::{Map, Value, json};

use super::super::{Source, folder};
use crate::{affine::GROUP, content::PlannedFile, error::ExportError, quantization::Quantization};

/// Keys that change what mlx-lm does, and that transformers does not know.
const MLX_ALONE: &[&str] = &["model_file", "quantize_activations", "rope_traditional"];

/// The merged model's configuration.
pub(super) fn merged<'a>(source: Source<'_>, config: &ModelConfig) -> Result<PlannedFile<'a>, ExportError> {
    let mut json = explicit(source, config)?;
    let bits = match source.request.quantization {
        Some(Quantization::Bits4) => Some(4),
        Some(Quantization::Bits8) => Some(8),
        _ => None,
    };
    if let Some(bits) = bits {
        let how = json!({"group_size": GROUP, "bits": bits, "mode": "affine"});
        json.insert("quantization".into(), how.clone());
        json.insert("quantization_config".into(), how);
    }
    written(source, &json)
}

/// The base model's configuration, where mlx-lm would read another model from the base's own `config.json`.
pub(super) fn of_base<'a>(
    source: Source<'_>,
    config: &ModelConfig,
) -> Result<Option<PlannedFile<'a>>, ExportError> {
    let given: Map<String, Value> = read_json(&source.request.base_model.join(folder::CONFIG_FILE))?;
    let explicit = explicit(source, config)?;
    if is_read_as_meant(&given, config) { Ok(None) } else { written(source, &explicit).map(Some) }
}

fn written<'a>(source: Source<'_>, json: &Map<String, Value>) -> Result<PlannedFile<'a>, ExportError> {
    folder::pretty(&source.request.base_model.join(folder::CONFIG_FILE), folder::CONFIG_FILE, json)
}

/// Whether mlx-lm reads from `given` what it means. Keys that are not there get a default, which may be another than
/// that of transformers.
fn is_read_as_meant(given: &Map<String, Value>, config: &ModelConfig) -> bool {
    let is_qwen3 = config.architecture.model_type == "qwen3";
    let (theta, tied) = match config.architecture.model_type {
        "qwen2" => (Some(1e6), Some(true)),
        "qwen3" => (None, None),
        "olmo3" => (None, Some(false)),
        _ => (Some(1e4), Some(true)),
    };
    // Qwen 3 is the only one whose `rope_parameters` are looked at.
    let nested = given.get("rope_parameters").filter(|_| is_qwen3);
    let found = given.get("rope_theta").or(nested.and_then(|rope| rope.get("rope_theta")));
    let reads_theta = found.and_then(Value::as_f64).or(theta) == Some(config.rotary.theta);
    let scaling = given.get("rope_scaling").filter(|scaling| !scaling.is_null()).or(nested);
    let reads_scaling = match &config.rotary.scaling {
        RopeScaling::Unscaled => true,
        RopeScaling::Linear { .. } => scaling.is_some(),
        // Their defaults differ.
        RopeScaling::Llama3 { .. } | RopeScaling::Yarn { .. } => {
            scaling == Some(&rope(&config.rotary, false)) || scaling == Some(&rope(&config.rotary, true))
        }
    };
    let reads_head = given.get("tie_word_embeddings").and_then(Value::as_bool).or(tied)
        == Some(config.tie_word_embeddings);
    let needed = sizes(config).into_iter().all(|(key, _)| given.contains_key(key));
    let has_own_keys = MLX_ALONE.iter().any(|key| given.contains_key(*key));
    reads_theta && reads_scaling && reads_head && needed && !has_own_keys && !config.recognised_by_tensors
}

/// The base's configuration with every key that mlx-lm reads.
fn explicit(source: Source<'_>, config: &ModelConfig) -> Result<Map<String, Value>, ExportError> {
    let mut json = folder::explicit_config(source)?;
    MLX_ALONE.iter().for_each(|key| drop(json.remove(*key)));
    if config.recognised_by_tensors {
        json.insert("model_type".into(), config.architecture.model_type.into());
    }
    for (key, size) in sizes(config) {
        json.insert(key.into(), size.into());
    }
    json.insert("num_key_value_heads".into(), config.num_key_value_heads.into());
    json.insert("head_dim".into(), config.head_dim.into());
    // As text it is the number that was given, and not the nearest one of 32 bits.
    let epsilon = config.norm_eps.to_string().parse::<f64>().map(Value::from);
    if let (None, Ok(epsilon)) = (json.get("rms_norm_eps").and_then(Value::as_f64), epsilon) {
        json.insert("rms_norm_eps".into(), epsilon);
    }
    json.insert("attention_bias".into(), config.biased.contains(&"o_proj").into());
    json.insert("mlp_bias".into(), config.biased.contains(&"gate_proj").into());
    json.insert("tie_word_embeddings".into(), config.tie_word_embeddings.into());
    rotary(config, &mut json);
    windows(config, &mut json);
    Ok(json)
}

/// Sizes without which mlx-lm does not load a model.
fn sizes(config: &ModelConfig) -> [(&'static str, usize); 6] {
    [
        ("vocab_size", config.vocab_size),
        ("hidden_size", config.hidden_size),
        ("intermediate_size", config.intermediate_size),
        ("num_hidden_layers", config.num_hidden_layers),
        ("num_attention_heads", config.num_attention_heads),
        ("max_position_embeddings", config.max_position_embeddings),
    ]
}

/// mlx-lm reads `rope_theta` and `rope_scaling`, newer versions of transformers `rope_parameters`.
fn rotary(config: &ModelConfig, json: &mut Map<String, Value>) {
    let of_all = rope(&config.rotary, true);
    let scaled = config.rotary.scaling != RopeScaling::Unscaled;
    json.insert("rope_theta".into(), config.rotary.theta.into());
    json.insert("rope_scaling".into(), if scaled { of_all.clone() } else { Value::Null });
    let has_two_kinds = config.architecture.model_type == "olmo3";
    let parameters = if has_two_kinds {
        json!({"full_attention": of_all, "sliding_attention": rope(&config.window_rotary, true)})
    } else {
        of_all
    };
    json.insert("rope_parameters".into(), parameters);
}

fn rope(rotary: &Rotary, with_theta: bool) -> Value {
    let mut json = match &rotary.scaling {
        RopeScaling::Unscaled => json!({"rope_type": "default"}),
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": *original as u64,
        }),
        RopeScaling::Yarn { factor, original, beta_fast, beta_slow, attention_factor, .. } => json!({
            "rope_type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": *original as u64,
            "beta_fast": beta_fast,
            "beta_slow": beta_slow,
            "attention_factor": attention_factor,
            // mlx-lm multiplies by 0.1 · mscale · ln(factor) + 1.
            "mscale": if *factor > 1.0 { (attention_factor - 1.0) / (0.1 * factor.ln()) } else { 1.0 },
        }),
    };
    if with_theta {
        json["rope_theta"] = rotary.theta.into();
    }
    json
}

/// Which layers see a window; where transformers looks at no such key, mlx-lm shall not find one.
fn windows(config: &ModelConfig, json: &mut Map<String, Value>) {
    let kinds: Vec<&str> = config
        .windows
        .iter()
        .map(|window| if window.is_some() { "sliding_attention" } else { "full_attention" })
        .collect();
    match (config.architecture.model_type, config.windows.iter().flatten().next()) {
        ("olmo3", Some(window)) => {
            json.insert("layer_types".into(), kinds.into());
            json.insert("sliding_window".into(), (*window).into());
        }
        // A window as wide as the context is none.
        _ if json.contains_key("layer_types") => {
            json.insert("layer_types".into(), vec!["full_attention"; config.num_hidden_layers].into());
        }
        _ => {}
    }
}
