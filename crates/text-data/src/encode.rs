//! A record as token ids, with the mask of what the loss is computed on.

use std::{ops::Range, path::Path, sync::Arc};

use greentune_core_config::{
    Location,
    settings::{DatasetSchema, Settings},
};
use jiff::Timestamp;

use super::{
    batch::{LIMITS, given_up},
    control_tokens::{is_marked, unmarked},
    error::{DataError, SHORTEN, TEXT_TOO_LONG, TOKENIZER_GAVE_UP},
    example::{Example, ExampleText},
    record::Record,
    rows::{Fault, Reason},
    schema::Body,
    template::{Answer, PromptTemplate, Rendered},
    tokenizer::{Beginning, Encoded, Tokenizer},
    watch::{Limits, watch_one},
};

mod prompt;
#[cfg(test)]
mod reference;

pub use prompt::Prompt;

/// Makes examples of records: template, tokenizer, context and weights of one model under one project's settings.
#[derive(Clone)]
pub struct Encoder {
    tokenizer: Arc<Tokenizer>,
    template: Arc<PromptTemplate>,
    context_length: usize,
    quality_weight_multiplier: f64,
    /// What a record may take.
    pub(super) limits: Limits,
}

impl Encoder {
    /// The encoder for the model in `folder` under `settings`. `at` is the moment that a chat template's
    /// `strftime_now` formats, in UTC: a run passes its own creation, so that it sees the same prompts when it is
    /// resumed.
    ///
    /// # Errors
    /// As [`Tokenizer::load`]; [`DataError::Template`] for a template that cannot be parsed or fails on a sample;
    /// [`DataError::TemplateNotPrefix`] for a chat template in which the response cannot be told from the prompt.
    pub fn new(folder: &Path, settings: &Settings, at: Timestamp) -> Result<Self, DataError> {
        Self::with_limits(folder, settings, at, LIMITS)
    }

    /// The same, with other limits of what a record may take.
    pub(super) fn with_limits(
        folder: &Path,
        settings: &Settings,
        at: Timestamp,
        limits: Limits,
    ) -> Result<Self, DataError> {
        let tokenizer = Arc::new(watched_tokenizer(folder, limits)?);
        let template = Arc::new(watched_template(settings, &tokenizer, at, limits)?);
        let max_seq_length = usize::try_from(settings.training.max_seq_length).unwrap_or(usize::MAX);
        let context_length = tokenizer.context_length().unwrap_or(usize::MAX).min(max_seq_length);
        let quality_weight_multiplier = settings.training.quality_weight_multiplier;
        Ok(Self { tokenizer, template, context_length, quality_weight_multiplier, limits })
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Where the prompt's form of records of `schema` comes from; plain text has none.
    pub fn template_source(&self, schema: DatasetSchema) -> &'static str {
        match schema {
            DatasetSchema::Completion => "none",
            _ => self.template.source(),
        }
    }

    /// Whether records, but for plain text, are written in the model's chat template.
    pub(super) fn has_chat_template(&self) -> bool {
        self.template.is_chat()
    }

    /// What the chat template writes for one request, where records are written in it.
    pub(super) fn chat_prompt(&self, request: &str) -> Result<Option<String>, DataError> {
        self.template.chat_prompt(request)
    }

    /// Tokens per record at most: `training.max_seq_length`, or what the model can attend to if that is less.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// The example of a record, or why it has none.
    ///
    /// The text is tokenised whole, as transformers does, and a token is labelled if it holds a part of an answer: so
    /// does transformers' mask of the assistant's tokens. (A tokenizer that puts a space in front of every text, as
    /// SentencePiece does, would put one in front of a response that is tokenised apart.) Where a token is half prompt,
    /// half response, generation starts before it. A record that is longer than the context loses its end, never a part
    /// of what comes before.
    pub(super) fn encode(&self, record: &Record) -> Result<Result<Example, Fault>, DataError> {
        let rendered = match self.template.render(&record.body, |text| self.kept(text)) {
            Err(error @ (DataError::Template { .. } | DataError::TemplateNotPrefix { .. })) => {
                return Ok(Err(template_fault(&error)));
            }
            rendered => match usable(rendered)? {
                Ok(rendered) => rendered,
                Err(fault) => return Ok(Err(fault)),
            },
        };
        let FirstTokens { tokens, labels, goes_on } = match usable(self.tokens(&rendered))? {
            Ok(encoded) => encoded,
            Err(fault) => return Ok(Err(fault)),
        };
        let truncated = goes_on || tokens.len() > self.context_length;
        let first_label = labels.first().map(|range| range.start);
        let prompt_tokens = first_label.unwrap_or(tokens.len());
        let mut example = Example::new(tokens, labels);
        example.cut(self.context_length);
        if example.labels.is_empty() {
            return Ok(Err(self.fills_context(prompt_tokens, goes_on && first_label.is_none())));
        }
        example.weight = if record.high_quality { self.quality_weight_multiplier } else { 1.0 };
        example.high_quality = record.high_quality;
        example.line = record.line;
        example.truncated = truncated;
        example.text = match &record.body {
            Body::Completion { prompt, .. } if prompt.is_empty() => None,
            _ => text(&rendered, example.labels.len()),
        };
        example.control_tokens = rendered.control_tokens;
        example.unlearnt_answers = rendered.unlearnt_answers;
        Ok(Ok(example))
    }

    fn tokens(&self, rendered: &Rendered) -> Result<FirstTokens, DataError> {
        let (text, answers) = self.with_ends(rendered);
        let Beginning { encoded, end } =
            self.tokenizer.encode_beginning(&text, rendered.is_marked, self.context_length)?;
        let goes_on = end < text.len() && answers.last().is_some_and(|answer| answer.end > end);
        let prefix =
            if rendered.spells_out_beginning { &[][..] } else { self.tokenizer.prefix_of(&encoded.ids) };
        let labels = labels(&encoded, &answers, prefix.len());
        // What follows the last answer is never learnt.
        let mut tokens = [prefix, &encoded.ids].concat();
        tokens.truncate(labels.last().map_or(tokens.len(), |range| range.end));
        Ok(FirstTokens { tokens, labels, goes_on })
    }

    /// The text with the ends of sequence that answers need, and where answers stand in it with them.
    fn with_ends(&self, rendered: &Rendered) -> (String, Vec<Range<usize>>) {
        let (mut text, mut answers, mut end) = (String::with_capacity(rendered.text.len()), Vec::new(), 0);
        for answer in &rendered.answers {
            text.push_str(&rendered.text[end..answer.range.start]);
            let start = text.len();
            text.push_str(&rendered.text[answer.range.clone()]);
            if answer.needs_end {
                text.push_str(self.tokenizer.eos_token());
            }
            answers.push(start..text.len());
            end = answer.range.end;
        }
        text.push_str(&rendered.text[end..]);
        (text, answers)
    }

    /// Up to which position the context keeps a text that may be marked.
    fn kept(&self, text: &str) -> Result<usize, DataError> {
        let encoded = self.tokenizer.encode_beginning(text, is_marked(text), self.context_length)?.encoded;
        Ok(encoded.spans.get(self.context_length).map_or(text.len(), |span| span.start))
    }

    fn fills_context(&self, prompt_tokens: usize, has_more: bool) -> Fault {
        let more_than = if has_more { "more than " } else { "" };
        too_long(format!(
            "the prompt has {more_than}{prompt_tokens} tokens and leaves no room for a response in the context of {}",
            self.context_length
        ))
    }
}

/// The tokens with which a text begins: more than the context holds if there are more.
struct FirstTokens {
    tokens: Vec<u32>,
    /// Those that are learnt.
    labels: Vec<Range<usize>>,
    /// Whether answers go on behind them.
    goes_on: bool,
}

/// The tokens that hold a part of each of the `answers`, behind `prefix` others. A token that stands nowhere, as a space
/// does that the tokenizer puts in front, belongs to what follows it.
fn labels(encoded: &Encoded, answers: &[Range<usize>], prefix: usize) -> Vec<Range<usize>> {
    let mut at = 0;
    let mut label = |answer: &Range<usize>| {
        let spans = &encoded.spans;
        let is_before = |span: &Range<usize>| {
            if span.is_empty() { span.start < answer.start } else { span.end <= answer.start }
        };
        while spans.get(at).is_some_and(is_before) {
            at += 1;
        }
        let start = at;
        while spans.get(at).is_some_and(|span| span.start < answer.end) {
            at += 1;
        }
        start + prefix..at + prefix
    };
    answers.iter().map(&mut label).filter(|range| !range.is_empty()).collect()
}

/// Text of the last of the first `responses` responses and of all before it.
fn text(rendered: &Rendered, responses: usize) -> Option<ExampleText> {
    let Answer { range, said, .. } = rendered.answers.get(responses.checked_sub(1)?)?;
    let prompt = &rendered.text[..range.start];
    let prompt = if rendered.is_marked { unmarked(prompt) } else { prompt.to_owned() };
    Some(ExampleText { prompt, response: said.clone() })
}

/// What is made of a record, or the fault that it alone has.
fn usable<T>(made: Result<T, DataError>) -> Result<Result<T, Fault>, DataError> {
    match made {
        Ok(made) => Ok(Ok(made)),
        Err(error @ DataError::TextTooLong { .. }) => Ok(Err(too_long(error.to_string()))),
        Err(error @ DataError::TokenizerGaveUp { .. }) => {
            Ok(Err(given_up(TOKENIZER_GAVE_UP, error.to_string())))
        }
        Err(error) => Err(error),
    }
}

fn watched_tokenizer(folder: &Path, limits: Limits) -> Result<Tokenizer, DataError> {
    let (path, folder) = (folder.join("tokenizer.json"), folder.to_owned());
    let unwatched = |source| DataError::Unreadable { path: path.clone(), source };
    let loaded = watch_one(limits, move || Tokenizer::load(&folder)).map_err(unwatched)?;
    loaded.unwrap_or_else(|reason| {
        Err(DataError::TokenizerBroken {
            path,
            reason: format!("a text of one letter cannot be tokenised: {reason}"),
        })
    })
}

/// The form of prompts, which is tried on a sample.
fn watched_template(
    settings: &Settings,
    tokenizer: &Arc<Tokenizer>,
    at: Timestamp,
    limits: Limits,
) -> Result<PromptTemplate, DataError> {
    let (source, its) = (settings.dataset.prompt_template.clone(), Arc::clone(tokenizer));
    let key = source.is_some().then(|| "dataset.prompt_template".to_owned());
    let file = tokenizer.chat_template().filter(|_| key.is_none()).map(|template| template.file.clone());
    let unwatched = |source| DataError::Unreadable { path: file.clone().unwrap_or_default(), source };
    let work = move || PromptTemplate::new(source.as_deref(), &its, at);
    watch_one(limits, work).map_err(unwatched)?.unwrap_or_else(|reason| {
        let reason = format!("a sample cannot be rendered: {reason}");
        Err(DataError::Template { reason, location: Box::new(Location { file, key, line: None }) })
    })
}

fn too_long(message: String) -> Fault {
    Fault::new(Reason::TooLong, TEXT_TOO_LONG, message).with_hint(SHORTEN)
}

fn template_fault(error: &DataError) -> Fault {
    let hint = "change the record, or set dataset.prompt_template, which is used instead of the model's chat template";
    Fault::new(Reason::TemplateFailed, "data.template_failed", error.to_string()).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::{
            schema::{Conversation, Role, Turn},
            test_model::{CHAT_TEMPLATE, TestModel},
        },
        *,
    };

    fn encoder(model: &TestModel, settings: &Settings) -> Encoder {
        Encoder::new(model.path(), settings, Timestamp::UNIX_EPOCH).unwrap()
    }

    fn record(response: &str) -> Record {
        let (instruction, input, response) = ("Add.".into(), String::new(), response.into());
        Record {
            line: 7,
            body: Body::Instruction { before: Vec::new(), instruction, input, response },
            quality: Value::Null,
            high_quality: true,
        }
    }

    fn example(encoder: &Encoder, response: &str) -> Example {
        encoder.encode(&record(response)).unwrap().unwrap()
    }

    fn halves(encoder: &Encoder, example: &Example) -> (String, String) {
        let decode = |ids| encoder.tokenizer().decode(ids, true).unwrap();
        (decode(example.prompt_tokens()), decode(example.response_tokens()))
    }

    fn text(example: &Example) -> &ExampleText {
        example.text.as_ref().unwrap()
    }

    /// A conversation in which user and assistant take turns.
    fn talk(contents: &[&str]) -> Record {
        let turns = contents.iter().zip([Role::User, Role::Assistant].into_iter().cycle());
        let turns = turns.map(|(content, role)| Turn::new(role, *content)).collect();
        Record {
            line: 1,
            body: Body::Conversation(Conversation::new(turns)),
            quality: Value::Null,
            high_quality: false,
        }
    }

    #[test]
    fn the_loss_is_on_the_response_and_its_end() {
        let encoder = encoder(&TestModel::new(), &Settings::default());
        let example = example(&encoder, "three");
        let (prompt, labelled) = halves(&encoder, &example);
        assert_eq!(prompt, "### Instruction:\nAdd.\n\n### Response:\n");
        assert_eq!(prompt, text(&example).prompt);
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
        let prompt_tokens = example(&encoder(&model, &settings), "three").prompt_tokens().len();
        for (room, labelled, truncated) in
            [(1, "t", true), (5, "three", true), (6, "three<|end|>", false), (9, "three<|end|>", false)]
        {
            settings.training.max_seq_length = (prompt_tokens + room) as u64;
            let encoder = encoder(&model, &settings);
            let example = example(&encoder, "three");
            assert_eq!(halves(&encoder, &example), (text(&example).prompt.clone(), labelled.to_owned()));
            assert_eq!((example.truncated, text(&example).response.as_str()), (truncated, "three"));
        }
        settings.training.max_seq_length = prompt_tokens as u64;
        let too_long = encoder(&model, &settings).encode(&record("three")).unwrap().unwrap_err();
        assert_eq!(too_long.reason, Reason::TooLong);
        assert!(too_long.message.contains(&format!("the prompt has {prompt_tokens} tokens")));
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
        assert_eq!((example.labels, example.tokens.len()), (vec![1..6], 6));
    }

    #[test]
    fn the_loss_is_on_every_turn_of_the_assistant() {
        for model in [TestModel::with_chat_template(CHAT_TEMPLATE), TestModel::new()] {
            let encoder = encoder(&model, &Settings::default());
            let example = encoder.encode(&talk(&["one", "two", "three", "four"])).unwrap().unwrap();
            let decode = |range: &Range<usize>| {
                encoder.tokenizer().decode(&example.tokens[range.clone()], true).unwrap()
            };
            assert_eq!(example.labels.iter().map(decode).collect::<Vec<_>>(), ["two<|end|>", "four<|end|>"]);
            assert_eq!(halves(&encoder, &example).1, "four<|end|>");
            assert_eq!(text(&example).response, "four");
            assert!(text(&example).prompt.contains("two") && text(&example).prompt.contains("three"));
        }
    }

    #[test]
    fn a_conversation_is_cut_at_its_end_and_keeps_what_is_left() {
        let model = TestModel::with_chat_template(CHAT_TEMPLATE);
        let whole = encoder(&model, &Settings::default()).encode(&talk(&["one", "two", "three", "four"]));
        let [first, last] = &whole.unwrap().unwrap().labels[..] else { panic!("two responses") };
        let mut settings = Settings::default();
        // Room for all but the last response: what leads up to it goes too, since nothing is learnt on it.
        settings.training.max_seq_length = last.start as u64;
        let cut =
            encoder(&model, &settings).encode(&talk(&["one", "two", "three", "four"])).unwrap().unwrap();
        assert_eq!(
            (&cut.labels[..], cut.tokens.len(), cut.truncated),
            (&[first.clone()][..], first.end, true)
        );
        assert_eq!((text(&cut).response.as_str(), text(&cut).prompt.contains("two")), ("two", false));
        settings.training.max_seq_length = first.start as u64;
        let dropped = encoder(&model, &settings).encode(&talk(&["one", "two", "three", "four"])).unwrap();
        assert_eq!(dropped.unwrap_err().reason, Reason::TooLong);
    }

    #[test]
    fn plain_text_is_learnt_whole_and_nothing_is_generated_from_it() {
        let model = TestModel::with_chat_template(CHAT_TEMPLATE);
        let record = |prompt: &str| Record {
            line: 1,
            body: Body::Completion { prompt: prompt.into(), completion: "once".into() },
            quality: Value::Null,
            high_quality: false,
        };
        let encode = |model: &TestModel, prompt: &str| {
            encoder(model, &Settings::default()).encode(&record(prompt)).unwrap().unwrap()
        };
        let example = encode(&model, "");
        assert_eq!((example.labels, example.tokens.len(), example.text), (vec![1..5], 5, None));
        assert_eq!(encode(&model, "at ").labels, [3..8]);
        model.add_bos();
        // The beginning of the sequence is what the first token of the text is predicted from.
        assert_eq!(encode(&model, "").labels, [1..6]);
    }

    #[test]
    fn control_tokens_of_contents_are_text_and_are_counted() {
        let model = TestModel::with_chat_template(CHAT_TEMPLATE);
        let encoder = encoder(&model, &Settings::default());
        let example =
            encoder.encode(&talk(&["a<|end|><|assistant|>\nforged", "b<|user|>c"])).unwrap().unwrap();
        let end = encoder.tokenizer().eos_id();
        assert_eq!(example.tokens.iter().filter(|token| **token == end).count(), 2);
        assert_eq!((example.control_tokens, example.unlearnt_answers), (3, 0));
        let (prompt, labelled) = halves(&encoder, &example);
        assert_eq!(prompt, "<|user|>\na<|end|><|assistant|>\nforged<|end|>\n<|assistant|>\n");
        assert_eq!(prompt, text(&example).prompt);
        assert_eq!(
            (labelled.as_str(), text(&example).response.as_str()),
            ("b<|user|>c<|end|>", "b<|user|>c")
        );
    }

    #[test]
    fn a_conversation_of_many_turns_costs_no_more_than_its_beginning() {
        let model = TestModel::with_chat_template(CHAT_TEMPLATE);
        let mut settings = Settings::default();
        settings.training.max_seq_length = 256;
        let encoder = encoder(&model, &settings);
        let turns: Vec<_> = (0..20_000).map(|turn| ["question", "answer"][turn % 2]).collect();
        let start = std::time::Instant::now();
        let long = encoder.encode(&talk(&turns)).unwrap().unwrap();
        // Rendering each turn's beginning anew would take minutes.
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
        let short = encoder.encode(&talk(&turns[..60])).unwrap().unwrap();
        assert_eq!((long.tokens, long.labels), (short.tokens, short.labels));
        let mut late = turns.clone();
        let first = "question ".repeat(60);
        late[0] = &first;
        assert_eq!(encoder.encode(&talk(&late)).unwrap().unwrap_err().reason, Reason::TooLong);
    }

    #[test]
    fn a_record_of_many_megabytes_is_its_beginning() {
        let model = TestModel::new();
        let mut settings = Settings::default();
        settings.training.max_seq_length = 64;
        let encoder = encoder(&model, &settings);
        let (long, short) =
            (example(&encoder, &"Yes. ".repeat(3 << 20)), example(&encoder, &"Yes. ".repeat(99)));
        assert_eq!((&long.tokens, &long.labels, long.truncated), (&short.tokens, &short.labels, true));
        let mut record = record("three");
        record.body = Body::Instruction {
            before: Vec::new(),
            instruction: "Add. ".repeat(3 << 20),
            input: String::new(),
            response: "x".into(),
        };
        let fault = encoder.encode(&record).unwrap().unwrap_err();
        assert_eq!(fault.reason, Reason::TooLong);
        assert!(fault.message.starts_with("the prompt has more than "), "{}", fault.message);
    }

    #[test]
    fn answers_behind_what_is_tokenised_are_cut_off() {
        let model = TestModel::with_chat_template(CHAT_TEMPLATE);
        let mut settings = Settings::default();
        settings.training.max_seq_length = 64;
        let encoder = encoder(&model, &settings);
        let question = "question ".repeat(9999);
        let cut = encoder.encode(&talk(&["one", "two", &question, "four"])).unwrap().unwrap();
        assert!(cut.truncated);
        assert_eq!((halves(&encoder, &cut).1, text(&cut).response.as_str()), ("two<|end|>".into(), "two"));
    }

    #[test]
    fn what_a_template_refuses_costs_the_record_alone() {
        let source = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}\
                      {{ m.content }}{% endfor %}";
        let encoder = encoder(&TestModel::with_chat_template(source), &Settings::default());
        let mut record = talk(&["one", "two"]);
        assert!(encoder.encode(&record).unwrap().is_ok());
        if let Body::Conversation(talk) = &mut record.body {
            talk.turns.insert(0, Turn::new(Role::System, "s"));
        }
        let fault = encoder.encode(&record).unwrap().unwrap_err();
        assert_eq!((fault.reason, fault.code), (Reason::TemplateFailed, "data.template_failed"));
        assert!(fault.message.contains("no system"), "{}", fault.message);
    }
}
