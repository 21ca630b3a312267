//! A folder for mlx-lm: a merged model in the names and keys that it reads, its matrices in MLX's own groups of 4 or 8
//! bits if that is asked for; or adapters in its own layout.
//!
//! Names, keys and layouts are those of mlx-lm 0.32. What mlx-lm would compute otherwise is refused by name.

mod adapters;
mod architecture;
mod config;
mod written;

use std::path::Path;

use greentune_core_config::model::ModelConfig;
use greentune_model_folder::{ModelFolder, Tensor};

use super::{Format, Source, folder, shards::Shards};
use crate::{
    affine::{Affine, GROUP},
    content::{PlannedFile, existing_copies},
    error::ExportError,
    peft::WrittenAdapters,
    quantization::Quantization,
    request::{ExportFormat, ExportRequest},
    shard_size::ShardSize,
    weights::{Storage, StoredTensor},
};

/// How large a file gets in mlx-lm.
const SHARD_SIZE: ShardSize = ShardSize::of_gibibytes(5);

/// The format `mlx`.
pub(super) struct Mlx;

impl Format for Mlx {
    fn plan<'a>(&self, source: Source<'a>) -> Result<Vec<PlannedFile<'a>>, ExportError> {
        let request = source.request;
        let folder = ModelFolder::open(&request.base_model)?;
        let config = folder.config();
        architecture::check(config)
            .map_err(|reason| refused(format!("mlx-lm cannot compute it: {reason}")))?;
        if !request.merge {
            return adapters::files(source, config);
        }
        let mut files = vec![config::merged(source, config)?];
        files.extend(folder::beside_weights(source));
        files.extend(existing_copies(&request.base_model, folder::LICENCES));
        files.extend(folder::model_card(request));
        let tensors = merged(source, config)?;
        let shards = Shards::filled(tensors, Some(request.max_shard_size.unwrap_or(SHARD_SIZE))).aligned();
        files.push(shards.index()?);
        files.extend(shards.files(source.adapters, "mlx", request.quantization.is_some())?);
        Ok(files)
    }

    fn quantizations(&self) -> &'static [Quantization] {
        &[Quantization::F32, Quantization::F16, Quantization::Bf16, Quantization::Bits8, Quantization::Bits4]
    }

    fn adapter_type(&self) -> Option<Quantization> {
        Some(Quantization::F32)
    }

    fn has_shards(&self) -> bool {
        true
    }

    fn written_adapters(
        &self,
        folder: &Path,
        base: &ModelConfig,
    ) -> Result<Option<Box<dyn WrittenAdapters>>, ExportError> {
        Ok(Some(Box::new(written::Written::open(folder, base)?)))
    }

    fn usage(&self, request: &ExportRequest, destination: &Path) -> String {
        let (base, folder) = (request.base_model.display(), destination.display());
        if request.merge {
            return format!(
                "Chat with the merged model with mlx-lm:\n\n```sh\nmlx_lm.chat --model \"{folder}\"\n```\n"
            );
        }
        let usage = format!(
            "Use the adapters on their base model with mlx-lm:\n\n```sh\nmlx_lm.chat --model \"{base}\" \
             --adapter-path \"{folder}\"\n```\n"
        );
        if !destination.join(folder::CONFIG_FILE).is_file() {
            return usage;
        }
        usage
            + "\nFrom the base model's own config.json, mlx-lm would read another model. First put the config.json of this \
               folder into its place; other programs read it too.\n"
    }
}

/// That the format cannot hold the model, and why.
fn refused(reason: String) -> ExportError {
    let format = ExportFormat::Mlx;
    ExportError::NotRepresentable { format: format.as_str(), reason, others: format.others() }
}

/// All tensors of the merged model, as mlx-lm loads them: it takes no others.
fn merged<'a>(source: Source<'a>, config: &ModelConfig) -> Result<Vec<StoredTensor<'a>>, ExportError> {
    let mut left: Vec<&str> = source.adapters.modules().collect();
    let mut merged = Vec::new();
    for (name, _) in config.tensors() {
        let tensor = source.base.tensor_of(config, &name)?;
        let module = source.adapters.module_of_weight(&tensor.name);
        left.retain(|adapted| Some(*adapted) != module);
        let storage = storage(&tensor, source.request.quantization)?;
        merged.push(StoredTensor::named(name, tensor, storage));
    }
    match left.first() {
        None => Ok(merged),
        Some(module) => Err(ExportError::UnsupportedAdapter {
            folder: source.adapters.folder().into(),
            reason: format!("it adapts {module}, which is no tensor of its own in this model"),
        }),
    }
}

/// mlx-lm packs every matrix whose rows are whole groups, the embedding and the head too; scales keep the matrix's type.
fn storage(tensor: &Tensor<'_>, quantization: Option<Quantization>) -> Result<Storage, ExportError> {
    let bits = match quantization {
        Some(Quantization::Bits4) => 4,
        Some(Quantization::Bits8) => 8,
        other => return Ok(other.and_then(Quantization::float).map_or(Storage::Kept, Storage::Float)),
    };
    let is_packed = matches!(tensor.shape(), [_, columns] if columns.is_multiple_of(GROUP));
    let float = tensor.float_type()?;
    Ok(if is_packed { Storage::Affine(Affine { bits, float }) } else { Storage::Kept })
}
