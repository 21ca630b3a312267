//! An export as a folder that greentune reads: the values that a reader of its format has, in F32 and in the base model's
//! names. Comparisons are made with it, and it vanishes with the staging folder.

use std::path::{Path, PathBuf};

use greentune_model_folder::encode_header;
use safetensors::Dtype;

use crate::{
    content::PlannedFile,
    error::ExportError,
    format::{Source, configuration},
    staging::{Output, Staging},
};

/// Makes the copy of the exported files `plan`; nothing where the disk has no room for it, or the export no whole model.
pub(crate) fn copy(
    plan: &[PlannedFile<'_>],
    source: Source<'_>,
    staging: &Staging,
) -> Result<Option<PathBuf>, ExportError> {
    let tensors = || plan.iter().flat_map(|file| file.content.base_tensors());
    let described = tensors().map(|tensor| (tensor.name.as_str(), Dtype::F32, tensor.shape()));
    let values: u64 = tensors().map(|tensor| tensor.shape().iter().product::<usize>() as u64).sum();
    if values == 0 || !staging.has_room_for(4 * values)? {
        return Ok(None);
    }
    let folder = staging.beside("readable")?;
    for file in configuration(source)? {
        file.content.write(&mut Output::create(&folder.join(&file.name))?)?;
    }
    let path = folder.join("model.safetensors");
    let header = encode_header(described, "pt")
        .map_err(|reason| ExportError::Broken { path: path.clone(), reason })?;
    let mut output = Output::create(&path)?;
    output.append(&header)?;
    for file in plan {
        let written: &Path = &staging.path(&file.name);
        file.content.read_back(written, &mut |values| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            output.append(&bytes)
        })?;
    }
    Ok(Some(folder))
}
