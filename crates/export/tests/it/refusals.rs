//! Bad input: each is refused with its code, names what is wrong, and leaves nothing behind.

use std::{fs, io::Write, path::Path};

use greentune_core_config::{Diagnostic, Problem, ProblemKind};
use greentune_export::{
    ExportFormat, ExportRequest, export,
    peft::{self, AdapterConfig, Adapters},
};
use safetensors::Dtype;
use serde_json::{Value, json};

use crate::fixture::{SHARDS, Sandbox, config_of_rank, encode, json_of, names_in, pairs, write_safetensors};

/// The problem of an export that must fail; checks that it left nothing behind.
fn refused(sandbox: &Sandbox, request: &ExportRequest) -> Problem {
    let before = names_in(sandbox.dir.path());
    let problem = export(request).unwrap_err().problem();
    assert_eq!(names_in(sandbox.dir.path()), before);
    assert!(problem.hint.is_some());
    problem
}

fn refused_merge(sandbox: &Sandbox) -> Problem {
    refused(sandbox, &sandbox.request(ExportFormat::Huggingface, true))
}

fn assert_says(problem: &Problem, code: &str, parts: &[&str]) {
    assert_eq!(problem.code, code, "{problem}");
    for part in parts {
        assert!(problem.message.contains(part), "{part:?} is not in {:?}", problem.message);
    }
}

fn truncate(path: &Path, bytes: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

fn change_adapter_config(sandbox: &Sandbox, key: &str, value: Value) {
    let path = sandbox.adapters().join("adapter_config.json");
    let mut config = json_of(&path);
    config[key] = value;
    fs::write(path, config.to_string()).unwrap();
}

#[test]
fn words_that_are_no_formats() {
    let problem = "onnx".parse::<ExportFormat>().unwrap_err().problem();
    assert_says(&problem, "export.unknown_format", &["onnx", "allowed: safetensors, huggingface, mlx, gguf"]);
    for word in ExportFormat::WORDS {
        assert_eq!(word.parse::<ExportFormat>().unwrap().as_str(), *word);
        assert_eq!(serde_json::to_value(word.parse::<ExportFormat>().unwrap()).unwrap(), *word);
    }
}

#[test]
fn missing_folders_and_files() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    let request = sandbox.request(ExportFormat::Safetensors, true);
    let nowhere = sandbox.dir.path().join("nowhere");
    let problem = refused(&sandbox, &ExportRequest { base_model: nowhere.clone(), ..request.clone() });
    assert_says(&problem, "export.folder_missing", &["base model", "nowhere"]);
    let problem = refused(&sandbox, &ExportRequest { adapters: nowhere, ..request.clone() });
    assert_says(&problem, "export.folder_missing", &["adapters", "nowhere"]);

    fs::remove_file(sandbox.adapters().join("adapter_model.safetensors")).unwrap();
    assert_says(&refused(&sandbox, &request), "export.file_missing", &["adapter_model.safetensors"]);
    fs::remove_file(sandbox.adapters().join("adapter_config.json")).unwrap();
    assert_says(&refused(&sandbox, &request), "export.file_missing", &["adapter_config.json"]);

    let sandbox = Sandbox::new(Dtype::F32, false);
    fs::remove_file(sandbox.base().join("config.json")).unwrap();
    assert_says(&refused_merge(&sandbox), "export.file_missing", &["config.json"]);
    fs::remove_file(sandbox.base().join("model.safetensors")).unwrap();
    assert_says(&refused_merge(&sandbox), "export.no_weights", &["base"]);
}

#[test]
fn broken_shards() {
    let sandbox = Sandbox::new(Dtype::BF16, true);
    let shard = sandbox.base().join(SHARDS[1]);
    let bytes = fs::metadata(&shard).unwrap().len();
    truncate(&shard, bytes - 1);
    let (expected, found) = (bytes.to_string(), (bytes - 1).to_string());
    assert_says(&refused_merge(&sandbox), "export.truncated", &[SHARDS[1], &expected, &found]);
    for bytes in [20, 7, 0] {
        truncate(&shard, bytes);
        assert_says(&refused_merge(&sandbox), "export.truncated", &[SHARDS[1]]);
    }
    fs::remove_file(&shard).unwrap();
    assert_says(&refused_merge(&sandbox), "export.shard_missing", &[SHARDS[1], "index.json"]);
}

#[test]
fn broken_indexes() {
    let sandbox = Sandbox::new(Dtype::BF16, true);
    let index = "model.safetensors.index.json";
    let original = json_of(&sandbox.base().join(index));
    sandbox.write_base_file(index, b"{\"weight_map\": ");
    assert_says(&refused_merge(&sandbox), "export.broken_file", &[index]);

    let mut outside = original.clone();
    outside["weight_map"]["lm_head.weight"] = json!("../base/elsewhere.safetensors");
    sandbox.write_base_file(index, outside.to_string().as_bytes());
    assert_says(&refused_merge(&sandbox), "export.broken_file", &[index, "../base/elsewhere.safetensors"]);

    let mut invented = original;
    invented["weight_map"]["invented.weight"] = json!(SHARDS[0]);
    sandbox.write_base_file(index, invented.to_string().as_bytes());
    assert_says(&refused_merge(&sandbox), "export.tensor_missing", &[SHARDS[0], "invented.weight"]);
}

#[test]
fn broken_headers() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    let path = sandbox.base().join("model.safetensors");
    let original = fs::read(&path).unwrap();

    sandbox.write_base_file("model.safetensors", &[b'x'; 64]);
    assert_says(&refused_merge(&sandbox), "export.broken_file", &["model.safetensors", "header"]);
    let mut garbled = original.clone();
    garbled[8] = b'?';
    sandbox.write_base_file("model.safetensors", &garbled);
    assert_says(&refused_merge(&sandbox), "export.broken_file", &["model.safetensors", "header"]);
    fs::write(&path, &original).unwrap();
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"!").unwrap();
    assert_says(&refused_merge(&sandbox), "export.broken_file", &["1 bytes follow"]);

    fs::write(&path, original).unwrap();
    sandbox.write_base_file("config.json", b"[]");
    assert_says(&refused_merge(&sandbox), "export.broken_file", &["config.json"]);
}

#[test]
fn adapters_of_another_model() {
    for merge in [true, false] {
        let sandbox = Sandbox::new(Dtype::F32, false);
        let request = sandbox.request(ExportFormat::Huggingface, merge);
        let mut wider = pairs(3, 1.0);
        wider[1].in_features = 9;
        wider[1].a = vec![0.0; 27];
        peft::write(&sandbox.adapters(), &config_of_rank(3), &wider).unwrap();
        let problem = refused(&sandbox, &request);
        assert_says(&problem, "export.wrong_shape", &["v_proj.weight", "[4, 8]", "[4, 9]"]);

        let mut deeper = pairs(3, 1.0);
        deeper[0].module = "model.layers.7.self_attn.q_proj".into();
        peft::write(&sandbox.adapters(), &config_of_rank(3), &deeper).unwrap();
        let problem = refused(&sandbox, &request);
        assert_says(&problem, "export.tensor_missing", &["model.layers.7.self_attn.q_proj.weight"]);
    }
}

#[test]
fn adapters_that_are_incomplete_or_of_another_rank() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    peft::write(&sandbox.adapters(), &config_of_rank(4), &pairs(3, 1.0)).unwrap();
    assert_says(&refused_merge(&sandbox), "export.wrong_shape", &["lora_A.weight", "[3, 40]", "[4, 40]"]);
    change_adapter_config(&sandbox, "r", json!(0));
    assert_says(&refused_merge(&sandbox), "export.broken_file", &["adapter_config.json", "r is 0"]);
    peft::write(&sandbox.adapters(), &config_of_rank(3), &[]).unwrap();
    assert_says(&refused_merge(&sandbox), "export.broken_file", &["no tensors"]);

    let weights = sandbox.adapters().join("adapter_model.safetensors");
    let a = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    write_safetensors(&weights, Dtype::F32, &[(a.into(), vec![3, 8], encode(Dtype::F32, &[0.0; 24]))]);
    assert_says(&refused_merge(&sandbox), "export.tensor_missing", &["q_proj.lora_B.weight"]);
    let flat = [
        (a.into(), vec![24], encode(Dtype::F32, &[0.0; 24])),
        (a.replace("_A", "_B"), vec![8, 3], encode(Dtype::F32, &[0.0; 24])),
    ];
    write_safetensors(&weights, Dtype::F32, &flat);
    assert_says(&refused_merge(&sandbox), "export.broken_file", &["lora_A", "matrix"]);
}

#[test]
fn adapters_that_are_more_than_plain_lora() {
    for (key, value) in [
        ("peft_type", json!("IA3")),
        ("bias", json!("all")),
        ("fan_in_fan_out", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("rank_pattern", json!({"q_proj": 4})),
        ("init_lora_weights", json!("pissa")),
    ] {
        let sandbox = Sandbox::new(Dtype::F32, false);
        change_adapter_config(&sandbox, key, value);
        let problem = refused_merge(&sandbox);
        assert_says(&problem, "export.unsupported_adapter", &[key]);
        assert_eq!(problem.kind, ProblemKind::Unsupported);
    }
    let sandbox = Sandbox::new(Dtype::F32, false);
    let name = "base_model.model.model.embed_tokens.lora_embedding_A";
    let tensor = (name.to_owned(), vec![1], encode(Dtype::F32, &[0.0]));
    write_safetensors(&sandbox.adapters().join("adapter_model.safetensors"), Dtype::F32, &[tensor]);
    assert_says(&refused_merge(&sandbox), "export.unsupported_adapter", &["lora_embedding_A"]);
}

#[test]
fn a_head_that_is_shared_with_the_embedding() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    sandbox.write_base_file("config.json", b"{\"tie_word_embeddings\": true}");
    sandbox.store_the_embedding_as_head();
    let mut pairs = pairs(3, 1.0);
    pairs.truncate(1);
    pairs[0].module = "lm_head".into();
    pairs[0].out_features = 20;
    pairs[0].b = vec![0.1; 60];
    peft::write(&sandbox.adapters(), &config_of_rank(3), &pairs).unwrap();
    assert_says(&refused_merge(&sandbox), "export.unsupported_adapter", &["lm_head"]);
    sandbox.write_base_file("config.json", b"{}");
    export(&sandbox.request(ExportFormat::Huggingface, true)).unwrap();
}

#[test]
fn weights_that_cannot_be_merged() {
    let sandbox = Sandbox::new(Dtype::F16, false);
    let config = AdapterConfig { lora_alpha: 1e6, ..config_of_rank(3) };
    peft::write(&sandbox.adapters(), &config, &pairs(3, 1.0)).unwrap();
    assert_says(&refused_merge(&sandbox), "export.not_finite", &["F16"]);

    let mut broken = pairs(3, 1.0);
    broken[2].a[5] = f32::NAN;
    peft::write(&sandbox.adapters(), &config_of_rank(3), &broken).unwrap();
    assert_says(&refused_merge(&sandbox), "export.not_finite", &["down_proj.weight"]);

    let packed = ("model.layers.0.self_attn.q_proj.weight".to_owned(), vec![8, 8], vec![0; 256]);
    write_safetensors(&sandbox.base().join("model.safetensors"), Dtype::U32, &[packed]);
    peft::write(&sandbox.adapters(), &config_of_rank(3), &pairs(3, 1.0)[..1]).unwrap();
    assert_says(&refused_merge(&sandbox), "export.unsupported_dtype", &["q_proj.weight", "U32"]);
}

#[test]
fn a_destination_that_is_taken() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    let mut request = sandbox.request(ExportFormat::Safetensors, true);
    fs::create_dir_all(&request.destination).unwrap();
    let precious = request.destination.join("precious");
    fs::write(&precious, "mine").unwrap();
    let problem = refused(&sandbox, &request);
    assert_says(&problem, "export.destination_taken", &["exports/new"]);
    assert_eq!(problem.kind, ProblemKind::Conflict);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "mine");
    request.destination = precious;
    assert_says(&refused(&sandbox, &request), "export.destination_taken", &["precious"]);
    request.destination = sandbox.base();
    assert_says(&refused(&sandbox, &request), "export.destination_taken", &["base"]);
}

// Elsewhere free space is not looked at.
#[cfg(unix)]
#[test]
fn a_disk_that_is_too_small() {
    let sandbox = Sandbox::new(Dtype::F32, false);
    let stats = rustix::fs::statvfs(sandbox.dir.path()).unwrap();
    // A file with a hole takes no room; a copy of it would take more than there is.
    let elements = stats.f_blocks * stats.f_frsize / 4;
    let header = json!({
        "model.layers.0.self_attn.q_proj.weight": {"dtype": "F32", "shape": [8, 8], "data_offsets": [0, 256]},
        "hole": {"dtype": "F32", "shape": [elements], "data_offsets": [256, 256 + elements * 4]},
    })
    .to_string();
    let path = sandbox.base().join("model.safetensors");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    let bytes = 8 + header.len() as u64 + 256 + elements * 4;
    file.set_len(bytes).unwrap();
    peft::write(&sandbox.adapters(), &config_of_rank(3), &pairs(3, 1.0)[..1]).unwrap();

    let problem = refused_merge(&sandbox);
    assert_says(&problem, "export.no_space", &["exports/new", "bytes are needed"]);
    let words: Vec<&str> = problem.message.split(' ').collect();
    let needed = words[words.iter().position(|word| *word == "bytes").unwrap() - 1];
    assert!(needed.parse::<u64>().unwrap() > elements * 4);
}

#[test]
fn adapters_report_their_own_errors() {
    let error = Adapters::open(Path::new("/nonexistent/adapters")).unwrap_err();
    assert_says(&error.problem(), "export.folder_missing", &["/nonexistent/adapters"]);
}
