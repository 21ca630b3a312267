//! How a figure of energy is known: the one list of bases, and their words.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How a figure of energy, or what follows from one, is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Read from hardware counters.
    Measured,
    /// Computed from time, load and rated power, or a process's estimated share of a counter.
    #[default]
    Modelled,
    /// Some of it measured and some modelled.
    Mixed,
    /// Nobody says: the figure has no provenance.
    Unknown,
    /// An assumption on top of the energy.
    Estimated,
    /// From arithmetic that was counted, not from energy.
    Compute,
}

impl Basis {
    /// The word, as files and answers have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Modelled => "modelled",
            Self::Mixed => "mixed",
            Self::Unknown => "unknown",
            Self::Estimated => "estimated",
            Self::Compute => "compute",
        }
    }

    /// The basis of energy that `word` names; [`Basis::Unknown`] for any other word.
    pub fn of_energy(word: &str) -> Self {
        [Self::Measured, Self::Modelled, Self::Mixed]
            .into_iter()
            .find(|basis| basis.as_str() == word)
            .unwrap_or(Self::Unknown)
    }

    /// The basis of a sum of energies: theirs where they agree, [`Basis::Unknown`] where one of them is, else
    /// [`Basis::Mixed`]; `None` of no energies.
    pub fn of_sum(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        parts.into_iter().reduce(|sum, part| match (sum, part) {
            (sum, part) if sum == part => sum,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            _ => Self::Mixed,
        })
    }
}

/// Schema of the basis of a saving of energy, or null: the words that a saving can have.
pub fn of_saving(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ["measured", "modelled", "mixed", "compute", null] })
}

/// Schema of the basis of a piece of advice: the words that it can have.
pub fn of_advice(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ["measured", "modelled", "estimated"] })
}

/// Schema of the basis of one component's energy: the words that it can have.
pub fn of_component(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ["measured", "modelled"] })
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_basis_is_written_as_its_word() {
        use Basis::{Compute, Estimated, Measured, Mixed, Modelled, Unknown};
        for basis in [Measured, Modelled, Mixed, Unknown, Estimated, Compute] {
            assert_eq!(serde_json::to_value(basis).unwrap(), basis.as_str());
        }
        assert_eq!(["mixed", "compute", ""].map(Basis::of_energy), [Mixed, Unknown, Unknown]);
    }

    #[test]
    fn a_sum_is_known_as_well_as_its_parts() {
        use Basis::{Measured, Mixed, Modelled, Unknown};
        assert_eq!(Basis::of_sum([]), None);
        assert_eq!(Basis::of_sum([Measured, Measured]), Some(Measured));
        assert_eq!(Basis::of_sum([Measured, Modelled, Measured]), Some(Mixed));
        assert_eq!(Basis::of_sum([Mixed, Modelled]), Some(Mixed));
        assert_eq!(Basis::of_sum([Measured, Modelled, Unknown]), Some(Unknown));
    }
}
