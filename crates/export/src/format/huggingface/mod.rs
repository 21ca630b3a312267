//! A complete folder for transformers, or for PEFT: with a model card, licence and generation settings. A merged model
//! has the shards of its base model unless a size is asked for.

use std::path::Path;

use super::{Format, Source, folder, shards::Shards, usage};
use crate::{
    content::{PlannedFile, copy, existing_copies},
    error::ExportError,
    quantization::Quantization,
    request::ExportRequest,
};
use greentune_model_folder::INDEX_FILE;

/// The format `huggingface`.
pub(super) struct Huggingface;

impl Format for Huggingface {
    fn plan<'a>(&self, source: Source<'a>) -> Result<Vec<PlannedFile<'a>>, ExportError> {
        let Source { request, base, adapters } = source;
        if !request.merge {
            let mut files = folder::adapters(source)?;
            files.extend(folder::model_card(request));
            return Ok(files);
        }
        let mut files = folder::configuration(source)?;
        files.extend(existing_copies(&request.base_model, folder::LICENCES));
        files.extend(folder::model_card(request));
        let stored = folder::tensors_of_base(source)?;
        let asked = request.quantization.is_some();
        let shards = match request.max_shard_size {
            Some(most) => {
                Shards::filled(stored.into_iter().flat_map(|(_, tensors)| tensors).collect(), Some(most))
                    .aligned()
            }
            None if asked => Shards::as_in_base(stored).aligned(),
            None => Shards::as_in_base(stored),
        };
        match base.index() {
            Some(index) if !asked && request.max_shard_size.is_none() => files.push(copy(index, INDEX_FILE)),
            _ if shards.need_index() => files.push(shards.index()?),
            _ => {}
        }
        files.extend(shards.files(adapters, "pt", asked)?);
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
