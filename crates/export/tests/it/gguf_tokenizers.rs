//! Tokenizers in GGUF: their metadata, and those that llama.cpp lacks.

use std::fs;

use serde_json::{Value, json};

use crate::gguf::{assert_not_representable, exported, of_family};

#[test]
fn tokens_have_types_and_places_without_a_token_are_filled() {
    let model = of_family("llama-linear");
    model.write("generation_config.json", &json!({"eos_token_id": [60, 62]}));
    let (report, seen) = exported(&model, None, true);
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
    let model = of_family("llama-linear");
    for (pre_tokenizer, ignores_merges, expected) in [
        (splits(&three_digits), true, "llama-bpe"),
        (splits(&three_digits), false, "dbrx"),
        (splits(one_digit), false, "qwen2"),
    ] {
        model.change("tokenizer.json", |file| {
            file["pre_tokenizer"] = pre_tokenizer;
            file["model"]["ignore_merges"] = json!(ignores_merges);
        });
        let (_, seen) = exported(&model, None, true);
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
        assert_not_representable(&model, &["splits text", named, "gpt-2, smollm, llama-bpe"]);
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
    let model = of_family("llama-linear");
    model.change("tokenizer.json", sentencepiece);
    model.write("tokenizer_config.json", &json!({"eos_token": "<end>", "bos_token": {"content": "<start>"}}));
    let (_, seen) = exported(&model, None, true);
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
        let (_, seen) = exported(&model, None, true);
        assert_eq!(seen.metadata["tokenizer.ggml.add_space_prefix"], adds);
        fs::remove_dir_all(model.request(None, true).destination).unwrap();
    }
    model.change("tokenizer.json", |file| file["pre_tokenizer"] = metaspace("first"));
    assert_not_representable(&model, &["space before the beginning of a text alone"]);
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
        let model = of_family("llama-linear");
        model.change("tokenizer.json", change);
        assert_not_representable(&model, &[part]);
    }
    let model = of_family("llama-linear");
    model.write("tokenizer_config.json", &json!({}));
    model.change("config.json", |config| config["eos_token_id"] = Value::Null);
    assert_not_representable(&model, &["no end-of-sequence token"]);
    fs::remove_file(model.base().join("tokenizer.json")).unwrap();
    assert_not_representable(&model, &["no tokenizer.json"]);
}
