//! The export itself: plan, write, prove, publish.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    content::{PlannedFile, WrittenFile},
    error::ExportError,
    format::Source,
    merge::check_fit,
    peft::Adapters,
    readable,
    request::ExportRequest,
    staging::{Staging, sha256_of},
    verify::Verification,
};
use greentune_model_folder::ModelWeights;

/// What an export wrote and proved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExportReport {
    /// The folder.
    pub destination: PathBuf,
    /// The files in it.
    pub files: Vec<ExportedFile>,
    /// Bytes of all files together.
    pub total_bytes: u64,
    /// What was proven after reading everything back.
    pub verification: Verification,
    /// How to load it, in Markdown.
    pub usage_instructions: String,
}

/// A file of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportedFile {
    /// Its name in the destination.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of what is on the disk, in hexadecimal.
    pub sha256: String,
}

/// An export that is written and proven, and not there yet under its name. It vanishes when it is dropped.
pub struct StagedExport {
    staging: Staging,
    /// How it is loaded from where it will be, in Markdown.
    usage: Box<dyn FnOnce(&Path) -> String + Send + Sync>,
    files: Vec<ExportedFile>,
    verification: Verification,
    readable: Option<PathBuf>,
}

impl StagedExport {
    /// Where its files are until it is published.
    pub fn folder(&self) -> &Path {
        self.staging.folder()
    }

    /// The copy that greentune reads, where one was asked for and the disk had room for it.
    pub fn readable_copy(&self) -> Option<&Path> {
        self.readable.as_deref()
    }

    /// Gives it its name, in one step.
    ///
    /// Errors: the destination was taken meanwhile; it cannot be renamed.
    pub fn publish(self) -> Result<ExportReport, ExportError> {
        let Self { staging, usage, files, verification, .. } = self;
        let destination = staging.publish()?;
        Ok(ExportReport {
            total_bytes: files.iter().map(|file| file.bytes).sum(),
            usage_instructions: usage(&destination),
            destination,
            files,
            verification,
        })
    }
}

/// Exports adapters, or the base model with the adapters merged into it.
///
/// Errors: those of [`stage`] and of [`StagedExport::publish`].
pub fn export(request: &ExportRequest) -> Result<ExportReport, ExportError> {
    stage(request)?.publish()
}

/// Writes and proves an export beside its destination.
///
/// A merged weight is W' = W + (`lora_alpha` / r) · B · A, computed in f32 and rounded once, to the type that it is
/// stored in. The destination appears in one step when it is published; until then, and after any error, it is as it was before.
///
/// Errors: the inputs do not fit together or to the format; the destination is taken; the disk is full; what was written is
/// not what was meant.
pub fn stage(request: &ExportRequest) -> Result<StagedExport, ExportError> {
    let format = request.format.writer();
    request.format.check(request)?;
    let base = ModelWeights::open(&request.base_model)?;
    let adapters = Adapters::open(&request.adapters)?;
    check_fit(&adapters, &base)?;
    let source = Source { request, base: &base, adapters: &adapters };
    let plan = format.plan(source)?;
    let of_request = request.clone();
    let mut staged = stage_files(&plan, &request.destination, request.replace, move |destination| {
        format.usage(&of_request, destination)
    })?;
    if request.readable_copy {
        staged.readable = if request.merge {
            readable::copy(&plan, source, &staged.staging)?
        } else {
            readable::copy_of_adapters(format, &request.base_model, &staged.staging)?
        };
    }
    Ok(staged)
}

/// Writes the files of `plan` beside `destination`, which they may `replace`, reads them back and proves them; `usage` says
/// how they are loaded.
pub(crate) fn stage_files(
    plan: &[PlannedFile<'_>],
    destination: &Path,
    replace: bool,
    usage: impl FnOnce(&Path) -> String + Send + Sync + 'static,
) -> Result<StagedExport, ExportError> {
    let needed_bytes = plan.iter().map(|file| file.content.bytes()).sum::<Result<u64, _>>()?;
    let staging = Staging::begin(destination, replace, needed_bytes)?;
    let mut verification = Verification::default();
    for file in plan {
        let written = staging.write(&file.name, |output| file.content.write(output));
        let largest_rounding = written.map_err(|error| staging.explain(error))?;
        verification.largest_rounding = verification.largest_rounding.max(largest_rounding.into());
    }
    let mut files = Vec::with_capacity(plan.len());
    for file in plan {
        let path = staging.path(&file.name);
        let (sha256, bytes) = sha256_of(&path)?;
        let written = WrittenFile { name: &file.name, path: &path, sha256: &sha256 };
        file.content.prove(&written, &mut verification)?;
        files.push(ExportedFile { name: file.name.clone(), bytes, sha256 });
    }
    Ok(StagedExport { staging, usage: Box::new(usage), files, verification, readable: None })
}
