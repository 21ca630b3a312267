//! What can be wrong with a data set, a tokenizer or a template.

use std::{io, path::PathBuf};

use greentune_core_config::{
    Diagnostic, FileFault, Location, Problem, ProblemKind,
    settings::{DatasetFormat, DatasetSchema},
    task::DatasetCounts,
};

use super::{rows::columns_suggestion, schema::columns_offer};

/// Code of a record whose text does not fit.
pub(super) const TEXT_TOO_LONG: &str = "data.too_long";
/// What to do with such a record.
pub(super) const SHORTEN: &str =
    "shorten the record, or raise training.max_seq_length as far as the model allows";

/// Code of a record on which a regular expression of the tokenizer fails.
pub(super) const TOKENIZER_GAVE_UP: &str = "data.tokenizer_gave_up";
/// Code of a record that takes too long.
pub(super) const TOO_SLOW: &str = "data.too_slow";
/// What to do with both.
pub(super) const CHANGE_RECORD: &str =
    "leave the record out, or break up what repeats in it (long runs of white space or of one character)";

/// Why a data set cannot be used. Single bad records are no error; they are counted ([`DatasetCounts`]).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The data set's file does not exist.
    #[error("data set {} does not exist", path.display())]
    NotFound {
        /// The file that was asked for.
        path: PathBuf,
    },
    /// A file is there and cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file's extension says another format than the settings.
    #[error("{} is {found} by its extension, and dataset.format says `{declared}`", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format in the settings.
        declared: DatasetFormat,
        /// The format of such files.
        found: DatasetFormat,
    },
    /// A file that is no text.
    #[error("{} is {found}", path.display())]
    NoText {
        /// The file.
        path: PathBuf,
        /// What it is, such as `packed with zstd`.
        found: &'static str,
        /// What to do with it.
        way_out: &'static str,
    },
    /// A table of which no column is a field that a record may have.
    #[error(
        "the first line of {} must name the columns, one of {} among them; found: {}",
        path.display(), quoted(known), quoted(found)
    )]
    Columns {
        /// The file.
        path: PathBuf,
        /// Fields that a record may have.
        known: Vec<String>,
        /// What its first line says.
        found: Vec<String>,
    },
    /// A table that does not hold what its format must.
    #[error("{} cannot be read as {format}: {reason}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// The format's name.
        format: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// No record can be used.
    #[error("no record of {} can be used: {}", path.display(), describe(counts))]
    Empty {
        /// The file.
        path: PathBuf,
        /// What was dropped and why.
        counts: Box<DatasetCounts>,
    },
    /// The model's folder has no tokenizer.
    #[error("{} does not exist", path.display())]
    TokenizerNotFound {
        /// The `tokenizer.json` that was expected.
        path: PathBuf,
    },
    /// A file of the tokenizer does not hold what it must.
    #[error("{} is broken: {reason}", path.display())]
    TokenizerBroken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tokenizer and the model do not belong together.
    #[error("{}: {what}, but the model's vocabulary has {vocab_size} tokens", path.display())]
    Vocabulary {
        /// The tokenizer's file.
        path: PathBuf,
        /// What lies beyond the vocabulary.
        what: String,
        /// `vocab_size` of `config.json`.
        vocab_size: usize,
    },
    /// Nothing says which token ends a sequence.
    #[error("the tokenizer in {} names no end-of-sequence token", folder.display())]
    NoEndOfSequence {
        /// The model's folder.
        folder: PathBuf,
    },
    /// A prompt template has a syntax error or fails on a record.
    #[error("the prompt template cannot be used: {reason}")]
    Template {
        /// What the template engine says.
        reason: String,
        /// The file of the chat template, or the key in the settings.
        location: Box<Location>,
    },
    /// A prompt template that gives every record the same prompt, or holds a placeholder of another language.
    #[error("{reason}")]
    TemplateWithoutFields {
        /// What is wrong with it.
        reason: String,
    },
    /// What the chat template gives for a conversation does not begin with what it gives for the part before a response.
    #[error(
        "the model's chat template changes what comes before a response once more of the conversation is there, so \
         that the response cannot be told apart from it"
    )]
    TemplateNotPrefix {
        /// The file of the chat template.
        location: Box<Location>,
    },
    /// The tokenizer fails on a text.
    #[error("the tokenizer fails: {reason}")]
    Tokenize {
        /// What the tokenizer says.
        reason: String,
    },
    /// A search with a regular expression of the tokenizer fails on a text, of which it can thus not tell the tokens.
    #[error("the tokenizer gives up: {reason}")]
    TokenizerGaveUp {
        /// Where, and what its engine says.
        reason: String,
    },
    /// Work on a record takes more memory than a record may, and cannot be stopped.
    #[error(
        "the record on line {line} of {} takes more than {} GiB of memory: its text grows within the prompt template \
         or the tokenizer", path.display(), most >> 30
    )]
    TooMuchMemory {
        /// The data set.
        path: PathBuf,
        /// Line of the record.
        line: u64,
        /// Bytes that a record may take.
        most: u64,
    },
    /// Work on several records takes too long and goes on, since it cannot be stopped.
    #[error(
        "{records} records of {}, the last on line {line}, take more than {seconds} seconds each: the prompt template \
         or the tokenizer may not come to an end with them", path.display()
    )]
    TooSlow {
        /// The data set.
        path: PathBuf,
        /// How many there are.
        records: usize,
        /// Line of the last.
        line: u64,
        /// The time that a record may take.
        seconds: u64,
    },
    /// A text that is too long to be tokenised whole, and gives too few tokens for the context.
    #[error(
        "the text has {bytes} bytes, of which the first {most} give fewer tokens than the context holds; more of a \
         text is not tokenised"
    )]
    TextTooLong {
        /// Bytes of the text.
        bytes: usize,
        /// Bytes that are tokenised at most.
        most: usize,
    },
    /// A chat template that is wanted where records are written otherwise.
    #[error(
        "the chat template is asked for, and the run's records are not written in one: the model has none, or dataset.prompt_template takes its place"
    )]
    NoChatTemplate,
    /// A data set that is no multiple choice, whose form alone is asked for.
    #[error("{} is no multiple choice, and the form of choices is asked for", path.display())]
    NoChoices {
        /// The data set.
        path: PathBuf,
    },
    /// A prompt that leaves no room for an answer.
    #[error("the prompt fills the context of {context} tokens and leaves no room for an answer")]
    PromptFillsContext {
        /// Tokens of the context.
        context: usize,
    },
    /// A sampling weight that cannot be drawn by.
    #[error("a sampling weight of {weight}; allowed: {} to {}", range.0, range.1)]
    Weight {
        /// The weight.
        weight: f64,
        /// Least and greatest weight that are allowed.
        range: (f64, f64),
    },
    /// Files that are prepared together hold records of different schemas.
    #[error(
        "{} holds records as {}, and {} as {}; files that are prepared together must be of one schema",
        first.0.display(), first.1, other.0.display(), other.1
    )]
    MixedSchemas {
        /// The first file and its schema.
        first: Box<(PathBuf, DatasetSchema)>,
        /// The file that differs.
        other: Box<(PathBuf, DatasetSchema)>,
    },
    /// A file that would be replaced.
    #[error("{} is there already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file would be written that is read.
    #[error("{} would be replaced and is read", path.display())]
    WritesInput {
        /// The file.
        path: PathBuf,
    },
    /// A file has other rows than a moment ago.
    #[error("{} was changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("{} cannot be written", path.display())]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Nothing to draw from.
    #[error("there is no record to draw")]
    NothingToDraw,
}

impl DataError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "data.missing",
            Self::Unreadable { source, .. } | Self::Unwritable { source, .. } => FileFault::of(source).code(),
            Self::Format { .. } => "data.format",
            Self::NoText { .. } => "data.no_text",
            Self::Columns { .. } => "data.columns",
            Self::Table { .. } => "data.table",
            Self::Empty { .. } | Self::NothingToDraw => "data.empty",
            Self::TokenizerNotFound { .. } => "tokenizer.not_found",
            Self::TokenizerBroken { .. } => "tokenizer.broken",
            Self::Vocabulary { .. } => "tokenizer.vocabulary",
            Self::NoEndOfSequence { .. } => "tokenizer.no_end_of_sequence",
            Self::Tokenize { .. } => "tokenizer.failed",
            Self::TokenizerGaveUp { .. } => TOKENIZER_GAVE_UP,
            Self::TooMuchMemory { .. } => "data.too_much_memory",
            Self::TooSlow { .. } => TOO_SLOW,
            Self::TextTooLong { .. } | Self::PromptFillsContext { .. } => TEXT_TOO_LONG,
            Self::Template { .. } => "template.broken",
            Self::NoChatTemplate => "template.no_chat",
            Self::NoChoices { .. } => "data.no_choices",
            Self::TemplateWithoutFields { .. } => "template.without_fields",
            Self::TemplateNotPrefix { .. } => "template.not_a_prefix",
            Self::Weight { .. } => "data.weight",
            Self::MixedSchemas { .. } => "data.mixed_schemas",
            Self::Exists { .. } => "data.exists",
            Self::WritesInput { .. } => "data.writes_input",
            Self::Changed { .. } => "data.changed",
        }
    }

    fn kind(&self) -> ProblemKind {
        match self {
            Self::NotFound { .. } | Self::TokenizerNotFound { .. } => ProblemKind::NotFound,
            Self::Exists { .. } | Self::Changed { .. } => ProblemKind::Conflict,
            Self::Unreadable { source, .. } | Self::Unwritable { source, .. } => FileFault::of(source).kind(),
            _ => ProblemKind::InvalidInput,
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "check the path; relative paths start at the project's folder",
            Self::Unreadable { .. } => "check that it is a file and that you may read it",
            Self::Format { .. } => {
                "set dataset.format = \"auto\", or give the file the extension of its format"
            }
            Self::NoText { way_out, .. } => way_out,
            Self::Columns { .. } | Self::Table { format: "CSV", .. } => {
                "write a first line with the columns' names, and save the file as UTF-8"
            }
            Self::Table { format: "Parquet", .. } => {
                "write the file again, compressed with zstd, snappy, gzip or not at all"
            }
            Self::Table { .. } => "write the file again: JSON lines, with one record per line, are read best",
            Self::Empty { .. } | Self::NothingToDraw => {
                "correct the records named, or set dataset.schema, or dataset.instruction_field and \
                 dataset.output_field to the names that the file uses"
            }
            Self::TokenizerNotFound { .. } => {
                "set base_model.local_path to a folder with config.json, *.safetensors and tokenizer.json"
            }
            Self::TokenizerBroken { .. } | Self::Tokenize { .. } => {
                "copy the tokenizer's files of the model again"
            }
            Self::Vocabulary { .. } => "use the tokenizer that belongs to the model",
            Self::NoEndOfSequence { .. } => "name it as `eos_token` in tokenizer_config.json",
            Self::Template { .. } => "correct the template; it is Jinja over `instruction` and `input`",
            Self::TemplateWithoutFields { .. } => {
                "dataset.prompt_template is Jinja: write `{{ instruction }}` where the instruction belongs, and \
                 `{{ input }}` where its input does; the response follows by itself"
            }
            Self::TemplateNotPrefix { .. } => "set dataset.prompt_template, which is used instead of it",
            Self::MixedSchemas { .. } => "prepare them apart, or set dataset.schema",
            Self::Exists { .. } => "name another folder, or replace it with force = true",
            Self::WritesInput { .. } => "name another folder for what is written",
            Self::Changed { .. } => "prepare it again once nothing writes to it any more",
            Self::Unwritable { .. } => "check the folder's permissions and the disk",
            Self::TextTooLong { .. } => SHORTEN,
            Self::TokenizerGaveUp { .. } => CHANGE_RECORD,
            Self::TooMuchMemory { .. } | Self::TooSlow { .. } => {
                "leave the record out, set dataset.prompt_template, or use a model with another chat template or \
                 tokenizer"
            }
            Self::PromptFillsContext { .. } => "shorten the prompt",
            Self::NoChoices { .. } => {
                "leave chat_template out: other records have the form that they are trained in"
            }
            Self::NoChatTemplate => "leave it out: choices then stand behind their question after a space",
            Self::Weight { .. } => "set training.quality_weight_multiplier to a value in that range",
        }
    }

    fn location(&self) -> Option<Location> {
        match self {
            Self::Template { location, .. } | Self::TemplateNotPrefix { location } => {
                Some((**location).clone())
            }
            Self::TemplateWithoutFields { .. } => {
                Some(Location { key: Some("dataset.prompt_template".into()), ..Location::default() })
            }
            Self::Format { .. } => {
                Some(Location { key: Some("dataset.format".into()), ..Location::default() })
            }
            _ => None,
        }
    }
}

impl Diagnostic for DataError {
    fn problem(&self) -> Problem {
        let mut problem = Problem::new(self.kind(), self.code(), self.to_string()).with_hint(self.hint());
        problem.location = self.location();
        match self {
            Self::Unreadable { source, .. } | Self::Unwritable { source, .. } => {
                problem.message = format!("{self}: {source}");
            }
            Self::Columns { path, found, .. } => {
                let columns = columns_offer(found);
                problem.suggestions.extend(columns.map(|columns| columns_suggestion(path, &columns)));
            }
            Self::Empty { counts, .. } => problem.problems = counts.table(),
            _ => {}
        }
        problem
    }
}

fn quoted(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    names.iter().take(8).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The counts in words: `12 records read, 3 with a missing or wrong field, 9 too long for the context`.
pub(super) fn describe(counts: &DatasetCounts) -> String {
    let mut words = vec![format!("{} records read", counts.read)];
    for (count, what) in [
        (counts.broken_lines, "that cannot be read"),
        (counts.missing_field, "with a missing or wrong field"),
        (counts.empty_response, "with an empty response"),
        (counts.nothing_to_learn, "whose messages are all marked as not to be learnt"),
        (counts.unsupported_part, "with an image, a sound or a file"),
        (counts.unknown_role, "with a turn of an unknown role"),
        (counts.ends_with_user, "that end without an answer"),
        (counts.template_failed, "that the prompt template refuses"),
        (counts.too_long, "whose prompt fills the context"),
        (counts.given_up, "given up for their work"),
        (counts.truncated, "with their end cut off"),
        (counts.unlearnt_answers, "earlier answers read and not learnt, as the chat template rewrites them"),
    ] {
        if count > 0 {
            words.push(format!("{count} {what}"));
        }
    }
    words.join(", ")
}
