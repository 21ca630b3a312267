//! Multiple choice by likelihood, as lm-evaluation-harness scores it.

use greentune_core_config::evaluation::{EvaluatedModel, EvaluationReport, metric};
use greentune_metrics::{Choices, Scored};
use greentune_text_data::{ChoiceForm, DataError, Encoder, Example, Question, Questions};

use super::{RecordScore, Scores, figures, score_records};
use crate::{
    error::TrainError,
    model::{Adapters, Decoder},
    ops::Ops,
};

/// Questions whose choices are encoded at once.
const QUESTIONS_AT_ONCE: usize = 256;

/// The report of one model on questions.
///
/// `choice_accuracy`, `choice_accuracy_norm` and `choice_accuracy_bytes` are the harness's `acc`, `acc_norm` and
/// `acc_bytes`. Loss, perplexity and token accuracy are those of the right choices.
pub(super) fn report<B: Ops>(
    encoder: &Encoder,
    decoder: &Decoder<B>,
    adapters: Option<&Adapters<B>>,
    (asked, form): (&Questions, ChoiceForm),
    model: EvaluatedModel,
    role: &str,
) -> Result<EvaluationReport, TrainError> {
    let mut tally = Tally::default();
    for questions in asked.questions.chunks(QUESTIONS_AT_ONCE) {
        for (question, scores) in scored(encoder, decoder, adapters, (questions, form))? {
            tally.add(question, &scores);
        }
    }
    if tally.right_choices.is_empty() {
        let counts = Box::new(asked.counts.clone());
        return Err(TrainError::Data(DataError::Empty { path: asked.path.clone(), counts }));
    }
    let all = tally.right_choices.len() as u64;
    let shares = [
        (metric::CHOICE_ACCURACY, tally.likeliest),
        (metric::CHOICE_ACCURACY_NORM, tally.per_character),
        (metric::CHOICE_ACCURACY_BYTES, tally.per_byte),
    ];
    let mut figures: Vec<_> =
        shares.into_iter().filter_map(|(name, right)| figures::share(name, right, all)).collect();
    figures.extend(figures::of_tokens(&tally.right_choices));
    let scores = Scores::over(&tally.right_choices);
    Ok(EvaluationReport {
        model,
        dataset_role: role.to_owned(),
        dataset: asked.path.clone(),
        records: all,
        tokens: scores.tokens,
        loss: scores.loss,
        perplexity: scores.loss.exp(),
        token_accuracy: scores.token_accuracy,
        exact_match: None,
        bleu: None,
        generated_records: 0,
        samples: Vec::new(),
        choice_form: Some(form.as_str().to_owned()),
        figures,
    })
}

/// Questions that each rule answers right, and what the model makes of the right choices.
#[derive(Default)]
struct Tally {
    likeliest: u64,
    per_character: u64,
    per_byte: u64,
    right_choices: Vec<RecordScore>,
}

impl Tally {
    fn add(&mut self, question: &Question, scores: &[RecordScore]) {
        let choices = question.choices.iter().zip(scores);
        let choices: Vec<_> =
            choices.map(|(text, score)| Scored { text, log_likelihood: -score.loss }).collect();
        let taken = Choices::of(&choices);
        let is_right = |index: usize| u64::from(index == question.answer);
        self.likeliest += is_right(taken.likeliest);
        self.per_character += is_right(taken.per_character);
        self.per_byte += is_right(taken.per_byte);
        self.right_choices.push(scores[question.answer]);
    }
}

/// What a model makes of each choice of `questions`; without those of which a choice is too long for it.
fn scored<'a, B: Ops>(
    encoder: &Encoder,
    decoder: &Decoder<B>,
    adapters: Option<&Adapters<B>>,
    (questions, form): (&'a [Question], ChoiceForm),
) -> Result<Vec<(&'a Question, Vec<RecordScore>)>, TrainError> {
    let (mut usable, mut examples): (Vec<&Question>, Vec<Example>) = (Vec::new(), Vec::new());
    for question in questions {
        if let Some(encoded) = encoder.choices(question, form)? {
            usable.push(question);
            examples.extend(encoded);
        }
    }
    let mut scores = score_records(decoder, adapters, &examples).into_iter();
    let of_question =
        |question: &'a Question| (question, scores.by_ref().take(question.choices.len()).collect());
    Ok(usable.into_iter().map(of_question).collect())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use burn::backend::{Flex, flex::FlexDevice};
    use greentune_core_config::settings::Settings;
    use jiff::Timestamp;
    use serde_json::Value;

    use super::*;
    use crate::model::{config, weights};

    #[test]
    fn likelihoods_and_shares_are_those_of_the_harness_on_transformers() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
        let text = fs::read_to_string(fixtures.join("reference/choices.json")).unwrap();
        let reference: Value = serde_json::from_str(&text).unwrap();
        let model = fixtures.join("base-model");
        let encoder = Encoder::new(&model, &Settings::default(), Timestamp::UNIX_EPOCH).unwrap();
        let config = config::read(&model).unwrap();
        let weights = weights::load::<Flex>(&model, &config, None, &FlexDevice).unwrap();
        let decoder = Decoder::new(config, weights);
        for (form, reference) in [(ChoiceForm::Plain, &reference), (ChoiceForm::Chat, &reference["in_chat"])]
        {
            agrees(&encoder, &decoder, form, reference);
        }
    }

    fn agrees(encoder: &Encoder, decoder: &Decoder<Flex>, form: ChoiceForm, reference: &Value) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.jsonl");
        let wanted = reference["questions"].as_array().unwrap();
        let lines: Vec<String> = wanted.iter().map(Value::to_string).collect();
        fs::write(&path, lines.join("\n")).unwrap();
        let asked = Questions::load(&path, &Settings::default()).unwrap().unwrap();
        let found = scored(encoder, decoder, None, (&asked.questions, form)).unwrap();
        assert_eq!(found.len(), wanted.len());
        for ((question, scores), wanted) in found.iter().zip(wanted) {
            let likelihoods: Vec<f64> = serde_json::from_value(wanted["log_likelihoods"].clone()).unwrap();
            for (score, wanted) in scores.iter().zip(likelihoods) {
                let difference = (score.loss + wanted).abs();
                assert!(
                    difference < 1e-3 + 1e-5 * wanted.abs(),
                    "{form:?} {question:?}: {} is not {wanted}",
                    -score.loss
                );
            }
        }
        let report = report(encoder, decoder, None, (&asked, form), EvaluatedModel::Base, "test").unwrap();
        assert_eq!(report.choice_form.as_deref(), Some(form.as_str()));
        for (name, harness) in [
            (metric::CHOICE_ACCURACY, "acc"),
            (metric::CHOICE_ACCURACY_NORM, "acc_norm"),
            (metric::CHOICE_ACCURACY_BYTES, "acc_bytes"),
        ] {
            let figure = report.figure(name).unwrap();
            let wanted_figure = reference["figures"][harness].as_f64().unwrap();
            assert!((figure.value - wanted_figure).abs() < 1e-12, "{form:?} {figure:?}");
            assert!(figure.interval.is_some() && figure.records == wanted.len() as u64);
        }
    }
}
