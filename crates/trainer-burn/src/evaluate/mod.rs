//! Evaluation of a model on a data set: loss, accuracy, and generated text.

pub(crate) mod agreement;
mod batch;
mod choices;
mod figures;
pub(crate) mod generate;
mod run;

use greentune_ast_sparsity::Observation;
use greentune_core_config::{
    evaluation::{EvaluatedModel, EvaluationReport, GenerationSample, metric},
    memory::EVALUATION_TOKENS,
    settings::EvaluationSettings,
};
use greentune_text_data::{Dataset, Encoder, Example, ExampleText, Examples};

use crate::{
    error::TrainError,
    model::{Adapters, Decoder},
    ops::{LabelScore, Ops},
    training::step::{self, Weighted},
};

pub use batch::{Wanted, generate_all};
pub use generate::{Continuation, Listener, generate};
pub(crate) use run::of_run;

/// Examples that are in memory at once.
pub(crate) const EXAMPLES_AT_ONCE: usize = 1024;
/// Generations kept in a report.
const SAMPLES: usize = 5;
/// Records for which text is written at once, at most.
const WRITTEN_AT_ONCE: usize = 16;
/// Tokens beyond the expected response after which generation stops.
const GENERATION_SLACK: usize = 8;

/// Loss and accuracy over labelled tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// Labelled tokens.
    pub tokens: u64,
    /// Mean loss per labelled token, in nats.
    pub loss: f64,
    /// Share of labelled tokens predicted right.
    pub token_accuracy: f64,
}

/// What a model makes of one record.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RecordScore {
    /// Labelled tokens.
    pub tokens: u64,
    /// Sum of their losses, in nats: the negated log-likelihood of the labelled tokens.
    pub loss: f64,
    /// Those that are predicted right.
    pub right: u64,
}

impl Scores {
    /// The scores over all tokens of `records`.
    fn over<'a>(records: impl IntoIterator<Item = &'a RecordScore>) -> Self {
        let (mut tokens, mut loss, mut right) = (0, 0.0, 0);
        for record in records {
            tokens += record.tokens;
            loss += record.loss;
            right += record.right;
        }
        let divisor = tokens.max(1) as f64;
        Self { tokens, loss: loss / divisor, token_accuracy: right as f64 / divisor }
    }
}

/// Scores of a model on `examples`.
pub fn score<B: Ops>(decoder: &Decoder<B>, adapters: Option<&Adapters<B>>, examples: &[Example]) -> Scores {
    Scores::over(&score_records(decoder, adapters, examples))
}

/// What a model makes of each of `examples` in turn.
pub(crate) fn score_records<B: Ops>(
    decoder: &Decoder<B>,
    adapters: Option<&Adapters<B>>,
    examples: &[Example],
) -> Vec<RecordScore> {
    let mut records = vec![RecordScore::default(); examples.len()];
    let mut owners = examples
        .iter()
        .enumerate()
        .flat_map(|(at, example)| std::iter::repeat_n(at, example.labelled_tokens()));
    score_tokens(decoder, adapters, examples, |score, target| {
        let Some(record) = owners.next().map(|at| &mut records[at]) else { return };
        record.tokens += 1;
        record.loss += f64::from(score.loss);
        record.right += u64::from(score.predicted == target);
    });
    records
}

/// What a model predicts for each labelled token of `examples` in turn.
pub(crate) fn observe<B: Ops>(
    decoder: &Decoder<B>,
    adapters: Option<&Adapters<B>>,
    examples: &[Example],
) -> Vec<Observation> {
    let mut observations = Vec::new();
    score_tokens(decoder, adapters, examples, |LabelScore { loss, entropy, .. }, _| {
        observations.push(Observation { loss, entropy });
    });
    observations
}

/// Calls `each` with the prediction for every labelled token of `examples` in turn, and with the right token.
fn score_tokens<B: Ops>(
    decoder: &Decoder<B>,
    adapters: Option<&Adapters<B>>,
    examples: &[Example],
    mut each: impl FnMut(LabelScore, u32),
) {
    for chunk in batches(examples) {
        let chunk = Weighted::whole(chunk);
        let labels = step::labels(&chunk, 1.0);
        let hidden = decoder.forward(&step::batch(&chunk), adapters);
        let scores = B::score_labels(hidden, &decoder.head(), &labels);
        scores.into_iter().zip(labels.targets.iter()).for_each(|(score, target)| each(score, *target));
    }
}

/// Examples in file order, in batches of a bounded number of tokens.
pub(crate) fn batches(examples: &[Example]) -> Vec<Vec<&Example>> {
    let mut all: Vec<Vec<&Example>> = Vec::new();
    let mut room = 0;
    for example in examples {
        let tokens = example.tokens.len();
        if tokens > room || all.is_empty() {
            all.push(Vec::new());
            room = EVALUATION_TOKENS as usize;
        }
        if let Some(batch) = all.last_mut() {
            batch.push(example);
        }
        room = room.saturating_sub(tokens);
    }
    all
}

/// Tokens that are written for `example` at most.
pub(crate) fn generation_limit(example: &Example) -> usize {
    example.labelled_tokens() + GENERATION_SLACK
}

/// Tokens of prompt and response of `example` when it is written, at most.
pub(crate) fn needed_tokens(example: &Example) -> usize {
    example.prompt_tokens().len() + generation_limit(example)
}

/// Whether a batch of so many records takes no further one, with which it would need `tokens`: together they need no more
/// keys and values than one record that fills the context.
pub(crate) const fn is_full(records: usize, tokens: usize, context: usize) -> bool {
    records == WRITTEN_AT_ONCE || (records > 0 && tokens > context)
}

/// How models are evaluated.
pub struct Plan<'a> {
    /// Encodes and decodes text.
    pub encoder: &'a Encoder,
    /// Records for which a response is generated, at most (the first ones).
    pub generate_records: usize,
    /// Which figures are computed.
    pub settings: &'a EvaluationSettings,
}

/// One model on one data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// Its figures, with a few of its generations.
    pub report: EvaluationReport,
    /// All of its generations, in the order of the records.
    pub generated: Vec<GenerationSample>,
}

impl Plan<'_> {
    /// The full report of one model on one data set.
    pub fn report<B: Ops>(
        &self,
        decoder: &Decoder<B>,
        adapters: Option<&Adapters<B>>,
        dataset: &Dataset,
        model: EvaluatedModel,
        role: &str,
    ) -> Result<Evaluated, TrainError> {
        let mut records = Vec::new();
        for examples in dataset.examples.chunks(EXAMPLES_AT_ONCE) {
            records.extend(score_records(decoder, adapters, &examples?));
        }
        let generated = self.generations(decoder, adapters, &dataset.examples)?;
        let mut figures = figures::of_tokens(&records);
        figures.extend(figures::of_texts(self.settings, &generated));
        let scores = Scores::over(&records);
        let value =
            |name: &str| figures.iter().find(|figure| figure.metric == name).map(|figure| figure.value);
        let report = EvaluationReport {
            model,
            dataset_role: role.to_owned(),
            dataset: dataset.path.clone(),
            records: dataset.examples.len() as u64,
            tokens: scores.tokens,
            loss: scores.loss,
            perplexity: scores.loss.exp(),
            token_accuracy: scores.token_accuracy,
            exact_match: value(metric::EXACT_MATCH),
            bleu: value(metric::BLEU),
            generated_records: generated.len() as u64,
            samples: generated.iter().take(SAMPLES).cloned().collect(),
            choice_form: None,
            figures,
        };
        Ok(Evaluated { report, generated })
    }

    fn generations<B: Ops>(
        &self,
        decoder: &Decoder<B>,
        adapters: Option<&Adapters<B>>,
        examples: &Examples,
    ) -> Result<Vec<GenerationSample>, TrainError> {
        let (mut samples, mut batch, mut tokens) = (Vec::new(), Vec::new(), 0);
        for example in examples.iter() {
            if samples.len() + batch.len() == self.generate_records {
                break;
            }
            let example = example?;
            if example.text.is_none() {
                continue;
            }
            let needed = needed_tokens(&example);
            if is_full(batch.len(), tokens + needed, self.encoder.context_length()) {
                samples.extend(self.written(decoder, adapters, &batch)?);
                batch.clear();
                tokens = 0;
            }
            tokens += needed;
            batch.push(example);
        }
        samples.extend(self.written(decoder, adapters, &batch)?);
        Ok(samples)
    }

    /// What the model writes for `examples`, which have texts, side by side.
    fn written<B: Ops>(
        &self,
        decoder: &Decoder<B>,
        adapters: Option<&Adapters<B>>,
        examples: &[Example],
    ) -> Result<Vec<GenerationSample>, TrainError> {
        let tokenizer = self.encoder.tokenizer();
        let wanted = examples
            .iter()
            .map(|example| Wanted { prompt: example.prompt_tokens(), limit: generation_limit(example) });
        let written = generate_all(decoder, adapters, &wanted.collect::<Vec<_>>(), tokenizer.stop_ids());
        let texts = examples.iter().filter_map(|example| example.text.as_ref());
        let sample = |(text, tokens): (&ExampleText, Vec<u32>)| {
            Ok(GenerationSample {
                prompt: text.prompt.clone(),
                expected: text.response.trim().to_owned(),
                generated: tokenizer.decode(&tokens, false)?.trim().to_owned(),
            })
        };
        texts.zip(written).map(sample).collect()
    }
}
