//! A copy of a model of `fixtures`, whose files can be changed, with adapters, and its exports to one format.

use std::{
    fs,
    path::{Path, PathBuf},
};

use greentune_core_config::{Diagnostic, Problem};
use greentune_export::{
    ExportFormat, ExportReport, ExportRequest, Quantization, export,
    peft::{self, AdapterConfig, LoraPair},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::fixture::{json_of, random};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures");

/// A projection of a layer, and its rows and columns.
pub type Projection = (&'static str, [usize; 2]);

pub struct Model {
    pub dir: TempDir,
    pub adapters: PathBuf,
    pub format: ExportFormat,
}

impl Model {
    /// A model of `fixtures/reference/families` with its adapters; it has no tokenizer.
    pub fn family(name: &str, format: ExportFormat) -> Self {
        let folder = Path::new(FIXTURES).join("reference/families").join(name);
        let model = Self::copy_of(&folder, &["config.json", "model.safetensors"], format);
        Self { adapters: folder.join("adapter"), ..model }
    }

    /// The `files` of the bundled base model, with random adapters of `projections` in its first `layers`.
    pub fn bundled(format: ExportFormat, files: &[&str], layers: u64, projections: &[Projection]) -> Self {
        let model = Self::copy_of(&Path::new(FIXTURES).join("base-model"), files, format);
        let of_layer = |layer| projections.iter().map(move |projection| (layer, *projection));
        let pair = |(layer, (name, [rows, columns])): (u64, Projection)| LoraPair {
            module: format!("model.layers.{layer}.{name}"),
            rank: 2,
            in_features: columns,
            out_features: rows,
            a: random(2 * columns, layer, 0.1),
            b: random(2 * rows, 7 + layer, 0.1),
            magnitude: None,
        };
        let pairs: Vec<LoraPair> = (0..layers).flat_map(of_layer).map(pair).collect();
        let targets = projections.iter().map(|(name, _)| name.rsplit('.').next().unwrap().to_owned());
        peft::write(&model.adapters, &AdapterConfig::lora(2, 4.0, 0.0, targets.collect()), &pairs).unwrap();
        model
    }

    fn copy_of(folder: &Path, files: &[&str], format: ExportFormat) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = Self { adapters: dir.path().join("adapters"), dir, format };
        fs::create_dir(model.base()).unwrap();
        for file in files {
            fs::copy(folder.join(file), model.base().join(file)).unwrap();
        }
        model
    }

    pub fn base(&self) -> PathBuf {
        self.dir.path().join("base")
    }

    pub fn write(&self, name: &str, value: &Value) {
        fs::write(self.base().join(name), value.to_string()).unwrap();
    }

    /// Changes a JSON file of the model.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value = json_of(&self.base().join(name));
        change(&mut value);
        self.write(name, &value);
    }

    pub fn request(&self, quantization: Option<Quantization>, merge: bool) -> ExportRequest {
        ExportRequest {
            base_model: self.base(),
            base_model_name: Some("somebody/model".into()),
            adapters: self.adapters.clone(),
            format: self.format,
            destination: self.dir.path().join(format!("export-{merge}-{quantization:?}")),
            replace: false,
            merge,
            quantization,
            max_shard_size: None,
            readable_copy: false,
            model_card: None,
        }
    }

    pub fn export(&self, quantization: Option<Quantization>, merge: bool) -> ExportReport {
        export(&self.request(quantization, merge)).unwrap()
    }

    /// Why it cannot be exported; nothing was written.
    pub fn refused(&self, merge: bool) -> Problem {
        let request = self.request(None, merge);
        let problem = export(&request).unwrap_err().problem();
        assert!(!request.destination.exists());
        problem
    }

    /// The merged model as the format `safetensors` has it.
    pub fn merged(&self, quantization: Option<Quantization>) -> PathBuf {
        let destination = self.dir.path().join(format!("merged-{quantization:?}"));
        if !destination.exists() {
            let request = self.request(quantization, true);
            let format = ExportFormat::Safetensors;
            export(&ExportRequest { format, destination: destination.clone(), ..request }).unwrap();
        }
        destination
    }
}
