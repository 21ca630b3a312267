//! Adapters as llama.cpp loads them from what was written: by the names of the tensors that they change.

use std::path::Path;

use greentune_core_config::model::ModelConfig;

use super::{
    architecture::{Architecture, Named, tensors},
    header::{Described, Value},
    reader::GgufFile,
    refused,
};
use crate::{
    error::ExportError,
    packing::Packing,
    peft::{AdapterConfig, LoraPair, PairShape, WrittenAdapters, target_modules},
    rows::{Origin, Weight},
};

/// Adapters that were written.
pub(super) struct Written {
    file: GgufFile,
    alpha: f64,
    adapted: Vec<Adapted>,
}

/// The adapter of a projection.
struct Adapted {
    shape: PairShape,
    a: Described,
    b: Described,
    /// Heads whose rows are reordered in B.
    reordered_heads: Option<usize>,
}

impl Written {
    /// Opens the file at `path`, for a base model of the configuration `base`.
    ///
    /// Errors: it holds something else than adapters of that model's projections, all of one rank.
    pub(super) fn open(path: &Path, base: &ModelConfig) -> Result<Self, ExportError> {
        let file = GgufFile::open(path)?;
        let broken = |reason: String| ExportError::Broken { path: path.into(), reason };
        let architecture = Architecture::of(base).map_err(refused)?;
        let value =
            |key: &str| file.metadata.0.iter().find(|(known, _)| known == key).map(|(_, value)| value);
        for (key, expected) in [
            ("general.type", "adapter"),
            ("adapter.type", "lora"),
            ("general.architecture", architecture.name),
        ] {
            if !matches!(value(key), Some(Value::Text(text)) if text == expected) {
                return Err(broken(format!("its {key} is not {expected}")));
            }
        }
        let Some(Value::F32(alpha)) = value("adapter.lora.alpha") else {
            return Err(broken("it has no adapter.lora.alpha".into()));
        };
        let alpha = f64::from(*alpha);
        let named = tensors(architecture, base).map_err(refused)?;
        let mut adapted = Vec::new();
        for a in &file.tensors {
            let Some(changed) = a.name.strip_suffix(".lora_a") else { continue };
            let b = file.tensors.iter().find(|b| b.name.strip_suffix(".lora_b") == Some(changed));
            let place = named.iter().find(|named| named.name == changed);
            let found = b.zip(place).and_then(|(b, place)| Adapted::of(a, b, place));
            let mut found =
                found.ok_or_else(|| broken(format!("\"{}\" is no adapter of a projection", a.name)))?;
            let projection = place.and_then(|named| named.projection);
            found.reordered_heads = projection.and_then(|name| architecture.reordered_heads(name, base));
            adapted.push(found);
        }
        let rank = adapted.first().map(|first| first.shape.rank);
        if 2 * adapted.len() != file.tensors.len() || adapted.iter().any(|one| Some(one.shape.rank) != rank) {
            return Err(broken("its tensors are no pairs of one rank".into()));
        }
        Ok(Self { file, alpha, adapted })
    }

    fn rank(&self) -> usize {
        self.adapted.first().map_or(1, |first| first.shape.rank)
    }

    fn values(&mut self, tensor: &Described) -> Result<Vec<f32>, ExportError> {
        let mut bytes = vec![0; tensor.bytes() as usize];
        self.file.read(tensor, 0, &mut bytes)?;
        let mut values = vec![0.0; tensor.shape.iter().product()];
        tensor.kind.decode(&bytes, &mut values);
        Ok(values)
    }
}

impl Adapted {
    fn of(a: &Described, b: &Described, place: &Named) -> Option<Self> {
        let module = place.source.strip_suffix(".weight")?.to_owned();
        let (&[rank, in_features], &[out_features, of_b]) = (&a.shape[..], &b.shape[..]) else { return None };
        let shape = PairShape { module, rank, in_features, out_features, has_magnitude: false };
        (rank == of_b).then(|| Self { shape, a: a.clone(), b: b.clone(), reordered_heads: None })
    }
}

impl WrittenAdapters for Written {
    fn config(&self) -> AdapterConfig {
        let rank = self.rank();
        // llama.cpp adds B·A as it is where alpha is 0.
        let alpha = if self.alpha == 0.0 { rank as f64 } else { self.alpha };
        let targets = target_modules(self.adapted.iter().map(|one| one.shape.module.as_str()));
        AdapterConfig::lora(rank, alpha, 0.0, targets)
    }

    fn shapes(&self) -> Vec<PairShape> {
        self.adapted.iter().map(|one| one.shape.clone()).collect()
    }

    fn pair(&mut self, shape: &PairShape) -> Result<LoraPair, ExportError> {
        let place = self.adapted.iter().position(|one| one.shape == *shape);
        let (a, b, reordered_heads) = match place.map(|place| &self.adapted[place]) {
            Some(one) => (one.a.clone(), one.b.clone(), one.reordered_heads),
            None => return Err(refused(format!("it has no adapter of {}", shape.module))),
        };
        let (a, values) = (self.values(&a)?, self.values(&b)?);
        let origin = Origin::LoraB(shape.module.clone());
        let b = Weight { name: b.name, shape: b.shape, origin, reordered_heads }.in_source_order(values);
        let PairShape { module, rank, in_features, out_features, .. } = shape.clone();
        Ok(LoraPair { module, rank, in_features, out_features, a, b, magnitude: None })
    }
}
