use serde_json::json;

use super::*;

fn shape() -> ModelShape {
    let config = json!({
        "model_type": "olmo2", "vocab_size": 1024, "hidden_size": 192, "intermediate_size": 512,
        "num_hidden_layers": 4, "num_attention_heads": 6, "num_key_value_heads": 6, "max_position_embeddings": 512,
    });
    ModelShape::from_config(&config.to_string()).unwrap()
}

fn inputs(settings: &Settings) -> MemoryInputs {
    MemoryInputs {
        batch_tokens: 2048,
        batch_labels: 1024,
        evaluation_tokens: 512,
        ..MemoryInputs::new(settings)
    }
}

fn part(estimate: &MemoryEstimate, name: &str) -> u64 {
    estimate.parts.iter().find(|part| part.name == name).map_or(0, |part| part.bytes)
}

#[test]
fn parameters_are_those_of_the_bundled_base_model() {
    // 4 x (4 x 192 x 192 + 3 x 192 x 512) + 2 x 1024 x 192 + 192 + 4 x (2 x 192 + 2 x 192)
    assert_eq!(shape().parameters(), 2_165_952);
    let targets = ["q_proj", "down_proj"].map(str::to_owned);
    assert_eq!(shape().trainable_parameters(8, &targets), 4 * 8 * (192 + 192 + 512 + 192));
    assert_eq!(ModelShape::from_config(r#"{"hidden_size": 4}"#), None);
}

#[test]
fn the_greatest_sizes_that_are_read_do_not_overflow() {
    let config = json!({
        "model_type": "llama", "vocab_size": 1 << 24, "hidden_size": 1 << 18, "intermediate_size": 1 << 20,
        "num_hidden_layers": 1 << 12, "num_attention_heads": 1 << 12, "head_dim": 1 << 8,
        "max_position_embeddings": 1 << 30,
    });
    let shape = ModelShape::from_config(&config.to_string()).unwrap();
    let matrices = (1_u128 << 12) * (4 * (1 << 38) + 3 * (1 << 38)) + 2 * (1 << 42);
    let norms = (2 * (1_u128 << 12) + 1) << 18;
    assert_eq!(
        u128::from(part(&estimate(&shape, &inputs(&Settings::default())), "base weights")),
        4 * (matrices + norms)
    );
    for (key, size) in [("num_hidden_layers", (1_u64 << 12) + 1), ("vocab_size", 1 << 40)] {
        let mut config = config.clone();
        config[key] = size.into();
        assert_eq!(ModelShape::from_config(&config.to_string()), None, "{key}");
    }
}

#[test]
fn the_largest_batches_that_settings_allow_do_not_come_out_small() {
    let mut settings = Settings::default();
    settings.training.max_seq_length = 1_000_000_000;
    settings.training.stage1.batch_size = 100_000;
    let tokens = settings.training.max_seq_length * settings.training.stage1.batch_size;
    let largest = MemoryInputs { batch_tokens: tokens, batch_labels: tokens, ..inputs(&settings) };
    let bytes = estimate(&shape(), &largest).peak_bytes();
    let least = 4 * u128::from(tokens) * u128::from(shape().num_hidden_layers * shape().hidden_size);
    assert!(u128::from(bytes) >= least.min(u64::MAX.into()), "{bytes} of at least {least}");
    let beyond = MemoryInputs { batch_tokens: u64::MAX, ..largest };
    assert_eq!(estimate(&shape(), &beyond).peak_bytes(), u64::MAX);
}

#[test]
fn packed_weights_take_what_their_format_says() {
    let weights = |quantization| {
        let mut settings = Settings::default();
        settings.base_model.quantization = quantization;
        part(&estimate(&shape(), &inputs(&settings)), "base weights")
    };
    assert_eq!(weights(Quantization::None), 4 * 2_165_952);
    // All but the norms, (1 + 4 x 4) x 192 values, which stay as they are.
    let (norms, matrices) = (17 * 192, 2_165_952 - 17 * 192);
    assert_eq!(weights(Quantization::Q8), matrices * 9 / 8 + 4 * norms);
    assert_eq!(weights(Quantization::Q4), matrices * 6 / 8 + 4 * norms);
}

#[test]
fn activations_follow_what_the_nodes_save() {
    let settings = Settings::default();
    let estimate = estimate(&shape(), &inputs(&settings));
    // q, k, v, q and k before their norms, the input of q and v, two norms, gate and up, two low-rank products.
    let layer = 3 * 192 + 2 * 192 + 192 + 2 * 192 + 2 * 512 + 2 * 8;
    assert_eq!(part(&estimate, "activations"), 4 * 2048 * (4 * layer + 3 * 192));
}

#[test]
fn every_lever_lowers_what_it_is_for() {
    let settings = Settings::default();
    let base = inputs(&settings);
    let needed = |inputs: &MemoryInputs| estimate(&shape(), inputs).peak_bytes();
    for lowered in [
        MemoryInputs { batch_tokens: 512, batch_labels: 256, ..base.clone() },
        MemoryInputs { gradient_checkpointing: true, ..base.clone() },
        MemoryInputs { weights: WeightFormat::Q8, ..base.clone() },
        MemoryInputs { weights: WeightFormat::Q4, ..base.clone() },
        MemoryInputs { rank: 1, ..base.clone() },
    ] {
        assert!(needed(&lowered) < needed(&base), "{lowered:?}");
    }
}

#[test]
fn reductions_name_settings_and_come_to_less() {
    let settings = Settings::default();
    let found = reductions(&shape(), &inputs(&settings), &settings, 1);
    assert_eq!(
        found[0].settings,
        ["training.stage1.batch_size=1", "training.stage1.gradient_accumulation=4"].map(String::from)
    );
    let now = estimate(&shape(), &inputs(&settings)).peak_bytes();
    assert!(found.iter().all(|reduction| reduction.needed_bytes < now), "{found:?}");
}

#[test]
fn a_refusal_names_parts_and_what_would_help() {
    let settings = Settings::default();
    let (shape, inputs) = (shape(), inputs(&settings));
    let estimate = estimate(&shape, &inputs);
    let reductions = reductions(&shape, &inputs, &settings, 1);
    let free = |bytes| crate::plan::AvailableMemory { bytes, limited_by: String::from("the machine") };
    assert_eq!(insufficient(&estimate, &free(None), &reductions), None);
    assert_eq!(insufficient(&estimate, &free(Some(1 << 40)), &reductions), None);
    let problem = insufficient(&estimate, &free(Some(100_000_000)), &reductions).unwrap();
    assert_eq!(problem.code, "memory.insufficient");
    assert!(problem.message.contains("the machine has 100.0 MB free; activations"), "{}", problem.message);
    let hint = problem.hint.unwrap();
    assert!(hint.contains("training.stage1.batch_size=1 training.stage1.gradient_accumulation=4"), "{hint}");
    let all_the_same = &problem.suggestions[0];
    assert_eq!(
        (all_the_same.operation.as_str(), &all_the_same.arguments["memory_check"]),
        ("start_training", &serde_json::json!(false))
    );
}
