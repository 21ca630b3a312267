//! What can go wrong in an export.

use std::path::PathBuf;

use greentune_core_config::{Diagnostic, FileFault, Problem, ProblemKind};
use greentune_model_folder::ModelFolderError;

use crate::quantization::Quantization;

/// Why an export, or reading its inputs, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The word is not a format.
    #[error("\"{word}\" is not an export format; allowed: {allowed}")]
    UnknownFormat {
        /// What was asked for.
        word: String,
        /// The words for all formats.
        allowed: String,
    },
    /// The word is not a quantization.
    #[error("\"{word}\" is not a quantization; allowed: {}", Quantization::words())]
    UnknownQuantization {
        /// What was asked for.
        word: String,
    },
    /// The format keeps weights as they are, or packs them otherwise.
    #[error(
        "the format {format} has no quantization {quantization}; {formats} has it; {format} has {quantizations}"
    )]
    QuantizationNotOfFormat {
        /// The format.
        format: &'static str,
        /// What was asked for.
        quantization: &'static str,
        /// The formats that have it.
        formats: String,
        /// What the format has.
        quantizations: String,
    },
    /// What was asked for is of merged models alone.
    #[error("adapters alone are written {as_what}, not in {asked}; merge them into the base model for that")]
    AdaptersAlone {
        /// How they are written.
        as_what: String,
        /// What was asked for.
        asked: String,
    },
    /// The format is one file, whatever its size.
    #[error("the format {format} is one file and has no max_shard_size; {formats} have it")]
    OneFile {
        /// The format.
        format: &'static str,
        /// The formats that have it.
        formats: String,
    },
    /// The text is not the size of a file.
    #[error("\"{text}\" is not a size; write a number and KB, MB, GB or TB, such as 5GB")]
    WrongShardSize {
        /// What was given.
        text: String,
    },
    /// The programs that read the format cannot compute, or not tokenise for, this model.
    #[error("this model cannot be exported as {format}: {reason}; formats that work: {others}")]
    NotRepresentable {
        /// The format.
        format: &'static str,
        /// What the programs lack.
        reason: String,
        /// The formats that have it.
        others: String,
    },
    /// A folder that the request names does not exist.
    #[error("the folder of the {what} does not exist: {path}", path = path.display())]
    FolderMissing {
        /// What should be in it.
        what: &'static str,
        /// The folder.
        path: PathBuf,
    },
    /// A file that must be in a folder is not there.
    #[error("{path} does not exist", path = path.display())]
    FileMissing {
        /// The file.
        path: PathBuf,
    },
    /// A model folder without safetensors.
    #[error("{folder} holds neither model.safetensors nor model.safetensors.index.json", folder = folder.display())]
    NoWeights {
        /// The model's folder.
        folder: PathBuf,
    },
    /// The index names a shard that is not there.
    #[error("{index} names the shard {shard}, which does not exist", index = index.display())]
    ShardMissing {
        /// The index file.
        index: PathBuf,
        /// The shard's file name.
        shard: String,
    },
    /// A safetensors file ends too early.
    #[error("{path} is truncated: it should have {expected_bytes} bytes and has {found_bytes}", path = path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that its header announces.
        expected_bytes: u64,
        /// Bytes that it has.
        found_bytes: u64,
    },
    /// A file is not what its name says.
    #[error("{path} is broken: {reason}", path = path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor that is needed is not in the weights.
    #[error("{path} has no tensor \"{name}\"", path = path.display())]
    TensorMissing {
        /// File or folder of the weights.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor has another shape than is needed.
    #[error("\"{name}\" in {path} has the shape {found:?}; expected {expected:?}", path = path.display())]
    WrongShape {
        /// File of the weights.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that is needed.
        expected: Vec<usize>,
    },
    /// A tensor has a type that cannot be merged.
    #[error("\"{name}\" in {path} is stored as {dtype}; F32, F16 and BF16 can be used", path = path.display())]
    UnsupportedDtype {
        /// File of the weights.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// The adapter uses something of PEFT that greentune cannot export.
    #[error("the adapter in {folder} cannot be exported: {reason}", folder = folder.display())]
    UnsupportedAdapter {
        /// The adapter's folder.
        folder: PathBuf,
        /// What it uses.
        reason: String,
    },
    /// The merged weights overflow their type, or an input is not finite.
    #[error("merging makes \"{name}\" infinite or not a number in {dtype}")]
    NotFinite {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// The destination is taken.
    #[error("the destination exists and is not an empty folder: {path}", path = path.display())]
    DestinationTaken {
        /// The destination.
        path: PathBuf,
    },
    /// The disk cannot hold the export.
    #[error("no space left for {path}: {needed_bytes} bytes are needed and {available_bytes} are free", path = path.display())]
    NoSpace {
        /// The destination.
        path: PathBuf,
        /// Bytes that the export takes.
        needed_bytes: u64,
        /// Bytes that are free.
        available_bytes: u64,
    },
    /// What was written is not what should have been written.
    #[error("the export does not pass its verification: {reason}")]
    VerificationFailed {
        /// What differs.
        reason: String,
    },
    /// The base model cannot be understood.
    #[error(transparent)]
    BaseModel(ModelFolderError),
    /// The operating system refused to read or write.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl ExportError {
    /// Shorthand for `map_err` on an operation of the file system.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Whether the disk was full.
    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if FileFault::of(source) == FileFault::DiskFull)
    }

    fn kind_and_code(&self) -> (ProblemKind, &'static str) {
        use ProblemKind::{Conflict, Internal, InvalidInput, NotFound, Unavailable, Unsupported};
        match self {
            Self::UnknownFormat { .. } => (InvalidInput, "export.unknown_format"),
            Self::UnknownQuantization { .. } => (InvalidInput, "export.unknown_quantization"),
            Self::QuantizationNotOfFormat { .. } => (InvalidInput, "export.quantization_not_of_format"),
            Self::AdaptersAlone { .. } => (InvalidInput, "export.adapters_alone"),
            Self::OneFile { .. } => (InvalidInput, "export.one_file"),
            Self::WrongShardSize { .. } => (InvalidInput, "export.wrong_shard_size"),
            Self::NotRepresentable { .. } => (Unsupported, "export.not_representable"),
            Self::FolderMissing { .. } => (NotFound, "export.folder_missing"),
            Self::FileMissing { .. } => (NotFound, "export.file_missing"),
            Self::NoWeights { .. } => (NotFound, "export.no_weights"),
            Self::ShardMissing { .. } => (NotFound, "export.shard_missing"),
            Self::Truncated { .. } => (InvalidInput, "export.truncated"),
            Self::Broken { .. } => (InvalidInput, "export.broken_file"),
            Self::TensorMissing { .. } => (InvalidInput, "export.tensor_missing"),
            Self::WrongShape { .. } => (InvalidInput, "export.wrong_shape"),
            Self::UnsupportedDtype { .. } => (Unsupported, "export.unsupported_dtype"),
            Self::UnsupportedAdapter { .. } => (Unsupported, "export.unsupported_adapter"),
            Self::NotFinite { .. } => (InvalidInput, "export.not_finite"),
            Self::DestinationTaken { .. } => (Conflict, "export.destination_taken"),
            Self::NoSpace { .. } => (Unavailable, "export.no_space"),
            Self::VerificationFailed { .. } => (Internal, "export.verification_failed"),
            Self::BaseModel(_) => (InvalidInput, "export.base_model"),
            Self::Io { source, .. } => {
                let fault = FileFault::of(source);
                (fault.kind(), fault.code())
            }
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::UnknownFormat { .. } => "Use one of the formats that are listed.",
            Self::UnknownQuantization { .. } => "Use one of the words that are listed.",
            Self::QuantizationNotOfFormat { .. } => {
                "Choose one that the format has, or that format, or leave the quantization out."
            }
            Self::AdaptersAlone { .. } => "Export merged, or leave it out.",
            Self::OneFile { .. } => "Leave the size out, or choose one of those formats.",
            Self::WrongShardSize { .. } => "Write it as transformers does, such as 5GB or 500MB.",
            Self::NotRepresentable { .. } => {
                "Choose one of the formats that work; they keep the model as it was trained."
            }
            Self::FolderMissing { .. } => {
                "Check the path; adapters exist once a stage has finished training."
            }
            Self::FileMissing { .. } => {
                "Check that the folder is complete; weights are read as safetensors only, not as .bin or .pt files."
            }
            Self::NoWeights { .. } => "Point to a Hugging Face model folder with safetensors weights.",
            Self::ShardMissing { .. } | Self::Truncated { .. } => "Download or copy the weights again.",
            Self::Broken { .. } => "Write or download the file again.",
            Self::TensorMissing { .. } | Self::WrongShape { .. } => {
                "The adapters must have been trained on this very base model: check both paths."
            }
            Self::UnsupportedDtype { .. } => "Use the base model's weights before they were quantised.",
            Self::UnsupportedAdapter { .. } => "Merge it with the program that trained it, such as PEFT.",
            Self::NotFinite { .. } => {
                "Check the training loss for divergence, or use a base model in BF16 or F32."
            }
            Self::DestinationTaken { .. } => {
                "Choose a new folder, empty this one, or replace an earlier export there with force = true."
            }
            Self::NoSpace { .. } => "Free some space or choose a destination on another disk.",
            Self::VerificationFailed { .. } => {
                "Nothing was left behind. Export again; if it fails again, suspect the disk, or report it."
            }
            Self::BaseModel(_) => "Check the base model's folder.",
            Self::Io { source, .. } => FileFault::of(source).hint(),
        }
    }
}

impl Diagnostic for ExportError {
    fn problem(&self) -> Problem {
        if let Self::BaseModel(error) = self {
            return error.problem();
        }
        let (kind, code) = self.kind_and_code();
        Problem::new(kind, code, self.to_string()).with_hint(self.hint())
    }
}

impl From<ModelFolderError> for ExportError {
    fn from(error: ModelFolderError) -> Self {
        use ModelFolderError as Found;
        match error {
            Found::FolderMissing { path } => Self::FolderMissing { what: "base model", path },
            Found::FileMissing { path } => Self::FileMissing { path },
            Found::NoWeights { folder } => Self::NoWeights { folder },
            Found::Index { index: path, reason } | Found::Broken { path, reason } => {
                Self::Broken { path, reason }
            }
            Found::ShardMissing { index, shard } => Self::ShardMissing { index, shard },
            Found::Truncated { path, expected_bytes, found_bytes } => {
                Self::Truncated { path, expected_bytes, found_bytes }
            }
            Found::TensorMissing { path, name } => Self::TensorMissing { path, name },
            Found::WrongShape { path, name, found, expected } => {
                Self::WrongShape { path, name, found, expected }
            }
            Found::UnsupportedDtype { path, name, dtype } => Self::UnsupportedDtype { path, name, dtype },
            Found::Io { action, path, source } => Self::Io { action, path, source },
            other => Self::BaseModel(other),
        }
    }
}
