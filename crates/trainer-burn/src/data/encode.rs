//! A record as token ids, with the mask of what the loss is computed on.

use std::path::Path;

use greentune_core_config::settings::Settings;
use jiff::Timestamp;

use super::{error::DataError, record::Record, template::PromptTemplate, tokenizer::Tokenizer};

/// A record as the model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Prompt and response.
    pub tokens: Vec<u32>,
    /// `tokens[labels_from..]` is what the loss is computed on: the response and what ends it. At least 1, because
    /// the first token has nothing to be predicted from.
    pub labels_from: usize,
    /// How many times as often it is drawn as a record of weight 1.
    pub weight: f64,
    /// Whether the quality weighting favours it.
    pub high_quality: bool,
    /// Line in the file, from 1.
    pub line: u64,
    /// Whether the end of the response was cut off.
    pub truncated: bool,
    /// The prompt's text.
    pub prompt: String,
    /// The response's text, in full and without what ends it.
    pub response: String,
}

impl Example {
    /// Tokens that the loss is computed on.
    pub fn labelled_tokens(&self) -> usize {
        self.tokens.len() - self.labels_from
    }
}

/// Makes examples of records: template, tokenizer, context and weights of one model under one project's settings.
pub struct Encoder {
    tokenizer: Tokenizer,
    template: PromptTemplate,
    context_length: usize,
    quality_weight_multiplier: f64,
}

/// What becomes of a record.
pub(super) enum Encoded {
    Example(Example),
    /// The prompt leaves no room for a single token of the response.
    TooLong {
        prompt_tokens: usize,
    },
}

impl Encoder {
    /// The encoder for the model in `folder` under `settings`; `at` is what [`PromptTemplate::new`] says.
    ///
    /// # Errors
    /// As [`Tokenizer::load`] and [`PromptTemplate::new`].
    pub fn new(folder: &Path, settings: &Settings, at: Timestamp) -> Result<Self, DataError> {
        let tokenizer = Tokenizer::load(folder)?;
        let template = PromptTemplate::new(settings.dataset.prompt_template.as_deref(), &tokenizer, at)?;
        let max_seq_length = usize::try_from(settings.training.max_seq_length).unwrap_or(usize::MAX);
        let context_length = tokenizer.context_length().unwrap_or(usize::MAX).min(max_seq_length);
        let quality_weight_multiplier = settings.training.quality_weight_multiplier;
        Ok(Self { tokenizer, template, context_length, quality_weight_multiplier })
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The prompt's form.
    pub fn template(&self) -> &PromptTemplate {
        &self.template
    }

    /// Tokens per record at most: `training.max_seq_length`, or what the model can attend to if that is less.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// Prompt and response are tokenised apart and joined, so that no token is half prompt, half response, and
    /// `tokens[..labels_from]` is exactly what a generation starts from. (A tokenizer that puts a space in front of
    /// every text, as SentencePiece does, puts one in front of the response too: so will what is generated.) A record that is longer than the context
    /// loses the end of its response, never a part of its prompt.
    pub(super) fn encode(&self, record: Record) -> Result<Encoded, DataError> {
        let rendered = self.template.render(&record.instruction, &record.input, &record.response)?;
        let mut tokens = if self.template.spells_out_beginning() {
            self.tokenizer.encode(&rendered.prompt)?
        } else {
            self.tokenizer.encode_with_prefix(&rendered.prompt)?
        };
        let labels_from = tokens.len().max(1);
        if labels_from >= self.context_length {
            return Ok(Encoded::TooLong { prompt_tokens: tokens.len() });
        }
        tokens.extend(self.tokenizer.encode(&rendered.labelled)?);
        if !rendered.ends_turn {
            tokens.push(self.tokenizer.eos_id());
        }
        let truncated = tokens.len() > self.context_length;
        tokens.truncate(self.context_length);
        Ok(Encoded::Example(Example {
            tokens,
            labels_from,
            weight: if record.high_quality { self.quality_weight_multiplier } else { 1.0 },
            high_quality: record.high_quality,
            line: record.line,
            truncated,
            prompt: rendered.prompt,
            response: record.response,
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::test_model::{CHAT_TEMPLATE, TestModel},
        *,
    };

    fn encoder(model: &TestModel, settings: &Settings) -> Encoder {
        Encoder::new(model.path(), settings, Timestamp::UNIX_EPOCH).unwrap()
    }

    fn record(response: &str) -> Record {
        let (instruction, input) = ("Add.".into(), String::new());
        Record { line: 7, instruction, input, response: response.into(), high_quality: true }
    }

    fn example(encoder: &Encoder, response: &str) -> Example {
        match encoder.encode(record(response)).unwrap() {
            Encoded::Example(example) => example,
            Encoded::TooLong { prompt_tokens } => panic!("{prompt_tokens} tokens are too long"),
        }
    }

    fn halves(encoder: &Encoder, example: &Example) -> (String, String) {
        let (prompt, labelled) = example.tokens.split_at(example.labels_from);
        let decode = |ids| encoder.tokenizer().decode(ids, true).unwrap();
        (decode(prompt), decode(labelled))
    }

    #[test]
    fn the_loss_is_on_the_response_and_its_end() {
        let encoder = encoder(&TestModel::new(), &Settings::default());
        let example = example(&encoder, "three");
        let (prompt, labelled) = halves(&encoder, &example);
        assert_eq!(prompt, "### Instruction:\nAdd.\n\n### Response:\n");
        assert_eq!(prompt, example.prompt);
        assert_eq!(labelled, "three<|end|>");
        assert_eq!((example.weight, example.line, example.truncated), (2.5, 7, false));
        assert_eq!(example.labelled_tokens(), "three".len() + 1);
    }

    #[test]
    fn a_chat_template_ends_the_turn_once_and_alone_begins_the_text() {
        let model = TestModel::with_chat_template(CHAT_TEMPLATE);
        model.add_bos();
        let encoder = encoder(&model, &Settings::default());
        let (prompt, labelled) = halves(&encoder, &example(&encoder, "three"));
        assert_eq!(prompt, "<|user|>\nAdd.<|end|>\n<|assistant|>\n");
        assert_eq!(labelled, "three<|end|>");
    }

    #[test]
    fn the_tokenizers_beginning_comes_once_and_never_before_the_response() {
        let model = TestModel::new();
        model.add_bos();
        let encoder = encoder(&model, &Settings::default());
        let (prompt, labelled) = halves(&encoder, &example(&encoder, "three"));
        assert_eq!(prompt, "<|begin|>### Instruction:\nAdd.\n\n### Response:\n");
        assert_eq!(labelled, "three<|end|>");
    }

    #[test]
    fn the_end_of_the_response_is_cut_and_nothing_else() {
        let model = TestModel::new();
        let mut settings = Settings::default();
        let prompt_tokens = example(&encoder(&model, &settings), "three").labels_from;
        for (room, labelled, truncated) in
            [(1, "t", true), (5, "three", true), (6, "three<|end|>", false), (9, "three<|end|>", false)]
        {
            settings.training.max_seq_length = (prompt_tokens + room) as u64;
            let encoder = encoder(&model, &settings);
            let example = example(&encoder, "three");
            assert_eq!(halves(&encoder, &example), (example.prompt.clone(), labelled.to_owned()));
            assert_eq!((example.truncated, example.response.as_str()), (truncated, "three"));
        }
        settings.training.max_seq_length = prompt_tokens as u64;
        let too_long = encoder(&model, &settings).encode(record("three")).unwrap();
        assert!(matches!(too_long, Encoded::TooLong { prompt_tokens: found } if found == prompt_tokens));
    }

    #[test]
    fn the_models_own_context_counts_too() {
        let model = TestModel::new();
        model.write("config.json", &json!({"max_position_embeddings": 40}));
        assert_eq!(encoder(&model, &Settings::default()).context_length(), 40);
    }

    #[test]
    fn an_empty_prompt_still_leaves_something_to_predict_from() {
        let mut settings = Settings::default();
        settings.dataset.prompt_template = Some("{{ input }}".into());
        let encoder = encoder(&TestModel::new(), &settings);
        let example = example(&encoder, "three");
        assert_eq!((example.labels_from, example.tokens.len()), (1, 6));
    }
}
