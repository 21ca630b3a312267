//! The layered configuration: built-in < user file < project file < run overrides < environment < arguments.
//!
//! A later layer wins, and every setting knows where it came from. All layers are checked before anything runs;
//! every mistake in them is reported at once.

mod key;
mod limits;
mod paths;
mod reading;
mod registry;
mod relations;

use std::{collections::BTreeMap, fmt, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use self::reading::Reading;
pub use self::{
    key::{KeyDoc, KeyType},
    limits::beyond_limits,
    paths::is_path,
    registry::registry,
};
use crate::{Location, Problem, ProblemKind, settings::Settings};

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "layer", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// The default.
    BuiltIn,
    /// The default, lowered to fit another setting.
    Lowered {
        /// The setting that it fits.
        to_fit: String,
    },
    /// The default for this architecture and data set.
    Chosen {
        /// What it suits.
        to_suit: String,
    },
    /// The user's own file, for all projects.
    UserFile {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: u64,
    },
    /// The project's file.
    ProjectFile {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: u64,
    },
    /// What was given when the run was configured.
    RunOverride,
    /// A `GREENTUNE_*` variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A flag on the command line or an argument of a tool.
    Argument {
        /// The flag as it was written, such as `--set`.
        flag: String,
    },
}

impl Source {
    /// The file and line, where it is a file.
    fn file(&self) -> Option<(&PathBuf, u64)> {
        match self {
            Self::UserFile { path, line } | Self::ProjectFile { path, line } => Some((path, *line)),
            _ => None,
        }
    }

    /// The location of `key` as this source gave it.
    fn location(&self, key: &str) -> Location {
        let file = self.file();
        Location {
            file: file.map(|(path, _)| path.clone()),
            line: file.map(|(_, line)| line),
            key: Some(key.to_owned()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::Lowered { to_fit } => write!(f, "built in, lowered to fit {to_fit}"),
            Self::Chosen { to_suit } => write!(f, "built in, to suit {to_suit}"),
            Self::UserFile { path, line } | Self::ProjectFile { path, line } => {
                write!(f, "{}:{line}", path.display())
            }
            Self::RunOverride => f.write_str("run override"),
            Self::Environment { variable } => f.write_str(variable),
            Self::Argument { flag } => f.write_str(flag),
        }
    }
}

/// A configuration file as it was read: its text, and the path under which messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigText {
    /// The path under which messages name it.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// A setting given as text by a flag or a tool argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The flag as it was written, such as `--set` or `--device`.
    pub flag: String,
    /// Dotted key.
    pub key: String,
    /// The value, read as the type of the key.
    pub text: String,
}

impl Argument {
    /// The setting `key` from `flag`.
    pub fn new(flag: impl Into<String>, key: impl Into<String>, text: impl Into<String>) -> Self {
        Self { flag: flag.into(), key: key.into(), text: text.into() }
    }

    /// The setting in `assignment`, the `key=value` of `--set`.
    pub fn set(assignment: &str) -> Result<Self, Problem> {
        match assignment.split_once('=') {
            Some((key, text)) if !key.trim().is_empty() => Ok(Self::new("--set", key.trim(), text)),
            _ => Err(Problem::new(
                ProblemKind::InvalidInput,
                "config.syntax",
                format!("--set: found `{assignment}`; allowed: key=value, such as lora.rank=16"),
            )),
        }
    }
}

/// All layers that settings are resolved from, except the defaults.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The user's own file, for all projects.
    pub user_file: Option<ConfigText>,
    /// The project's file.
    pub project_file: Option<ConfigText>,
    /// What was given when the run was configured; nested objects and dotted keys both name settings.
    pub run_overrides: Map<String, Value>,
    /// Environment variables. Those called `GREENTUNE_*` with `__` between levels are settings
    /// (`GREENTUNE_TRAINING__STAGE1__LEARNING_RATE`); all others are ignored.
    pub environment: Vec<(String, String)>,
    /// Flags and tool arguments; the last of several for one key wins.
    pub arguments: Vec<Argument>,
    /// The project's folder, from which relative paths start; they stay relative when absent.
    pub project_root: Option<PathBuf>,
    /// The home folder, for which `~` stands.
    pub home: Option<PathBuf>,
}

/// Settings, and where each came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// The settings.
    pub settings: Settings,
    /// Where each setting came from, by dotted key; keys left at their defaults are absent.
    pub sources: BTreeMap<String, Source>,
}

/// A line of `config show`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SettingRow {
    /// Dotted key.
    pub key: String,
    /// Its value; null where an optional setting is unset.
    pub value: Value,
    /// Where it came from.
    pub source: Source,
}

impl Resolved {
    /// Where the setting `key` came from.
    pub fn source(&self, key: &str) -> Source {
        self.sources.get(key).cloned().unwrap_or(Source::BuiltIn)
    }

    /// Every setting with its source, in the order of the file's sections.
    pub fn rows(&self) -> Vec<SettingRow> {
        let values = serde_json::to_value(&self.settings).unwrap_or_default();
        let row = |doc: &KeyDoc| SettingRow {
            key: doc.key.clone(),
            value: values.pointer(&pointer(&doc.key)).cloned().unwrap_or_default(),
            source: self.source(&doc.key),
        };
        registry().iter().map(row).collect()
    }
}

/// Resolves the settings from `layers`; a later layer wins.
///
/// Errors: one problem `config.invalid` that holds every single one that was found: `config.syntax`,
/// `config.unknown_key`, `config.wrong_type`, `config.out_of_range`.
pub fn resolve(layers: &Layers) -> Result<Resolved, Problem> {
    let mut reading = Reading::default();
    if let Some(ConfigText { path, text }) = &layers.user_file {
        reading.file(path, text, |line| Source::UserFile { path: path.clone(), line });
    }
    if let Some(ConfigText { path, text }) = &layers.project_file {
        reading.file(path, text, |line| Source::ProjectFile { path: path.clone(), line });
    }
    reading.overrides("", &layers.run_overrides);
    reading.environment(&layers.environment);
    for argument in &layers.arguments {
        reading.text(&argument.key, &argument.text, Source::Argument { flag: argument.flag.clone() });
    }

    let mut settings = settings_of(&reading)?;
    let lowered = relations::lower_defaults(&mut settings, &reading);
    let mut problems = relations::relations(&settings, &reading);
    if let Err(problem) = paths::absolute(&mut settings, layers, &reading) {
        problems.push(problem);
    }
    reading.problems.append(&mut problems);
    let mut sources = reading.into_result()?;
    sources.extend(lowered.into_iter().map(|key| {
        let to_fit = key.replace("warmup_steps", "iterations");
        (key, Source::Lowered { to_fit })
    }));
    Ok(Resolved { settings, sources })
}

/// Run overrides in the types of their keys, from texts such as those of `--set key=value`.
///
/// Errors: as [`resolve`].
pub fn overrides_from_text(arguments: &[Argument]) -> Result<Map<String, Value>, Problem> {
    let mut reading = Reading::default();
    for argument in arguments {
        reading.text(&argument.key, &argument.text, Source::Argument { flag: argument.flag.clone() });
    }
    let overrides = reading.values.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect();
    reading.into_result().map(|_| overrides)
}

fn settings_of(reading: &Reading) -> Result<Settings, Problem> {
    // Every value was checked against its key, so that a failure here is a defect of the registry.
    let defect = |error: serde_json::Error| {
        Problem::new(ProblemKind::Internal, "config.internal", format!("settings do not fit: {error}"))
    };
    let mut tree = serde_json::to_value(Settings::default()).map_err(defect)?;
    for (key, (value, _)) in &reading.values {
        if let Some(slot) = tree.pointer_mut(&pointer(key)) {
            *slot = value.clone();
        }
    }
    serde_json::from_value(tree).map_err(defect)
}

/// The JSON pointer (RFC 6901) of a dotted key.
fn pointer(key: &str) -> String {
    format!("/{}", key.replace('.', "/"))
}
