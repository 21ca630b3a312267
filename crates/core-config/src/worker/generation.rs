//! Text that models write: what a worker is asked, what it says meanwhile, and what it answers.

use std::{fmt, path::PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// Have models answer prompts, each model each prompt. Nothing is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerateTask {
    /// The models, in the order in which each prompt is put to them. All are in memory at once.
    pub models: Vec<GeneratingModel>,
    /// The prompts.
    pub prompts: Vec<String>,
    /// A system message before each prompt.
    pub system: Option<String>,
    /// Whether models continue the prompts as they stand, without the form that records have.
    pub raw: bool,
    /// Tokens of an answer, at most.
    pub max_tokens: u64,
}

/// A base model, and what is made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeneratingModel {
    /// Absolute folder of the base model, or of a whole model.
    pub folder: PathBuf,
    /// The settings of its device, its weights and its prompts' form.
    pub settings: Settings,
    /// The moment that a chat template's `strftime_now` formats.
    pub at: Timestamp,
    /// What answers: the model itself or with adapters.
    pub variants: Vec<ModelVariant>,
}

/// A model by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelVariant {
    /// Its name, such as `base` or `stage 2`.
    pub name: String,
    /// Folder of its adapters; none for the model itself.
    pub adapters: Option<PathBuf>,
}

/// What one model wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GeneratedText {
    /// The model: `base`, `stage 1`, `stage 2`, or the folder of a model.
    pub model: String,
    /// What it wrote, without the token that ended it.
    pub text: String,
    /// Tokens that it read.
    pub prompt_tokens: u64,
    /// Tokens that it wrote.
    pub tokens: u64,
    /// Seconds from reading the prompt to the last token.
    pub seconds: f64,
    /// What ended it.
    pub ended_by: GenerationEnd,
}

/// What ended a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GenerationEnd {
    /// The model, with a token that ends a text.
    StopToken,
    /// The limit of tokens.
    MaxTokens,
    /// The model's context is full.
    Context,
}

impl fmt::Display for GenerationEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StopToken => "ended by the model",
            Self::MaxTokens => "cut off at the limit of tokens",
            Self::Context => "cut off at the end of the context",
        })
    }
}

/// What a worker says while it generates: one line of JSON each on its standard output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum GenerationNote {
    /// A model begins to answer a prompt.
    Begins {
        /// Which prompt, from 0.
        prompt: usize,
        /// The model's name.
        model: String,
    },
    /// The model wrote more text.
    Writes {
        /// What follows what it wrote before.
        text: String,
    },
    /// The answer is complete.
    Ends(GeneratedText),
}
