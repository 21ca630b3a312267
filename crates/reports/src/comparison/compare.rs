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
}

/// Compares `ast` with `baseline`, which may be empty.
pub fn compare(ast: Vec<RunFigures>, baseline: Vec<RunFigures>) -> Comparison {
    let rows = rows(&ast, &baseline);
    let (quantities, energy_savings_basis) = quantities(&rows, &ast, &baseline);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
