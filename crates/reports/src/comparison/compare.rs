//! Compares two groups of runs: what was saved, and the caveats.

use greentune_core_config::Basis;

use super::{
    caveats::{Caveat, caveats},
    figures::RunFigures,
    rows::{ComparisonRow, rows},
    savings::{Quantities, quantities},
};
use crate::statistics::paired;

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
    pub energy_savings_basis: Option<Basis>,
    /// One row per metric.
    pub rows: Vec<ComparisonRow>,
    /// What limits what this says.
    pub caveats: Vec<Caveat>,
    /// Whether the time is that of the energy; else it is of training alone.
    pub(crate) is_time_metered: bool,
}

/// Compares `ast` with `baseline`, which may be empty.
pub fn compare(mut ast: Vec<RunFigures>, mut baseline: Vec<RunFigures>) -> Comparison {
    let is_time_metered = share_scope(&mut ast, &mut baseline);
    let rows = rows(&ast, &baseline);
    let (quantities, energy_savings_basis) = quantities(&rows, &ast, &baseline);
    let caveats = caveats(&ast, &baseline, &quantities, energy_savings_basis);
    Comparison { ast, baseline, quantities, energy_savings_basis, rows, caveats, is_time_metered }
}

/// Gives every run the time of its energy, so that the two can be set against each other in one table. Where a run was not
/// metered, all keep the time of training; returns whether none was.
fn share_scope(ast: &mut [RunFigures], baseline: &mut [RunFigures]) -> bool {
    let metered =
        |run: &RunFigures| run.meter.as_ref().map(|meter| meter.seconds).filter(|seconds| *seconds > 0.0);
    let is_metered = ast.iter().chain(baseline.iter()).all(|run| metered(run).is_some());
    if is_metered {
        for run in ast.iter_mut().chain(baseline) {
            run.seconds = metered(run);
        }
    }
    is_metered
}

impl Comparison {
    /// What a saving of money in USD lacks, in words; `None` where nothing is missing.
    pub fn cost_lacks(&self) -> Option<String> {
        let runs = || self.ast.iter().chain(&self.baseline);
        let ids = |lacks: fn(&RunFigures) -> bool| -> String {
            runs().filter(|run| lacks(run)).map(|run| run.run_id.as_str()).collect::<Vec<_>>().join(", ")
        };
        let (unpriced, unmetered) = (ids(|run| run.price.is_none()), ids(|run| run.meter.is_none()));
        if !unpriced.is_empty() {
            return Some(format!(
                "a price: carbon.electricity_price_per_kwh (with carbon.electricity_currency = \"USD\") was not set for {unpriced}"
            ));
        }
        if self.baseline.is_empty() {
            return Some(String::from("a baseline"));
        }
        if !unmetered.is_empty() {
            return Some(format!("energy of all stages of {unmetered}"));
        }
        let first = self.ast.first()?.price.as_ref()?;
        if runs().any(|run| run.price.as_ref() != Some(first)) {
            return Some(String::from("one price: those of the runs differ"));
        }
        match first.currency.as_deref() {
            None => Some(String::from("a currency: carbon.electricity_currency is not set")),
            Some("USD") => None,
            Some(other) => Some(format!(
                "a price in USD: it is in {other}, in which quantities.cost_savings has the saving"
            )),
        }
    }

    /// Pairs of runs with the same seed, when both sides have the same seeds.
    pub fn pairs(&self) -> Option<usize> {
        let seeds = |group: &[RunFigures]| group.iter().map(|run| (run.seed, 0.0)).collect::<Vec<_>>();
        paired(&seeds(&self.ast), &seeds(&self.baseline)).map(|pairs| pairs.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::comparison::rows::Metric;

    fn group(kwh: &[f64]) -> Vec<RunFigures> {
        (0..).zip(kwh).map(|(seed, kwh)| RunFigures::example(seed, *kwh)).collect()
    }

    fn with_basis(basis: Basis) -> Vec<RunFigures> {
        let mut runs = group(&[1.0]);
        runs[0].meter.iter_mut().for_each(|meter| meter.basis = basis);
        runs
    }

    #[test]
    fn a_saving_is_called_what_both_sides_are() {
        use Basis::{Measured, Mixed, Modelled, Unknown};
        for (ast, baseline, basis) in [
            (Measured, Measured, Measured),
            (Modelled, Modelled, Modelled),
            (Unknown, Unknown, Modelled),
            (Measured, Modelled, Mixed),
            (Modelled, Measured, Mixed),
            (Measured, Unknown, Mixed),
            (Mixed, Mixed, Mixed),
        ] {
            let comparison = compare(with_basis(ast), with_basis(baseline));
            assert_eq!(comparison.energy_savings_basis, Some(basis), "{ast} {baseline}");
        }
    }

    #[test]
    fn time_and_energy_of_a_table_are_of_the_same_work() {
        let seconds =
            |run: &mut RunFigures, seconds| run.meter.iter_mut().for_each(|meter| meter.seconds = seconds);
        let (mut ast, mut baseline) = (group(&[1.0]), group(&[2.0]));
        seconds(&mut ast[0], 3600.0);
        seconds(&mut baseline[0], 7200.0);
        let time = |comparison: &Comparison| {
            let row = comparison.rows.iter().find(|row| row.metric == Metric::Time).unwrap();
            (row.ast.as_ref().unwrap().mean, comparison.is_time_metered)
        };
        // 1 kWh in an hour is 1 kW; the 100 s of training alone would make 36 kW of it.
        assert_eq!(time(&compare(ast.clone(), baseline.clone())), (3600.0, true));
        baseline[0].meter = None;
        assert_eq!(time(&compare(ast, baseline)), (100.0, false));
    }

    #[test]
    fn a_saving_of_money_says_what_it_lacks() {
        use crate::comparison::figures::Price;
        let priced = |currency: Option<&str>| {
            let mut runs = group(&[1.0]);
            runs[0].price = Some(Price { per_kwh: 0.3, currency: currency.map(String::from) });
            runs
        };
        for (ast, baseline, lack) in [
            (group(&[1.0]), priced(Some("USD")), Some("carbon.electricity_price_per_kwh")),
            (priced(Some("USD")), Vec::new(), Some("a baseline")),
            (priced(Some("USD")), priced(Some("EUR")), Some("differ")),
            (priced(None), priced(None), Some("carbon.electricity_currency")),
            (priced(Some("EUR")), priced(Some("EUR")), Some("it is in EUR")),
            (priced(Some("USD")), priced(Some("USD")), None),
        ] {
            let said = compare(ast, baseline).cost_lacks();
            assert_eq!(said.is_some(), lack.is_some(), "{said:?}");
            assert!(said.unwrap_or_default().contains(lack.unwrap_or_default()));
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
        assert_eq!(comparison.energy_savings_basis, Some(Basis::Compute));
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
