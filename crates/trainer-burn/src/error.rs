//! What can go wrong while a model is loaded, trained or evaluated.

use std::path::PathBuf;

use greentune_core_config::{Diagnostic, FileFault, Location, Problem, ProblemKind, Suggestion};
use greentune_text_data::DataError;
use thiserror::Error;

use crate::ops::Packing;

/// An error of the training engine.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file of weights is missing or broken.
    #[error("{}: {message}", path.display())]
    Model {
        /// Stable code, such as `model.not_found`.
        code: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What was found and what is allowed.
        message: String,
        /// What to do next.
        hint: &'static str,
    },
    /// The base model's folder cannot be used.
    #[error(transparent)]
    Folder(#[from] greentune_model_folder::ModelFolderError),
    /// The data cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The images cannot be used.
    #[error(transparent)]
    Images(#[from] greentune_image_data::ImageDataError),
    /// Samples cannot be selected.
    #[error(transparent)]
    Selection(#[from] greentune_ast_sparsity::SelectionError),
    /// The device that was asked for is not here.
    #[error("device `{device}` cannot be used here: {found}")]
    Device {
        /// Device that was asked for.
        device: String,
        /// What was found.
        found: String,
    },
    /// The device cannot compute with weights in fewer bits.
    #[error("{device} cannot compute with weights packed as {packing:?}")]
    Packing {
        /// The device.
        device: String,
        /// How they would be packed.
        packing: Packing,
    },
    /// A setting does not fit the model.
    #[error("{key}: {message}")]
    Setting {
        /// Dotted key.
        key: String,
        /// What was found and what is allowed.
        message: String,
    },
    /// The loss is not a finite number.
    #[error("the loss became {loss} at step {step} of stage {stage}")]
    Diverged {
        /// Stage, from 1.
        stage: u8,
        /// Optimizer step.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// A checkpoint is missing a part or belongs to other settings.
    #[error("{}: {message}", path.display())]
    Checkpoint {
        /// The checkpoint's folder.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// It does not fit into memory: the problem `memory.insufficient`.
    #[error("{0}")]
    Memory(Problem),
    /// The run's reporter failed: events can no longer be recorded.
    #[error("{0}")]
    Reporter(Problem),
}

impl TrainError {
    /// An input/output error at `path`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

impl Diagnostic for TrainError {
    fn problem(&self) -> Problem {
        let message = self.to_string();
        match self {
            Self::Model { code, path, message, hint } => {
                let kind = match *code {
                    "model.not_found" => ProblemKind::NotFound,
                    "model.unsupported" => ProblemKind::Unsupported,
                    _ => ProblemKind::InvalidInput,
                };
                Problem::new(kind, *code, message.clone())
                    .with_hint(*hint)
                    .at(Location { file: Some(path.clone()), ..Location::default() })
            }
            Self::Folder(error) => error.problem(),
            Self::Data(error) => error.problem(),
            Self::Images(error) => error.problem(),
            Self::Selection(error) => {
                let problem = Problem::new(ProblemKind::InvalidInput, error.code(), message);
                let problem = error.hint().into_iter().fold(problem, Problem::with_hint);
                error.key().into_iter().fold(problem, |problem, key| problem.at_key(format!("ast.{key}")))
            }
            Self::Device { .. } => Problem::new(ProblemKind::Unsupported, "device.absent", message)
                .suggesting(Suggestion::new("see the devices", "diagnose"))
                .with_hint("or set training.device = \"auto\".")
                .at_key("training.device"),
            Self::Packing { .. } => Problem::new(ProblemKind::Unsupported, "device.packing", message)
                .with_hint("Set base_model.quantization = \"none\" and training.precision = \"f32\", or another device.")
                .at_key("training.device"),
            Self::Setting { key, message } => {
                Problem::new(ProblemKind::InvalidInput, "setting.unfit", message.clone())
                    .with_hint("Change the setting in config/fine_tuning_config.toml.")
                    .at_key(key.clone())
            }
            Self::Diverged { .. } => Problem::new(ProblemKind::InvalidInput, "training.diverged", message)
                .with_hint("Lower the learning rate or raise warmup_steps, then resume: the last checkpoint is kept."),
            Self::Checkpoint { path, message } => {
                Problem::new(ProblemKind::InvalidInput, "checkpoint.broken", message.clone())
                    .with_hint("Delete that checkpoint folder and resume: the one before it is used.")
                    .at(Location { file: Some(path.clone()), ..Location::default() })
            }
            Self::Io { path, source } => io_problem(path, source),
            Self::Memory(problem) | Self::Reporter(problem) => problem.clone(),
        }
    }
}

fn io_problem(path: &std::path::Path, source: &std::io::Error) -> Problem {
    let location = Location { file: Some(path.to_path_buf()), ..Location::default() };
    let problem = match FileFault::of(source) {
        FileFault::DiskFull => Problem::of_file(source, "no space is left on the device")
            .with_hint("Free some space and resume the run: nothing that was written is lost."),
        FileFault::Missing => Problem::of_file(source, "the file does not exist"),
        _ => Problem::of_file(source, source.to_string()),
    };
    problem.at(location)
}
