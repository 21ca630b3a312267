//! Adapters alone, as mlx-lm trains and loads them: `adapters.safetensors` and `adapter_config.json`.
//!
//! `lora_a` is A transposed, `[in, rank]`; `lora_b` is B transposed, `[rank, out]`; `m` is the magnitude of DoRA. The
//! output of a projection changes by `scale · (x · lora_a) · lora_b`.

use std::collections::{BTreeMap, BTreeSet};

use greentune_core_config::{
    model::{ModelConfig, module_path},
    settings::LORA_TARGETS,
};
use greentune_model_folder::{FloatType, WeightsFile, encode_header};
use safetensors::Dtype;
use serde_json::{Map, Value, json};

use super::{super::Source, config};
use crate::{
    content::{Content, PlannedFile, WrittenFile},
    error::ExportError,
    format::folder,
    peft::{self, Adapters, LoraPair},
    staging::Output,
    verify::{Verification, ensure},
};

/// The matrices.
pub(super) const WEIGHTS_FILE: &str = "adapters.safetensors";

/// The adapters, and the base model's configuration where mlx-lm would misread its own.
pub(super) fn files<'a>(
    source: Source<'a>,
    config: &ModelConfig,
) -> Result<Vec<PlannedFile<'a>>, ExportError> {
    let mut files = vec![adapter_config(source, config)?, weights(source.adapters)?];
    files.extend(config::of_base(source, config)?);
    files.extend(folder::model_card(source.request));
    Ok(files)
}

fn adapter_config<'a>(source: Source<'_>, config: &ModelConfig) -> Result<PlannedFile<'a>, ExportError> {
    let trained = source.adapters.config();
    let named = source.request.base_model_name.clone();
    let mut json: Map<String, Value> = Map::new();
    json.insert("fine_tune_type".into(), if trained.use_dora { "dora" } else { "lora" }.into());
    json.insert("num_layers".into(), config.num_hidden_layers.into());
    let parameters = json!({
        "rank": trained.r,
        "scale": trained.scale(),
        "dropout": trained.lora_dropout,
        "keys": keys(source.adapters, config)?,
    });
    json.insert("lora_parameters".into(), parameters);
    if let Some(name) = named.or_else(|| trained.base_model_name_or_path.clone()) {
        json.insert("model".into(), name.into());
    }
    folder::pretty(&source.adapters.folder().join(peft::CONFIG_FILE), peft::CONFIG_FILE, &json)
}

/// Which modules have adapters: those that all layers have by their names within a layer, others by their whole names.
fn keys(adapters: &Adapters, config: &ModelConfig) -> Result<BTreeSet<String>, ExportError> {
    let mut layers_of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut keys = BTreeSet::new();
    for module in adapters.modules() {
        let of_layer = module.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
        match of_layer {
            Some((layer, name)) if LORA_TARGETS.iter().any(|target| module_path(target) == name) => {
                layers_of.entry(name).or_default().insert(layer);
            }
            _ if module == "lm_head" && !config.tie_word_embeddings => {
                keys.insert(module.to_owned());
            }
            _ => {
                return Err(ExportError::UnsupportedAdapter {
                    folder: adapters.folder().into(),
                    reason: format!("it adapts {module}, which is no linear layer of its own in mlx-lm"),
                });
            }
        }
    }
    for (name, layers) in layers_of {
        if layers.len() == config.num_hidden_layers {
            keys.insert(name.to_owned());
        } else {
            keys.extend(layers.into_iter().map(|layer| format!("model.layers.{layer}.{name}")));
        }
    }
    Ok(keys)
}

/// The matrices of all adapters.
struct Matrices<'a> {
    /// Everything before the first tensor.
    header: Vec<u8>,
    adapters: &'a Adapters,
}

fn weights(adapters: &Adapters) -> Result<PlannedFile<'_>, ExportError> {
    let mut shapes = Vec::new();
    for module in adapters.modules() {
        let [out_features, in_features] = adapters.shape(module)?;
        let rank = adapters.config().r;
        shapes.push((format!("{module}.lora_a"), vec![in_features, rank]));
        shapes.push((format!("{module}.lora_b"), vec![rank, out_features]));
        if adapters.config().use_dora {
            shapes.push((format!("{module}.m"), vec![out_features]));
        }
    }
    let described = shapes.iter().map(|(name, shape)| (name.as_str(), Dtype::F32, &shape[..]));
    let header = encode_header(described, "mlx")
        .map_err(|reason| ExportError::Broken { path: WEIGHTS_FILE.into(), reason })?;
    Ok(PlannedFile { name: WEIGHTS_FILE.into(), content: Box::new(Matrices { header, adapters }) })
}

/// The tensors of one adapter, in the order of the file, each with the end of its name.
fn tensors(pair: &LoraPair) -> Vec<(&'static str, Vec<f32>)> {
    let a = transposed(&pair.a, pair.in_features);
    let b = transposed(&pair.b, pair.rank);
    let m = pair.magnitude.clone().map(|magnitude| ("m", magnitude));
    [("lora_a", a), ("lora_b", b)].into_iter().chain(m).collect()
}

/// The transpose of a matrix that has rows of `columns` values.
pub(super) fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let column = |column| values.iter().skip(column).step_by(columns);
    (0..columns).flat_map(column).copied().collect()
}

impl Content for Matrices<'_> {
    fn bytes(&self) -> Result<u64, ExportError> {
        let mut values = 0;
        for module in self.adapters.modules() {
            let [out_features, in_features] = self.adapters.shape(module)?;
            values += (in_features + out_features) * self.adapters.config().r;
            values += if self.adapters.config().use_dora { out_features } else { 0 };
        }
        Ok((self.header.len() + values * FloatType::F32.size()) as u64)
    }

    fn write(&self, output: &mut Output) -> Result<f32, ExportError> {
        output.append(&self.header)?;
        for module in self.adapters.modules() {
            for (_, values) in tensors(&self.adapters.pair(module)?) {
                let mut bytes = vec![0; values.len() * FloatType::F32.size()];
                FloatType::F32.encode(&values, &mut bytes);
                output.append(&bytes)?;
            }
        }
        Ok(0.0)
    }

    /// Every value that is read back is the trained one, bit by bit, at its transposed place.
    fn prove(&self, written: &WrittenFile, verification: &mut Verification) -> Result<(), ExportError> {
        let file = WeightsFile::open(written.path)?;
        let mut expected = 0;
        for module in self.adapters.modules() {
            let pair = self.adapters.pair(module)?;
            for (end, values) in tensors(&pair) {
                let name = format!("{module}.{end}");
                let found = file.tensor(&name)?.read_f32()?;
                let same =
                    found.iter().map(|value| value.to_bits()).eq(values.iter().map(|value| value.to_bits()));
                ensure(same, || format!("\"{name}\" differs from the trained adapter"))?;
                expected += 1;
            }
        }
        ensure(file.names().len() == expected, || String::from("other adapter tensors were written"))?;
        verification.adapter_tensors += expected as u64;
        Ok(())
    }
}
