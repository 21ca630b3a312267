//! `adapter_config.json` and PEFT's tensor names.

use greentune_export::peft::{self, AdapterConfig, Adapters};
use safetensors::Dtype;
use serde_json::{Value, json};

use crate::fixture::{Sandbox, config_of_rank, json_of, pairs, tensors_in};

#[test]
fn writes_the_keys_and_tensors_of_peft() {
    let dir = tempfile::tempdir().unwrap();
    let config = AdapterConfig { base_model_name_or_path: Some("base".into()), ..config_of_rank(3) };
    peft::write(dir.path(), &config, &pairs(3, 1.0)).unwrap();

    let json = json_of(&dir.path().join("adapter_config.json"));
    for (key, expected) in [
        ("peft_type", json!("LORA")),
        ("task_type", json!("CAUSAL_LM")),
        ("base_model_name_or_path", json!("base")),
        ("r", json!(3)),
        ("lora_alpha", json!(6)),
        ("lora_dropout", json!(0.05)),
        ("target_modules", json!(["q_proj", "v_proj", "down_proj"])),
        ("bias", json!("none")),
        ("fan_in_fan_out", json!(false)),
        ("inference_mode", json!(true)),
        ("use_rslora", json!(false)),
        ("use_dora", json!(false)),
        ("modules_to_save", Value::Null),
        ("rank_pattern", json!({})),
    ] {
        assert_eq!(json.get(key), Some(&expected), "{key}");
    }
    let tensors = tensors_in(dir.path());
    assert_eq!(tensors.len(), 6);
    let key = |part: &str| format!("base_model.model.model.layers.0.mlp.down_proj.lora_{part}.weight");
    assert_eq!((tensors[&key("A")].0, &tensors[&key("A")].1), (Dtype::F32, &vec![3, 40]));
    assert_eq!((tensors[&key("B")].0, &tensors[&key("B")].1), (Dtype::F32, &vec![8, 3]));
    let bytes = std::fs::read(dir.path().join("adapter_model.safetensors")).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
}

#[test]
fn reads_back_what_it_writes() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    let adapters = Adapters::open(&sandbox.adapters()).unwrap();
    assert_eq!(adapters.config(), &config_of_rank(3));
    assert_eq!(adapters.config().scale().to_bits(), 2f64.to_bits());
    assert_eq!(adapters.modules().count(), 3);
    for pair in pairs(3, 0.5) {
        assert_eq!(adapters.pair(&pair.module).unwrap(), pair);
    }
}

#[test]
fn reads_the_least_that_peft_needs_and_keeps_unknown_keys() {
    let least = json!({"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": "all-linear", "new_key": [1]});
    let config: AdapterConfig = serde_json::from_value(least).unwrap();
    assert_eq!(config.target_modules, ["all-linear"]);
    assert_eq!((config.bias.as_str(), config.r), ("none", 8));
    assert_eq!(config.other["new_key"], json!([1]));
}

#[test]
fn refuses_to_write_values_that_do_not_fit_their_shape() {
    let dir = tempfile::tempdir().unwrap();
    let mut pairs = pairs(3, 1.0);
    pairs[0].b.pop();
    let error = peft::write(dir.path(), &config_of_rank(3), &pairs).unwrap_err();
    assert!(error.to_string().contains("q_proj.lora_B.weight"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
