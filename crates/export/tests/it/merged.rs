//! Merged models: right values, untouched bytes, complete folders.

use std::{collections::BTreeMap, fs};

use greentune_core_config::Diagnostic;
use greentune_export::{
    ExportFormat, ExportRequest, Quantization, export,
    peft::{self, LoraPair},
};
use proptest::prelude::*;
use safetensors::Dtype;
use serde_json::json;

use crate::fixture::{
    MODULES, SHARDS, Sandbox, config_of_rank, decode, encode, json_of, names_in, pairs, tensors_in,
    write_safetensors,
};

/// Largest relative change by rounding: 2^-p for p significant bits.
fn unit_roundoff(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::F32 => 2f64.powi(-24),
        Dtype::F16 => 2f64.powi(-11),
        _ => 2f64.powi(-8),
    }
}

/// Compares every tensor of the export with its own f64 computation.
fn assert_merged(request: &ExportRequest, dtype: Dtype, rank: usize, size: f32, scale: f64) {
    let (base, merged) = (tensors_in(&request.base_model), tensors_in(&request.destination));
    assert_eq!(base.keys().collect::<Vec<_>>(), merged.keys().collect::<Vec<_>>());
    let pairs = pairs(rank, size);
    for (name, (found_dtype, shape, bytes)) in &merged {
        assert_eq!((found_dtype, shape), (&dtype, &base[name].1));
        let Some(pair) = pairs.iter().find(|pair| *name == format!("{}.weight", pair.module)) else {
            assert_eq!(bytes, &base[name].2, "{name}");
            continue;
        };
        let (old, new) = (decode(dtype, &base[name].2), decode(dtype, bytes));
        for (position, (old, new)) in old.iter().zip(new).enumerate() {
            let (row, column) = (position / pair.in_features, position % pair.in_features);
            let update: f64 = (0..rank)
                .map(|k| f64::from(pair.b[row * rank + k]) * f64::from(pair.a[k * pair.in_features + column]))
                .sum();
            let expected = f64::from(*old) + scale * update;
            let tolerance =
                1e-5 * f64::from(1.0 + size * size) * (1.0 + scale) + expected.abs() * unit_roundoff(dtype);
            assert!(
                (f64::from(new) - expected).abs() <= tolerance,
                "{name} {position}: {new} for {expected}"
            );
        }
    }
}

#[test]
fn huggingface_folder_is_complete() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    let request = sandbox.request(ExportFormat::Huggingface, true);
    let report = export(&request).unwrap();

    assert_merged(&request, Dtype::F32, 3, 0.5, 2.0);
    let expected = [
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names_in(&request.destination), expected);
    for name in ["generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        assert_eq!(
            fs::read(request.destination.join(name)).unwrap(),
            fs::read(request.base_model.join(name)).unwrap()
        );
    }
    assert_eq!(fs::read_to_string(request.destination.join("README.md")).unwrap(), "# A card\n");

    let verification = &report.verification;
    assert_eq!((verification.merged_tensors, verification.untouched_tensors), (3, 4));
    assert_eq!((verification.sampled_rows, verification.copied_files), (8 + 4 + 8, 3));
    assert!(verification.largest_absolute_difference < 1e-6);
    assert_eq!(verification.largest_rounding.to_bits(), 0f64.to_bits());
    assert_eq!(report.files.len(), expected.len());
    let on_disk: u64 =
        expected.iter().map(|n| fs::metadata(request.destination.join(n)).unwrap().len()).sum();
    assert_eq!(report.total_bytes, on_disk);
    assert!(report.usage_instructions.contains("AutoModelForCausalLM"));
    let permissions = |folder| fs::metadata(folder).unwrap().permissions();
    assert_eq!(permissions(&request.destination), permissions(&request.base_model));
    assert_eq!(names_in(sandbox.dir.path()), ["adapters", "base", "exports"]);
    assert_eq!(names_in(&sandbox.dir.path().join("exports")), ["new"]);
}

#[test]
fn report_names_the_hash_of_every_file() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    sandbox.write_base_file("tokenizer.json", b"abc");
    let report = export(&sandbox.request(ExportFormat::Safetensors, true)).unwrap();
    let tokenizer = report.files.iter().find(|file| file.name == "tokenizer.json").unwrap();
    assert_eq!(tokenizer.bytes, 3);
    // FIPS 180-2, appendix B.1.
    assert_eq!(tokenizer.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn config_becomes_explicit_and_otherwise_stays() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    let request = sandbox.request(ExportFormat::Safetensors, true);
    export(&request).unwrap();
    let expected = json!({
        "model_type": "olmo2",
        "rope_parameters": {"rope_theta": 500_000, "rope_type": "default"},
        "tie_word_embeddings": false,
        "rope_theta": 500_000,
    });
    assert_eq!(json_of(&request.destination.join("config.json")), expected);

    let explicit = b"{ \"tie_word_embeddings\":true,  \"rope_theta\": 1e4}";
    sandbox.write_base_file("config.json", explicit);
    sandbox.store_the_embedding_as_head();
    let mut request = request;
    request.destination = sandbox.dir.path().join("second");
    export(&request).unwrap();
    assert_eq!(fs::read(request.destination.join("config.json")).unwrap(), explicit);
}

#[test]
fn a_head_of_its_own_is_kept_though_the_config_says_that_it_is_tied() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    sandbox.write_base_file("config.json", b"{\"tie_word_embeddings\": true, \"rope_theta\": 1e4}");
    let request = sandbox.request(ExportFormat::Huggingface, true);
    export(&request).unwrap();
    assert_merged(&request, Dtype::F32, 3, 0.5, 2.0);
    let expected = json!({"tie_word_embeddings": false, "rope_theta": 1e4});
    assert_eq!(json_of(&request.destination.join("config.json")), expected);
}

#[test]
fn a_single_file_goes_before_an_index_that_is_left_over() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    let index = json!({"weight_map": {"lm_head.weight": "gone.safetensors"}});
    sandbox.write_base_file("model.safetensors.index.json", index.to_string().as_bytes());
    let request = sandbox.request(ExportFormat::Huggingface, true);
    export(&request).unwrap();
    assert_merged(&request, Dtype::F32, 3, 0.5, 2.0);
    let names = names_in(&request.destination);
    assert!(!names.iter().any(|name| name.ends_with("index.json")), "{names:?}");
}

#[test]
fn half_precision_is_rounded_once_and_reported() {
    for dtype in [Dtype::BF16, Dtype::F16] {
        let sandbox = Sandbox::new(dtype, false);
        let request = sandbox.request(ExportFormat::Safetensors, true);
        let report = export(&request).unwrap();
        assert_merged(&request, dtype, 3, 0.5, 2.0);
        let verification = report.verification;
        // Merged values stay under 4, so that one rounding moves them by at most 2 units of roundoff.
        assert!(verification.largest_rounding > 0.0);
        assert!(verification.largest_rounding <= 2.0 * unit_roundoff(dtype), "{verification:?}");
        assert!(verification.largest_absolute_difference <= verification.largest_rounding + 1e-6);
    }
}

#[test]
fn shards_stay_in_huggingface_and_become_one_file_in_safetensors() {
    let sandbox = Sandbox::new(Dtype::BF16, true);
    let mut request = sandbox.request(ExportFormat::Huggingface, true);
    export(&request).unwrap();
    assert_merged(&request, Dtype::BF16, 3, 0.5, 2.0);
    let names = names_in(&request.destination);
    assert!(SHARDS.iter().all(|shard| names.iter().any(|name| name == shard)), "{names:?}");
    let index = "model.safetensors.index.json";
    assert_eq!(json_of(&request.destination.join(index)), json_of(&request.base_model.join(index)));

    request.format = ExportFormat::Safetensors;
    request.destination = sandbox.dir.path().join("single");
    export(&request).unwrap();
    assert_merged(&request, Dtype::BF16, 3, 0.5, 2.0);
    let names = names_in(&request.destination);
    assert_eq!(
        names,
        [
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
}

#[test]
fn an_empty_destination_is_filled() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    let mut request = sandbox.request(ExportFormat::Safetensors, true);
    request.destination = sandbox.dir.path().join("empty");
    fs::create_dir(&request.destination).unwrap();
    export(&request).unwrap();
    assert_merged(&request, Dtype::F32, 3, 0.5, 2.0);
}

#[test]
fn rank_stabilised_scale_is_understood() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    let config = peft::AdapterConfig { use_rslora: true, ..config_of_rank(4) };
    peft::write(&sandbox.adapters(), &config, &pairs(4, 0.5)).unwrap();
    let request = sandbox.request(ExportFormat::Safetensors, true);
    export(&request).unwrap();
    assert_merged(&request, Dtype::F32, 4, 0.5, 6.0 / 2.0);
}

#[test]
fn an_adapter_of_zeros_changes_no_byte() {
    let sandbox = Sandbox::new(Dtype::F16, false);
    peft::write(&sandbox.adapters(), &config_of_rank(2), &pairs(2, 0.0)).unwrap();
    let request = sandbox.request(ExportFormat::Huggingface, true);
    export(&request).unwrap();
    assert_eq!(tensors_in(&request.destination), tensors_in(&request.base_model));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_merged_value_is_the_base_plus_the_scaled_product(
        rank in 1usize..20,
        alpha in 0.01f64..64.0,
        size in 0.001f32..2.0,
        dtype in prop::sample::select(vec![Dtype::F32, Dtype::F16, Dtype::BF16]),
        sharded: bool,
    ) {
        let sandbox = Sandbox::new(dtype, sharded);
        let config = peft::AdapterConfig { lora_alpha: alpha, ..config_of_rank(rank) };
        peft::write(&sandbox.adapters(), &config, &pairs(rank, size)).unwrap();
        let request = sandbox.request(ExportFormat::Huggingface, true);
        let report = export(&request).unwrap();
        prop_assert_eq!(report.verification.merged_tensors as usize, MODULES.len());
        assert_merged(&request, dtype, rank, size, alpha / rank as f64);
    }
}

#[test]
fn with_dora_every_row_points_along_the_update_and_has_its_magnitude() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    let with_magnitudes: Vec<_> = pairs(3, 0.5)
        .into_iter()
        .map(|pair| LoraPair {
            magnitude: Some((0..pair.out_features).map(|row| 0.5 + row as f32).collect()),
            ..pair
        })
        .collect();
    let config = peft::AdapterConfig { use_dora: true, ..config_of_rank(3) };
    peft::write(&sandbox.adapters(), &config, &with_magnitudes).unwrap();
    let request = sandbox.request(ExportFormat::Huggingface, true);
    let report = export(&request).unwrap();
    assert_eq!(report.verification.merged_tensors, 3);
    let (base, merged) = (tensors_in(&request.base_model), tensors_in(&request.destination));
    for pair in with_magnitudes {
        let name = format!("{}.weight", pair.module);
        let (old, new) = (decode(Dtype::F32, &base[&name].2), decode(Dtype::F32, &merged[&name].2));
        let rows = old.chunks(pair.in_features).zip(new.chunks(pair.in_features)).enumerate();
        for (row, (old, new)) in rows {
            let updated: Vec<f64> = old
                .iter()
                .enumerate()
                .map(|(column, old)| {
                    let products =
                        (0..3).map(|k| pair.b[row * 3 + k] * pair.a[k * pair.in_features + column]);
                    f64::from(*old) + 2.0 * f64::from(products.sum::<f32>())
                })
                .collect();
            let norm = updated.iter().map(|x| x * x).sum::<f64>().sqrt();
            for (new, updated) in new.iter().zip(updated) {
                let expected = updated / norm * (0.5 + row as f64);
                assert!((f64::from(*new) - expected).abs() < 1e-5, "{name} {row}: {new} for {expected}");
            }
        }
    }
}

#[test]
fn dora_without_a_magnitude_is_refused() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    let config = peft::AdapterConfig { use_dora: true, ..config_of_rank(3) };
    peft::write(&sandbox.adapters(), &config, &pairs(3, 0.5)).unwrap();
    let error = export(&sandbox.request(ExportFormat::Huggingface, true)).unwrap_err();
    assert!(error.to_string().contains("lora_magnitude_vector"), "{error}");
}

/// Every value is the merge in f32, rounded once.
#[test]
fn another_type_is_written_and_stated() {
    let sandbox = Sandbox::new(Dtype::BF16, true);
    sandbox.write_base_file("config.json", b"{\"dtype\": \"bfloat16\", \"torch_dtype\": \"bfloat16\"}");
    let mut exact = BTreeMap::new();
    for (index, (quantization, dtype, word)) in [
        (Quantization::F32, Dtype::F32, "float32"),
        (Quantization::F16, Dtype::F16, "float16"),
        (Quantization::Bf16, Dtype::BF16, "bfloat16"),
    ]
    .into_iter()
    .enumerate()
    {
        for format in [ExportFormat::Huggingface, ExportFormat::Safetensors] {
            let request = ExportRequest {
                quantization: Some(quantization),
                destination: sandbox.dir.path().join(format!("{format}-{index}")),
                ..sandbox.request(format, true)
            };
            let report = export(&request).unwrap();
            let tensors = tensors_in(&request.destination);
            for (name, (found, _, bytes)) in &tensors {
                assert_eq!(*found, dtype, "{name}");
                if dtype == Dtype::F32 {
                    exact.insert(name.clone(), decode(dtype, bytes));
                }
                assert_eq!(*bytes, encode(dtype, &exact[name]), "{name}");
            }
            let config = json_of(&request.destination.join("config.json"));
            assert_eq!((&config["dtype"], &config["torch_dtype"]), (&json!(word), &json!(word)));
            assert_eq!(report.verification.tensor_types, BTreeMap::from([(dtype.to_string(), 7)]));
            if format == ExportFormat::Huggingface {
                let names = names_in(&request.destination);
                assert!(SHARDS.iter().all(|shard| names.contains(&(*shard).to_owned())), "{names:?}");
                let index = json_of(&request.destination.join("model.safetensors.index.json"));
                let bytes: usize = tensors.values().map(|(_, _, bytes)| bytes.len()).sum();
                assert_eq!(index["metadata"]["total_size"], bytes);
            }
        }
    }
    let merged = &exact[&format!("{}.weight", MODULES[0].0)];
    assert!(merged.iter().any(|value| half::bf16::from_f32(*value).to_f32().to_bits() != value.to_bits()));
}

#[test]
fn a_type_that_cannot_hold_a_value_is_refused() {
    let sandbox = Sandbox::new(Dtype::BF16, false);
    let large = ("model.norm.weight".to_owned(), vec![8], encode(Dtype::BF16, &[1e5; 8]));
    let mut tensors: Vec<_> = tensors_in(&sandbox.base())
        .into_iter()
        .map(|(name, (_, shape, bytes))| (name, shape, bytes))
        .collect();
    tensors.retain(|(name, ..)| *name != large.0);
    tensors.push(large);
    write_safetensors(&sandbox.base().join("model.safetensors"), Dtype::BF16, &tensors);
    let request = sandbox.request(ExportFormat::Huggingface, true);
    let error = export(&ExportRequest { quantization: Some(Quantization::F16), ..request }).unwrap_err();
    let problem = error.problem();
    assert_eq!(problem.code, "export.not_finite");
    assert!(problem.message.contains("model.norm.weight") && problem.message.contains("F16"), "{problem}");
}

#[test]
fn files_are_as_large_as_was_asked_for() {
    let sandbox = Sandbox::new(Dtype::F32, true);
    let exact = tensors_in(&sandbox.base());
    for (format, size, files) in [
        (ExportFormat::Huggingface, "1KB", 5),
        (ExportFormat::Safetensors, "1KB", 5),
        (ExportFormat::Huggingface, "1GB", 1),
        (ExportFormat::Safetensors, "1B", 7),
    ] {
        let request = ExportRequest {
            max_shard_size: Some(size.parse().unwrap()),
            destination: sandbox.dir.path().join(format!("{format}-{size}")),
            ..sandbox.request(format, true)
        };
        export(&request).unwrap();
        assert_merged(&request, Dtype::F32, 3, 0.5, 2.0);
        let names = names_in(&request.destination);
        let shards: Vec<&String> = names.iter().filter(|name| name.ends_with(".safetensors")).collect();
        assert_eq!(shards.len(), files, "{names:?}");
        let index = request.destination.join("model.safetensors.index.json");
        if files == 1 {
            assert!(!index.exists() && shards[0] == "model.safetensors");
            continue;
        }
        let map = json_of(&index)["weight_map"].as_object().unwrap().clone();
        assert!(map.keys().eq(exact.keys()));
        for shard in shards {
            assert!(shard.ends_with(&format!("-of-{files:05}.safetensors")));
            let held: usize =
                map.iter().filter(|(_, file)| *file == shard).map(|(name, _)| exact[name].2.len()).sum();
            let limit = usize::try_from(request.max_shard_size.unwrap().bytes()).unwrap();
            assert!(
                held <= limit || map.values().filter(|file| *file == shard).count() == 1,
                "{shard}: {held}"
            );
        }
    }
}

#[test]
fn what_ends_a_generation_is_kept_by_both_formats() {
    for format in [ExportFormat::Huggingface, ExportFormat::Safetensors] {
        let sandbox = Sandbox::new(Dtype::F32, false);
        let request = sandbox.request(format, true);
        export(&request).unwrap();
        assert_eq!(json_of(&request.destination.join("generation_config.json")), json!({"eos_token_id": 0}));
    }
}

#[test]
fn types_and_sizes_are_of_merged_models() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    let adapters = sandbox.request(ExportFormat::Huggingface, false);
    let packed = ExportRequest { quantization: Some(Quantization::F32), ..adapters.clone() };
    let sharded = ExportRequest { max_shard_size: Some("5GB".parse().unwrap()), ..adapters };
    for request in [packed, sharded] {
        let problem = export(&request).unwrap_err().problem();
        assert_eq!(problem.code, "export.adapters_alone", "{problem}");
        assert!(!request.destination.exists());
    }
    let gguf = ExportRequest {
        max_shard_size: Some("5GB".parse().unwrap()),
        ..sandbox.request(ExportFormat::Gguf, true)
    };
    let problem = export(&gguf).unwrap_err().problem();
    assert_eq!(problem.code, "export.one_file");
    assert!(problem.message.contains("safetensors, huggingface, mlx have it"), "{problem}");
}
