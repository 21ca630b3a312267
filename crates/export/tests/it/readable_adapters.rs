//! Adapters in other layouts, read back from what was written into PEFT's.

use std::fs;

use greentune_export::{ExportFormat, ExportRequest, peft::Adapters, stage};
use serde_json::json;

use crate::{
    fixture::{decode, json_of, names_in, tensors_in},
    gguf,
    model::Model,
};

/// Every family's adapters have other projections, heads or magnitudes.
#[test]
fn what_is_read_back_is_what_was_trained() {
    let mlx = ["llama", "llama-linear", "olmo2-dora", "olmo3", "qwen3"]
        .map(|name| Model::family(name, ExportFormat::Mlx));
    let gguf = ["llama", "llama-linear", "olmo", "qwen3"].map(gguf::of_family);
    for model in mlx.into_iter().chain(gguf).chain([gguf::bundled()]) {
        let request = ExportRequest { readable_copy: true, ..model.request(None, false) };
        let staged = stage(&request).unwrap();
        let copy = staged.readable_copy().unwrap();
        assert_eq!(names_in(copy), ["adapter_config.json", "adapter_model.safetensors"]);
        let (trained, read) = (tensors_in(&model.adapters), tensors_in(copy));
        assert!(read.keys().eq(trained.keys()), "{:?}", read.keys());
        for (name, (dtype, shape, bytes)) in &trained {
            let (found, found_shape, found_bytes) = &read[name];
            assert_eq!(found_shape, shape, "{name}");
            assert_eq!(decode(*found, found_bytes), decode(*dtype, bytes), "{name}");
        }
        let (trained, read) = (Adapters::open(&model.adapters).unwrap(), Adapters::open(copy).unwrap());
        assert!((read.config().scale() - trained.config().scale()).abs() < 1e-6);
        let targets = |adapters: &Adapters| {
            let mut targets = adapters.config().target_modules.clone();
            targets.sort();
            (targets, adapters.config().r, adapters.config().use_dora)
        };
        assert_eq!(targets(&read), targets(&trained));
        let copy = copy.to_owned();
        staged.publish().unwrap();
        assert!(!copy.exists());
    }
}

#[test]
fn adapters_of_some_layers_and_of_another_scale_are_read_back_too() {
    for model in [
        Model::bundled(
            ExportFormat::Mlx,
            &["config.json", "model.safetensors"],
            2,
            &[("self_attn.q_proj", [192, 192]), ("mlp.up_proj", [512, 192])],
        ),
        gguf::bundled(),
    ] {
        let path = model.adapters.join("adapter_config.json");
        let mut config = json_of(&path);
        config["use_rslora"] = json!(true);
        fs::write(path, config.to_string()).unwrap();
        let staged = stage(&ExportRequest { readable_copy: true, ..model.request(None, false) }).unwrap();
        let copy = staged.readable_copy().unwrap();
        assert_eq!(tensors_in(copy), tensors_in(&model.adapters));
        let config = Adapters::open(copy).unwrap().config().clone();
        assert!(!config.use_rslora && (config.scale() - 4.0 / 2f64.sqrt()).abs() < 1e-6, "{config:?}");
    }
}

#[test]
fn adapters_in_pefts_layout_need_no_copy() {
    for format in [ExportFormat::Huggingface, ExportFormat::Safetensors] {
        let model = Model::family("qwen3", format);
        let staged = stage(&ExportRequest { readable_copy: true, ..model.request(None, false) }).unwrap();
        assert!(staged.readable_copy().is_none());
    }
}
