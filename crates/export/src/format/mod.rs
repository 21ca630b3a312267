//! The forms that an export can take. Each is a folder here with a [`Format`] and a row in [`REGISTRY`].

use std::{fmt, path::Path, str::FromStr};

use crate::{
    content::PlannedFile,
    error::ExportError,
    peft::{Adapters, WrittenAdapters},
    quantization::Quantization,
    request::{ExportFormat, ExportRequest},
};
use greentune_core_config::{choice, model::ModelConfig};
use greentune_model_folder::ModelWeights;

mod folder;
mod gguf;
mod huggingface;
mod mlx;
mod safetensors;
mod shards;
mod usage;

pub(crate) use folder::configuration;

/// A form of export: which files it has and how they are loaded. How a file is written and proven is a matter of its
/// [`Content`](crate::content::Content); a format whose files are unlike any other brings a content of its own.
pub(crate) trait Format: Sync {
    /// The files of the export, in the order in which they are written. Nothing is written yet.
    fn plan<'a>(&self, source: Source<'a>) -> Result<Vec<PlannedFile<'a>>, ExportError>;

    /// How it can store the weights of a merged model.
    fn quantizations(&self) -> &'static [Quantization];

    /// How it stores adapters alone; as they were trained when `None`.
    fn adapter_type(&self) -> Option<Quantization> {
        None
    }

    /// Whether the weights of a merged model can be several files.
    fn has_shards(&self) -> bool {
        false
    }

    /// Adapters alone that were written into `folder` for a base model of this configuration, as a reader of the format has
    /// them; nothing where they are in PEFT's own layout.
    fn written_adapters(
        &self,
        _folder: &Path,
        _base: &ModelConfig,
    ) -> Result<Option<Box<dyn WrittenAdapters>>, ExportError> {
        Ok(None)
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
    /// What writes it.
    writer: &'static dyn Format,
}

/// All formats, in the order of [`ExportFormat`]'s variants. Words, help and errors are made from it.
const REGISTRY: [Entry; 4] = [
    Entry { word: "safetensors", description: None, writer: &safetensors::Safetensors },
    Entry {
        word: "huggingface",
        description: Some("a folder for transformers or PEFT"),
        writer: &huggingface::Huggingface,
    },
    Entry { word: "mlx", description: Some("a folder for mlx-lm"), writer: &mlx::Mlx },
    Entry { word: "gguf", description: Some("one file for llama.cpp and Ollama"), writer: &gguf::Gguf },
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

    /// All formats in one line for a person who chooses.
    pub fn help() -> String {
        let described = |entry: &Entry| match entry.description {
            Some(description) => format!("{} ({description})", entry.word),
            None => entry.word.to_owned(),
        };
        REGISTRY.iter().rev().map(described).collect::<Vec<_>>().join(" or ")
    }

    /// How which format can store weights, in one line for a person who chooses.
    pub fn quantization_help() -> String {
        let floats = Quantization::FLOATS.map(Quantization::as_str).join(", ");
        let further = |entry: &Entry| {
            let all = entry.writer.quantizations().iter();
            let further = all.filter(|quantization| !Quantization::FLOATS.contains(quantization));
            let words: Vec<&str> = further.map(|quantization| quantization.as_str()).collect();
            (!words.is_empty()).then(|| format!("; {}: {}", entry.word, words.join(", ")))
        };
        REGISTRY.iter().rev().filter_map(further).fold(floats, |line, further| line + &further)
    }

    /// The words for the formats of which `holds`, in a sentence.
    fn words_where(holds: impl Fn(&'static dyn Format) -> bool) -> String {
        let entries = REGISTRY.iter().filter(|entry| holds(entry.writer));
        entries.map(|entry| entry.word).collect::<Vec<_>>().join(", ")
    }

    /// Refuses what the format, or adapters alone, do not have of what `request` asks for.
    pub(crate) fn check(self, request: &ExportRequest) -> Result<(), ExportError> {
        let (format, writer) = (self.as_str(), self.writer());
        if let Some(quantization) = request.quantization {
            let has = |writer: &dyn Format| writer.quantizations().contains(&quantization);
            if !has(writer) {
                let own = writer.quantizations().iter().map(|own| own.as_str());
                return Err(ExportError::QuantizationNotOfFormat {
                    format,
                    quantization: quantization.as_str(),
                    formats: Self::words_where(has),
                    quantizations: own.collect::<Vec<_>>().join(", "),
                });
            }
            if !request.merge && writer.adapter_type() != Some(quantization) {
                let as_what = writer
                    .adapter_type()
                    .map_or_else(|| String::from("as they were trained"), |stored| format!("in {stored}"));
                return Err(ExportError::AdaptersAlone { as_what, asked: quantization.to_string() });
            }
        }
        match request.max_shard_size {
            Some(_) if !writer.has_shards() => {
                let formats = Self::words_where(Format::has_shards);
                Err(ExportError::OneFile { format, formats })
            }
            Some(size) if !request.merge => Err(ExportError::AdaptersAlone {
                as_what: String::from("as one file"),
                asked: format!("files of {size}"),
            }),
            _ => Ok(()),
        }
    }

    /// The words for the other formats, in a sentence.
    pub(crate) fn others(self) -> String {
        let others = REGISTRY.iter().map(|entry| entry.word).filter(|word| *word != self.as_str());
        others.collect::<Vec<_>>().join(", ")
    }

    /// What writes it.
    pub(crate) fn writer(self) -> &'static dyn Format {
        REGISTRY[self as usize].writer
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
        known.ok_or_else(|| ExportError::UnknownFormat { word: word.into(), allowed: Self::WORDS.join(", ") })
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
        }
    }

    #[test]
    fn help_names_every_format() {
        assert_eq!(
            ExportFormat::help(),
            "gguf (one file for llama.cpp and Ollama) or mlx (a folder for mlx-lm) or huggingface (a folder for transformers or PEFT) or safetensors"
        );
        assert_eq!(
            ExportFormat::quantization_help(),
            "f32, f16, bf16; gguf: q8_0, q6_k, q5_k_m, q4_k_m, q4_0; mlx: 8bit, 4bit"
        );
    }
}
