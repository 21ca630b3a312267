//! What an amount of CO2 compares to, with the source of every factor.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{CarbonError, files::small};

/// A factor between an everyday unit and CO2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    /// kg CO2-equivalent per unit.
    #[serde(deserialize_with = "above_zero")]
    pub kg_co2_per_unit: f64,
    /// The unit in words.
    pub unit: String,
    /// Where it comes from.
    pub source: String,
    /// Year of the figure.
    pub year: u16,
}

/// The factors that summaries use; every one can be replaced ([`EquivalenceTable::read`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EquivalenceTable {
    /// One mile driven.
    pub mile_driven: Factor,
    /// One smartphone charged.
    pub smartphone_charge: Factor,
    /// One gallon of gasoline burnt.
    pub gasoline_gallon: Factor,
    /// One tree growing for a year (absorbs). Figures for trees are contested; the unit says which is used.
    pub tree_year: Factor,
    /// Lowest and highest usual price of an offset, USD per tonne; offsets are never subtracted from emissions.
    #[serde(deserialize_with = "price_range")]
    pub offset_usd_per_tonne: [f64; 2],
    /// Where the prices come from.
    pub offset_source: String,
}

impl Default for EquivalenceTable {
    fn default() -> Self {
        let factor = |kg_co2_per_unit, unit: &str| Factor {
            kg_co2_per_unit,
            unit: unit.into(),
            source: "US EPA, Greenhouse Gas Equivalencies Calculator, calculations and references".into(),
            year: 2024,
        };
        Self {
            mile_driven: factor(0.393, "mile driven by an average US passenger car"),
            smartphone_charge: factor(0.0124, "smartphone charged"),
            gasoline_gallon: factor(8.887, "US gallon of gasoline burnt"),
            tree_year: factor(
                6.0,
                "urban tree seedling growing for one year (mean of its first ten; estimates for grown trees reach 22 kg)",
            ),
            offset_usd_per_tonne: [1.0, 300.0],
            offset_source: "spread of voluntary-market prices, from avoided deforestation to removals; \
                            the wide range is the message"
                .into(),
        }
    }
}

impl EquivalenceTable {
    /// The table in a TOML or (by its name) JSON file. Factors that the file does not give keep their defaults.
    ///
    /// Unknown keys, factors that are not above 0 and prices that are no range are refused with their line.
    pub fn read(path: &Path) -> Result<Self, CarbonError> {
        let bytes = small::read(path).map_err(CarbonError::file("read", path))?;
        let text = String::from_utf8_lossy(&bytes);
        let refused = |line: Option<u64>, message: &str| {
            let message = format!("is not a table of equivalences: {}", message.trim());
            Err(CarbonError::malformed(path, line, message))
        };
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
            return serde_json::from_str(&text)
                .or_else(|error| refused(Some(error.line() as u64), &error.to_string()));
        }
        toml_edit::de::from_str(&text).or_else(|error: toml_edit::de::Error| {
            let line = error
                .span()
                .map(|span| 1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count());
            refused(line.map(|line| line as u64), error.message())
        })
    }

    /// `kg_co2` in the table's units.
    pub fn of(&self, kg_co2: f64) -> Equivalencies {
        Equivalencies {
            miles_driven_equivalent: kg_co2 / self.mile_driven.kg_co2_per_unit,
            smartphones_charged: kg_co2 / self.smartphone_charge.kg_co2_per_unit,
            gasoline_gallons: kg_co2 / self.gasoline_gallon.kg_co2_per_unit,
            trees_to_offset_1year: kg_co2 / self.tree_year.kg_co2_per_unit,
        }
    }

    /// What offsetting `kg_co2` costs at both ends of the usual prices, in USD.
    pub fn offset_usd(&self, kg_co2: f64) -> [f64; 2] {
        self.offset_usd_per_tonne.map(|usd_per_tonne| usd_per_tonne * kg_co2 / 1000.0)
    }
}

/// An amount of CO2 in everyday units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Equivalencies {
    /// Miles driven by an average US passenger car.
    pub miles_driven_equivalent: f64,
    /// Smartphones charged.
    pub smartphones_charged: f64,
    /// US gallons of gasoline burnt.
    pub gasoline_gallons: f64,
    /// Trees that absorb it in one year, of the kind that the table names.
    pub trees_to_offset_1year: f64,
}

fn above_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    let is_allowed = number.is_finite() && number > 0.0;
    is_allowed.then_some(number).ok_or_else(|| D::Error::custom(format!("{number} is not a number above 0")))
}

fn price_range<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[f64; 2], D::Error> {
    let [low, high] = <[f64; 2]>::deserialize(deserializer)?;
    let is_allowed = low >= 0.0 && low <= high && high.is_finite();
    is_allowed
        .then_some([low, high])
        .ok_or_else(|| D::Error::custom(format!("[{low}, {high}] is not a range of prices from 0")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(name: &str, text: &str) -> Result<EquivalenceTable, CarbonError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        EquivalenceTable::read(&path)
    }

    const TREE: &str =
        "[tree_year]\nkg_co2_per_unit = 21\nunit = \"grown tree\"\nsource = \"a study\"\nyear = 2020\n";

    #[test]
    fn a_file_replaces_the_factors_that_it_gives() {
        let table = read("table.toml", TREE).unwrap();
        assert!((table.of(42.0).trees_to_offset_1year - 2.0).abs() < 1e-12);
        assert_eq!(table.mile_driven, EquivalenceTable::default().mile_driven);
        let json = serde_json::to_string(&table).unwrap();
        assert_eq!(read("table.json", &json).unwrap(), table);
    }

    #[test]
    fn unknown_keys_and_impossible_numbers_are_refused_with_their_line() {
        for (name, text, line, said) in [
            ("t.toml", TREE.replace("21", "-21"), 2, "-21"),
            ("t.toml", TREE.replace("21", "nan"), 2, "above 0"),
            ("t.toml", TREE.replace("tree_year", "tree_yeer"), 1, "tree_yeer"),
            ("t.toml", TREE.replace("\nunit =", "\nunti ="), 3, "unti"),
            ("t.toml", "\noffset_usd_per_tonne = [5.0, 1.0]".to_owned(), 2, "range of prices"),
            ("t.toml", "a = [".to_owned(), 1, "table of equivalences"),
            ("t.json", "{\n \"tree_yeer\": 1}".to_owned(), 2, "tree_yeer"),
        ] {
            let error = read(name, &text).unwrap_err();
            let CarbonError::Malformed { line: found, message, .. } = &error else { panic!("{error:?}") };
            assert_eq!(*found, Some(line), "{text}: {message}");
            assert!(message.contains(said), "{message}");
        }
        let missing = EquivalenceTable::read(Path::new("/nonexistent/table.toml")).unwrap_err();
        assert!(matches!(missing, CarbonError::File { .. }));
    }

    #[test]
    fn one_kilogram_in_everyday_units() {
        let one = EquivalenceTable::default().of(1.0);
        assert!((one.miles_driven_equivalent - 2.544_529).abs() < 1e-6);
        assert!((one.smartphones_charged - 80.645_161).abs() < 1e-6);
        assert!((one.trees_to_offset_1year - 0.166_667).abs() < 1e-6);
        assert!((one.gasoline_gallons - 0.112_524).abs() < 1e-6);
        let [low, high] = EquivalenceTable::default().offset_usd(10.0);
        assert!((low - 0.01).abs() < 1e-12 && (high - 3.0).abs() < 1e-12);
    }
}
