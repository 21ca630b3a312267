//! Evaluation of a model on a data set: loss, accuracy, and generated text.

pub(crate) mod agreement;
mod bleu;
pub(crate) mod generate;
mod run;

use greentune_ast_sparsity::Observation;
use greentune_core_config::{
    evaluation::{EvaluatedModel, EvaluationReport, GenerationSample},
    memory::EVALUATION_TOKENS,
};
use greentune_text_data::{Dataset, Encoder, Example, Examples};

use crate::{
    error::TrainError,
    model::{Adapters, Decoder},
    ops::{LabelScore, Ops},
    training::step::{self, Weighted},
};

pub use generate::{Continuation, Listener, generate};
pub(crate) use run::of_run;

/// Examples that are in memory at once.
pub(crate) const EXAMPLES_AT_ONCE: usize = 1024;
/// Generations kept in a report.
const SAMPLES: usize = 5;
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

impl Scores {
    /// The scores on what both were computed on.
    fn and(self, other: Self) -> Self {
        let tokens = self.tokens + other.tokens;
        let share = other.tokens as f64 / tokens.max(1) as f64;
        let mean = |a: f64, b: f64| a + (b - a) * share;
        Self {
            tokens,
            loss: mean(self.loss, other.loss),
            token_accuracy: mean(self.token_accuracy, other.token_accuracy),
        }
    }
}

/// Scores of a model on `examples`.
pub fn score<B: Ops>(decoder: &Decoder<B>, adapters: Option<&Adapters<B>>, examples: &[Example]) -> Scores {
    let (mut tokens, mut loss, mut right) = (0u64, 0.0, 0u64);
    score_tokens(decoder, adapters, examples, |score, target| {
        tokens += 1;
        loss += f64::from(score.loss);
        right += u64::from(score.predicted == target);
    });
    let divisor = tokens.max(1) as f64;
    Scores { tokens, loss: loss / divisor, token_accuracy: right as f64 / divisor }
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

/// What to evaluate besides the loss.
pub struct Plan<'a> {
    /// Encodes and decodes text.
    pub encoder: &'a Encoder,
    /// Records for which a response is generated, at most (the first ones).
    pub generate_records: usize,
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
    ) -> Result<EvaluationReport, TrainError> {
        let mut scores = Scores::default();
        for examples in dataset.examples.chunks(EXAMPLES_AT_ONCE) {
            scores = scores.and(score(decoder, adapters, &examples?));
        }
        let generated = self.generations(decoder, adapters, &dataset.examples)?;
        let pairs: Vec<(&str, &str)> =
            generated.iter().map(|sample| (sample.generated.as_str(), sample.expected.as_str())).collect();
        let equal = pairs.iter().filter(|(generated, expected)| generated == expected).count();
        let share = |value: f64| (!pairs.is_empty()).then_some(value);
        Ok(EvaluationReport {
            model,
            dataset_role: role.to_owned(),
            dataset: dataset.path.clone(),
            records: dataset.examples.len() as u64,
            tokens: scores.tokens,
            loss: scores.loss,
            perplexity: scores.loss.exp(),
            token_accuracy: scores.token_accuracy,
            exact_match: share(equal as f64 / pairs.len().max(1) as f64),
            bleu: share(bleu::bleu(&pairs)),
            generated_records: pairs.len() as u64,
            samples: generated.into_iter().take(SAMPLES).collect(),
        })
    }

    fn generations<B: Ops>(
        &self,
        decoder: &Decoder<B>,
        adapters: Option<&Adapters<B>>,
        examples: &Examples,
    ) -> Result<Vec<GenerationSample>, TrainError> {
        let tokenizer = self.encoder.tokenizer();
        let mut samples = Vec::new();
        for example in examples.iter() {
            if samples.len() == self.generate_records {
                break;
            }
            let example = example?;
            let Some(text) = &example.text else { continue };
            let limit = generation_limit(&example);
            let tokens = generate(decoder, adapters, example.prompt_tokens(), tokenizer.stop_ids(), limit);
            samples.push(GenerationSample {
                prompt: text.prompt.clone(),
                expected: text.response.trim().to_owned(),
                generated: tokenizer.decode(&tokens, false)?.trim().to_owned(),
            });
        }
        Ok(samples)
    }
}
