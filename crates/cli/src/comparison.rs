//! Models side by side, on every data set on which they were evaluated.

use greentune_core_config::{
    evaluation::{ClassificationReport, EvaluatedModel, EvaluationReport, metric},
    manifest::RunManifest,
    quantities::{counted, number, percent, range},
};

use crate::table::table;

/// Stands where there is no figure.
const NONE: &str = "-";
/// Figures that are shown of one data set, at most; answers in JSON may have one for each of many fields.
const MOST_ROWS: usize = 24;

/// Base model and stages of a run, as they were evaluated at the end of each stage; `None` before the first stage has
/// ended.
pub fn of_run(manifest: &RunManifest) -> Option<String> {
    // The newest report on a data set counts.
    let reports: Vec<_> = manifest.stages.iter().rev().flat_map(|stage| &stage.evaluations).collect();
    match manifest.stages.iter().rev().find_map(|stage| stage.classification.as_ref()) {
        Some(report) => Some(of_classifier(report)),
        None => (!reports.is_empty()).then(|| of_reports(&reports)),
    }
}

/// What a classifier got right.
pub fn of_classifier(report: &ClassificationReport) -> String {
    let top5 = report.top5_accuracy.map(|share| format!(", top-5 {}", percent(share)));
    let skipped = match report.skipped {
        0 => String::new(),
        skipped => format!("; {} could not be read", counted(skipped, "image")),
    };
    format!(
        "accuracy {}{} on {} ({}{skipped}), loss {}",
        percent(report.accuracy),
        top5.unwrap_or_default(),
        counted(report.images, "image"),
        report.dataset_role,
        number(report.loss),
    )
}

/// The models of `reports` side by side. Of several reports of one model on one data set, the first counts.
pub fn of_reports(reports: &[&EvaluationReport]) -> String {
    let mut models: Vec<_> = reports.iter().map(|report| report.model).collect();
    models.sort_by_key(|model| match model {
        EvaluatedModel::Base => 0,
        EvaluatedModel::Stage(stage) => *stage,
    });
    models.dedup();
    let mut roles: Vec<_> = reports.iter().map(|report| report.dataset_role.as_str()).collect();
    roles.sort_unstable();
    roles.dedup();
    let mut rows =
        vec![std::iter::once(String::new()).chain(models.iter().map(ToString::to_string)).collect()];
    for role in roles {
        let on_this =
            |model| move |report: &&&EvaluationReport| report.model == model && report.dataset_role == role;
        let found: Vec<_> =
            models.iter().map(|&model| reports.iter().find(on_this(model)).copied()).collect();
        rows.extend(figures(role, &found));
    }
    table(&rows)
}

/// The rows of one data set: a report, or none, per model.
fn figures(role: &str, reports: &[Option<&EvaluationReport>]) -> Vec<Vec<String>> {
    let first = reports.iter().flatten().next();
    let file = first.and_then(|report| report.dataset.file_stem()).unwrap_or_default().to_string_lossy();
    let records = first.map(|report| counted(report.records, "record")).unwrap_or_default();
    let generated = reports.iter().flatten().map(|report| report.generated_records).max().unwrap_or(0);
    let generated = if generated > 0 { format!("; text generated for {generated}") } else { String::new() };
    let heading = vec![format!("{file} ({role}, {records}{generated})")];
    let names = names(reports);
    let row = |name: &String| -> Vec<String> {
        let cells = reports
            .iter()
            .map(|report| report.and_then(|report| cell(report, name)).unwrap_or_else(|| String::from(NONE)));
        std::iter::once(format!("  {}", metric::in_words(name))).chain(cells).collect()
    };
    let further = names.len().saturating_sub(MOST_ROWS);
    let further = (further > 0).then(|| vec![format!("  and {}", counted(further as u64, "further figure"))]);
    // Nothing was generated where a whole row has no figure.
    let known = names.iter().take(MOST_ROWS).map(row).filter(|row| row[1..].iter().any(|cell| cell != NONE));
    std::iter::once(heading).chain(known).chain(further).collect()
}

/// Names of the figures of `reports`, the first report's order first. Reports from before figures had intervals have the
/// first four.
fn names(reports: &[Option<&EvaluationReport>]) -> Vec<String> {
    let mut names = [metric::PERPLEXITY, metric::TOKEN_ACCURACY, metric::EXACT_MATCH, metric::BLEU]
        .map(String::from)
        .to_vec();
    for figure in reports.iter().flatten().flat_map(|report| &report.figures) {
        if !names.contains(&figure.metric) {
            names.push(figure.metric.clone());
        }
    }
    names
}

/// A figure with its interval, where it has one.
fn cell(report: &EvaluationReport, name: &str) -> Option<String> {
    let words = |value: f64| metric::value_in_words(name, value);
    let Some(figure) = report.figure(name) else {
        return match name {
            metric::PERPLEXITY => Some(words(report.perplexity)),
            metric::TOKEN_ACCURACY => Some(words(report.token_accuracy)),
            metric::EXACT_MATCH => report.exact_match.map(words),
            metric::BLEU => report.bleu.map(words),
            _ => None,
        };
    };
    let interval = figure.interval.map(|interval| range([interval.low, interval.high], words));
    let interval = interval.map_or_else(String::new, |interval| format!(" ({interval})"));
    Some(words(figure.value) + &interval)
}

#[cfg(test)]
mod tests {
    use greentune_core_config::evaluation::{IntervalMethod, MetricFigure, MetricInterval};

    use super::*;

    fn report(model: EvaluatedModel, role: &str, accuracy: f64) -> EvaluationReport {
        EvaluationReport {
            model,
            dataset_role: role.to_owned(),
            dataset: format!("data/{}.jsonl", role.replace(' ', "_")).into(),
            records: 60,
            tokens: 900,
            loss: 1.0,
            perplexity: 2.5,
            token_accuracy: accuracy,
            exact_match: (accuracy > 0.5).then_some(0.25),
            bleu: None,
            generated_records: 16,
            samples: Vec::new(),
            choice_form: None,
            figures: Vec::new(),
        }
    }

    #[test]
    fn models_are_columns_and_data_sets_are_groups() {
        let reports = [
            report(EvaluatedModel::Stage(2), "stage2 validation", 0.9),
            report(EvaluatedModel::Base, "stage2 validation", 0.1),
            report(EvaluatedModel::Stage(1), "stage1 validation", 0.8),
            report(EvaluatedModel::Stage(1), "stage1 validation", 0.7),
        ];
        insta::assert_snapshot!(of_reports(&reports.iter().collect::<Vec<_>>()), @r"
                            base  stage 1  stage 2
        stage1_validation (stage1 validation, 60 records; text generated for 16)
          perplexity           -     2.50        -
          token accuracy       -   80.0 %        -
          exact match          -   25.0 %        -
        stage2_validation (stage2 validation, 60 records; text generated for 16)
          perplexity        2.50        -     2.50
          token accuracy  10.0 %        -   90.0 %
          exact match          -        -   25.0 %
        ");
    }

    #[test]
    fn figures_have_their_intervals_and_those_without_a_name_here_are_listed_too() {
        let figure = |metric: &str, value: f64, interval: Option<[f64; 2]>| MetricFigure {
            metric: metric.to_owned(),
            value,
            interval: interval.map(|[low, high]| MetricInterval {
                low,
                high,
                method: IntervalMethod::Bootstrap,
            }),
            records: 16,
        };
        let mut report = report(EvaluatedModel::Stage(1), "test", 0.8);
        report.figures = vec![
            figure(metric::TOKEN_ACCURACY, 0.8, Some([0.7, 0.875])),
            figure(metric::CHRF, 0.412, None),
            figure("field.age", 0.5, None),
        ];
        let shown = of_reports(&[&report]);
        let row = |name: &str| shown.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        assert_eq!(row("token accuracy"), "  token accuracy  80.0 % (70.0 % to 87.5 %)");
        assert!(row("exact match").ends_with(" 25.0 %"), "{shown}");
        assert!(row("chrF").ends_with(" 0.412") && row("field `age`").ends_with(" 50.0 %"), "{shown}");
        assert!(!shown.contains("BLEU"), "{shown}");
    }
}
