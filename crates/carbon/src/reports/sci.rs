//! Software Carbon Intensity (ISO/IEC 21031:2024): `(E * I + M) / R`, offsets excluded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a run is counted per, such as 1 500 000 `token trained`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FunctionalUnit {
    /// How many of them the run did; above 0.
    pub count: f64,
    /// One of them, in words.
    pub unit: String,
}

/// What making the hardware emitted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Embodied {
    /// kg CO2-equivalent of the whole machine, from its maker's data sheet.
    pub total_kg: f64,
    /// Years for which it is used.
    pub lifetime_years: f64,
    /// Share of the machine that the run had, from 0 to 1.
    pub share: f64,
}

/// The figure and its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sci {
    /// g CO2-equivalent per functional unit.
    pub g_per_unit: f64,
    /// The functional unit R.
    pub per: FunctionalUnit,
    /// E times I, in g CO2-equivalent.
    pub operational_g: f64,
    /// M, in g CO2-equivalent; absent without data on the hardware.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub embodied_g: Option<f64>,
    /// What the figure leaves out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
}

/// The figure for a run that used `energy_kwh` at `g_per_kwh` in `hours`; `None` when nothing was done.
///
/// M is the hardware's emissions times the share of its lifetime that the run took, times the share of it that it had.
/// Impossible figures of the hardware (a negative mass, no lifetime, a share outside 0 to 1) count as absent.
pub fn sci(
    energy_kwh: f64,
    g_per_kwh: f64,
    hours: f64,
    embodied: Option<Embodied>,
    per: &FunctionalUnit,
) -> Option<Sci> {
    let operational_g = energy_kwh * g_per_kwh;
    let embodied_g = embodied.and_then(|hardware| embodied_g(hardware, hours));
    let is_possible = per.count.is_finite() && per.count > 0.0 && operational_g.is_finite();
    is_possible.then(|| Sci {
        g_per_unit: (operational_g + embodied_g.unwrap_or_default()) / per.count,
        per: per.clone(),
        operational_g,
        embodied_g,
        note: embodied_g.is_none().then(|| {
            "embodied emissions (M) are left out, because none are known of this hardware; the figure is a lower bound"
                .to_owned()
        }),
    })
}

fn embodied_g(hardware: Embodied, hours: f64) -> Option<f64> {
    const HOURS_PER_YEAR: f64 = 8766.0;
    let Embodied { total_kg, lifetime_years, share } = hardware;
    let is_possible =
        total_kg.is_finite() && total_kg >= 0.0 && lifetime_years > 0.0 && (0.0..=1.0).contains(&share);
    is_possible.then(|| total_kg * 1000.0 * share * hours / (lifetime_years * HOURS_PER_YEAR))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(count: f64) -> FunctionalUnit {
        FunctionalUnit { count, unit: "token".into() }
    }

    #[test]
    fn operational_and_embodied_emissions_are_shared_among_the_units() {
        let hardware = Embodied { total_kg: 1000.0, lifetime_years: 4.0, share: 0.5 };
        let sci = sci(2.0, 400.0, 87.66, Some(hardware), &tokens(1e6)).unwrap();
        // 800 g of electricity; half a tonne over 35 064 h, of which 87.66 h: 1 250 g.
        assert!((sci.g_per_unit - 2050e-6).abs() < 1e-12, "{sci:?}");
        assert_eq!(sci.note, None);
    }

    #[test]
    fn what_is_unknown_is_said() {
        let known = sci(2.0, 400.0, 1.0, None, &tokens(1e6)).unwrap();
        assert!((known.g_per_unit - 800e-6).abs() < 1e-12);
        assert!(known.note.is_some_and(|note| note.contains("left out")));
        let impossible = Embodied { total_kg: 1000.0, lifetime_years: 0.0, share: 0.5 };
        assert_eq!(sci(2.0, 400.0, 1.0, Some(impossible), &tokens(1e6)).unwrap().embodied_g, None);
        assert_eq!(sci(2.0, 400.0, 1.0, None, &tokens(0.0)), None);
    }
}
