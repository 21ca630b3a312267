//! Whole exports as GGUF: the bundled base model and a model of every architecture.

use std::fs;

use greentune_core_config::{Diagnostic, ProblemKind};
use greentune_export::{ExportFormat, ExportReport, ExportRequest, Quantization, export, stage};
use serde_json::{Value, json};

use crate::{
    fixture::{decode, json_of, names_in, tensors_in},
    gguf_reader::{Seen, read},
    model::Model,
};

/// A model of `fixtures/reference/families` with a tokenizer of its size.
pub fn of_family(name: &str) -> Model {
    let model = Model::family(name, ExportFormat::Gguf);
    model.change("config.json", |config| {
        config["eos_token_id"] = json!(60);
        (config["bos_token_id"], config["pad_token_id"]) = (Value::Null, Value::Null);
    });
    model.write("tokenizer.json", &tokenizer());
    model.write("tokenizer_config.json", &json!({"eos_token": "<end>", "chat_template": "{{ x }}"}));
    model
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

/// The base model that is bundled, with random adapters of four projections of its first two layers.
pub fn bundled() -> Model {
    let files = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    let projections = [
        ("self_attn.q_proj", [192, 192]),
        ("self_attn.v_proj", [192, 192]),
        ("mlp.up_proj", [512, 192]),
        ("mlp.down_proj", [192, 512]),
    ];
    Model::bundled(ExportFormat::Gguf, &files, 2, &projections)
}

/// Its export, and what another reader sees in the file.
pub fn exported(model: &Model, quantization: Option<Quantization>, merge: bool) -> (ExportReport, Seen) {
    let report = model.export(quantization, merge);
    let seen = read(&report.destination.join(if merge { "model.gguf" } else { "adapter.gguf" }));
    (report, seen)
}

/// The merged values of a tensor, as the format `safetensors` has them.
fn merged(model: &Model, name: &str) -> Vec<f32> {
    let (dtype, _, bytes) = &tensors_in(&model.merged(None))[name];
    decode(*dtype, bytes)
}

pub fn assert_not_representable(model: &Model, parts: &[&str]) {
    let problem = model.refused(true);
    assert_eq!((problem.code.as_str(), problem.kind), ("export.not_representable", ProblemKind::Unsupported));
    for part in parts.iter().chain(&["gguf", "formats that work: safetensors, huggingface"]) {
        assert!(problem.message.contains(part), "{part:?} is not in {:?}", problem.message);
    }
}

#[test]
fn a_copy_that_greentune_reads_has_the_values_of_the_file() {
    for (model, quantization, off) in [
        (bundled(), Quantization::F32, 0.0),
        (of_family("llama"), Quantization::F32, 0.0),
        (bundled(), Quantization::Q8_0, 0.02),
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
    let model = bundled();
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
        let (report, seen) = exported(&model, Some(quantization), true);
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
    let (report, _) = exported(&bundled(), None, true);
    assert_eq!(json!(report.verification.tensor_types), json!({"F32": 17, "F16": 30}));
    assert!(
        report.usage_instructions.contains("llama-cli")
            && report.usage_instructions.contains("ollama create")
    );
}

#[test]
fn a_chat_template_that_llama_cpp_cannot_render_is_warned_of() {
    let (report, _) = exported(&bundled(), Some(Quantization::F16), true);
    assert!(!report.usage_instructions.contains("Warning"), "{}", report.usage_instructions);
    let model = bundled();
    let template = "{% for m in messages | groupby('role') %}{{ m }}{% endfor %}";
    fs::write(model.base().join("chat_template.jinja"), template).unwrap();
    let (report, _) = exported(&model, Some(Quantization::F16), true);
    let warned = "what llama.cpp's template engine does not know: the filter `groupby`";
    assert!(report.usage_instructions.contains(warned), "{}", report.usage_instructions);
}

#[test]
fn metadata_of_the_bundled_model() {
    let model = bundled();
    let (report, seen) = exported(&model, Some(Quantization::F32), true);
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
        "FROM ./model.gguf\n\
         # Ollama takes the one of its own templates that is most like the chat template in the GGUF file.\n\
         # Look which: ollama show --template my-model. Where it is another form, add TEMPLATE here.\n\
         PARAMETER stop \"<|endoftext|>\"\n"
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
        let model = of_family(family);
        let (_, seen) = exported(&model, Some(Quantization::F32), true);
        for (source, name, heads) in
            [("q_proj", "attn_q", Some(4)), ("k_proj", "attn_k", Some(2)), ("v_proj", "attn_v", None)]
        {
            let merged = merged(&model, &format!("model.layers.1.self_attn.{source}.weight"));
            let expected = match heads {
                Some(heads) if interleaved => reordered(&merged, heads, 32),
                _ => merged,
            };
            let what = format!("{family} {name}");
            assert_close(&seen.f32(&format!("blk.1.{name}.weight")), &expected, &what);
        }
        for (source, name) in [("mlp.down_proj", "ffn_down"), ("self_attn.o_proj", "attn_output")] {
            let merged = merged(&model, &format!("model.layers.0.{source}.weight"));
            assert_close(&seen.f32(&format!("blk.0.{name}.weight")), &merged, name);
        }
    }
    // Biases rotate with their rows.
    let model = of_family("llama");
    let (_, seen) = exported(&model, Some(Quantization::F32), true);
    let bias = merged(&model, "model.layers.0.self_attn.q_proj.bias");
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
        let (_, seen) = exported(&of_family(family), None, true);
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
    let (_, seen) = exported(&of_family("llama"), None, true);
    // Factors of the kind llama3 are a tensor: head_dim 12, theta 3000, factor 8 over a context of 32.
    let factors = seen.f32("rope_freqs.weight");
    assert_eq!(factors.len(), 6);
    // Wavelength 2π < 32 / 4: kept. The last, 2π · 3000^(5/6) > 32: divided by 8.
    assert!((factors[0] - 1.0).abs() < 1e-6 && (factors[5] - 8.0).abs() < 1e-5, "{factors:?}");
    assert!(!seen.tensors.contains_key("output.weight"), "the head is the embedding");
    assert!(!seen.metadata.contains_key("llama.rope.scaling.type"));

    let (_, seen) = exported(&of_family("llama-linear"), None, true);
    assert_eq!(seen.metadata["llama.rope.scaling.type"], "linear");
    assert_eq!(seen.metadata["llama.rope.scaling.factor"], 3.0);

    let olmo3 = of_family("olmo3");
    assert_not_representable(&olmo3, &["yarn", "beta_fast"]);
    olmo3.change("config.json", |config| {
        config["rope_parameters"]["full_attention"]["beta_fast"] = json!(32.0);
    });
    let (_, seen) = exported(&olmo3, None, true);
    assert_eq!(seen.metadata["olmo2.rope.scaling.type"], "yarn");
    assert_eq!(seen.metadata["olmo2.rope.scaling.original_context_length"], 16);
    assert_eq!(seen.metadata["olmo2.rope.scaling.attn_factor"], 1.0);
    assert_eq!(seen.metadata["olmo2.attention.sliding_window"], 7);
    assert_eq!(seen.metadata["olmo2.attention.sliding_window_pattern"], json!([true, true, true, false]));
}

#[test]
fn windows_that_llama_cpp_lacks_are_refused() {
    for family in ["mistral", "qwen2"] {
        let model = of_family(family);
        assert_not_representable(&model, &["sliding window", "of 64 positions"]);
        model.change("config.json", |config| config["sliding_window"] = Value::Null);
        model.change("config.json", |config| config["use_sliding_window"] = json!(false));
        model.change("config.json", |config| {
            config.as_object_mut().unwrap().remove("layer_types");
        });
        let (_, seen) = exported(&model, None, true);
        let architecture = if family == "mistral" { "llama" } else { "qwen2" };
        assert_eq!(seen.metadata["general.architecture"], architecture);
        assert_eq!(seen.tensors.contains_key("blk.0.attn_q.bias"), family == "qwen2");
    }
}

#[test]
fn adapters_alone_become_a_file_for_the_base_model() {
    let model = of_family("llama-linear");
    let (report, seen) = exported(&model, None, false);
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
    let error = export(&of_family("olmo2-dora").request(None, false)).unwrap_err().problem();
    assert_eq!(error.code, "export.unsupported_adapter");
    assert!(error.message.contains("DoRA"), "{error}");
}

#[test]
fn scale_of_rank_stabilised_adapters_is_kept() {
    let model = bundled();
    let path = model.adapters.join("adapter_config.json");
    let mut config = json_of(&path);
    config["use_rslora"] = json!(true);
    fs::write(path, config.to_string()).unwrap();
    let (_, seen) = exported(&model, None, false);
    // llama.cpp computes alpha / rank; trained with 4 / √2.
    let alpha = seen.metadata["adapter.lora.alpha"].as_f64().unwrap();
    assert!((alpha / 2.0 - 4.0 / 2f64.sqrt()).abs() < 1e-6, "{alpha}");
}

#[test]
fn a_quantization_belongs_to_gguf() {
    let model = bundled();
    let request =
        ExportRequest { format: ExportFormat::Safetensors, ..model.request(Some(Quantization::Q8_0), true) };
    let problem = export(&request).unwrap_err().problem();
    assert_eq!(problem.code, "export.quantization_not_of_format");
    assert!(problem.message.contains("safetensors has no quantization q8_0; gguf has it"), "{problem}");
}
