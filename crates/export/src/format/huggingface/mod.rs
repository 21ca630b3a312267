//! A complete folder for transformers, or for PEFT: with a model card, licence and generation settings. A merged model
//! has the shards of its base model.

use std::path::Path;

use super::{Format, Source, folder, usage};
use crate::{
    content::{self, PlannedFile, copy, existing_copies, merged_weights},
    error::ExportError,
    request::ExportRequest,
};
use greentune_model_folder::INDEX_FILE;

/// What a complete folder also has; the licence's terms travel with the weights.
const FURTHER_FILES: &[&str] = &["generation_config.json", "LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE"];

/// The format `huggingface`.
pub(super) struct Huggingface;

impl Format for Huggingface {
    fn plan<'a>(&self, source: Source<'a>) -> Result<Vec<PlannedFile<'a>>, ExportError> {
        let Source { request, base, adapters } = source;
        if !request.merge {
            let mut files = folder::adapters(source)?;
            files.extend(model_card(request));
            return Ok(files);
        }
        let mut files = folder::configuration(source)?;
        files.extend(existing_copies(&request.base_model, FURTHER_FILES));
        files.extend(model_card(request));
        files.extend(base.index().map(|index| copy(index, INDEX_FILE)));
        for (name, tensors) in base.files()? {
            files.push(merged_weights(name, tensors, adapters)?);
        }
        Ok(files)
    }

    fn usage(&self, request: &ExportRequest, destination: &Path) -> String {
        usage::in_python(request, destination)
    }
}

fn model_card<'a>(request: &ExportRequest) -> Option<PlannedFile<'a>> {
    let card = request.model_card.as_ref()?;
    Some(content::bytes("README.md", card.clone().into_bytes()))
}
