//! Image classifiers, by timm's and by torchvision's names.

use std::fs;

use greentune_core_config::Diagnostic;
use greentune_export::{ClassifierRequest, ExportFormat, stage_classifier};
use safetensors::Dtype;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fixture::{encode, json_of, names_in, tensors_in, write_safetensors};

/// Side of a vision transformer's patches, in pixels.
const PATCH: usize = 4;

/// A classifier of a few of its tensors.
fn classifier(architecture: &str, side: u64, channels: usize) -> (TempDir, ClassifierRequest) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("final-model");
    fs::create_dir(&folder).unwrap();
    let config = json!({
        "architecture": architecture, "revision": 1, "classes": ["cat", "dog"],
        "pipeline": {"height": side, "width": side, "channels": channels, "crop_fraction": 0.875,
            "normalisation": {"mean": vec![0.5; channels], "std": vec![0.25; channels]}, "seed": 1,
            "augmentation": {"crop": "center", "horizontal_flip": false}},
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let names =
        ["features.0.0.weight", "features.2.0.block.1.1.running_var", "classifier.1.bias", "fc.weight"];
    let mut tensors: Vec<_> =
        names.iter().map(|name| ((*name).to_owned(), vec![2], encode(Dtype::F32, &[1.0, 2.0]))).collect();
    if architecture.starts_with("vit_") {
        let kernels = encode(Dtype::F32, &vec![0.5; channels * PATCH * PATCH]);
        tensors = vec![("patch_embed.proj.weight".to_owned(), vec![1, channels, PATCH, PATCH], kernels)];
    }
    write_safetensors(&folder.join("model.safetensors"), Dtype::F32, &tensors);
    let request = ClassifierRequest {
        classifier: folder,
        format: ExportFormat::Huggingface,
        destination: dir.path().join("export"),
        replace: false,
        model_card: Some("# card\n".into()),
    };
    (dir, request)
}

fn config_of(architecture: &str, side: u64, channels: usize) -> Value {
    let (_dir, request) = classifier(architecture, side, channels);
    let report = stage_classifier(&request).unwrap().publish().unwrap();
    json_of(&report.destination.join("config.json"))
}

#[test]
fn timm_gets_its_names_and_its_configuration() {
    let (_dir, request) = classifier("efficientnet_b2", 260, 3);
    let report = stage_classifier(&request).unwrap().publish().unwrap();
    assert_eq!(names_in(&report.destination), ["README.md", "config.json", "model.safetensors"]);
    let tensors = tensors_in(&report.destination);
    let expected = ["blocks.1.0.bn2.running_var", "classifier.bias", "conv_stem.weight", "fc.weight"];
    assert!(tensors.keys().eq(expected), "{:?}", tensors.keys());
    let config = json_of(&report.destination.join("config.json"));
    assert_eq!((&config["architecture"], &config["num_classes"]), (&json!("efficientnet_b2"), &json!(2)));
    assert_eq!(config["label_names"], json!(["cat", "dog"]));
    let pretrained = &config["pretrained_cfg"];
    assert_eq!(pretrained["input_size"], json!([3, 260, 260]));
    assert_eq!((&pretrained["crop_pct"], &pretrained["mean"]), (&json!(0.875), &json!([0.5, 0.5, 0.5])));
    assert_eq!(config["model_args"], json!({}));
    assert!(report.usage_instructions.contains("timm.create_model"), "{}", report.usage_instructions);
    assert_eq!(report.verification.untouched_tensors, 4);
}

#[test]
fn sizes_of_patches_and_channels_are_arguments() {
    // timm resamples the weights, and says nothing, for a patch of another size than they have.
    let vit = config_of("vit_tiny", 32, 3);
    assert_eq!(vit["architecture"], "vit_tiny_patch16_224");
    assert_eq!(vit["model_args"], json!({"img_size": 32, "patch_size": PATCH}));
    assert_eq!((&vit["num_features"], &vit["pretrained_cfg"]["classifier"]), (&json!(192), &json!("head")));
    assert_eq!(vit["pretrained_cfg"]["fixed_input_size"], true);
    let small = config_of("vit_small", 36, 1);
    assert_eq!(small["model_args"], json!({"in_chans": 1, "img_size": 36, "patch_size": PATCH}));
    let grey = config_of("resnet18", 28, 1);
    assert_eq!(grey["model_args"], json!({"in_chans": 1}));
    assert_eq!((&grey["num_features"], &grey["pretrained_cfg"]["classifier"]), (&json!(512), &json!("fc")));
}

#[test]
fn torchvision_gets_what_the_trainer_left() {
    let (_dir, request) = classifier("resnet50", 64, 3);
    let request = ClassifierRequest { format: ExportFormat::Safetensors, ..request };
    let report = stage_classifier(&request).unwrap().publish().unwrap();
    assert_eq!(tensors_in(&report.destination), tensors_in(&request.classifier));
    assert!(report.usage_instructions.contains("torchvision.models.resnet50(num_classes=2)"));
}

#[test]
fn what_a_format_does_not_have_is_refused() {
    for (architecture, format, said) in [
        ("simplecnn", ExportFormat::Huggingface, "timm has no simplecnn; formats that work: safetensors"),
        ("resnet18", ExportFormat::Gguf, "it is for language models"),
        ("resnet18", ExportFormat::Mlx, "formats that work: huggingface (timm), safetensors (torchvision)"),
    ] {
        let (_dir, request) = classifier(architecture, 32, 3);
        let Err(error) = stage_classifier(&ClassifierRequest { format, ..request.clone() }) else {
            panic!("{said}")
        };
        let problem = error.problem();
        assert_eq!(problem.code, "export.not_representable");
        assert!(problem.message.contains(said), "{problem}");
        assert!(!request.destination.exists());
    }
}
