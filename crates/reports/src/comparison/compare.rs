//! Compares two groups of runs: what was saved, and the caveats.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    caveats::{Caveat, caveats},
    figures::{Metered, RunFigures},
    rows::{ComparisonRow, Metric, energy_basis, mean_interval, rows},
    statistics::{IntervalSource, interval_of_mean, mean, paired, ratio},
};

/// How an energy saving is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnergySavingsBasis {
    /// Counters metered every component of all runs.
    Measured,
    /// All of it was computed from time, load and rated power.
    Modelled,
    /// Some was measured and some modelled.
    Mixed,
    /// Nothing was metered: derived from the arithmetic that was skipped.
    Compute,
}

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

/// Two groups of runs, compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The AST runs.
    pub ast: Vec<RunFigures>,
    /// Empty when there is none to compare with.
    pub baseline: Vec<RunFigures>,
    /// What was saved.
    pub quantities: Quantities,
    /// How the saving of energy is known; absent with it.
    pub energy_savings_basis: Option<EnergySavingsBasis>,
    /// One row per metric.
    pub rows: Vec<ComparisonRow>,
    /// What limits what this says.
    pub caveats: Vec<Caveat>,
}

/// Compares `ast` with `baseline`, which may be empty.
pub fn compare(ast: Vec<RunFigures>, baseline: Vec<RunFigures>) -> Comparison {
    let rows = rows(&ast, &baseline);
    let saved = |metric, factor, unit: Option<&str>| savings(&rows, metric, factor, unit);
    let (energy_savings, energy_savings_basis) = energy_savings(&ast, &baseline).unzip();
    let quantities = Quantities {
        accuracy_diff: saved(Metric::Accuracy, 1.0, None),
        energy_savings,
        time_savings_hours: saved(Metric::Time, -1.0 / 3600.0, Some("h")),
        cost_savings: saved(Metric::Cost, -1.0, None),
        emissions_avoided_g: saved(Metric::Emissions, -1.0, None),
    };
    let caveats = caveats(&ast, &baseline, &quantities, energy_savings_basis);
    Comparison { ast, baseline, quantities, energy_savings_basis, rows, caveats }
}

impl Comparison {
    /// Pairs of runs with the same seed, when both sides have the same seeds.
    pub fn pairs(&self) -> Option<usize> {
        let seeds = |group: &[RunFigures]| group.iter().map(|run| (run.seed, 0.0)).collect::<Vec<_>>();
        paired(&seeds(&self.ast), &seeds(&self.baseline)).map(|pairs| pairs.len())
    }
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
fn energy_savings(ast: &[RunFigures], baseline: &[RunFigures]) -> Option<(Quantity, EnergySavingsBasis)> {
    metered_savings(ast, baseline).or_else(|| compute_savings(ast, baseline))
}

fn metered_savings(ast: &[RunFigures], baseline: &[RunFigures]) -> Option<(Quantity, EnergySavingsBasis)> {
    // Without PUE, which is of the building and not of the method.
    let kwh = |group: &[RunFigures]| per_seed(group, |run| run.meter.as_ref().map(|m| m.energy_kwh / m.pue));
    let ratio = ratio(&kwh(ast)?, &kwh(baseline)?)?;
    let interval = ratio
        .interval
        .or_else(|| Some((metered_ratio(ast, baseline)?, IntervalSource::Meter)))
        .map(|([low, high], source)| ([1.0 - high, 1.0 - low], source));
    let basis = match energy_basis(ast, baseline) {
        "measured" => EnergySavingsBasis::Measured,
        // A file without a sidecar does not say that a counter was read.
        "modelled" | "unknown" => EnergySavingsBasis::Modelled,
        _ => EnergySavingsBasis::Mixed,
    };
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
fn compute_savings(ast: &[RunFigures], baseline: &[RunFigures]) -> Option<(Quantity, EnergySavingsBasis)> {
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
    let basis = EnergySavingsBasis::Compute;
    Some((quantity(1.0 - ratio, interval, basis), basis))
}

/// A value of every run of `group`; `None` when a run has none.
fn per_seed(group: &[RunFigures], of: impl Fn(&RunFigures) -> Option<f64>) -> Option<Vec<(u64, f64)>> {
    group.iter().map(|run| Some((run.seed, of(run)?))).collect()
}

fn quantity(value: f64, interval: Option<([f64; 2], IntervalSource)>, basis: EnergySavingsBasis) -> Quantity {
    Quantity {
        value,
        unit: String::from("1"),
        interval: interval.map(|(interval, _)| interval),
        interval_from: interval.map(|(_, source)| source),
        basis: basis.as_str().to_owned(),
    }
}

impl EnergySavingsBasis {
    /// The word of the contract.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Modelled => "modelled",
            Self::Mixed => "mixed",
            Self::Compute => "compute",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn group(kwh: &[f64]) -> Vec<RunFigures> {
        (0..).zip(kwh).map(|(seed, kwh)| RunFigures::example(seed, *kwh)).collect()
    }

    fn with_basis(basis: &'static str) -> Vec<RunFigures> {
        let mut runs = group(&[1.0]);
        runs[0].meter.iter_mut().for_each(|meter| meter.basis = basis);
        runs
    }

    #[test]
    fn a_saving_is_called_what_both_sides_are() {
        use EnergySavingsBasis::{Measured, Mixed, Modelled};
        for (ast, baseline, basis) in [
            ("measured", "measured", Measured),
            ("modelled", "modelled", Modelled),
            ("unknown", "unknown", Modelled),
            ("measured", "modelled", Mixed),
            ("modelled", "measured", Mixed),
            ("measured", "unknown", Mixed),
            ("mixed", "mixed", Mixed),
        ] {
            let comparison = compare(with_basis(ast), with_basis(baseline));
            assert_eq!(comparison.energy_savings_basis, Some(basis), "{ast} {baseline}");
        }
    }

    #[test]
    fn pue_is_no_saving() {
        let mut baseline = group(&[1.5]);
        for meter in baseline.iter_mut().filter_map(|run| run.meter.as_mut()) {
            meter.pue = 1.5;
        }
        let comparison = compare(group(&[1.0]), baseline);
        assert!(comparison.quantities.energy_savings.is_some_and(|saving| saving.value.abs() < 1e-12));
        assert_eq!(comparison.quantities.emissions_avoided_g, None);
    }

    #[test]
    fn arithmetic_that_selection_costs_is_no_saving() {
        let mut ast = group(&[1.0]);
        ast[0].meter = None;
        ast[0].ast = Some(greentune_core_config::settings::AstSettings::default());
        ast[0].compute_savings = Some(-1.0 / 3.0);
        let comparison = compare(ast, group(&[1.0]));
        assert_eq!(comparison.energy_savings_basis, Some(EnergySavingsBasis::Compute));
        assert!(comparison.quantities.energy_savings.is_some_and(|saving| saving.value < -0.33));
    }

    proptest! {
        #[test]
        fn savings_turn_with_the_sides(kwh in prop::collection::vec((0.8f64..1.2, 0.8f64..1.2), 1..6)) {
            let (a, b): (Vec<f64>, Vec<f64>) = kwh.into_iter().unzip();
            let there = compare(group(&a), group(&b)).quantities.energy_savings.unwrap();
            let back = compare(group(&b), group(&a)).quantities.energy_savings.unwrap();
            prop_assert!(((1.0 - there.value) * (1.0 - back.value) - 1.0).abs() < 1e-9);
            let ([low, high], [back_low, back_high]) = (there.interval.unwrap(), back.interval.unwrap());
            prop_assert!(low <= there.value && there.value <= high);
            prop_assert!(((1.0 - low) * (1.0 - back_high) - 1.0).abs() < 1e-6);
            prop_assert!(((1.0 - high) * (1.0 - back_low) - 1.0).abs() < 1e-6);
        }
    }
}
