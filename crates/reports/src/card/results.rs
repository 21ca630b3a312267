//! How well the model does.

use greentune_core_config::{
    evaluation::{ClassificationReport, EvaluationReport, MetricFigure, metric},
    quantities::{energy, percent, percent_to, range},
};
use serde::Serialize;

use super::{
    Subject,
    figures::{accuracy, own_evaluation},
    inputs::data_name,
};
use crate::statistics::Proportion;

/// Classes beyond which no table goes by class.
const MOST_CLASSES: usize = 20;

/// The one figure of a short card.
#[derive(Debug, Serialize)]
pub(super) struct Headline {
    metric: &'static str,
    value: String,
    interval: Option<String>,
    data: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Classification {
    role: String,
    data: String,
    images: u64,
    accuracy: String,
    interval: String,
    top5: Option<String>,
    top5_interval: String,
    loss: String,
    per_class: Vec<ClassLine>,
    confusion: Option<Confusion>,
}

#[derive(Debug, Serialize)]
struct ClassLine {
    class: String,
    images: u64,
    recall: String,
    precision: String,
}

#[derive(Debug, Serialize)]
struct Confusion {
    classes: Vec<String>,
    rows: Vec<ConfusionRow>,
}

#[derive(Debug, Serialize)]
struct ConfusionRow {
    class: String,
    images: Vec<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct Evaluation {
    model: String,
    data: String,
    records: u64,
    perplexity: String,
    token_accuracy: String,
    exact_match: String,
    bleu: String,
}

/// A figure of the stage on its own data, with its interval.
#[derive(Debug, Serialize)]
pub(super) struct FigureLine {
    figure: String,
    value: String,
    interval: String,
    records: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct EpochLine {
    epoch: u64,
    stage: u8,
    activation_rate: String,
    threshold: String,
    scored: String,
    forced: String,
    train_loss: String,
    validation_loss: String,
    accuracy: String,
    energy: String,
}

pub(super) fn headline(subject: &Subject) -> Option<Headline> {
    if let Some(report) = &subject.stage.classification {
        return Some(Headline {
            metric: "Accuracy",
            value: percent_to(report.accuracy, 2),
            interval: interval(report.accuracy, report.images),
            data: format!("{} {} images", report.images, report.dataset_role),
        });
    }
    let report = own_evaluation(subject.stage)?;
    Some(Headline {
        metric: "Perplexity",
        value: format!("{:.3}", report.perplexity),
        interval: None,
        data: format!("{} records ({})", report.records, report.dataset_role),
    })
}

pub(super) fn classification(subject: &Subject) -> Option<Classification> {
    let report = subject.stage.classification.as_ref()?;
    let interval = |share| interval(share, report.images).unwrap_or_default();
    let is_small = report.classes.len() <= MOST_CLASSES;
    Some(Classification {
        role: report.dataset_role.clone(),
        data: data_name(&report.dataset),
        images: report.images,
        accuracy: percent_to(report.accuracy, 2),
        interval: interval(report.accuracy),
        top5: report.top5_accuracy.map(|share| percent_to(share, 2)),
        top5_interval: report.top5_accuracy.map(interval).unwrap_or_default(),
        loss: format!("{:.4}", report.loss),
        per_class: if is_small { per_class(report) } else { Vec::new() },
        confusion: is_small.then(|| confusion(report)),
    })
}

/// The interval of a share of `images`; none without images.
fn interval(share: f64, images: u64) -> Option<String> {
    let share = Proportion { share, trials: images };
    (images > 0).then(|| range(share.interval(), |end| percent_to(end, 2)))
}

fn per_class(report: &ClassificationReport) -> Vec<ClassLine> {
    let share = |share: Option<f64>| share.map_or(String::from("–"), percent);
    let classes = report.per_class().into_iter();
    classes
        .map(|figures| ClassLine {
            class: figures.class,
            images: figures.images,
            recall: share(figures.recall),
            precision: share(figures.precision),
        })
        .collect()
}

fn confusion(report: &ClassificationReport) -> Confusion {
    let rows = report.classes.iter().zip(&report.confusion);
    Confusion {
        classes: report.classes.clone(),
        rows: rows
            .map(|(class, images)| ConfusionRow { class: class.clone(), images: images.clone() })
            .collect(),
    }
}

pub(super) fn evaluations(subject: &Subject) -> Vec<Evaluation> {
    subject.stage.evaluations.iter().map(evaluation).collect()
}

fn evaluation(report: &EvaluationReport) -> Evaluation {
    let generated = |figure: Option<f64>| match figure {
        Some(figure) => format!("{figure:.3} of {}", report.generated_records),
        None => String::from("not generated"),
    };
    Evaluation {
        model: report.model.to_string(),
        data: report.dataset_role.clone(),
        records: report.records,
        perplexity: format!("{:.3}", report.perplexity),
        token_accuracy: format!("{:.3}", report.token_accuracy),
        exact_match: generated(report.exact_match),
        bleu: generated(report.bleu),
    }
}

/// The figures of the stage's own evaluation; none of runs from before figures had intervals.
pub(super) fn figures(subject: &Subject) -> Vec<FigureLine> {
    let report = own_evaluation(subject.stage);
    let line = |figure: &MetricFigure| {
        let words = |value: f64| metric::value_in_words(&figure.metric, value);
        let interval = figure.interval.map(|interval| range([interval.low, interval.high], words));
        FigureLine {
            figure: metric::in_words(&figure.metric),
            value: words(figure.value),
            interval: interval.unwrap_or_default(),
            records: figure.records,
        }
    };
    report.map(|report| report.figures.iter().map(line).collect()).unwrap_or_default()
}

pub(super) fn epochs(subject: &Subject) -> Vec<EpochLine> {
    let dash = || String::from("–");
    let all = subject.trained.iter().flat_map(|stage| &stage.epochs);
    all.map(|epoch| {
        let selection = epoch.selection.as_ref();
        EpochLine {
            epoch: epoch.epoch,
            stage: epoch.stage,
            activation_rate: selection
                .map_or(String::from("all"), |selection| percent(selection.activation_rate())),
            threshold: selection
                .and_then(|selection| selection.threshold)
                .map_or_else(dash, |at| format!("{at:.4}")),
            scored: selection.map_or_else(dash, |selection| selection.scored.to_string()),
            forced: selection.map_or_else(dash, |selection| selection.forced.to_string()),
            train_loss: format!("{:.4}", epoch.train_loss),
            validation_loss: format!("{:.4}", epoch.validation_loss),
            accuracy: percent_to(epoch.accuracy, 2),
            energy: epoch.energy_kwh.map_or_else(dash, energy),
        }
    })
    .collect()
}

/// What the figures can say and what not.
pub(super) fn statistics(subject: &Subject) -> Vec<String> {
    let mut caveats = vec![format!(
        "One run with one seed ({}): nothing here tells how much the figures vary between seeds, so a difference to \
         another single run is no evidence that one method is better.",
        subject.manifest().settings.training.seed
    )];
    if let Some(report) = &subject.stage.classification {
        caveats.push(format!(
            "Intervals of shares are Wilson's for {} images taken as independent draws; images of one scene or \
             source make them too narrow.",
            report.images
        ));
        if report.classes.len() <= MOST_CLASSES
            && let Some(fewest) = report.per_class().iter().map(|class| class.images).min()
        {
            caveats.push(format!("Figures by class rest on as few as {fewest} images."));
        }
    } else if let Some((_, tokens)) = accuracy(subject.stage) {
        caveats.push(format!(
            "Token accuracy is over {tokens} tokens, which are not independent of each other."
        ));
    }
    if subject.comparison.is_some_and(|comparison| comparison.saving.is_some()) {
        caveats.push(String::from(
            "A saving is that of one pair of runs. Its interval takes the errors of both meters as unrelated; on one \
             machine with one method they largely cancel, so that the interval is then wider than it need be.",
        ));
    }
    caveats
}
