//! What can be wrong with a model folder.

use std::path::PathBuf;

use greentune_core_config::{Diagnostic, FileFault, Location, Problem, ProblemKind, model::ModelConfigError};

/// Why a model folder, or a safetensors file, cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelFolderError {
    /// The folder does not exist.
    #[error("the folder of the base model does not exist: {path}", path = path.display())]
    FolderMissing {
        /// The folder.
        path: PathBuf,
    },
    /// A file that must be there is not.
    #[error("{path} does not exist", path = path.display())]
    FileMissing {
        /// The file.
        path: PathBuf,
    },
    /// Its `config.json` is wrong, or describes what cannot be trained.
    #[error("{path}: {message}", path = path.display(), message = error.message)]
    Config {
        /// The `config.json`.
        path: PathBuf,
        /// What is wrong.
        error: ModelConfigError,
    },
    /// No safetensors.
    #[error("{folder} holds neither model.safetensors nor model.safetensors.index.json", folder = folder.display())]
    NoWeights {
        /// The model's folder.
        folder: PathBuf,
    },
    /// The index is not what an index has to be.
    #[error("{index} is broken: {reason}", index = index.display())]
    Index {
        /// The index file.
        index: PathBuf,
        /// What is wrong.
        reason: String,
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
    /// A tensor has a type that cannot be computed with.
    #[error("\"{name}\" in {path} is stored as {dtype}; F32, F16 and BF16 can be used", path = path.display())]
    UnsupportedDtype {
        /// File of the weights.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// The operating system refused to read.
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

impl ModelFolderError {
    /// Shorthand for `map_err` on an operation of the file system.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// The file or folder that it is about.
    fn path(&self) -> &PathBuf {
        match self {
            Self::FolderMissing { path }
            | Self::FileMissing { path }
            | Self::Config { path, .. }
            | Self::NoWeights { folder: path }
            | Self::Index { index: path, .. }
            | Self::ShardMissing { index: path, .. }
            | Self::Truncated { path, .. }
            | Self::Broken { path, .. }
            | Self::TensorMissing { path, .. }
            | Self::WrongShape { path, .. }
            | Self::UnsupportedDtype { path, .. }
            | Self::Io { path, .. } => path,
        }
    }

    fn kind_and_code(&self) -> (ProblemKind, &'static str) {
        use ProblemKind::{InvalidInput, NotFound, Unsupported};
        match self {
            Self::FolderMissing { .. } => (NotFound, "model.not_found"),
            Self::FileMissing { .. } => (NotFound, "file.missing"),
            Self::Config { error, .. } if error.is_unsupported() => (Unsupported, error.code),
            Self::Config { error, .. } => (InvalidInput, error.code),
            Self::NoWeights { .. } => (InvalidInput, "model.no_weights"),
            Self::Index { .. } => (InvalidInput, "model.index_invalid"),
            Self::ShardMissing { .. } => (InvalidInput, "model.shard_missing"),
            Self::TensorMissing { .. } => (InvalidInput, "model.tensor_missing"),
            Self::UnsupportedDtype { .. } => (Unsupported, "model.dtype"),
            Self::Truncated { .. } | Self::Broken { .. } | Self::WrongShape { .. } => {
                (InvalidInput, "model.weights_invalid")
            }
            Self::Io { source, .. } => {
                let fault = FileFault::of(source);
                (fault.kind(), fault.code())
            }
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::FolderMissing { .. } => {
                "set base_model.local_path to a folder with config.json, *.safetensors and tokenizer.json"
            }
            Self::FileMissing { .. } => "check that the folder is complete",
            Self::Config { error, .. } if error.code == "model.quantised" => {
                "use the model from before it was quantised"
            }
            Self::Config { .. } => {
                "use a base model of a supported architecture, with its unchanged config.json"
            }
            Self::NoWeights { .. } => "convert the weights to safetensors, or complete the download",
            Self::Index { .. } => "download the index again",
            Self::ShardMissing { .. } => "complete the download of the base model",
            Self::TensorMissing { .. } => {
                "check that config.json belongs to these weights and that the download is complete"
            }
            Self::Truncated { .. } | Self::Broken { .. } | Self::WrongShape { .. } => {
                "download or export the weights again; config.json and weights must belong together"
            }
            Self::UnsupportedDtype { .. } => {
                "use the model's weights in F32, BF16 or F16, from before they were quantised"
            }
            Self::Io { source, .. } => FileFault::of(source).hint(),
        }
    }
}

impl Diagnostic for ModelFolderError {
    fn problem(&self) -> Problem {
        let (kind, code) = self.kind_and_code();
        let location = Location { file: Some(self.path().clone()), ..Location::default() };
        Problem::new(kind, code, self.to_string()).with_hint(self.hint()).at(location)
    }
}
