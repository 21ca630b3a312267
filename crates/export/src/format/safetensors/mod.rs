//! Weights and configuration alone: adapters in PEFT's two files, or a merged model in one file with its tokenizer.

use std::path::Path;

use super::{Format, Source, folder, usage};
use crate::{
    content::{PlannedFile, merged_weights},
    error::ExportError,
    request::ExportRequest,
};
use greentune_model_folder::{SINGLE_FILE, Tensor};

/// The format `safetensors`.
pub(super) struct Safetensors;

impl Format for Safetensors {
    fn plan<'a>(&self, source: Source<'a>) -> Result<Vec<PlannedFile<'a>>, ExportError> {
        if !source.request.merge {
            return folder::adapters(source);
        }
        let mut files = folder::configuration(source)?;
        let of_shards = source.base.files()?.into_iter();
        let mut tensors: Vec<Tensor> = of_shards.flat_map(|(_, tensors)| tensors).collect();
        // Widest first, as the safetensors library does: every tensor stays aligned to its type.
        tensors.sort_by_key(|tensor| std::cmp::Reverse(tensor.dtype().bitsize()));
        files.push(merged_weights(SINGLE_FILE.into(), tensors, source.adapters)?);
        Ok(files)
    }

    fn usage(&self, request: &ExportRequest, destination: &Path) -> String {
        usage::in_python(request, destination)
    }
}
