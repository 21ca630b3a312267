//! The forms that an export can take. Each is a folder here with a [`Format`] and a row in [`REGISTRY`].

use std::{fmt, path::Path, str::FromStr};

use crate::{
    content::PlannedFile,
    error::ExportError,
    peft::Adapters,
    quantization::Quantization,
    request::{ExportFormat, ExportRequest},
};
use greentune_core_config::choice;
use greentune_model_folder::ModelWeights;

mod folder;
mod gguf;
mod huggingface;
mod safetensors;
mod usage;

/// A form of export: which files it has and how they are loaded. How a file is written and proven is a matter of its
/// [`Content`](crate::content::Content); a format whose files are unlike any other brings a content of its own.
pub(crate) trait Format: Sync {
    /// The files of the export, in the order in which they are written. Nothing is written yet.
    fn plan<'a>(&self, source: Source<'a>) -> Result<Vec<PlannedFile<'a>>, ExportError>;

    /// How it can pack weights; nothing where it keeps them as they are.
    fn quantizations(&self) -> &'static [Quantization] {
        &[]
    }

    /// How to load the export at `destination`, in Markdown.
    fn usage(&self, request: &ExportRequest, destination: &Path) -> String;
}

/// What is exported: the request, and its inputs, open and known to fit together.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) request: &'a ExportRequest,
    pub(crate) base: &'a ModelWeights,
    pub(crate) adapters: &'a Adapters,
}

/// What is known of a format.
struct Entry {
    /// Its word in requests, in lower case.
    word: &'static str,
    /// What it is, in a few words, where the word does not say it.
    description: Option<&'static str>,
    /// What writes it; nothing while it is planned and not available yet.
    writer: Option<&'static dyn Format>,
}

/// All formats, in the order of [`ExportFormat`]'s variants: from the plainest to the most complete, then those that
/// are not available yet. Words, help and errors are made from it.
const REGISTRY: [Entry; 4] = [
    Entry { word: "safetensors", description: None, writer: Some(&safetensors::Safetensors) },
    Entry {
        word: "huggingface",
        description: Some("a folder for transformers or PEFT"),
        writer: Some(&huggingface::Huggingface),
    },
    Entry { word: "mlx", description: None, writer: None },
    Entry { word: "gguf", description: Some("one file for llama.cpp and Ollama"), writer: Some(&gguf::Gguf) },
];

impl ExportFormat {
    const ALL: [Self; REGISTRY.len()] = [Self::Safetensors, Self::Huggingface, Self::Mlx, Self::Gguf];

    /// The words for all formats.
    pub const WORDS: &'static [&'static str] = &{
        let mut words = [""; REGISTRY.len()];
        let mut index = 0;
        while index < words.len() {
            words[index] = REGISTRY[index].word;
            index += 1;
        }
        words
    };

    /// The word for this format.
    pub const fn as_str(self) -> &'static str {
        REGISTRY[self as usize].word
    }

    /// Whether it can be written.
    pub const fn is_available(self) -> bool {
        REGISTRY[self as usize].writer.is_some()
    }

    /// The words for the formats that can be written, in a sentence.
    fn available_words() -> String {
        let available = REGISTRY.iter().filter(|entry| entry.writer.is_some());
        available.map(|entry| entry.word).collect::<Vec<_>>().join(", ")
    }

    /// All formats in one line for a person who chooses: the most complete first, those that are not available yet last.
    pub fn help() -> String {
        let described = |entry: &Entry| match entry.description {
            Some(description) => format!("{} ({description})", entry.word),
            None => entry.word.to_owned(),
        };
        let (available, later): (Vec<&Entry>, Vec<&Entry>) =
            REGISTRY.iter().partition(|entry| entry.writer.is_some());
        let available: Vec<String> = available.into_iter().rev().map(described).collect();
        let later: Vec<&str> = later.into_iter().map(|entry| entry.word).collect();
        let later = match later[..] {
            [] => String::new(),
            [word] => format!("; {word} is not available yet"),
            _ => format!("; {} are not available yet", later.join(" and ")),
        };
        available.join(" or ") + &later
    }

    /// Refuses a `quantization` that it does not have.
    pub(crate) fn check_quantization(self, quantization: Option<Quantization>) -> Result<(), ExportError> {
        let Some(quantization) = quantization else { return Ok(()) };
        if self.writer()?.quantizations().contains(&quantization) {
            return Ok(());
        }
        let packs = |entry: &&Entry| {
            entry.writer.is_some_and(|writer| writer.quantizations().contains(&quantization))
        };
        let formats: Vec<&str> = REGISTRY.iter().filter(packs).map(|entry| entry.word).collect();
        Err(ExportError::QuantizationNotOfFormat {
            format: self.as_str(),
            quantization: quantization.as_str(),
            formats: formats.join(", "),
        })
    }

    /// The words for the other formats that can be written, in a sentence.
    pub(crate) fn others(self) -> String {
        let others = REGISTRY.iter().filter(|entry| entry.writer.is_some() && entry.word != self.as_str());
        others.map(|entry| entry.word).collect::<Vec<_>>().join(", ")
    }

    /// What writes it; an error when it is not available yet.
    pub(crate) fn writer(self) -> Result<&'static dyn Format, ExportError> {
        REGISTRY[self as usize].writer.ok_or_else(|| ExportError::NotAvailableYet {
            format: self.as_str(),
            available: Self::available_words(),
        })
    }
}

impl fmt::Display for ExportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ExportFormat {
    type Err = ExportError;

    fn from_str(word: &str) -> Result<Self, ExportError> {
        let meant = choice::meant(Self::ALL.iter().map(|format| format.as_str()), word);
        let known = Self::ALL.into_iter().find(|format| Some(format.as_str()) == meant);
        known
            .ok_or_else(|| ExportError::UnknownFormat { word: word.into(), allowed: Self::available_words() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of serde and of the schema come from the variants, those of everything else from the registry.
    #[test]
    fn registry_and_variants_are_the_same_list() {
        let schema = schemars::schema_for!(ExportFormat).to_value();
        let variants = schema["oneOf"].as_array().unwrap();
        let of_schema: Vec<&str> =
            variants.iter().map(|variant| variant["const"].as_str().unwrap()).collect();
        assert_eq!(of_schema, ExportFormat::WORDS);
        for (index, format) in ExportFormat::ALL.into_iter().enumerate() {
            assert_eq!(format as usize, index);
            assert_eq!(serde_json::to_value(format).unwrap(), ExportFormat::WORDS[index]);
            assert_eq!(format.writer().is_ok(), format.is_available());
        }
    }

    #[test]
    fn schema_says_which_formats_are_not_available_yet() {
        let schema = schemars::schema_for!(ExportFormat).to_value();
        for variant in schema["oneOf"].as_array().unwrap() {
            let format: ExportFormat = variant["const"].as_str().unwrap().parse().unwrap();
            let description = variant["description"].as_str().unwrap();
            assert_eq!(description.contains("not available yet"), !format.is_available(), "{format}");
        }
    }

    #[test]
    fn help_names_every_format() {
        assert_eq!(
            ExportFormat::help(),
            "gguf (one file for llama.cpp and Ollama) or huggingface (a folder for transformers or PEFT) or safetensors; mlx is not available yet"
        );
    }
}
