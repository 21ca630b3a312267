//! An export as a folder that greentune reads: the values that a reader of its format has, in F32 and in the base model's
//! names, or adapters in PEFT's layout. Comparisons are made with it, and it vanishes with the staging folder.

use std::path::{Path, PathBuf};

use greentune_model_folder::{ModelFolder, encode_header};
use safetensors::Dtype;

use crate::{
    content::PlannedFile,
    error::ExportError,
    format::{Format, Source, configuration},
    peft::{PairShape, write_copy},
    staging::{Output, Staging},
};

/// Makes a copy in PEFT's layout of the adapters that were written for the base model in the folder `base`; nothing where the
/// disk has no room for it, or they are in that layout already.
pub(crate) fn copy_of_adapters(
    format: &dyn Format,
    base: &Path,
    staging: &Staging,
) -> Result<Option<PathBuf>, ExportError> {
    let base = ModelFolder::open(base)?;
    let Some(mut written) = format.written_adapters(staging.folder(), base.config())? else {
        return Ok(None);
    };
    let values: usize = written.shapes().iter().map(PairShape::values).sum();
    if !staging.has_room_for(4 * values as u64)? {
        return Ok(None);
    }
    let folder = staging.beside("readable")?;
    write_copy(&folder, &mut *written)?;
    Ok(Some(folder))
}

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

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        peft::WrittenAdapters,
        request::{ExportFormat, ExportRequest},
    };

    /// The adapters of the family `llama-linear`, of rank 2 and scale 2, in the layout of `format`, after `change` was made
    /// to the file `name` of the export.
    fn after(
        format: ExportFormat,
        name: &str,
        change: impl FnOnce(Vec<u8>) -> Vec<u8>,
    ) -> Result<Box<dyn WrittenAdapters>, ExportError> {
        let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/reference/families/llama-linear");
        let dir = tempfile::tempdir().unwrap();
        let request = ExportRequest {
            base_model: fixture.into(),
            base_model_name: None,
            adapters: Path::new(fixture).join("adapter"),
            format,
            destination: dir.path().join("export"),
            replace: false,
            merge: false,
            quantization: None,
            max_shard_size: None,
            readable_copy: false,
            model_card: None,
        };
        let folder = crate::export(&request).unwrap().destination;
        let path = folder.join(name);
        fs::write(&path, change(fs::read(&path).unwrap())).unwrap();
        let base = ModelFolder::open(&request.base_model).unwrap();
        Ok(format.writer().written_adapters(&folder, base.config())?.unwrap())
    }

    fn changed(change: impl FnOnce(&mut Value)) -> impl FnOnce(Vec<u8>) -> Vec<u8> {
        |bytes| {
            let mut json: Value = serde_json::from_slice(&bytes).unwrap();
            change(&mut json);
            json.to_string().into_bytes()
        }
    }

    #[test]
    fn what_the_written_files_say_counts_and_not_what_was_trained() {
        let scale = changed(|config| config["lora_parameters"]["scale"] = json!(3.0));
        let mlx = after(ExportFormat::Mlx, "adapter_config.json", scale).unwrap();
        assert!((mlx.config().scale() - 3.0).abs() < 1e-12);
        let alpha = |mut bytes: Vec<u8>| {
            let key = b"adapter.lora.alpha";
            let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 4;
            bytes[at..at + 4].copy_from_slice(&10f32.to_le_bytes());
            bytes
        };
        let gguf = after(ExportFormat::Gguf, "adapter.gguf", alpha).unwrap();
        assert!((gguf.config().scale() - 5.0).abs() < 1e-12);
    }

    #[test]
    fn adapters_that_a_reader_would_leave_out_are_an_error() {
        let keys = changed(|config| {
            config["lora_parameters"]["keys"].as_array_mut().unwrap().pop();
        });
        let error = after(ExportFormat::Mlx, "adapter_config.json", keys).map(drop).unwrap_err();
        assert!(error.to_string().contains("tensors"), "{error}");
        let layers = changed(|config| config["num_layers"] = json!(1));
        assert!(after(ExportFormat::Mlx, "adapter_config.json", layers).is_err());
        let rename = |mut bytes: Vec<u8>| {
            let name = b"blk.0.attn_q";
            let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
            bytes[at + name.len() - 1] = b'x';
            bytes
        };
        let error = after(ExportFormat::Gguf, "adapter.gguf", rename).map(drop).unwrap_err();
        assert!(error.to_string().contains("attn_x"), "{error}");
    }
}
