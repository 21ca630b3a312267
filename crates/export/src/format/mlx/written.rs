//! Adapters as mlx-lm 0.32 loads them from what was written: those of the modules that the configuration names.

use std::path::{Path, PathBuf};

use greentune_core_config::model::ModelConfig;
use greentune_model_folder::{WeightsFile, read_json};
use serde::Deserialize;

use super::adapters::{WEIGHTS_FILE, transposed};
use crate::{
    error::ExportError,
    peft::{self, AdapterConfig, LoraPair, PairShape, WrittenAdapters, target_modules},
};

/// What mlx-lm reads of `adapter_config.json`.
#[derive(Deserialize)]
struct Config {
    fine_tune_type: String,
    num_layers: usize,
    lora_parameters: Parameters,
}

#[derive(Deserialize)]
struct Parameters {
    rank: usize,
    scale: f64,
    dropout: f64,
    keys: Vec<String>,
}

/// Adapters that were written.
pub(super) struct Written {
    path: PathBuf,
    config: Config,
    file: WeightsFile,
    shapes: Vec<PairShape>,
}

impl Written {
    /// Opens what lies in `folder`, for a base model of the configuration `base`.
    ///
    /// Errors: a module is named that has no adapter of the rank that is stated, or has one that no name leads to.
    pub(super) fn open(folder: &Path, base: &ModelConfig) -> Result<Self, ExportError> {
        let path = folder.join(WEIGHTS_FILE);
        let config: Config = read_json(&folder.join(peft::CONFIG_FILE))?;
        let file = WeightsFile::open(&path)?;
        let mut written = Self { path, config, file, shapes: Vec::new() };
        let modules = written.modules(base.num_hidden_layers);
        written.shapes = modules.into_iter().map(|module| written.shape(module)).collect::<Result<_, _>>()?;
        let tensors = written.shapes.len() * if written.is_dora() { 3 } else { 2 };
        if written.file.names().len() != tensors {
            let reason =
                format!("its configuration leads to {tensors} of {} tensors", written.file.names().len());
            return Err(written.broken(reason));
        }
        Ok(written)
    }

    fn is_dora(&self) -> bool {
        self.config.fine_tune_type == "dora"
    }

    /// The modules that mlx-lm adapts: names within a layer are those of the last `num_layers`.
    fn modules(&self, layers: usize) -> Vec<String> {
        let first = layers.saturating_sub(self.config.num_layers);
        let of_key = |key: &String| -> Vec<String> {
            if key.starts_with("model.") || key == "lm_head" {
                return vec![key.clone()];
            }
            (first..layers).map(|layer| format!("model.layers.{layer}.{key}")).collect()
        };
        self.config.lora_parameters.keys.iter().flat_map(of_key).collect()
    }

    fn shape(&self, module: String) -> Result<PairShape, ExportError> {
        let rank = self.config.lora_parameters.rank;
        let (a, b) =
            (self.file.tensor(&format!("{module}.lora_a"))?, self.file.tensor(&format!("{module}.lora_b"))?);
        let ([in_features, _], [_, out_features]) = (a.matrix_shape()?, b.matrix_shape()?);
        a.expect_shape(&[in_features, rank])?;
        b.expect_shape(&[rank, out_features])?;
        Ok(PairShape { module, rank, in_features, out_features, has_magnitude: self.is_dora() })
    }

    fn broken(&self, reason: String) -> ExportError {
        ExportError::Broken { path: self.path.clone(), reason }
    }
}

impl WrittenAdapters for Written {
    fn config(&self) -> AdapterConfig {
        let Parameters { rank, scale, dropout, .. } = self.config.lora_parameters;
        let targets = target_modules(self.shapes.iter().map(|shape| shape.module.as_str()));
        // PEFT divides by the rank what mlx-lm multiplies with.
        let lora = AdapterConfig::lora(rank, scale * rank as f64, dropout, targets);
        AdapterConfig { use_dora: self.is_dora(), ..lora }
    }

    fn shapes(&self) -> Vec<PairShape> {
        self.shapes.clone()
    }

    fn pair(&mut self, shape: &PairShape) -> Result<LoraPair, ExportError> {
        let PairShape { module, rank, in_features, out_features, has_magnitude } = shape.clone();
        let values = |end: &str| -> Result<Vec<f32>, ExportError> {
            Ok(self.file.tensor(&format!("{module}.{end}"))?.read_f32()?)
        };
        Ok(LoraPair {
            a: transposed(&values("lora_a")?, rank),
            b: transposed(&values("lora_b")?, out_features),
            magnitude: has_magnitude.then(|| values("m")).transpose()?,
            module,
            rank,
            in_features,
            out_features,
        })
    }
}
