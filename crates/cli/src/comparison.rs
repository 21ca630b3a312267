//! Models side by side, on every data set on which they were evaluated.

use greentune_core_config::{
    evaluation::{ClassificationReport, EvaluatedModel, EvaluationReport},
    manifest::RunManifest,
    quantities::{counted, number, percent},
};

use crate::table::table;

/// Stands where there is no figure.
const NONE: &str = "-";

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
    let row = |name: &str, figure: fn(&EvaluationReport) -> Option<String>| -> Vec<String> {
        let cells =
            reports.iter().map(|report| report.and_then(figure).unwrap_or_else(|| String::from(NONE)));
        std::iter::once(format!("  {name}")).chain(cells).collect()
    };
    let generated = reports.iter().flatten().map(|report| report.generated_records).max().unwrap_or(0);
    let generated = if generated > 0 { format!("; text generated for {generated}") } else { String::new() };
    let heading = vec![format!("{file} ({role}, {records}{generated})")];
    let figures = [
        row("perplexity", |report| Some(number(report.perplexity))),
        row("token accuracy", |report| Some(percent(report.token_accuracy))),
        row("exact match", |report| report.exact_match.map(percent)),
        row("BLEU", |report| report.bleu.map(number)),
    ];
    // Nothing was generated where a whole row has no figure.
    let known = figures.into_iter().filter(|row| row[1..].iter().any(|cell| cell != NONE));
    std::iter::once(heading).chain(known).collect()
}

#[cfg(test)]
mod tests {
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
}
