//! The rows of a comparison: one per metric.

use greentune_core_config::Basis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::figures::RunFigures;
use crate::statistics::{IntervalSource, Proportion, difference, interval_of_mean, mean, standard_deviation};

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of validation images (of a language model: of tokens) that are right after the last stage, in `[0, 1]`.
    Accuracy,
    /// Share of validation images whose class is among the five most likely, in `[0, 1]`.
    Top5Accuracy,
    /// Mean loss per validation image or token, in nats.
    ValidationLoss,
    /// Energy of all stages in kWh, PUE included.
    Energy,
    /// Emissions of all stages in g CO2-equivalent.
    Emissions,
    /// Seconds of all stages: of everything that the energy is of where all runs were metered, else of training alone.
    Time,
    /// Energy times the price in the run's settings.
    Cost,
    /// Samples that went through a forward and a backward pass.
    SamplesTrained,
    /// Share of candidates that was trained on while samples were selected, in `[0, 1]`.
    ActivationRate,
    /// Validation images or records behind the accuracy.
    Evaluated,
}

/// A metric of one run, or of a group of runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figure {
    /// Runs behind it.
    pub runs: usize,
    /// Their mean.
    pub mean: f64,
    /// The value of each of them, where they are several.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub values: Vec<f64>,
    /// Their standard deviation (n − 1); absent for one run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub standard_deviation: Option<f64>,
    /// Interval of the mean.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interval: Option<[f64; 2]>,
    /// Where the interval comes from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interval_from: Option<IntervalSource>,
}

/// A metric on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ComparisonRow {
    /// The metric.
    pub metric: Metric,
    /// Its name for readers.
    pub name: String,
    /// Unit of the figures; `1` for shares and counts.
    pub unit: String,
    /// The AST side.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ast: Option<Figure>,
    /// The baseline.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub baseline: Option<Figure>,
    /// AST less baseline; absent where they are not comparable.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub difference: Option<f64>,
    /// Interval of the difference.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interval: Option<[f64; 2]>,
    /// Where that interval comes from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interval_from: Option<IntervalSource>,
    /// How the figures were got.
    pub basis: String,
}

/// A metric's value in one run, with what that run alone says of its interval.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// Nothing more is known.
    Plain(f64),
    /// A share of validation records.
    Share(Proportion),
    /// What a meter says, and between which bounds.
    Metered(f64, Option<[f64; 2]>),
}

/// How a metric is read and called.
struct Reading {
    metric: Metric,
    name: &'static str,
    unit: &'static str,
    of: fn(&RunFigures) -> Option<Known>,
}

const READINGS: [Reading; 10] = [
    Reading {
        metric: Metric::Accuracy,
        name: "accuracy",
        unit: "1",
        of: |run| run.accuracy.map(Known::Share),
    },
    Reading {
        metric: Metric::Top5Accuracy,
        name: "top-5 accuracy",
        unit: "1",
        of: |run| run.top5_accuracy.map(Known::Share),
    },
    Reading {
        metric: Metric::ValidationLoss,
        name: "validation loss",
        unit: "nat",
        of: |run| run.validation_loss.map(Known::Plain),
    },
    Reading {
        metric: Metric::Energy,
        name: "energy",
        unit: "kWh",
        of: |run| run.meter.as_ref().map(|meter| Known::Metered(meter.energy_kwh, meter.energy_interval)),
    },
    Reading {
        metric: Metric::Emissions,
        name: "CO2",
        unit: "g",
        of: |run| run.meter.as_ref().map(|meter| Known::Metered(meter.emissions_g, meter.emissions_interval)),
    },
    Reading { metric: Metric::Time, name: "time", unit: "s", of: |run| run.seconds.map(Known::Plain) },
    Reading {
        metric: Metric::Cost,
        name: "cost",
        unit: "",
        of: |run| {
            let (meter, price) = (run.meter.as_ref()?, run.price.as_ref()?);
            let interval = meter.energy_interval.map(|interval| interval.map(|kwh| kwh * price.per_kwh));
            Some(Known::Metered(run.cost()?, interval))
        },
    },
    Reading {
        metric: Metric::SamplesTrained,
        name: "samples trained",
        unit: "1",
        of: |run| run.samples_trained.map(|samples| Known::Plain(samples as f64)),
    },
    Reading {
        metric: Metric::ActivationRate,
        name: "activation rate",
        unit: "1",
        of: |run| Some(Known::Plain(run.activation_rate)),
    },
    Reading {
        metric: Metric::Evaluated,
        name: "evaluated",
        unit: "1",
        of: |run| run.evaluated.map(|records| Known::Plain(records as f64)),
    },
];

impl Known {
    fn value(self) -> f64 {
        match self {
            Self::Plain(value) | Self::Metered(value, _) => value,
            Self::Share(share) => share.share,
        }
    }

    fn interval(self) -> Option<([f64; 2], IntervalSource)> {
        match self {
            Self::Plain(_) => None,
            Self::Share(share) => Some((share.interval(), IntervalSource::Records)),
            Self::Metered(_, interval) => interval.map(|interval| (interval, IntervalSource::Meter)),
        }
    }
}

/// The rows of all metrics that at least one run has; `baseline` may be empty.
pub(crate) fn rows(ast: &[RunFigures], baseline: &[RunFigures]) -> Vec<ComparisonRow> {
    READINGS.iter().filter_map(|reading| row(reading, ast, baseline)).collect()
}

fn row(reading: &Reading, ast: &[RunFigures], baseline: &[RunFigures]) -> Option<ComparisonRow> {
    let known = |group: &[RunFigures]| -> Vec<(u64, Known)> {
        group.iter().filter_map(|run| Some((run.seed, (reading.of)(run)?))).collect()
    };
    let (a, b) = (known(ast), known(baseline));
    let metric = reading.metric;
    let priced = || currencies(ast, baseline).len() == 1 && a.len() + b.len() == ast.len() + baseline.len();
    if a.is_empty() && b.is_empty() || metric == Metric::Cost && !priced() {
        return None;
    }
    let between = is_comparable(metric, ast, baseline).then(|| difference_of(&a, &b)).flatten();
    let interval = between.and_then(|(_, interval)| interval);
    let of_records = metric == Metric::Evaluated;
    let records = ast.first().map_or("records", RunFigures::records);
    Some(ComparisonRow {
        metric,
        name: if of_records { format!("{records} evaluated") } else { reading.name.to_owned() },
        unit: if metric == Metric::Cost {
            currencies(ast, baseline).join("")
        } else {
            reading.unit.to_owned()
        },
        ast: figure(&a),
        baseline: figure(&b),
        difference: between.map(|(value, _)| value),
        interval: interval.map(|(interval, _)| interval),
        interval_from: interval.map(|(_, source)| source),
        basis: basis(metric, ast, baseline),
    })
}

/// Whether AST less baseline means anything.
pub(crate) fn is_comparable(metric: Metric, ast: &[RunFigures], baseline: &[RunFigures]) -> bool {
    let runs = || ast.iter().chain(baseline);
    match metric {
        Metric::Emissions => same_grid(runs()),
        Metric::Cost => runs().all(|run| run.price == ast.first().and_then(|first| first.price.clone())),
        _ => true,
    }
}

/// Whether carbon intensity (within 1 %) and PUE are the same in all `runs` that were metered.
fn same_grid<'a>(runs: impl Iterator<Item = &'a RunFigures>) -> bool {
    let figures = runs.filter_map(|run| run.meter.as_ref()).map(|meter| (meter.g_per_kwh(), meter.pue));
    let bounds = figures.fold([f64::INFINITY, 0.0, f64::INFINITY, 0.0], |[a, b, c, d], (grid, pue)| {
        let grid = grid.unwrap_or(0.0);
        [a.min(grid), b.max(grid), c.min(pue), d.max(pue)]
    });
    bounds[1] <= bounds[0] * 1.01 && bounds[3] <= bounds[2] * (1.0 + 1e-9)
}

type Between = (f64, Option<([f64; 2], IntervalSource)>);

/// The difference: its interval is that of the seeds, else what the runs' own intervals allow.
fn difference_of(a: &[(u64, Known)], b: &[(u64, Known)]) -> Option<Between> {
    let values = |group: &[(u64, Known)]| -> Vec<_> {
        group.iter().map(|(seed, known)| (*seed, known.value())).collect()
    };
    let estimate = difference(&values(a), &values(b))?;
    let own = || {
        if let ([(_, Known::Share(a))], [(_, Known::Share(b))]) = (a, b) {
            return Some((a.interval_of_difference(b), IntervalSource::Records));
        }
        let (low, high) = (meter_interval(a)?, meter_interval(b)?);
        Some(([low[0] - high[1], low[1] - high[0]], IntervalSource::Meter))
    };
    Some((estimate.value, estimate.interval.or_else(own)))
}

/// Mean of the meters' intervals; `None` when a run has none.
fn meter_interval(group: &[(u64, Known)]) -> Option<[f64; 2]> {
    let intervals: Option<Vec<[f64; 2]>> = group
        .iter()
        .map(|(_, known)| match known {
            Known::Metered(_, interval) => *interval,
            _ => None,
        })
        .collect();
    mean_interval(&intervals?)
}

/// Mean of both ends.
pub(crate) fn mean_interval(intervals: &[[f64; 2]]) -> Option<[f64; 2]> {
    let end = |end: usize| mean(&intervals.iter().map(|interval| interval[end]).collect::<Vec<_>>());
    Some([end(0)?, end(1)?])
}

fn figure(group: &[(u64, Known)]) -> Option<Figure> {
    let values: Vec<f64> = group.iter().map(|(_, known)| known.value()).collect();
    let interval = match group {
        [(_, known)] => known.interval(),
        _ => interval_of_mean(&values).map(|interval| (interval, IntervalSource::Seeds)),
    };
    Some(Figure {
        runs: values.len(),
        mean: mean(&values)?,
        standard_deviation: standard_deviation(&values),
        interval: interval.map(|(interval, _)| interval),
        interval_from: interval.map(|(_, source)| source),
        values: if values.len() > 1 { values } else { Vec::new() },
    })
}

fn basis(metric: Metric, ast: &[RunFigures], baseline: &[RunFigures]) -> String {
    match metric {
        Metric::Accuracy | Metric::Top5Accuracy | Metric::ValidationLoss => String::from("validation"),
        Metric::Energy | Metric::Emissions | Metric::Cost => energy_basis(ast, baseline).to_string(),
        Metric::Time => String::from("clock"),
        Metric::SamplesTrained | Metric::ActivationRate | Metric::Evaluated => String::from("counted"),
    }
}

/// How the energy of both sides is known.
fn energy_basis(ast: &[RunFigures], baseline: &[RunFigures]) -> Basis {
    let meters = ast.iter().chain(baseline).filter_map(|run| run.meter.as_ref());
    Basis::of_sum(meters.map(|meter| meter.basis)).unwrap_or(Basis::Unknown)
}

/// The currencies of all prices, each once; words for one that the settings do not name.
fn currencies<'a>(ast: &'a [RunFigures], baseline: &'a [RunFigures]) -> Vec<&'a str> {
    let prices = ast.iter().chain(baseline).filter_map(|run| run.price.as_ref());
    let mut currencies: Vec<_> =
        prices.map(|price| price.currency.as_deref().unwrap_or("currency not named")).collect();
    currencies.sort_unstable();
    currencies.dedup();
    currencies
}
