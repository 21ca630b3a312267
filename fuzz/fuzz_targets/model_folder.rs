//! A model's folder: the header of its safetensors, or the index of several files.
#![no_main]

use std::{fs, sync::LazyLock};

use greentune_fuzz::Scratch;
use greentune_model_folder::{ModelFolder, ModelWeights, read_config};
use libfuzzer_sys::fuzz_target;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| {
    let scratch = Scratch::new();
    scratch.copy("reference/families/llama/config.json", "single/config.json");
    scratch.copy("reference/families/llama/config.json", "index/config.json");
    scratch.copy("reference/families/llama/model.safetensors", "index/a.safetensors");
    // An architecture that no name tells, so that the tensors have to.
    let config = fs::read_to_string(scratch.path("single/config.json")).expect("a fixture");
    let config = config.replace("\"llama\"", "\"own\"").replace("LlamaForCausalLM", "OwnForCausalLM");
    scratch.write("unnamed/config.json", config.as_bytes());
    scratch
});

fuzz_target!(|data: &[u8]| {
    let Some((form, data)) = data.split_first() else { return };
    let (folder, file) = match form % 3 {
        0 => ("single", "model.safetensors"),
        1 => ("index", "model.safetensors.index.json"),
        _ => ("unnamed", "model.safetensors"),
    };
    SCRATCH.write(&format!("{folder}/{file}"), data);
    let folder = SCRATCH.path(folder);
    if let Ok(weights) = ModelWeights::open(&folder) {
        let _ = weights.shapes();
    }
    let _ = read_config(&folder);
    let _ = ModelFolder::open(&folder);
});
