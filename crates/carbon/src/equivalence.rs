//! What an amount of CO2 compares to, with the source of every factor.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A factor between an everyday unit and CO2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Factor {
    /// kg CO2-equivalent per unit.
    pub kg_co2_per_unit: f64,
    /// The unit in words.
    pub unit: String,
    /// Where it comes from, with the year.
    pub source: String,
}

/// The factors that summaries use; every one can be replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EquivalenceTable {
    /// One mile driven.
    pub mile_driven: Factor,
    /// One smartphone charged.
    pub smartphone_charge: Factor,
    /// One tree growing for a year (absorbs).
    pub tree_year: Factor,
    /// Lowest and highest usual price of an offset, USD per tonne; offsets are never subtracted from emissions.
    pub offset_usd_per_tonne: [f64; 2],
}

impl Default for EquivalenceTable {
    fn default() -> Self {
        let factor = |kg_co2_per_unit, unit: &str, source: &str| Factor {
            kg_co2_per_unit,
            unit: unit.into(),
            source: source.into(),
        };
        let epa = "US EPA, Greenhouse Gas Equivalencies Calculator, calculations and references (as of 2024)";
        Self {
            mile_driven: factor(0.393, "mile driven by an average US passenger car", epa),
            smartphone_charge: factor(0.0124, "smartphone charged", epa),
            tree_year: factor(
                6.0,
                "urban tree seedling growing for one year (mean of its first ten; estimates for grown trees reach 22 kg)",
                epa,
            ),
            // The spread of voluntary-market prices; the wide range is the message.
            offset_usd_per_tonne: [1.0, 300.0],
        }
    }
}

impl EquivalenceTable {
    /// `kg_co2` in the table's units.
    pub fn of(&self, kg_co2: f64) -> Equivalencies {
        Equivalencies {
            miles_driven_equivalent: kg_co2 / self.mile_driven.kg_co2_per_unit,
            smartphones_charged: kg_co2 / self.smartphone_charge.kg_co2_per_unit,
            trees_to_offset_1year: kg_co2 / self.tree_year.kg_co2_per_unit,
        }
    }
}

/// An amount of CO2 in everyday units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Equivalencies {
    /// Miles driven by an average US passenger car.
    pub miles_driven_equivalent: f64,
    /// Smartphones charged.
    pub smartphones_charged: f64,
    /// Tree seedlings that absorb it in one year.
    pub trees_to_offset_1year: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kilogram_in_everyday_units() {
        let one = EquivalenceTable::default().of(1.0);
        assert!((one.miles_driven_equivalent - 2.544_529).abs() < 1e-6);
        assert!((one.smartphones_charged - 80.645_161).abs() < 1e-6);
        assert!((one.trees_to_offset_1year - 0.166_667).abs() < 1e-6);
    }
}
