//! What the files of an export are made of: each content knows its length, how it is written and how it is proven.

use std::{
    fs,
    path::{Path, PathBuf},
};

use greentune_model_folder::Tensor;

use crate::{
    error::ExportError,
    peft::Adapters,
    staging::{Output, sha256_of},
    verify::{Verification, ensure},
};

/// A file of the export, before it is written.
pub(crate) struct PlannedFile<'a> {
    /// Its name in the destination.
    pub(crate) name: String,
    /// What it is made of.
    pub(crate) content: Box<dyn Content + 'a>,
}

/// What a file of an export is made of.
pub(crate) trait Content {
    /// How long the file will be.
    fn bytes(&self) -> Result<u64, ExportError>;

    /// Appends all of it to `output` and says by how much rounding changed a value at most.
    fn write(&self, output: &mut Output) -> Result<f32, ExportError>;

    /// Reads what was `written` back, compares it with the inputs and counts what was proven in `verification`.
    fn prove(&self, written: &WrittenFile, verification: &mut Verification) -> Result<(), ExportError>;

    /// Tensors of the base model that the file holds in one form or another; none of a file without any.
    fn base_tensors(&self) -> Vec<&Tensor<'_>> {
        Vec::new()
    }

    /// Hands the values of [`Self::base_tensors`] to `see`, one tensor after the other and each in the base model's order, as
    /// a reader of the file at `written` has them.
    fn read_back(&self, _written: &Path, _see: See<'_>) -> Result<(), ExportError> {
        Ok(())
    }
}

/// Takes values, some at a time.
pub(crate) type See<'a> = &'a mut dyn FnMut(&[f32]) -> Result<(), ExportError>;

/// A file of the export, after it was written.
pub(crate) struct WrittenFile<'a> {
    /// Its name in the destination.
    pub(crate) name: &'a str,
    /// Where it is now.
    pub(crate) path: &'a Path,
    /// SHA-256 of what is on the disk, in hexadecimal.
    pub(crate) sha256: &'a str,
}

/// The bytes of another file.
struct Copy {
    source: PathBuf,
}

/// The files `names` of `folder` that exist, to be copied.
pub(crate) fn existing_copies<'a>(folder: &Path, names: &[&str]) -> Vec<PlannedFile<'a>> {
    let existing = names.iter().filter(|name| folder.join(name).is_file());
    existing.map(|name| copy(&folder.join(name), name)).collect()
}

/// A copy of `source` under the name `name`.
pub(crate) fn copy<'a>(source: &Path, name: &str) -> PlannedFile<'a> {
    PlannedFile { name: name.into(), content: Box::new(Copy { source: source.into() }) }
}

impl Content for Copy {
    fn bytes(&self) -> Result<u64, ExportError> {
        Ok(fs::metadata(&self.source).map_err(ExportError::io("read", self.source.as_path()))?.len())
    }

    fn write(&self, output: &mut Output) -> Result<f32, ExportError> {
        output.append_file(&self.source)?;
        Ok(0.0)
    }

    fn prove(&self, written: &WrittenFile, verification: &mut Verification) -> Result<(), ExportError> {
        let same = sha256_of(&self.source)?.0 == written.sha256;
        ensure(same, || format!("{} differs from its source", written.name))?;
        verification.copied_files += 1;
        Ok(())
    }
}

/// The weights of adapters, copied; each tensor is compared on its own.
struct AdapterWeights<'a> {
    copy: Copy,
    adapters: &'a Adapters,
}

/// A copy of the weights of `adapters` under the name `name`.
pub(crate) fn adapter_weights<'a>(adapters: &'a Adapters, name: &str) -> PlannedFile<'a> {
    let copy = Copy { source: adapters.weights_path().into() };
    PlannedFile { name: name.into(), content: Box::new(AdapterWeights { copy, adapters }) }
}

impl Content for AdapterWeights<'_> {
    fn bytes(&self) -> Result<u64, ExportError> {
        self.copy.bytes()
    }

    fn write(&self, output: &mut Output) -> Result<f32, ExportError> {
        self.copy.write(output)
    }

    fn prove(&self, written: &WrittenFile, verification: &mut Verification) -> Result<(), ExportError> {
        self.copy.prove(written, verification)?;
        verification.prove_adapters(written.path, self.adapters)
    }
}

/// Bytes that are made for the export.
struct Bytes(Vec<u8>);

/// A file `name` of these `bytes`.
pub(crate) fn bytes<'a>(name: &str, bytes: Vec<u8>) -> PlannedFile<'a> {
    PlannedFile { name: name.into(), content: Box::new(Bytes(bytes)) }
}

impl Content for Bytes {
    fn bytes(&self) -> Result<u64, ExportError> {
        Ok(self.0.len() as u64)
    }

    fn write(&self, output: &mut Output) -> Result<f32, ExportError> {
        output.append(&self.0)?;
        Ok(0.0)
    }

    fn prove(&self, written: &WrittenFile, _: &mut Verification) -> Result<(), ExportError> {
        let found = fs::read(written.path).map_err(ExportError::io("read", written.path))?;
        ensure(found == self.0, || format!("{} is not what was written", written.name))
    }
}
