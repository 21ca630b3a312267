//! Exports for mlx-lm: names, keys, groups and adapters of models of every architecture that it has.

use std::fs;

use greentune_core_config::{Diagnostic, ProblemKind};
use greentune_export::{
    ExportFormat, ExportRequest, Quantization, export,
    peft::{self, AdapterConfig, LoraPair},
    stage,
};
use safetensors::Dtype;
use serde_json::{Value, json};

use crate::{
    fixture::{decode, encode, json_of, names_in, tensors_in},
    model::Model,
};

/// A model of `fixtures/reference/families`.
fn of_family(name: &str) -> Model {
    Model::family(name, ExportFormat::Mlx)
}

/// The bundled base model, whose rows are whole groups, with an adapter of one projection.
fn bundled() -> Model {
    let files = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    Model::bundled(ExportFormat::Mlx, &files, 1, &[("self_attn.q_proj", [192, 192])])
}

/// The configuration of the merged export.
fn config_of(model: &Model) -> Value {
    json_of(&model.export(None, true).destination.join("config.json"))
}

#[test]
fn a_merged_model_has_the_names_and_the_index_of_mlx_lm() {
    let model = bundled();
    let report = model.export(None, true);
    let expected = [
        "config.json",
        "model.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names_in(&report.destination), expected);
    let tensors = tensors_in(&report.destination);
    assert_eq!(tensors.keys().collect::<Vec<_>>(), tensors_in(&model.base()).keys().collect::<Vec<_>>());
    let index = json_of(&report.destination.join("model.safetensors.index.json"));
    let bytes: usize = tensors.values().map(|(_, _, bytes)| bytes.len()).sum();
    let values: usize = tensors.values().map(|(_, shape, _)| shape.iter().product::<usize>()).sum();
    assert_eq!(index["metadata"], json!({"total_size": bytes, "total_parameters": values}));
    let map = index["weight_map"].as_object().unwrap();
    assert!(map.keys().eq(tensors.keys()) && map.values().all(|file| file == "model.safetensors"));
    let file = fs::read(report.destination.join("model.safetensors")).unwrap();
    assert!(file[8..].starts_with(b"{\"__metadata__\":{\"format\":\"mlx\"}"));
    assert!(report.usage_instructions.contains("mlx_lm.chat --model"), "{}", report.usage_instructions);
    assert_eq!(report.verification.merged_tensors, 1);
    assert!(report.verification.tensor_types.is_empty());
}

#[test]
fn floats_of_another_type_are_rounded_once() {
    let model = bundled();
    let exact = tensors_in(&model.merged(Some(Quantization::F32)));
    for (quantization, dtype, word) in [
        (Quantization::F32, Dtype::F32, "float32"),
        (Quantization::F16, Dtype::F16, "float16"),
        (Quantization::Bf16, Dtype::BF16, "bfloat16"),
    ] {
        let report = model.export(Some(quantization), true);
        for (name, (found, _, bytes)) in tensors_in(&report.destination) {
            let values = decode(Dtype::F32, &exact[&name].2);
            assert_eq!((found, bytes), (dtype, encode(dtype, &values)), "{name}");
        }
        let config = json_of(&report.destination.join("config.json"));
        assert_eq!(config["dtype"], word, "{config}");
        assert!(report.verification.tensor_types.contains_key(&dtype.to_string()));
    }
}

/// What `affine.rs` proves of a group is proven of whole tensors here: every matrix in groups, near its source.
#[test]
fn matrices_are_packed_in_groups_of_64() {
    let model = bundled();
    let exact = tensors_in(&model.merged(Some(Quantization::F32)));
    for (quantization, bits, most) in [(Quantization::Bits8, 8, 0.01), (Quantization::Bits4, 4, 0.12)] {
        let report = model.export(Some(quantization), true);
        let config = json_of(&report.destination.join("config.json"));
        let how = json!({"group_size": 64, "bits": bits, "mode": "affine"});
        assert_eq!((&config["quantization"], &config["quantization_config"]), (&how, &how));
        let tensors = tensors_in(&report.destination);
        for (name, (dtype, shape, bytes)) in &exact {
            let (found, found_shape, words) = &tensors[name];
            let [rows, columns] = shape[..] else {
                assert_eq!((found, found_shape), (&tensors_in(&model.base())[name].0, shape), "{name}");
                continue;
            };
            assert_eq!((*found, &found_shape[..]), (Dtype::U32, &[rows, columns * bits / 32][..]), "{name}");
            let part = |end: &str| {
                let (dtype, shape, bytes) = &tensors[&name.replace(".weight", end)];
                assert_eq!(shape[..], [rows, columns / 64]);
                decode(*dtype, bytes)
            };
            let (scales, biases) = (part(".scales"), part(".biases"));
            let (mut errors, mut squares) = (0f64, 0f64);
            for (index, value) in decode(*dtype, bytes).into_iter().enumerate() {
                let step = if bits == 8 { words[index] } else { words[index / 2] >> (index % 2 * 4) & 15 };
                let read = scales[index / 64] * f32::from(step) + biases[index / 64];
                errors += f64::from(read - value).powi(2);
                squares += f64::from(value).powi(2);
            }
            assert!((errors / squares).sqrt() < most, "{name}: {}", (errors / squares).sqrt());
        }
        let relative = report.verification.relative_rounding.unwrap();
        assert!(relative > most / 100.0 && relative < most, "{relative}");
        assert!(report.verification.tensor_types[&format!("{bits}bit")] > 8);
        let index = json_of(&report.destination.join("model.safetensors.index.json"));
        assert_eq!(index["weight_map"].as_object().unwrap().len(), tensors.len());
        let values: usize = exact.values().map(|(_, shape, _)| shape.iter().product::<usize>()).sum();
        assert_eq!(index["metadata"]["total_parameters"], values);
    }
}

/// As mlx-lm leaves them: rows of 32 are no whole groups.
#[test]
fn a_copy_that_greentune_reads_has_the_values_of_the_groups() {
    let model = bundled();
    let merged = tensors_in(&model.merged(Some(Quantization::F32)));
    for (quantization, off) in [(Quantization::Bits8, 0.01), (Quantization::Bits4, 0.15)] {
        let request = ExportRequest {
            readable_copy: true,
            max_shard_size: Some("1MB".parse().unwrap()),
            ..model.request(Some(quantization), true)
        };
        let staged = stage(&request).unwrap();
        let tensors = tensors_in(staged.readable_copy().unwrap());
        assert!(tensors.keys().eq(merged.keys()));
        for (name, (dtype, _, bytes)) in &tensors {
            let merged = decode(merged[name].0, &merged[name].2);
            let largest = merged.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            let near = |(read, merged): (f32, &f32)| (read - merged).abs() <= off * largest;
            assert!(decode(*dtype, bytes).into_iter().zip(&merged).all(near), "{name} {quantization}");
        }
    }
    let floats = ExportRequest { readable_copy: false, ..model.request(Some(Quantization::F16), true) };
    assert!(stage(&floats).unwrap().readable_copy().is_none());
}

#[test]
fn rows_that_are_no_whole_groups_stay_floats() {
    let model = of_family("llama-linear");
    let report = model.export(Some(Quantization::Bits4), true);
    let base = tensors_in(&model.base());
    let types: Vec<&str> = report.verification.tensor_types.keys().map(String::as_str).collect();
    assert_eq!(types, ["F16"]);
    for (name, (dtype, shape, _)) in tensors_in(&report.destination) {
        assert_eq!((dtype, shape), (base[&name].0, base[&name].1.clone()), "{name}");
    }
}

#[test]
fn every_key_that_mlx_lm_reads_is_written() {
    let config = config_of(&of_family("llama-linear"));
    let rope = json!({"rope_type": "linear", "factor": 3.0, "rope_theta": 3000.0});
    assert_eq!((&config["rope_theta"], &config["rope_scaling"]), (&json!(3000.0), &rope));
    assert_eq!(config["rope_parameters"], rope);
    assert_eq!(config["tie_word_embeddings"], false);
    for key in ["num_key_value_heads", "head_dim", "attention_bias", "mlp_bias", "rms_norm_eps", "vocab_size"]
    {
        assert!(!config[key].is_null(), "{key}");
    }

    let config = config_of(&of_family("llama"));
    assert_eq!(config["rope_scaling"]["original_max_position_embeddings"], 32);
    assert_eq!((&config["attention_bias"], &config["tie_word_embeddings"]), (&json!(true), &json!(true)));

    let config = config_of(&of_family("qwen3"));
    assert_eq!((&config["rope_scaling"], &config["rope_theta"]), (&Value::Null, &json!(3000.0)));

    let config = config_of(&of_family("olmo3"));
    let yarn = &config["rope_scaling"];
    assert_eq!((&yarn["rope_type"], &yarn["beta_fast"]), (&json!("yarn"), &json!(4.0)));
    assert_eq!(config["rope_parameters"]["full_attention"], *yarn);
    assert_eq!(config["rope_parameters"]["sliding_attention"]["rope_theta"], 3000.0);
    assert_eq!(config["sliding_window"], 7);
}

/// transformers does not look at them there; mlx-lm would compute another model.
#[test]
fn keys_of_mlx_lm_that_transformers_does_not_read_are_made_harmless() {
    let model = of_family("llama-linear");
    model.change("config.json", |config| {
        config["rope_traditional"] = json!(true);
        config["model_file"] = json!("code.py");
        config["quantize_activations"] = json!(true);
        config["layer_types"] = json!(["sliding_attention", "full_attention"]);
        config["sliding_window"] = json!(4);
        config["attention_bias"] = json!(false);
    });
    let config = config_of(&model);
    for key in ["rope_traditional", "model_file", "quantize_activations"] {
        assert!(config.get(key).is_none(), "{key}");
    }
    assert_eq!(config["layer_types"], json!(["full_attention", "full_attention"]));
}

#[test]
fn yarn_says_its_attention_factor_as_mlx_lm_computes_it() {
    let model = of_family("llama-linear");
    model.change("config.json", |config| {
        config["rope_parameters"] = json!({"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4,
            "original_max_position_embeddings": 16, "attention_factor": 1.3});
    });
    let scaling = &config_of(&model)["rope_scaling"];
    let mscale = scaling["mscale"].as_f64().unwrap();
    assert!((0.1 * mscale * 4f64.ln() + 1.0 - 1.3).abs() < 1e-9, "{scaling}");
    assert_eq!(scaling["attention_factor"], 1.3);
}

#[test]
fn what_mlx_lm_cannot_compute_is_refused_by_name() {
    let says = |model: &Model, parts: &[&str]| {
        let problem = model.refused(true);
        assert_eq!(
            (problem.kind, problem.code.as_ref()),
            (ProblemKind::Unsupported, "export.not_representable")
        );
        for part in parts {
            assert!(problem.message.contains(part), "{part:?} is not in {:?}", problem.message);
        }
        assert!(problem.message.contains("formats that work: safetensors, huggingface, gguf"), "{problem}");
    };
    says(&of_family("olmo"), &["ai2-olmo"]);
    says(&of_family("mistral"), &["llama has no sliding window", "5 of"]);
    says(&of_family("qwen2"), &["qwen2 has no sliding window"]);
    let scaled = |change: Value| {
        let model = of_family("llama-linear");
        model.change("config.json", |config| config["rope_parameters"] = change);
        model
    };
    says(
        &scaled(json!({"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "truncate": false})),
        &["truncate = true"],
    );
    let windows = of_family("olmo3");
    windows.change("config.json", |config| config["layer_types"] = ["full_attention"; 4].as_slice().into());
    says(&windows, &["needs layers with a sliding window"]);
    let windows = of_family("olmo3");
    windows
        .change("config.json", |config| config["layer_types"] = ["sliding_attention"; 4].as_slice().into());
    says(&windows, &["needs layers without a sliding window"]);
    let rotated = of_family("olmo3");
    rotated.change("config.json", |config| {
        config["rope_parameters"]["sliding_attention"]["rope_theta"] = json!(1e4);
    });
    says(&rotated, &["by the base of the others"]);
}

#[test]
fn a_window_as_wide_as_the_context_is_none() {
    for family in ["mistral", "qwen2"] {
        let model = of_family(family);
        model.change("config.json", |config| {
            config["sliding_window"] = config["max_position_embeddings"].clone();
        });
        assert!(model.export(None, true).verification.merged_tensors > 0, "{family}");
    }
}

#[test]
fn adapters_are_transposed_and_keep_their_scale() {
    let model = of_family("qwen3");
    let report = model.export(None, false);
    let trained = tensors_in(&model.adapters);
    let written = tensors_in(&report.destination);
    assert_eq!(written.len(), trained.len());
    for (name, (_, shape, bytes)) in &trained {
        let name = name.strip_prefix("base_model.model.").unwrap();
        let name = name.replace(".lora_A.weight", ".lora_a").replace(".lora_B.weight", ".lora_b");
        let (dtype, found_shape, found) = &written[&name];
        assert_eq!((dtype, &found_shape[..]), (&Dtype::F32, &[shape[1], shape[0]][..]), "{name}");
        let (values, found) = (decode(Dtype::F32, bytes), decode(Dtype::F32, found));
        for row in 0..shape[0] {
            for column in 0..shape[1] {
                let (here, there) = (found[column * shape[0] + row], values[row * shape[1] + column]);
                assert_eq!(here.to_bits(), there.to_bits(), "{name} [{row}, {column}]");
            }
        }
    }
    let peft = json_of(&model.adapters.join("adapter_config.json"));
    let config = json_of(&report.destination.join("adapter_config.json"));
    let scale = peft["lora_alpha"].as_f64().unwrap() / peft["r"].as_f64().unwrap();
    assert_eq!(config["fine_tune_type"], "lora");
    assert_eq!((&config["num_layers"], &config["model"]), (&json!(2), &json!("somebody/model")));
    assert_eq!(
        (&config["lora_parameters"]["rank"], &config["lora_parameters"]["scale"]),
        (&peft["r"], &json!(scale))
    );
    assert_eq!(report.verification.adapter_tensors as usize, trained.len());
    assert!(report.usage_instructions.contains("--adapter-path"));
}

#[test]
fn modules_that_some_layers_adapt_are_named_in_full() {
    let model = bundled();
    let report = model.export(None, false);
    let config = json_of(&report.destination.join("adapter_config.json"));
    assert_eq!(config["lora_parameters"]["keys"], json!(["model.layers.0.self_attn.q_proj"]));
    let all = of_family("olmo2-dora");
    let config = json_of(&all.export(None, false).destination.join("adapter_config.json"));
    let keys = config["lora_parameters"]["keys"].as_array().unwrap().clone();
    assert!(keys.iter().all(|key| !key.as_str().unwrap().starts_with("model.")), "{keys:?}");
    assert_eq!(config["fine_tune_type"], "dora");
    assert!(
        tensors_in(&all.request(None, false).destination)
            .keys()
            .any(|name| name.rsplit('.').next() == Some("m"))
    );
}

/// mlx-lm reads `rope_theta` beside the other keys, and takes 10000 where it stands in `rope_parameters` alone.
#[test]
fn a_base_that_mlx_lm_would_misread_gets_its_configuration_beside_the_adapters() {
    let model = of_family("llama-linear");
    let report = model.export(None, false);
    assert_eq!(names_in(&report.destination), ["adapter_config.json", "adapters.safetensors", "config.json"]);
    assert_eq!(json_of(&report.destination.join("config.json"))["rope_theta"], 3000.0);
    assert!(report.usage_instructions.contains("would read another model"), "{}", report.usage_instructions);

    fs::remove_dir_all(&report.destination).unwrap();
    model.change("config.json", |config| {
        config["rope_theta"] = json!(3000.0);
        config["rope_scaling"] = json!({"type": "linear", "factor": 3.0});
        config["tie_word_embeddings"] = json!(false);
    });
    let report = model.export(None, false);
    assert_eq!(names_in(&report.destination), ["adapter_config.json", "adapters.safetensors"]);
    assert!(!report.usage_instructions.contains("would read another model"));
}

#[test]
fn an_adapted_head_that_is_the_embedding_is_refused() {
    let model = of_family("llama");
    let pair = LoraPair {
        module: "lm_head".into(),
        rank: 1,
        in_features: 32,
        out_features: 64,
        a: vec![0.1; 32],
        b: vec![0.1; 64],
        magnitude: None,
    };
    let adapters = model.dir.path().join("head");
    peft::write(&adapters, &AdapterConfig::lora(1, 1.0, 0.0, vec!["lm_head".into()]), &[pair]).unwrap();
    let problem = Model { adapters, ..model }.refused(false);
    // The base has no such tensor.
    assert_eq!(problem.code, "export.tensor_missing");
}

#[test]
fn words_of_other_formats_and_shards_of_adapters_are_refused() {
    let model = bundled();
    let problem = export(&model.request(Some(Quantization::Q4_0), true)).unwrap_err().problem();
    assert_eq!(problem.code, "export.quantization_not_of_format");
    assert!(problem.message.contains("gguf has it; mlx has f32, f16, bf16, 8bit, 4bit"), "{problem}");
    let problem = export(&model.request(Some(Quantization::Bits4), false)).unwrap_err().problem();
    assert!(
        problem.code == "export.adapters_alone" && problem.message.contains("in f32, not in 4bit"),
        "{problem}"
    );
    let request = model.request(None, false);
    let sharded = ExportRequest { max_shard_size: Some("1MB".parse().unwrap()), ..request };
    assert_eq!(export(&sharded).unwrap_err().problem().code, "export.adapters_alone");
}

#[test]
fn weights_above_a_size_are_several_files() {
    let model = bundled();
    let sharded = ExportRequest {
        max_shard_size: Some("500KB".parse().unwrap()),
        destination: model.dir.path().join("shards"),
        ..model.request(Some(Quantization::Bits8), true)
    };
    let report = export(&sharded).unwrap();
    let names = names_in(&report.destination);
    let shards: Vec<&String> = names.iter().filter(|name| name.ends_with(".safetensors")).collect();
    assert!(shards.len() > 2 && shards[0].starts_with("model-00001-of-0000"), "{names:?}");
    let index = json_of(&report.destination.join("model.safetensors.index.json"));
    let tensors = tensors_in(&report.destination);
    assert!(index["weight_map"].as_object().unwrap().keys().eq(tensors.keys()));
    let whole = model.export(Some(Quantization::Bits8), true);
    assert_eq!(tensors_in(&whole.destination), tensors);
    assert_eq!(whole.verification.tensor_types, report.verification.tensor_types);
}
