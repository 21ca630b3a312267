//! Whether an evaluated stage is good enough, by the thresholds of the settings, and why not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    evaluation::{ClassificationReport, EvaluatedModel, EvaluationReport, MetricFigure, metric},
    manifest::RunManifest,
    quantities::range,
};
use crate::settings::{EvaluationSettings, EvaluationThresholds};

/// A figure beside the threshold that it must reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThresholdCheck {
    /// The setting that asks for it, such as `evaluation.stage1_threshold`.
    pub setting: String,
    /// Name of the figure.
    pub metric: String,
    /// The figure; absent when it was not computed, which does not pass.
    pub value: Option<f64>,
    /// What it must reach; perplexity must not exceed it.
    pub threshold: f64,
    /// Whether it does.
    pub passed: bool,
    /// The same in a sentence, with what makes it doubtful.
    pub reason: String,
}

/// The checks of `stage` of a run whose report on other data is `report`: accuracy against the stage's threshold, what
/// `evaluation.thresholds` asks for, and of stage 2 what it keeps of stage 1.
///
/// The accuracy of multiple choice is the share of right choices, of everything else that of tokens.
pub fn checks(manifest: &RunManifest, stage: u8, report: &EvaluationReport) -> Vec<ThresholdCheck> {
    let settings = &manifest.settings.evaluation;
    let mut checks = of_report(settings, stage, report);
    if stage > 1 {
        checks.push(forgetting(settings, earlier_report(manifest, 2), earlier_report(manifest, 1)));
    }
    checks
}

fn of_report(settings: &EvaluationSettings, stage: u8, report: &EvaluationReport) -> Vec<ThresholdCheck> {
    let has_choices = report.figure(metric::CHOICE_ACCURACY).is_some();
    let accuracy = if has_choices { metric::CHOICE_ACCURACY } else { metric::TOKEN_ACCURACY };
    let of_figure = |setting: &str, name: &str, threshold: f64| {
        check(setting, name, figure(report, name).as_ref(), threshold, &report.dataset_role)
    };
    let further = thresholds(&settings.thresholds).into_iter();
    let further =
        further.map(|(name, threshold)| of_figure(&format!("evaluation.thresholds.{name}"), name, threshold));
    [of_figure(stage_setting(stage), accuracy, stage_threshold(settings, stage))]
        .into_iter()
        .chain(further)
        .collect()
}

/// The check of an image classifier: accuracy against the stage's threshold.
pub fn classification_checks(
    manifest: &RunManifest,
    stage: u8,
    report: &ClassificationReport,
) -> Vec<ThresholdCheck> {
    let threshold = stage_threshold(&manifest.settings.evaluation, stage);
    let figure = MetricFigure {
        metric: String::from("accuracy"),
        value: report.accuracy,
        interval: None,
        records: report.images,
    };
    vec![check(stage_setting(stage), "accuracy", Some(&figure), threshold, &report.dataset_role)]
}

/// The threshold of a stage's accuracy.
pub fn stage_threshold(settings: &EvaluationSettings, stage: u8) -> f64 {
    if stage == 2 { settings.stage2_threshold } else { settings.stage1_threshold }
}

/// The setting that has it.
pub const fn stage_setting(stage: u8) -> &'static str {
    if stage == 2 { "evaluation.stage2_threshold" } else { "evaluation.stage1_threshold" }
}

/// What the settings ask for besides accuracy, by the names of figures.
fn thresholds(asked: &EvaluationThresholds) -> Vec<(&'static str, f64)> {
    let all = [
        (metric::PERPLEXITY, asked.perplexity),
        (metric::EXACT_MATCH, asked.exact_match),
        (metric::BLEU, asked.bleu),
        (metric::CHRF, asked.chrf),
        (metric::ROUGE_L, asked.rouge_l),
        (metric::JSON_PARSED, asked.json_parsed),
        (metric::JSON_EQUAL, asked.json_equal),
        (metric::FIELD_ACCURACY, asked.field_accuracy),
        (metric::CUSTOM, asked.custom),
    ];
    all.into_iter().filter_map(|(name, threshold)| Some((name, threshold?))).collect()
}

/// What stage 2 keeps of stage 1: its token accuracy on stage 1's validation records, as it was evaluated when the stage
/// had ended (`kept`), beside that of stage 1 (`before`).
fn forgetting(
    settings: &EvaluationSettings,
    kept: Option<&EvaluationReport>,
    before: Option<&EvaluationReport>,
) -> ThresholdCheck {
    let kept = kept.and_then(|report| figure(report, metric::TOKEN_ACCURACY));
    let mut check = check(
        "evaluation.sequential_threshold",
        metric::TOKEN_ACCURACY,
        kept.as_ref(),
        settings.sequential_threshold,
        "stage 1's validation records",
    );
    if let (Some(_), Some(before)) = (kept, before) {
        let before = metric::value_in_words(metric::TOKEN_ACCURACY, before.token_accuracy);
        check.reason = format!("{}; stage 1 had {before} there", check.reason);
    }
    check
}

/// The report of `stage` on stage 1's validation records, which stage 2 may have as its own.
fn earlier_report(manifest: &RunManifest, stage: u8) -> Option<&EvaluationReport> {
    let record = manifest.stages.iter().find(|record| record.stage == stage)?;
    let own = || record.evaluations.iter().filter(|report| report.model == EvaluatedModel::Stage(stage));
    own()
        .find(|report| report.dataset_role == "stage1 validation")
        .or_else(|| own().find(|report| report.dataset == manifest.data.validation))
}

/// The figure of that name, also of a report from before figures had intervals.
fn figure(report: &EvaluationReport, name: &str) -> Option<MetricFigure> {
    let without_interval = |value: Option<f64>, records: u64| {
        value.map(|value| MetricFigure { metric: name.to_owned(), value, interval: None, records })
    };
    report.figure(name).cloned().or_else(|| match name {
        metric::PERPLEXITY => without_interval(Some(report.perplexity), report.records),
        metric::TOKEN_ACCURACY => without_interval(Some(report.token_accuracy), report.records),
        metric::EXACT_MATCH => without_interval(report.exact_match, report.generated_records),
        metric::BLEU => without_interval(report.bleu, report.generated_records),
        _ => None,
    })
}

fn check(
    setting: &str,
    name: &str,
    figure: Option<&MetricFigure>,
    threshold: f64,
    data: &str,
) -> ThresholdCheck {
    let words = |value: f64| metric::value_in_words(name, value);
    let is_limit = name == metric::PERPLEXITY;
    let passes = |value: f64| if is_limit { value <= threshold } else { value >= threshold };
    let passed = figure.is_some_and(|figure| passes(figure.value));
    let label = metric::in_words(name);
    let reason = match figure {
        None => format!("{label} was not computed on {data}, and {setting} asks for {}", words(threshold)),
        Some(figure) => {
            let verb = match (passed, is_limit) {
                (true, true) => "keeps within",
                (true, false) => "reaches",
                (false, true) => "exceeds",
                (false, false) => "does not reach",
            };
            let bounds = figure.interval.map(|interval| [interval.low, interval.high]);
            let interval = bounds.map_or_else(String::new, |bounds| format!(" ({})", range(bounds, words)));
            // Other records of the same kind could have decided otherwise.
            let is_doubtful = bounds.is_some_and(|[low, high]| passes(low) != passes(high));
            let doubt = if is_doubtful { ", which lies within its interval" } else { "" };
            format!(
                "{label} {}{interval} on {data} {verb} {} of {setting}{doubt}",
                words(figure.value),
                words(threshold)
            )
        }
    };
    let (setting, metric, value) = (setting.to_owned(), name.to_owned(), figure.map(|figure| figure.value));
    ThresholdCheck { setting, metric, value, threshold, passed, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::{IntervalMethod, MetricInterval};

    fn report(token_accuracy: f64, figures: Vec<MetricFigure>) -> EvaluationReport {
        EvaluationReport {
            model: EvaluatedModel::Stage(1),
            dataset_role: String::from("test"),
            dataset: "test.jsonl".into(),
            records: 50,
            tokens: 900,
            loss: 1.0,
            perplexity: 2.5,
            token_accuracy,
            exact_match: Some(0.5),
            bleu: None,
            generated_records: 16,
            samples: Vec::new(),
            choice_form: None,
            figures,
        }
    }

    fn figure_of(metric: &str, value: f64, low: f64, high: f64) -> MetricFigure {
        let interval = Some(MetricInterval { low, high, method: IntervalMethod::Bootstrap });
        MetricFigure { metric: metric.to_owned(), value, interval, records: 50 }
    }

    #[test]
    fn each_threshold_is_decided_with_its_reason() {
        let mut settings = EvaluationSettings::default();
        settings.thresholds.perplexity = Some(2.0);
        settings.thresholds.exact_match = Some(0.5);
        settings.thresholds.chrf = Some(0.4);
        let report = report(0.72, vec![figure_of(metric::TOKEN_ACCURACY, 0.72, 0.66, 0.77)]);
        let checks = of_report(&settings, 1, &report);
        let found: Vec<_> = checks.iter().map(|check| (check.passed, check.reason.as_str())).collect();
        assert_eq!(
            found,
            [
                (
                    true,
                    "token accuracy 72.0 % (66.0 % to 77.0 %) on test reaches 70.0 % of \
                     evaluation.stage1_threshold, which lies within its interval"
                ),
                (false, "perplexity 2.50 on test exceeds 2.00 of evaluation.thresholds.perplexity"),
                (true, "exact match 50.0 % on test reaches 50.0 % of evaluation.thresholds.exact_match"),
                (false, "chrF was not computed on test, and evaluation.thresholds.chrf asks for 0.400"),
            ]
        );
    }

    #[test]
    fn the_stages_threshold_is_on_choices_where_there_are_some() {
        let report = report(0.9, vec![figure_of(metric::CHOICE_ACCURACY, 0.4, 0.3, 0.5)]);
        let checks = of_report(&EvaluationSettings::default(), 2, &report);
        let [check] = &checks[..] else { panic!("{checks:?}") };
        assert_eq!((check.metric.as_str(), check.passed), ("choice_accuracy", false));
        assert_eq!(check.setting, "evaluation.stage2_threshold");
    }

    #[test]
    fn what_stage_2_forgot_does_not_pass_and_neither_does_what_nobody_measured() {
        let settings = EvaluationSettings::default();
        let before = report(0.82, Vec::new());
        let forgot = forgetting(&settings, Some(&report(0.55, Vec::new())), Some(&before));
        assert!(!forgot.passed);
        assert_eq!(
            forgot.reason,
            "token accuracy 55.0 % on stage 1's validation records does not reach 60.0 % of \
             evaluation.sequential_threshold; stage 1 had 82.0 % there"
        );
        assert!(forgetting(&settings, Some(&report(0.6, Vec::new())), None).passed);
        let unknown = forgetting(&settings, None, Some(&before));
        assert!(!unknown.passed && unknown.value.is_none());
        assert!(unknown.reason.contains("was not computed"), "{}", unknown.reason);
    }
}
