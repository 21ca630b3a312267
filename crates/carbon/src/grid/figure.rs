//! The figure that is used now, and how far it may be off.

use super::{
    Place,
    table::{self, CarbonIntensity, Found, Scope},
};

/// A yearly mean that stands for the hours of a run: annual accounts of facilities in the United States are off by up to
/// 35 % against hourly ones (Miller, Novan and Jenn 2022, Environ. Res. Lett. 17 044073; 30 % in the authors' repository).
pub(super) const YEAR_FOR_HOURS: f64 = 0.35;
/// Factors of the life cycle: gas 410 to 650 about 490 g/kWh, coal 740 to 910 about 820 (IPCC AR5 WG3 annex III, table 2).
pub(super) const LIFE_CYCLE_FACTORS: f64 = 0.25;
/// Mining, transport and building that a figure of combustion leaves out; assumed. Where hydro and nuclear power prevail
/// it is far more in relation, which a note says.
const COMBUSTION_ALONE: f64 = 0.2;
/// Share of the regions of a country (or the countries of the world) that an interval for an unknown one covers.
const COVERED: f64 = 0.9;

/// The carbon intensity of a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// The place as found: a cloud region names the country and region where it is.
    pub place: Place,
    /// Country in English.
    pub country_name: String,
    /// g CO2-equivalent per kWh.
    pub g_per_kwh: f64,
    /// Half-width of the interval, relative to the figure; `source` says what it rests on.
    pub uncertainty: f64,
    /// Where the figure comes from, with year and licence.
    pub source: String,
    /// What had to be assumed, and what went wrong.
    pub notes: Vec<String>,
}

/// The bundled yearly figure of `place`.
pub(super) fn yearly(place: &Place) -> Grid {
    let Found { intensity: row, note } = place.look_up();
    let (uncertainty, basis) = uncertainty(row);
    let scope = match row.scope {
        Scope::LifeCycle => "life cycle",
        Scope::Combustion => "combustion only",
    };
    let name = row.name();
    let CarbonIntensity { year, source, .. } = row;
    let mut notes: Vec<_> = note.into_iter().collect();
    if row.scope == Scope::Combustion {
        notes.push(format!(
            "carbon intensity: the figure of {name} counts combustion alone; hydro, nuclear, wind and sun are 0 in it"
        ));
    }
    Grid {
        place: as_found(place, row),
        country_name: row.country_name.clone(),
        g_per_kwh: row.g_per_kwh,
        uncertainty,
        source: format!("{name}, {year}, {source}; {scope}; +-{:.0} %: {basis}", 100.0 * uncertainty),
        notes,
    }
}

/// A cloud region tells country and region; else they stay as given.
fn as_found(place: &Place, row: &CarbonIntensity) -> Place {
    if row.provider.is_empty() {
        return Place { country_iso_code: place.country_iso_code.trim().to_uppercase(), ..place.clone() };
    }
    Place {
        country_iso_code: row.iso3.clone(),
        region: (!row.region.is_empty()).then(|| row.region.clone()),
        cloud: place.cloud.clone(),
    }
}

/// Independent errors: the root of the sum of their squares. Says what they rest on, too.
fn uncertainty(row: &CarbonIntensity) -> (f64, String) {
    let mut basis =
        vec![format!("yearly mean for the hours of a run {:.0} % (Miller 2022)", 100.0 * YEAR_FOR_HOURS)];
    let mut squares = YEAR_FOR_HOURS.powi(2);
    let mut add = |share: f64, why: &str| {
        squares += share.powi(2);
        basis.push(format!("{why} {:.0} %", 100.0 * share));
    };
    let spread = if row.iso3.is_empty() {
        Some((spread(table::countries(), row.g_per_kwh), "unknown country"))
    } else {
        let regions = || table::regions(&row.iso3);
        let whole = row.region.is_empty() && row.provider.is_empty() && regions().next().is_some();
        whole.then(|| (spread(regions(), row.g_per_kwh), "unknown region"))
    };
    if let Some((share, why)) = spread {
        add(share, why);
    }
    match row.scope {
        Scope::LifeCycle => add(LIFE_CYCLE_FACTORS, "life-cycle factors (IPCC 2014)"),
        Scope::Combustion => add(COMBUSTION_ALONE, "combustion for life cycle, assumed"),
    }
    (squares.sqrt(), basis.join(", "))
}

/// The relative distance from `mean` that the share [`COVERED`] of `rows` keeps.
fn spread(rows: impl Iterator<Item = &'static CarbonIntensity>, mean: f64) -> f64 {
    let mut distances: Vec<f64> = rows.map(|row| (row.g_per_kwh / mean - 1.0).abs()).collect();
    distances.sort_by(f64::total_cmp);
    let last = (COVERED * distances.len() as f64).ceil() as usize;
    distances.get(last.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::{Cloud, GridSource};

    fn at(country: &str, region: Option<&str>) -> Grid {
        let place =
            Place { country_iso_code: country.into(), region: region.map(str::to_owned), ..Place::default() };
        GridSource::yearly(&place).now()
    }

    #[test]
    fn a_yearly_figure_names_year_licence_and_basis() {
        let france = at("fra", None);
        assert_eq!((france.country_name.as_str(), france.place.country_iso_code.as_str()), ("France", "FRA"));
        assert!((france.g_per_kwh - 44.18).abs() < 1e-9 && (france.uncertainty - 0.43).abs() < 0.01);
        for part in ["2024", "CC-BY-4.0", "life cycle", "+-43 %", "Miller"] {
            assert!(france.source.contains(part), "{}", france.source);
        }
        assert!(france.notes.is_empty());
    }

    #[test]
    fn an_unknown_place_widens_the_interval() {
        let (state, country, nowhere) = (at("USA", Some("ohio")), at("USA", None), at("XXX", None));
        assert!(state.uncertainty > 0.35 && state.uncertainty < 0.5, "{state:?}");
        assert!(country.uncertainty > state.uncertainty, "{country:?}");
        assert!(country.source.contains("unknown region"), "{country:?}");
        assert!(nowhere.source.contains("unknown country") && nowhere.notes[0].contains("world average"));
        // The interval for an unknown country holds nine in ten of them.
        let half = spread(table::countries(), nowhere.g_per_kwh) * nowhere.g_per_kwh;
        let held = table::countries().filter(|row| (row.g_per_kwh - nowhere.g_per_kwh).abs() <= half).count();
        let share = held as f64 / table::countries().count() as f64;
        assert!((0.9..0.92).contains(&share), "{share}");
    }

    #[test]
    fn combustion_alone_is_said() {
        assert!(at("CAN", Some("quebec")).notes[0].contains("combustion alone"));
    }

    #[test]
    fn a_cloud_region_tells_where_it_is() {
        let cloud = Cloud { provider: "aws".into(), region: "ca-central-1".into() };
        let place = Place { country_iso_code: "USA".into(), region: None, cloud: Some(cloud.clone()) };
        let grid = GridSource::yearly(&place).now();
        assert_eq!(grid.country_name, "Canada");
        assert_eq!(
            grid.place,
            Place { country_iso_code: "CAN".into(), region: Some("quebec".into()), cloud: Some(cloud) }
        );
    }
}
