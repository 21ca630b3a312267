//! What was saved: the baseline less AST, with its interval and how it is known.

use greentune_core_config::Basis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    figures::{Metered, RunFigures},
    rows::{ComparisonRow, Metric, mean_interval},
};
use crate::statistics::{IntervalSource, interval_of_mean, mean, ratio};

/// A figure with its bounds and its basis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quantity {
    /// The figure.
    pub value: f64,
    /// Its unit; `1` for shares.
    pub unit: String,
    /// Bounds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interval: Option<[f64; 2]>,
    /// Where the bounds come from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interval_from: Option<IntervalSource>,
    /// How it is known.
    pub basis: String,
}

/// The result of a comparison. Savings are baseline minus AST, so that more is better.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quantities {
    /// Accuracy of AST less that of the baseline.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accuracy_diff: Option<Quantity>,
    /// Share of the baseline's energy that was not used, PUE left out; with the basis `compute`, share of arithmetic.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub energy_savings: Option<Quantity>,
    /// Hours.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub time_savings_hours: Option<Quantity>,
    /// Money, in the currency of the price; absent where no price is set, or not the same one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cost_savings: Option<Quantity>,
    /// g CO2-equivalent; absent where carbon intensity or PUE differ.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub emissions_avoided_g: Option<Quantity>,
}

/// What was saved by `rows`, and how the saving of energy is known.
pub(super) fn quantities(
    rows: &[ComparisonRow],
    ast: &[RunFigures],
    baseline: &[RunFigures],
) -> (Quantities, Option<Basis>) {
    let saved = |metric, factor, unit: Option<&str>| savings(rows, metric, factor, unit);
    let (energy_savings, basis) = energy_savings(ast, baseline).unzip();
    let quantities = Quantities {
        accuracy_diff: saved(Metric::Accuracy, 1.0, None),
        energy_savings,
        time_savings_hours: saved(Metric::Time, -1.0 / 3600.0, Some("h")),
        cost_savings: saved(Metric::Cost, -1.0, None),
        emissions_avoided_g: saved(Metric::Emissions, -1.0, None),
    };
    (quantities, basis)
}

/// The difference of a row times `factor`.
fn savings(rows: &[ComparisonRow], metric: Metric, factor: f64, unit: Option<&str>) -> Option<Quantity> {
    let row = rows.iter().find(|row| row.metric == metric)?;
    let scaled = |[low, high]: [f64; 2]| {
        let (low, high) = (low * factor, high * factor);
        [low.min(high), low.max(high)]
    };
    Some(Quantity {
        value: row.difference? * factor,
        unit: unit.unwrap_or(&row.unit).to_owned(),
        interval: row.interval.map(scaled),
        interval_from: row.interval_from,
        basis: row.basis.clone(),
    })
}

/// Share of energy saved where all runs were metered, else of arithmetic.
fn energy_savings(ast: &[RunFigures], baseline: &[RunFigures]) -> Option<(Quantity, Basis)> {
    metered_savings(ast, baseline).or_else(|| compute_savings(ast, baseline))
}

fn metered_savings(ast: &[RunFigures], baseline: &[RunFigures]) -> Option<(Quantity, Basis)> {
    // Without PUE, which is of the building and not of the method.
    let kwh = |group: &[RunFigures]| per_seed(group, |run| run.meter.as_ref().map(|m| m.energy_kwh / m.pue));
    let ratio = ratio(&kwh(ast)?, &kwh(baseline)?)?;
    let interval = ratio
        .interval
        .or_else(|| Some((metered_ratio(ast, baseline)?, IntervalSource::Meter)))
        .map(|([low, high], source)| ([1.0 - high, 1.0 - low], source));
    // A file without a sidecar does not say that a counter was read.
    let of_run = |basis| if basis == Basis::Unknown { Basis::Modelled } else { basis };
    let meters = ast.iter().chain(baseline).filter_map(|run| run.meter.as_ref());
    let basis = Basis::of_sum(meters.map(|meter| of_run(meter.basis)))?;
    Some((quantity(1.0 - ratio.value, interval, basis), basis))
}

/// Least and greatest ratio of energies that the meters' intervals allow.
pub(super) fn metered_ratio(ast: &[RunFigures], baseline: &[RunFigures]) -> Option<[f64; 2]> {
    let ([low, high], [base_low, base_high]) = (meter_interval(ast)?, meter_interval(baseline)?);
    (base_low > 0.0).then(|| [low / base_high, high / base_low])
}

/// Mean of the meters' intervals of a group without PUE; `None` when a run has none.
pub(super) fn meter_interval(group: &[RunFigures]) -> Option<[f64; 2]> {
    let own = |meter: &Metered| meter.energy_interval.map(|interval| interval.map(|kwh| kwh / meter.pue));
    let intervals: Option<Vec<_>> = group.iter().map(|run| own(run.meter.as_ref()?)).collect();
    mean_interval(&intervals?)
}

/// From the arithmetic that was done on each side, where full training without a baseline counts as 1.
fn compute_savings(ast: &[RunFigures], baseline: &[RunFigures]) -> Option<(Quantity, Basis)> {
    ast.iter().chain(baseline).find_map(|run| run.compute_savings)?;
    let done = |run: &RunFigures| match (&run.ast, run.compute_savings) {
        (Some(_), saved) => saved.map(|saved| 1.0 - saved),
        (None, _) => Some(1.0),
    };
    let done_by_ast = per_seed(ast, done)?;
    let (ratio, interval) = if baseline.is_empty() {
        let done: Vec<f64> = done_by_ast.iter().map(|(_, done)| *done).collect();
        let interval = interval_of_mean(&done).map(|interval| (interval, IntervalSource::Seeds));
        (mean(&done)?, interval)
    } else {
        let estimate = ratio(&done_by_ast, &per_seed(baseline, done)?)?;
        (estimate.value, estimate.interval)
    };
    let interval = interval.map(|([low, high], source)| ([1.0 - high, 1.0 - low], source));
    let basis = Basis::Compute;
    Some((quantity(1.0 - ratio, interval, basis), basis))
}

/// A value of every run of `group`; `None` when a run has none.
fn per_seed(group: &[RunFigures], of: impl Fn(&RunFigures) -> Option<f64>) -> Option<Vec<(u64, f64)>> {
    group.iter().map(|run| Some((run.seed, of(run)?))).collect()
}

fn quantity(value: f64, interval: Option<([f64; 2], IntervalSource)>, basis: Basis) -> Quantity {
    Quantity {
        value,
        unit: String::from("1"),
        interval: interval.map(|(interval, _)| interval),
        interval_from: interval.map(|(_, source)| source),
        basis: basis.as_str().to_owned(),
    }
}
