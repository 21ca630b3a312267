//! Figures of a model, each with its interval.

use std::collections::BTreeMap;

use greentune_core_config::{
    evaluation::{GenerationSample, IntervalMethod, MetricFigure, MetricInterval, metric},
    settings::EvaluationSettings,
};
use greentune_metrics::{
    BleuCounts, ChrfCounts, FieldCounts, Interval, Structured, bootstrap, rouge_l, wilson,
};

use super::{RecordScore, Scores};

/// Fields that have a figure of their own, at most: the most frequent ones, so that objects with countless keys do not
/// fill the report.
const FIELDS: usize = 50;

/// Perplexity and token accuracy. Tokens of one record are no independent draws, so that whole records are resampled.
pub(super) fn of_tokens(records: &[RecordScore]) -> Vec<MetricFigure> {
    let of = |name: &str, score: fn(Scores) -> f64| {
        resampled(name, records, |drawn| score(Scores::over(drawn.iter().copied())))
    };
    [
        of(metric::PERPLEXITY, |scores| scores.loss.exp()),
        of(metric::TOKEN_ACCURACY, |scores| scores.token_accuracy),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What `evaluation.metrics` asks for of generated texts.
pub(super) fn of_texts(settings: &EvaluationSettings, samples: &[GenerationSample]) -> Vec<MetricFigure> {
    if samples.is_empty() {
        return Vec::new();
    }
    let mut figures = Vec::new();
    let pairs = || samples.iter().map(|sample| (sample.generated.as_str(), sample.expected.as_str()));
    if settings.computes("exact_match") {
        let equal = pairs().filter(|(generated, expected)| generated == expected).count();
        figures.extend(share(metric::EXACT_MATCH, equal as u64, samples.len() as u64));
    }
    if settings.computes("bleu") {
        let counts: Vec<_> = pairs().map(|(text, wanted)| BleuCounts::of(text, wanted)).collect();
        let score = |drawn: &[&BleuCounts]| drawn.iter().copied().sum::<BleuCounts>().score();
        figures.extend(resampled(metric::BLEU, &counts, score));
    }
    if settings.computes("chrf") {
        let counts: Vec<_> = pairs().map(|(text, wanted)| ChrfCounts::of(text, wanted)).collect();
        let score = |drawn: &[&ChrfCounts]| drawn.iter().copied().sum::<ChrfCounts>().score();
        figures.extend(resampled(metric::CHRF, &counts, score));
    }
    if settings.computes("rouge_l") {
        let scores: Vec<_> = pairs().map(|(text, wanted)| rouge_l(text, wanted)).collect();
        let mean = |drawn: &[&f64]| drawn.iter().copied().sum::<f64>() / drawn.len() as f64;
        figures.extend(resampled(metric::ROUGE_L, &scores, mean));
    }
    if settings.computes("fields") {
        let records: Vec<_> = pairs().filter_map(|(text, wanted)| Structured::of(text, wanted)).collect();
        figures.extend(of_structured(&records));
    }
    figures
}

/// Figures of answers that are to be JSON objects; none where no record expects one.
fn of_structured(records: &[Structured]) -> Vec<MetricFigure> {
    if records.is_empty() {
        return Vec::new();
    }
    let count = |holds: fn(&Structured) -> bool| records.iter().filter(|record| holds(record)).count() as u64;
    let all = records.len() as u64;
    let fields =
        |drawn: &[&Structured]| drawn.iter().map(|record| record.counts()).sum::<FieldCounts>().share();
    let whole = [
        share(metric::JSON_PARSED, count(|record| record.parses), all),
        share(metric::JSON_EQUAL, count(|record| record.equal), all),
        resampled(metric::FIELD_ACCURACY, records, fields),
    ];
    whole.into_iter().flatten().chain(of_fields(records)).collect()
}

/// The share of right values of each field, over the records that have it in their reference.
fn of_fields(records: &[Structured]) -> Vec<MetricFigure> {
    let mut counts: BTreeMap<&str, FieldCounts> = BTreeMap::new();
    for (name, equal) in records.iter().flat_map(|record| &record.fields) {
        let count = counts.entry(name).or_default();
        count.all += 1;
        count.right += u64::from(*equal);
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(count.all));
    counts.truncate(FIELDS);
    let figure = |(name, FieldCounts { right, all })| share(&format!("{}{name}", metric::FIELD), right, all);
    counts.into_iter().filter_map(figure).collect()
}

/// A share of records, with Wilson's interval; `None` of no records.
pub(super) fn share(name: &str, right: u64, records: u64) -> Option<MetricFigure> {
    let interval = wilson(right, records)?;
    Some(MetricFigure {
        metric: name.to_owned(),
        value: right as f64 / records as f64,
        interval: Some(with_method(interval, IntervalMethod::Wilson)),
        records,
    })
}

/// A figure of whole records with the bootstrap's interval; `None` where it is no number, as of a model that diverged.
fn resampled<T>(name: &str, records: &[T], score: impl Fn(&[&T]) -> f64) -> Option<MetricFigure> {
    let value = Some(score(&records.iter().collect::<Vec<_>>())).filter(|value| value.is_finite())?;
    let interval = bootstrap(records, score).filter(|ends| ends.low.is_finite() && ends.high.is_finite());
    let interval = interval.map(|interval| with_method(interval, IntervalMethod::Bootstrap));
    Some(MetricFigure { metric: name.to_owned(), value, interval, records: records.len() as u64 })
}

const fn with_method(Interval { low, high }: Interval, method: IntervalMethod) -> MetricInterval {
    MetricInterval { low, high, method }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(generated: &str, expected: &str) -> GenerationSample {
        GenerationSample {
            prompt: String::from("p"),
            expected: expected.to_owned(),
            generated: generated.to_owned(),
        }
    }

    fn value(figures: &[MetricFigure], name: &str) -> Option<f64> {
        figures.iter().find(|figure| figure.metric == name).map(|figure| figure.value)
    }

    #[test]
    fn answers_in_json_are_judged_by_field_beside_those_that_are_none() {
        let samples = [
            sample(r#"{"a":1,"b":"x"}"#, r#"{"b":"x","a":1.0}"#),
            sample(r#"{"a":2,"b":"x"}"#, r#"{"a":1,"b":"x","c":0}"#),
            sample("not json", r#"{"a":1,"b":"x"}"#),
            sample("plain", "plain"),
        ];
        let figures = of_texts(&EvaluationSettings::default(), &samples);
        let found = [
            metric::EXACT_MATCH,
            metric::JSON_PARSED,
            metric::JSON_EQUAL,
            metric::FIELD_ACCURACY,
            "field.a",
            "field.b",
            "field.c",
        ]
        .map(|name| value(&figures, name).unwrap());
        let third = 1.0 / 3.0;
        let expected = [0.25, 2.0 / 3.0, third, 3.0 / 7.0, third, 2.0 / 3.0, 0.0];
        assert!(
            found.iter().zip(expected).all(|(found, wanted)| (found - wanted).abs() < 1e-12),
            "{found:?}"
        );
        let counted = figures.iter().find(|figure| figure.metric == "field.c").unwrap();
        assert_eq!((counted.records, counted.interval.unwrap().method), (1, IntervalMethod::Wilson));
    }

    #[test]
    fn the_settings_say_what_is_computed() {
        let samples = [sample("the cat sat down", "the cat sat up"), sample("a", "a")];
        let mut settings = EvaluationSettings::default();
        let names = |settings: &EvaluationSettings| -> Vec<String> {
            of_texts(settings, &samples).into_iter().map(|figure| figure.metric).collect()
        };
        assert_eq!(names(&settings), ["exact_match", "bleu", "chrf", "rouge_l"]);
        settings.metrics = vec![String::from("perplexity"), String::from("chrf")];
        assert_eq!(names(&settings), ["chrf"]);
        assert_eq!(of_texts(&EvaluationSettings::default(), &[]), []);
    }

    #[test]
    fn whole_records_are_resampled_and_what_is_no_number_has_no_figure() {
        let record = |tokens, loss, right| RecordScore { tokens, loss, right };
        let figures = of_tokens(&[record(10, 5.0, 9), record(30, 60.0, 3)]);
        let accuracy = &figures[1];
        assert!((accuracy.value - 0.3).abs() < 1e-12 && accuracy.records == 2);
        let interval = accuracy.interval.unwrap();
        assert!((interval.low - 0.1).abs() < 1e-12 && (interval.high - 0.9).abs() < 1e-12, "{interval:?}");
        assert!((figures[0].value - (65.0_f64 / 40.0).exp()).abs() < 1e-12);
        assert_eq!(of_tokens(&[record(1, f64::NAN, 0)]).len(), 1, "a perplexity of NaN is left out");
    }
}
