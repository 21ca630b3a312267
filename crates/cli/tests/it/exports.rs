//! Exports that cannot be compared with the trained model.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::sandbox::{Sandbox, ran};

/// A copy of the tiny reference model with this context.
fn base_with_context(sandbox: &Sandbox, context: u64) {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/reference/olmo2-tiny");
    fs::create_dir(sandbox.path("base")).unwrap();
    for entry in fs::read_dir(base).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), sandbox.path("base").join(entry.file_name())).unwrap();
    }
    let path = sandbox.path("base/config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["max_position_embeddings"] = context.into();
    fs::write(path, config.to_string()).unwrap();
}

#[test]
fn a_model_whose_context_is_too_small_for_the_prompts_is_exported_all_the_same() {
    let sandbox = Sandbox::new();
    base_with_context(&sandbox, 16);
    let base = sandbox.path("base");
    let made = sandbox.run(["new", "p", "--base-model", base.to_str().unwrap()]);
    assert_eq!(made.code, 0, "{made:?}");
    let records: Vec<String> =
        (0..12).map(|number| json!({ "text": format!("n {number}") }).to_string()).collect();
    let records = records.join("\n");
    for name in ["train", "validation"] {
        sandbox.write(&format!("p/{name}.jsonl"), &records);
    }
    let in_project = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        ran(command.current_dir(sandbox.path("p")))
    };
    let mut new = vec!["runs", "new", "--name", "tiny", "--train", "train.jsonl"];
    new.extend(["--validation", "validation.jsonl"]);
    for setting in [
        "training.num_stages=1",
        "training.stage1.iterations=2",
        "training.stage1.warmup_steps=0",
        "training.max_seq_length=16",
        "training.device=cpu",
        "evaluation.generate_records=0",
        "dataset.schema=completion",
    ] {
        new.extend(["--set", setting]);
    }
    let configured = in_project(&new);
    assert_eq!(configured.code, 0, "{configured:?}");
    let trained = in_project(&["train"]);
    assert_eq!(trained.code, 0, "{trained:?}");
    let export = |further: &[&str]| {
        let mut arguments = vec!["export", "tiny", "--stage", "1", "--json"];
        arguments.extend(further);
        in_project(&arguments).json()
    };
    for (format, to) in [("huggingface", "out"), ("mlx", "mlx"), ("gguf", "gguf")] {
        let exported = export(&["--format", format, "--to", to]);
        let why = exported["not_compared"].as_str().unwrap();
        assert!(why.contains("fills the context of 16 tokens"), "{exported}");
        assert!(sandbox.path("p").join(to).is_dir());
    }
    let merged = export(&["--format", "huggingface", "--merge", "--to", "merged"]);
    assert!(merged["not_compared"].is_string(), "{merged}");
}
