//! What of a decoder mlx-lm cannot compute.

use greentune_core_config::model::{ModelConfig, RopeScaling};

/// What mlx-lm computes an architecture with.
struct Architecture {
    /// Its module there.
    name: &'static str,
    /// Projections that can have a bias.
    biases: &'static [&'static str],
    /// Whether layers can see a window alone.
    windows: bool,
    /// Whether the size of a head is a key of its own.
    head_dim: bool,
}

const LLAMA: Architecture = Architecture {
    name: "llama",
    biases: &["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    windows: false,
    head_dim: true,
};

const OLMO2: Architecture =
    Architecture { name: "olmo2", biases: &["q_proj", "k_proj", "v_proj", "o_proj"], ..LLAMA };

/// Refuses what mlx-lm would compute otherwise, or not load.
pub(super) fn check(config: &ModelConfig) -> Result<(), String> {
    let architecture = match config.architecture.model_type {
        "llama" | "mistral" => LLAMA,
        "olmo2" => OLMO2,
        "olmo3" => Architecture { name: "olmo3", windows: true, ..OLMO2 },
        "qwen2" => {
            Architecture { name: "qwen2", biases: &["q_proj", "k_proj", "v_proj"], head_dim: false, ..LLAMA }
        }
        "qwen3" => Architecture { name: "qwen3", biases: &[], ..LLAMA },
        "olmo" => {
            return Err(
                "its olmo is the one of the package ai2-olmo, with other tensors than that of transformers"
                    .into(),
            );
        }
        other => return Err(format!("it has no model {other}")),
    };
    let name = architecture.name;
    if let Some(biased) = config.biased.iter().find(|biased| !architecture.biases.contains(biased)) {
        return Err(format!("its {name} has no bias for {biased}"));
    }
    let usual = config.hidden_size / config.num_attention_heads;
    if !architecture.head_dim && config.head_dim != usual {
        return Err(format!("heads of its {name} have the size {usual}, not {}", config.head_dim));
    }
    check_windows(&architecture, config)?;
    check_scaling(name, &config.rotary.scaling)
}

fn check_windows(architecture: &Architecture, config: &ModelConfig) -> Result<(), String> {
    let (name, context) = (architecture.name, config.max_position_embeddings);
    let mut windows = config.windows.iter().flatten();
    if !architecture.windows {
        return match windows.find(|window| **window < context) {
            None => Ok(()),
            Some(window) => Err(format!(
                "its {name} has no sliding window: this model's layers see {window} of {context} positions"
            )),
        };
    }
    let Some(first) = windows.next() else {
        return Err(format!("its {name} needs layers with a sliding window"));
    };
    if config.windows.iter().all(Option::is_some) {
        return Err(format!("its {name} needs layers without a sliding window"));
    }
    if windows.any(|window| window != first) {
        return Err(format!("its {name} has one sliding window for all layers that have one"));
    }
    let rotary = &config.window_rotary;
    if rotary.scaling != RopeScaling::Unscaled || rotary.theta.to_bits() != config.rotary.theta.to_bits() {
        return Err(format!(
            "its {name} rotates layers with a sliding window without scaling, by the base of the others"
        ));
    }
    Ok(())
}

fn check_scaling(name: &str, scaling: &RopeScaling) -> Result<(), String> {
    let RopeScaling::Yarn { factor, attention_factor, truncate, .. } = scaling else { return Ok(()) };
    if !truncate {
        return Err(format!("its {name} takes rotary scaling of the kind yarn only with truncate = true"));
    }
    if *factor <= 1.0 && (attention_factor - 1.0).abs() > f64::EPSILON {
        return Err(format!(
            "its {name} takes rotary scaling of the kind yarn with the factor {factor} only with attention_factor = 1"
        ));
    }
    Ok(())
}
