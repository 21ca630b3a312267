//! Weights and configuration alone: adapters in PEFT's two files, or a merged model in one file with its tokenizer.

use std::path::Path;

use super::{Format, Source, folder, shards::Shards, usage};
use crate::{content::PlannedFile, error::ExportError, quantization::Quantization, request::ExportRequest};

/// The format `safetensors`.
pub(super) struct Safetensors;

impl Format for Safetensors {
    fn plan<'a>(&self, source: Source<'a>) -> Result<Vec<PlannedFile<'a>>, ExportError> {
        let request = source.request;
        if !request.merge {
            return folder::adapters(source);
        }
        let mut files = folder::configuration(source)?;
        let tensors = folder::tensors_of_base(source)?.into_iter().flat_map(|(_, tensors)| tensors).collect();
        let shards = Shards::filled(tensors, request.max_shard_size).aligned();
        if shards.need_index() {
            files.push(shards.index()?);
        }
        files.extend(shards.files(source.adapters, "pt", request.quantization.is_some())?);
        Ok(files)
    }

    fn quantizations(&self) -> &'static [Quantization] {
        &Quantization::FLOATS
    }

    fn has_shards(&self) -> bool {
        true
    }

    fn usage(&self, request: &ExportRequest, destination: &Path) -> String {
        usage::in_python(request, destination)
    }
}
