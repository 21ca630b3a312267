//! Whole exports as GGUF: the bundled base model and a model of every architecture.

use std::{
    fs,
    path::{Path, PathBuf},
};

use greentune_core_config::{Diagnostic, Problem, ProblemKind};
use greentune_export::{
    ExportFormat, ExportReport, ExportRequest, Quantization, export,
    peft::{self, AdapterConfig, LoraPair},
    stage,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    fixture::{decode, json_of, names_in, random, tensors_in},
    gguf_reader::{Seen, read},
};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures");

/// A copy of a model, whose files can be changed.
struct Model {
    dir: TempDir,
    adapters: PathBuf,
}

impl Model {
    /// A model of `fixtures/reference/families` with its adapters and a tokenizer of its size.
    fn family(name: &str) -> Self {
        let folder = Path::new(FIXTURES).join("reference/families").join(name);
        let model = Self { dir: tempfile::tempdir().unwrap(), adapters: folder.join("adapter") };
        fs::create_dir(model.base()).unwrap();
        for file in ["config.json", "model.safetensors"] {
            fs::copy(folder.join(file), model.base().join(file)).unwrap();
        }
        model.change("config.json", |config| {
            config["eos_token_id"] = json!(60);
            (config["bos_token_id"], config["pad_token_id"]) = (Value::Null, Value::Null);
        });
        model.write("tokenizer.json", &tokenizer());
        model.write("tokenizer_config.json", &json!({"eos_token": "<end>", "chat_template": "{{ x }}"}));
        model
    }

    /// The base model that is bundled, with random adapters of all projections of its first two layers.
    fn bundled() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let adapters = dir.path().join("adapters");
        let model = Self { dir, adapters };
        fs::create_dir(model.base()).unwrap();
        for entry in fs::read_dir(Path::new(FIXTURES).join("base-model")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, model.base().join(path.file_name().unwrap())).unwrap();
        }
        let projections = [
            ("self_attn.q_proj", [192, 192]),
            ("self_attn.v_proj", [192, 192]),
            ("mlp.up_proj", [512, 192]),
            ("mlp.down_proj", [192, 512]),
        ];
        let pairs: Vec<LoraPair> = (0..2u64)
            .flat_map(|layer| projections.map(|(name, shape)| (layer, name, shape)))
            .map(|(layer, name, [rows, columns])| LoraPair {
                module: format!("model.layers.{layer}.{name}"),
                rank: 2,
                in_features: columns,
                out_features: rows,
                a: random(2 * columns, layer, 0.1),
                b: random(2 * rows, 7 + layer, 0.1),
                magnitude: None,
            })
            .collect();
        let config = AdapterConfig::lora(2, 4.0, 0.0, projections.map(|(name, _)| name.into()).to_vec());
        peft::write(&model.adapters, &config, &pairs).unwrap();
        model
    }

    fn base(&self) -> PathBuf {
        self.dir.path().join("base")
    }

    fn write(&self, name: &str, value: &Value) {
        fs::write(self.base().join(name), value.to_string()).unwrap();
    }

    /// Changes a JSON file of the model.
    fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value = json_of(&self.base().join(name));
        change(&mut value);
        self.write(name, &value);
    }

    fn request(&self, quantization: Option<Quantization>, merge: bool) -> ExportRequest {
        ExportRequest {
            base_model: self.base(),
            base_model_name: Some("somebody/model".into()),
            adapters: self.adapters.clone(),
            format: ExportFormat::Gguf,
            destination: self.dir.path().join(format!("export-{merge}-{quantization:?}")),
            replace: false,
            merge,
            quantization,
            max_shard_size: None,
            readable_copy: false,
            model_card: None,
        }
    }

    fn export(&self, quantization: Option<Quantization>, merge: bool) -> (ExportReport, Seen) {
        let request = self.request(quantization, merge);
        let report = export(&request).unwrap();
        let seen = read(&request.destination.join(if merge { "model.gguf" } else { "adapter.gguf" }));
        (report, seen)
    }

    /// The merged values of a tensor, as the format `safetensors` has them.
    fn merged(&self, name: &str) -> Vec<f32> {
        let destination = self.dir.path().join("merged");
        if !destination.exists() {
            let request = self.request(None, true);
            let format = ExportFormat::Safetensors;
            export(&ExportRequest { format, destination: destination.clone(), ..request }).unwrap();
        }
        let (dtype, _, bytes) = &tensors_in(&destination)[name];
        decode(*dtype, bytes)
    }

    fn refused(&self) -> Problem {
        let request = self.request(None, true);
        let problem = export(&request).unwrap_err().problem();
        assert!(!request.destination.exists());
        problem
    }

    fn assert_not_representable(&self, parts: &[&str]) {
        let problem = self.refused();
        assert_eq!(
            (problem.code.as_str(), problem.kind),
            ("export.not_representable", ProblemKind::Unsupported)
        );
        for part in parts.iter().chain(&["gguf", "formats that work: safetensors, huggingface"]) {
            assert!(problem.message.contains(part), "{part:?} is not in {:?}", problem.message);
        }
    }
}

/// Byte-level BPE of 63 tokens, for a model of 64.
fn tokenizer() -> Value {
    let letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    let mut vocab: serde_json::Map<String, Value> =
        letters.chars().zip(0..).map(|(letter, id)| (letter.to_string(), json!(id))).collect();
    vocab.insert("ab".into(), json!(58));
    vocab.insert("abc".into(), json!(59));
    json!({
        "added_tokens": [
            {"id": 60, "content": "<end>", "special": true},
            {"id": 61, "content": "<think>", "special": false},
            {"id": 62, "content": "<start>", "special": true},
        ],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
        "post_processor": null,
        "model": {"type": "BPE", "vocab": vocab, "merges": [["a", "b"], "ab c"]},
    })
}

#[test]
fn a_copy_that_greentune_reads_has_the_values_of_the_file() {
    for (model, quantization, off) in [
        (Model::bundled(), Quantization::F32, 0.0),
        (Model::family("llama"), Quantization::F32, 0.0),
        (Model::bundled(), Quantization::Q8_0, 0.02),
    ] {
        let request = ExportRequest { readable_copy: true, ..model.request(Some(quantization), true) };
        let staged = stage(&request).unwrap();
        let copy = staged.readable_copy().unwrap();
        let tensors = tensors_in(copy);
        let merged = ExportRequest {
            format: ExportFormat::Safetensors,
            destination: model.dir.path().join("in-f32"),
            ..model.request(Some(Quantization::F32), true)
        };
        let merged = tensors_in(&export(&merged).unwrap().destination);
        assert!(copy.join("config.json").is_file() && copy.join("tokenizer.json").is_file());
        for (name, (dtype, shape, bytes)) in &tensors {
            let merged = decode(merged[name].0, &merged[name].2);
            assert_eq!(shape.iter().product::<usize>(), merged.len(), "{name}");
            let largest = merged.iter().fold(0f32, |largest, value| largest.max(value.abs()));
            let near = |(read, merged): (f32, &f32)| (read - merged).abs() <= off * largest;
            assert!(decode(*dtype, bytes).into_iter().zip(&merged).all(near), "{name}");
        }
        let copy = copy.to_owned();
        staged.publish().unwrap();
        assert!(!copy.exists() && names_in(&request.destination).contains(&"model.gguf".to_owned()));
    }
}

#[test]
fn bundled_model_in_every_type() {
    let model = Model::bundled();
    for (quantization, types, file_type, most) in [
        (Quantization::F32, json!({"F32": 47}), 0, 1e-9),
        (Quantization::F16, json!({"F32": 17, "F16": 30}), 1, 3e-4),
        (Quantization::Bf16, json!({"F32": 17, "BF16": 30}), 32, 2e-3),
        (Quantization::Q8_0, json!({"F32": 17, "Q8_0": 30}), 7, 6e-3),
        // Rows of 192 are no whole blocks of 256; those of 512 are.
        (Quantization::Q6K, json!({"F32": 17, "Q6_K": 4, "Q8_0": 26}), 18, 1.1e-2),
        (Quantization::Q5KM, json!({"F32": 17, "Q5_1": 23, "Q5_K": 2, "Q6_K": 2, "Q8_0": 3}), 17, 5e-2),
        (Quantization::Q4KM, json!({"F32": 17, "Q4_K": 2, "Q5_0": 23, "Q6_K": 2, "Q8_0": 3}), 15, 6e-2),
        (Quantization::Q4_0, json!({"F32": 17, "Q4_0": 29, "Q8_0": 1}), 2, 1.2e-1),
    ] {
        let (report, seen) = model.export(Some(quantization), true);
        let proven = report.verification;
        assert_eq!(json!(proven.tensor_types), types, "{quantization}");
        assert_eq!((proven.merged_tensors, proven.untouched_tensors), (8, 39));
        assert_eq!(proven.sampled_rows, 8 * 16);
        let relative = proven.relative_rounding.unwrap();
        assert!(
            relative < most && relative >= most / 4.0 || quantization == Quantization::F32,
            "{quantization}: {relative}"
        );
        assert_eq!(seen.metadata["general.file_type"], file_type);
        assert_eq!(seen.tensors.len(), 47);
        let names: Vec<&str> = report.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["model.gguf", "Modelfile"]);
    }
}

#[test]
fn what_is_not_asked_for_is_f16() {
    let (report, _) = Model::bundled().export(None, true);
    assert_eq!(json!(report.verification.tensor_types), json!({"F32": 17, "F16": 30}));
    assert!(
        report.usage_instructions.contains("llama-cli")
            && report.usage_instructions.contains("ollama create")
    );
}

#[test]
fn a_chat_template_that_llama_cpp_cannot_render_is_warned_of() {
    let (report, _) = Model::bundled().export(Some(Quantization::F16), true);
    assert!(!report.usage_instructions.contains("Warning"), "{}", report.usage_instructions);
    let model = Model::bundled();
    let template = "{% for m in messages | groupby('role') %}{{ m }}{% endfor %}";
    fs::write(model.base().join("chat_template.jinja"), template).unwrap();
    let (report, _) = model.export(Some(Quantization::F16), true);
    let warned = "what llama.cpp's template engine does not know: the filter `groupby`";
    assert!(report.usage_instructions.contains(warned), "{}", report.usage_instructions);
}

#[test]
fn metadata_of_the_bundled_model() {
    let model = Model::bundled();
    let (report, seen) = model.export(Some(Quantization::F32), true);
    let short: serde_json::Map<String, Value> = seen
        .metadata
        .iter()
        .filter(|(_, value)| value.as_array().is_none_or(|list| list.len() < 10))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let template = json_of(&model.base().join("tokenizer_config.json"))["chat_template"].clone();
    assert_eq!(
        Value::Object(short),
        json!({
            "general.architecture": "olmo2",
            "general.type": "model",
            "general.name": "somebody/model",
            "general.file_type": 0,
            "general.quantization_version": 2,
            "olmo2.vocab_size": 1024,
            "olmo2.context_length": 512,
            "olmo2.embedding_length": 192,
            "olmo2.block_count": 4,
            "olmo2.feed_forward_length": 512,
            "olmo2.attention.head_count": 6,
            "olmo2.attention.head_count_kv": 6,
            "olmo2.attention.key_length": 32,
            "olmo2.attention.value_length": 32,
            "olmo2.attention.layer_norm_rms_epsilon": 1e-6f32,
            "olmo2.rope.dimension_count": 32,
            "olmo2.rope.freq_base": 10000.0,
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "smollm",
            "tokenizer.ggml.bos_token_id": 0,
            "tokenizer.ggml.eos_token_id": 0,
            "tokenizer.ggml.unknown_token_id": 0,
            "tokenizer.ggml.padding_token_id": 1,
            "tokenizer.ggml.add_bos_token": false,
            "tokenizer.ggml.add_eos_token": false,
            "tokenizer.chat_template": template,
        })
    );
    let tokens = seen.metadata["tokenizer.ggml.tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 1024);
    assert_eq!(
        tokens[..4],
        [json!("<|endoftext|>"), json!("<|pad|>"), json!("<|user|>"), json!("<|assistant|>")]
    );
    assert_eq!(seen.metadata["tokenizer.ggml.token_type"].as_array().unwrap()[..5], [3, 3, 3, 3, 1]);
    assert_eq!(seen.metadata["tokenizer.ggml.merges"][0], "h e");
    let modelfile = fs::read_to_string(report.destination.join("Modelfile")).unwrap();
    assert_eq!(
        modelfile,
        "FROM ./model.gguf\n# The chat template is the one in the GGUF file.\nPARAMETER stop \"<|endoftext|>\"\n"
    );
}

/// Row `2j + t` of a head in GGUF is row `j` of its half `t` in safetensors.
fn reordered(values: &[f32], heads: usize, columns: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = values.chunks(columns).collect();
    let height = rows.len() / heads;
    let mut all = Vec::new();
    for head in rows.chunks(height) {
        let (first, second) = head.split_at(height / 2);
        all.extend(first.iter().zip(second).flat_map(|(first, second)| [*first, *second].concat()));
    }
    all
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        // The safetensors are rounded to F16.
        assert!((found - expected).abs() <= expected.abs() / 1024.0 + 1e-6, "{what}: {found} for {expected}");
    }
}

#[test]
fn rows_of_queries_and_keys_are_reordered_where_neighbours_are_rotated() {
    for (family, interleaved) in
        [("llama", true), ("llama-linear", true), ("olmo", true), ("qwen3", false), ("olmo2-dora", false)]
    {
        let model = Model::family(family);
        let (_, seen) = model.export(Some(Quantization::F32), true);
        for (source, name, heads) in
            [("q_proj", "attn_q", Some(4)), ("k_proj", "attn_k", Some(2)), ("v_proj", "attn_v", None)]
        {
            let merged = model.merged(&format!("model.layers.1.self_attn.{source}.weight"));
            let expected = match heads {
                Some(heads) if interleaved => reordered(&merged, heads, 32),
                _ => merged,
            };
            let what = format!("{family} {name}");
            assert_close(&seen.f32(&format!("blk.1.{name}.weight")), &expected, &what);
        }
        for (source, name) in [("mlp.down_proj", "ffn_down"), ("self_attn.o_proj", "attn_output")] {
            let merged = model.merged(&format!("model.layers.0.{source}.weight"));
            assert_close(&seen.f32(&format!("blk.0.{name}.weight")), &merged, name);
        }
    }
    // Biases rotate with their rows.
    let model = Model::family("llama");
    let (_, seen) = model.export(Some(Quantization::F32), true);
    let bias = model.merged("model.layers.0.self_attn.q_proj.bias");
    assert_close(&seen.f32("blk.0.attn_q.bias"), &reordered(&bias, 4, 1), "bias");
}

#[test]
fn every_architecture_has_the_tensors_that_llama_cpp_loads() {
    let of_layer = |seen: &Seen| -> Vec<String> {
        let names = seen.tensors.keys().filter_map(|name| name.strip_prefix("blk.0."));
        names.map(str::to_owned).collect()
    };
    let projections = ["attn_k", "attn_output", "attn_q", "attn_v", "ffn_down", "ffn_gate", "ffn_up"]
        .map(|name| format!("{name}.weight"));
    for (family, architecture, norms, whole) in [
        ("llama-linear", "llama", vec!["attn_norm", "ffn_norm"], vec!["output", "output_norm", "token_embd"]),
        ("olmo", "olmo", vec![], vec!["output", "token_embd"]),
        (
            "olmo2-dora",
            "olmo2",
            vec!["attn_k_norm", "attn_q_norm", "post_attention_norm", "post_ffw_norm"],
            vec!["output", "output_norm", "token_embd"],
        ),
        (
            "qwen3",
            "qwen3",
            vec!["attn_k_norm", "attn_norm", "attn_q_norm", "ffn_norm"],
            vec!["output", "output_norm", "token_embd"],
        ),
    ] {
        let (_, seen) = Model::family(family).export(None, true);
        assert_eq!(seen.metadata["general.architecture"], architecture);
        let mut expected: Vec<String> = norms.iter().map(|norm| format!("{norm}.weight")).collect();
        expected.extend(projections.clone());
        expected.sort();
        assert_eq!(of_layer(&seen), expected, "{family}");
        let others: Vec<&str> =
            seen.tensors.keys().filter(|name| !name.starts_with("blk")).map(String::as_str).collect();
        assert_eq!(others, whole.iter().map(|name| format!("{name}.weight")).collect::<Vec<_>>(), "{family}");
    }
}

#[test]
fn scaled_rotary_positions_are_said_as_llama_cpp_reads_them() {
    let (_, seen) = Model::family("llama").export(None, true);
    // Factors of the kind llama3 are a tensor: head_dim 12, theta 3000, factor 8 over a context of 32.
    let factors = seen.f32("rope_freqs.weight");
    assert_eq!(factors.len(), 6);
    // Wavelength 2π < 32 / 4: kept. The last, 2π · 3000^(5/6) > 32: divided by 8.
    assert!((factors[0] - 1.0).abs() < 1e-6 && (factors[5] - 8.0).abs() < 1e-5, "{factors:?}");
    assert!(!seen.tensors.contains_key("output.weight"), "the head is the embedding");
    assert!(!seen.metadata.contains_key("llama.rope.scaling.type"));

    let (_, seen) = Model::family("llama-linear").export(None, true);
    assert_eq!(seen.metadata["llama.rope.scaling.type"], "linear");
    assert_eq!(seen.metadata["llama.rope.scaling.factor"], 3.0);

    let olmo3 = Model::family("olmo3");
    olmo3.assert_not_representable(&["yarn", "beta_fast"]);
    olmo3.change("config.json", |config| {
        config["rope_parameters"]["full_attention"]["beta_fast"] = json!(32.0);
    });
    let (_, seen) = olmo3.export(None, true);
    assert_eq!(seen.metadata["olmo2.rope.scaling.type"], "yarn");
    assert_eq!(seen.metadata["olmo2.rope.scaling.original_context_length"], 16);
    assert_eq!(seen.metadata["olmo2.rope.scaling.attn_factor"], 1.0);
    assert_eq!(seen.metadata["olmo2.attention.sliding_window"], 7);
    assert_eq!(seen.metadata["olmo2.attention.sliding_window_pattern"], json!([true, true, true, false]));
}

#[test]
fn windows_that_llama_cpp_lacks_are_refused() {
    for family in ["mistral", "qwen2"] {
        let model = Model::family(family);
        model.assert_not_representable(&["sliding window", "of 64 positions"]);
        model.change("config.json", |config| config["sliding_window"] = Value::Null);
        model.change("config.json", |config| config["use_sliding_window"] = json!(false));
        model.change("config.json", |config| {
            config.as_object_mut().unwrap().remove("layer_types");
        });
        let (_, seen) = model.export(None, true);
        let architecture = if family == "mistral" { "llama" } else { "qwen2" };
        assert_eq!(seen.metadata["general.architecture"], architecture);
        assert_eq!(seen.tensors.contains_key("blk.0.attn_q.bias"), family == "qwen2");
    }
}

#[test]
fn adapters_alone_become_a_file_for_the_base_model() {
    let model = Model::family("llama-linear");
    let (report, seen) = model.export(None, false);
    assert_eq!(
        Value::Object(seen.metadata.clone().into_iter().collect()),
        json!({
            "general.architecture": "llama",
            "general.type": "adapter",
            "general.name": "somebody/model",
            "general.file_type": 0,
            "general.quantization_version": 2,
            "adapter.type": "lora",
            "adapter.lora.alpha": 4.0,
        })
    );
    let trained = tensors_in(&model.adapters);
    let values = |module: &str, matrix: &str| {
        let (dtype, _, bytes) =
            &trained[&format!("base_model.model.model.layers.0.{module}.{matrix}.weight")];
        decode(*dtype, bytes)
    };
    assert_eq!(seen.f32("blk.0.attn_q.weight.lora_a"), values("self_attn.q_proj", "lora_A"));
    assert_eq!(
        seen.f32("blk.0.attn_q.weight.lora_b"),
        reordered(&values("self_attn.q_proj", "lora_B"), 4, 2)
    );
    assert_eq!(seen.f32("blk.0.ffn_down.weight.lora_b"), values("mlp.down_proj", "lora_B"));
    assert_eq!(seen.tensors["blk.0.attn_q.weight.lora_a"].0, [32, 2], "the innermost dimension comes first");
    assert_eq!(report.verification.adapter_tensors as usize, trained.len());
    assert_eq!(names_in(&report.destination), ["adapter.gguf"]);

    let error = export(&model.request(Some(Quantization::Q8_0), false)).unwrap_err().problem();
    assert!(error.message.contains("f32, not in q8_0"), "{error}");
    let error = export(&Model::family("olmo2-dora").request(None, false)).unwrap_err().problem();
    assert_eq!(error.code, "export.unsupported_adapter");
    assert!(error.message.contains("DoRA"), "{error}");
}

#[test]
fn scale_of_rank_stabilised_adapters_is_kept() {
    let model = Model::bundled();
    let path = model.adapters.join("adapter_config.json");
    let mut config = json_of(&path);
    config["use_rslora"] = json!(true);
    fs::write(path, config.to_string()).unwrap();
    let (_, seen) = model.export(None, false);
    // llama.cpp computes alpha / rank; trained with 4 / √2.
    let alpha = seen.metadata["adapter.lora.alpha"].as_f64().unwrap();
    assert!((alpha / 2.0 - 4.0 / 2f64.sqrt()).abs() < 1e-6, "{alpha}");
}

#[test]
fn tokens_have_types_and_places_without_a_token_are_filled() {
    let model = Model::family("llama-linear");
    model.write("generation_config.json", &json!({"eos_token_id": [60, 62]}));
    let (report, seen) = model.export(None, true);
    let metadata = |key: &str| seen.metadata[&format!("tokenizer.ggml.{key}")].clone();
    assert_eq!(metadata("pre"), "gpt-2");
    assert_eq!(
        metadata("tokens").as_array().unwrap()[58..],
        ["ab", "abc", "<end>", "<think>", "<start>", "[PAD63]"]
    );
    assert_eq!(metadata("token_type").as_array().unwrap()[58..], [1, 1, 3, 4, 3, 5]);
    assert_eq!(metadata("merges"), json!(["a b", "ab c"]));
    assert_eq!((metadata("eos_token_id"), metadata("eot_token_id")), (json!(60), json!(62)));
    let modelfile = fs::read_to_string(report.destination.join("Modelfile")).unwrap();
    assert!(modelfile.contains("PARAMETER stop \"<end>\"\nPARAMETER stop \"<start>\"\n"), "{modelfile}");
}

#[test]
fn pre_tokenizers_are_known_by_what_they_do() {
    let one_digit = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let three_digits = one_digit.replace(r"|\p{N}|", r"|\p{N}{1,3}|");
    let splits = |expression: &str| {
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        ]})
    };
    let model = Model::family("llama-linear");
    for (pre_tokenizer, ignores_merges, expected) in [
        (splits(&three_digits), true, "llama-bpe"),
        (splits(&three_digits), false, "dbrx"),
        (splits(one_digit), false, "qwen2"),
    ] {
        model.change("tokenizer.json", |file| {
            file["pre_tokenizer"] = pre_tokenizer;
            file["model"]["ignore_merges"] = json!(ignores_merges);
        });
        let (_, seen) = model.export(None, true);
        assert_eq!(seen.metadata["tokenizer.ggml.pre"], expected);
        fs::remove_dir_all(model.request(None, true).destination).unwrap();
    }
    for (pre_tokenizer, named) in [
        (splits(r"\w+"), "Split + ByteLevel"),
        (json!({"type": "ByteLevel"}), "(ByteLevel)"),
        (json!({"type": "Whitespace"}), "Whitespace"),
        (Value::Null, "none"),
    ] {
        model.change("tokenizer.json", |file| {
            file["pre_tokenizer"] = pre_tokenizer;
            file["model"]["ignore_merges"] = json!(false);
        });
        model.assert_not_representable(&["splits text", named, "gpt-2, smollm, llama-bpe"]);
    }
}

/// Makes the tokenizer one of the SentencePiece kind.
fn sentencepiece(file: &mut Value) {
    file["model"]["byte_fallback"] = json!(true);
    file["model"]["unk_token"] = json!("0");
    for (token, id) in [("▁", 1), ("<0x0A>", 2), ("▁a", 3)] {
        let vocab = file["model"]["vocab"].as_object_mut().unwrap();
        vocab.retain(|_, known| *known != json!(id));
        vocab.insert(token.into(), json!(id));
    }
    file["model"]["vocab"]["b"] = json!(63);
    file["model"]["vocab"]["c"] = json!(4);
    file["model"]["vocab"].as_object_mut().unwrap().remove("e");
    file["model"]["merges"] = json!([["▁", "a"], ["a", "b"], ["ab", "c"]]);
    file["pre_tokenizer"] = Value::Null;
    file["normalizer"] = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ]});
    file["post_processor"] = json!({"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "<start>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
    ]});
}

#[test]
fn sentencepiece_merges_become_scores() {
    let model = Model::family("llama-linear");
    model.change("tokenizer.json", sentencepiece);
    model.write("tokenizer_config.json", &json!({"eos_token": "<end>", "bos_token": {"content": "<start>"}}));
    let (_, seen) = model.export(None, true);
    let metadata = |key: &str| seen.metadata[&format!("tokenizer.ggml.{key}")].clone();
    assert_eq!((metadata("model"), metadata("pre")), (json!("llama"), json!("default")));
    assert_eq!((metadata("add_space_prefix"), metadata("add_bos_token")), (json!(true), json!(true)));
    let (scores, kinds) = (metadata("scores"), metadata("token_type"));
    // ▁a, ab and abc in the order of their merges, all others behind.
    assert_eq!(
        [&scores[3], &scores[58], &scores[59], &scores[1]],
        [&json!(0.0), &json!(-1.0), &json!(-2.0), &json!(-3.0)]
    );
    assert_eq!((&kinds[2], &kinds[52]), (&json!(6), &json!(2)));

    fs::remove_dir_all(model.request(None, true).destination).unwrap();
    let metaspace = |scheme: &str| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
    for (scheme, adds) in [("always", true), ("never", false)] {
        model.change("tokenizer.json", |file| {
            (file["normalizer"], file["pre_tokenizer"]) = (Value::Null, metaspace(scheme));
        });
        let (_, seen) = model.export(None, true);
        assert_eq!(seen.metadata["tokenizer.ggml.add_space_prefix"], adds);
        fs::remove_dir_all(model.request(None, true).destination).unwrap();
    }
    model.change("tokenizer.json", |file| file["pre_tokenizer"] = metaspace("first"));
    model.assert_not_representable(&["space before the beginning of a text alone"]);
}

#[test]
fn tokenizers_that_llama_cpp_lacks_are_refused() {
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 9] = [
        (|file| file["model"]["type"] = json!("Unigram"), "kind Unigram"),
        (
            |file| file["normalizer"] = json!({"type": "Lowercase"}),
            "changes text before it splits it (Lowercase)",
        ),
        (|file| file["added_tokens"][1]["lstrip"] = json!(true), "\"<think>\" takes the space"),
        (|file| file["added_tokens"][1]["id"] = json!(64), "\"<think>\" with the id 64"),
        (|file| file["added_tokens"][1]["id"] = json!(58), "have the same id 58"),
        (|file| file["model"]["end_of_word_suffix"] = json!("</w>"), "prefix or suffix"),
        (|file| file["post_processor"] = json!({"type": "RobertaProcessing"}), "adds tokens around a text"),
        (|file| file["model"]["merges"] = json!(["ab"]), "merge of its tokenizer"),
        (
            |file| file["added_tokens"][0]["content"] = json!("<eos>"),
            "lacks the token \"<end>\", its eos_token",
        ),
    ];
    for (change, part) in cases {
        let model = Model::family("llama-linear");
        model.change("tokenizer.json", change);
        model.assert_not_representable(&[part]);
    }
    let model = Model::family("llama-linear");
    model.write("tokenizer_config.json", &json!({}));
    model.change("config.json", |config| config["eos_token_id"] = Value::Null);
    model.assert_not_representable(&["no end-of-sequence token"]);
    fs::remove_file(model.base().join("tokenizer.json")).unwrap();
    model.assert_not_representable(&["no tokenizer.json"]);
}

#[test]
fn a_quantization_belongs_to_gguf() {
    let model = Model::bundled();
    let request =
        ExportRequest { format: ExportFormat::Safetensors, ..model.request(Some(Quantization::Q8_0), true) };
    let problem = export(&request).unwrap_err().problem();
    assert_eq!(problem.code, "export.quantization_not_of_format");
    assert!(problem.message.contains("safetensors has no quantization q8_0; gguf has it"), "{problem}");
}
