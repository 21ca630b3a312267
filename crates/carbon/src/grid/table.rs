//! The yearly figures.

use std::sync::LazyLock;

use serde::Deserialize;

const TABLE: &str = include_str!("../../data/carbon_intensity.csv");

/// Carbon intensity of the electricity of a place.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct CarbonIntensity {
    /// `aws`, `azure` or `gcp` for a cloud region; else empty.
    pub provider: String,
    /// ISO 3166-1 alpha-3 code; empty for the world average.
    pub iso3: String,
    /// ISO 3166-1 alpha-2 code of a whole country; else empty.
    pub iso2: String,
    /// Country in English.
    pub country_name: String,
    /// State, province or zone in lower case; empty for the whole country. Of a cloud region: where it is.
    pub region: String,
    /// Short code of the region where it has one, such as `CA` or `NO4`. Of a cloud region: its name, such as `us-east-1`.
    pub region_code: String,
    /// g CO2-equivalent per kWh.
    pub g_per_kwh: f64,
    /// Year of the figure.
    pub year: u16,
    /// What is counted.
    pub scope: Scope,
    /// Where it comes from, with the licence.
    pub source: String,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Plants and fuels from their making on.
    LifeCycle,
    /// What leaves the plant's chimney; hydro, nuclear, wind and sun count 0.
    Combustion,
}

impl CarbonIntensity {
    /// The place in words, such as `United States (california)` or `aws us-east-1, United States (virginia)`.
    pub fn name(&self) -> String {
        let place = match self.region.as_str() {
            "" => self.country_name.clone(),
            region => format!("{} ({region})", self.country_name),
        };
        match self.provider.as_str() {
            "" => place,
            provider => format!("{provider} {}, {place}", self.region_code),
        }
    }
}

/// The figure for a place, and what had to be assumed to find one.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The figure.
    pub intensity: &'static CarbonIntensity,
    /// Why it is not the figure of the place that was asked for.
    pub note: Option<String>,
}

/// The intensity for a country (ISO 3166-1 alpha-3) and a region of it, by name or code, in any case.
///
/// A region without a figure gets the country's, a country without one the world average; a note says so.
pub fn find(country_iso_code: &str, region: Option<&str>) -> Found {
    let Some(whole) = country(country_iso_code) else {
        let note = format!(
            "carbon intensity: no figure for country {country_iso_code:?}; the world average of {} g/kWh is used",
            WORLD.g_per_kwh
        );
        return Found { intensity: &WORLD, note: Some(note) };
    };
    let Some(region) = region.map(str::trim).filter(|region| !region.is_empty()) else {
        return Found { intensity: whole, note: None };
    };
    match regions(&whole.iso3).find(|row| is_region(row, region)) {
        Some(row) => Found { intensity: row, note: None },
        None => Found {
            intensity: whole,
            note: Some(format!(
                "carbon intensity: no figure for region {region:?} of {}; the country's is used",
                whole.iso3
            )),
        },
    }
}

/// The region of `country_iso_code` whose electricity emits least.
pub fn cleanest_region(country_iso_code: &str) -> Option<&'static CarbonIntensity> {
    regions(country_iso_code).min_by(|a, b| a.g_per_kwh.total_cmp(&b.g_per_kwh))
}

/// The `n` regions of `provider` (`aws`, `azure`, `gcp`) whose electricity emits least, the cleanest first; with an empty
/// `provider` the `n` countries.
pub fn cleanest(provider: &str, n: usize) -> Vec<&'static CarbonIntensity> {
    let mut rows: Vec<_> = match provider {
        // Where next to nothing is generated, emissions were rounded to 0.
        "" => countries().filter(|row| row.g_per_kwh > 0.0).collect(),
        provider => cloud_regions(provider).collect(),
    };
    rows.sort_by(|a, b| a.g_per_kwh.total_cmp(&b.g_per_kwh));
    rows.truncate(n);
    rows
}

/// Every row of the table.
pub fn all() -> &'static [CarbonIntensity] {
    static ROWS: LazyLock<Vec<CarbonIntensity>> = LazyLock::new(|| {
        // A row that does not parse is a defect of the table; the tests compare the count with the file's.
        let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).from_reader(TABLE.as_bytes());
        reader.deserialize().filter_map(Result::ok).collect()
    });
    &ROWS
}

pub(super) fn countries() -> impl Iterator<Item = &'static CarbonIntensity> {
    all().iter().filter(|row| row.provider.is_empty() && row.region.is_empty() && !row.iso3.is_empty())
}

pub(super) fn country(country_iso_code: &str) -> Option<&'static CarbonIntensity> {
    let iso3 = country_iso_code.trim();
    countries().find(|row| row.iso3.eq_ignore_ascii_case(iso3))
}

pub(super) fn regions(iso3: &str) -> impl Iterator<Item = &'static CarbonIntensity> {
    all().iter().filter(move |row| row.provider.is_empty() && row.iso3 == iso3 && !row.region.is_empty())
}

pub(super) fn cloud_regions(provider: &str) -> impl Iterator<Item = &'static CarbonIntensity> {
    all().iter().filter(move |row| !row.provider.is_empty() && row.provider.eq_ignore_ascii_case(provider))
}

pub(super) fn is_region(row: &CarbonIntensity, region: &str) -> bool {
    row.region.eq_ignore_ascii_case(region) || row.region_code.eq_ignore_ascii_case(region)
}

/// Stands in for an unknown country: Ember, as in the table.
pub(super) static WORLD: LazyLock<CarbonIntensity> = LazyLock::new(|| CarbonIntensity {
    provider: String::new(),
    iso3: String::new(),
    iso2: String::new(),
    country_name: "World".into(),
    region: String::new(),
    region_code: String::new(),
    g_per_kwh: 472.94,
    year: 2024,
    scope: Scope::LifeCycle,
    source: "Ember yearly electricity data (CC-BY-4.0), by way of co2.js".into(),
});

#[cfg(test)]
mod tests {
    use greentune_core_config::country;

    use super::*;
    use crate::grid::{Cloud, Place};

    #[test]
    fn every_row_of_the_table_is_read() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(all().len(), lines - 1);
        assert!(countries().count() > 200);
        assert!(all().contains(&WORLD));
        for row in all() {
            assert!((0.0..2000.0).contains(&row.g_per_kwh), "{row:?}");
            assert!((2009..=2026).contains(&row.year) && !row.source.is_empty(), "{row:?}");
        }
        assert!(TABLE.len() < 150_000, "the table is compiled into every program");
    }

    #[test]
    fn countries_and_regions_are_found_by_name_and_code() {
        // Ember's figure of 2024, and values that codecarbon 3.3.2 uses for the same places.
        assert!((find("FRA", None).intensity.g_per_kwh - 44.18).abs() < 1e-9);
        assert_eq!(find(" fra ", None).intensity.iso2, "FR");
        let california = find("usa", Some("California"));
        assert!((california.intensity.g_per_kwh - 394.769 * 0.453_592_37).abs() < 1e-3);
        assert_eq!(california.note, None);
        assert_eq!(find("USA", Some("CA")), california);
        assert!((find("NOR", Some("NO4")).intensity.g_per_kwh - 51.7).abs() < 1e-9);
    }

    #[test]
    fn every_country_with_a_figure_can_be_named_in_settings() {
        let mut with_figures: Vec<_> =
            countries().map(|row| [&row.iso3[..], &row.iso2[..], &row.country_name[..]]).collect();
        with_figures.sort_unstable();
        let known: Vec<_> =
            country::countries().iter().map(|known| [known.alpha3, known.alpha2, known.name]).collect();
        assert_eq!(known, with_figures);
    }

    #[test]
    fn cloud_regions_are_where_their_provider_says() {
        let at = |provider: &str, region: &str| {
            let cloud = Cloud { provider: provider.into(), region: region.into() };
            Place { country_iso_code: "DEU".into(), region: None, cloud: Some(cloud) }.look_up()
        };
        // Google's own figure of 2025; elsewhere the figure of the state or country.
        let iowa = at("GCP", "us-central1").intensity;
        assert!((iowa.g_per_kwh - 431.95).abs() < 1e-9 && iowa.year == 2025, "{iowa:?}");
        let virginia = at("aws", "us-east-1").intensity;
        assert!((virginia.g_per_kwh - find("USA", Some("virginia")).intensity.g_per_kwh).abs() < 1e-9);
        assert_eq!(virginia.name(), "aws us-east-1, United States (virginia)");
        assert_eq!(at("azure", "francecentral").intensity.country_name, "France");
        let unknown = at("aws", "mars-north-1");
        assert_eq!(unknown.intensity.country_name, "Germany");
        assert!(unknown.note.is_some_and(|note| note.contains("mars-north-1") && note.contains("Germany")));
    }

    #[test]
    fn unknown_places_are_labelled() {
        let nowhere = find("XXX", Some("california"));
        assert_eq!(nowhere.intensity, &*WORLD);
        assert!(nowhere.note.is_some_and(|note| note.contains("world average") && note.contains("XXX")));
        assert!(find("", None).note.is_some());
        let country = find("DEU", Some("bavaria"));
        assert_eq!(country.intensity, find("DEU", None).intensity);
        assert!(country.note.is_some_and(|note| note.contains("bavaria")));
    }

    #[test]
    fn the_cleanest_are_of_their_kind_and_in_order() {
        assert_eq!(cleanest_region("USA").map(|row| row.region.as_str()), Some("vermont"));
        assert_eq!(cleanest_region("FRA"), None);
        let gcp = cleanest("gcp", 3);
        assert_eq!(
            gcp.iter().map(|row| row.region_code.as_str()).collect::<Vec<_>>(),
            ["northamerica-northeast1", "europe-west9", "europe-north2"]
        );
        assert!(cleanest("", 5).iter().all(|row| row.provider.is_empty() && row.region.is_empty()));
        assert!(cleanest("nimbus", 5).is_empty());
    }
}
