//! Carbon intensity of electricity: yearly figures by country and region, compiled in (`data/README.md`).

use std::sync::LazyLock;

use serde::Deserialize;

const TABLE: &str = include_str!("../data/carbon_intensity.csv");

/// Carbon intensity of the electricity of a place.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct CarbonIntensity {
    /// ISO 3166-1 alpha-3 code; empty for the world average.
    pub iso3: String,
    /// Country in English.
    pub country_name: String,
    /// State, province or zone in lower case; empty for the whole country.
    pub region: String,
    /// Short code of the region where it has one, such as `CA` or `NO4`.
    pub region_code: String,
    /// g CO2-equivalent per kWh.
    pub g_per_kwh: f64,
    /// Year of the figure.
    pub year: u16,
    /// Where it comes from, with the licence.
    pub source: String,
}

impl CarbonIntensity {
    /// The place in words, such as `United States (california)`.
    pub fn name(&self) -> String {
        match self.region.as_str() {
            "" => self.country_name.clone(),
            region => format!("{} ({region})", self.country_name),
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
    let iso3 = country_iso_code.trim().to_uppercase();
    let mut country = all().iter().filter(|row| row.iso3 == iso3 && !iso3.is_empty());
    let Some(whole) = country.clone().find(|row| row.region.is_empty()) else {
        let note = format!(
            "carbon intensity: no figure for country {country_iso_code:?}; the world average of {} g/kWh is used",
            WORLD.g_per_kwh
        );
        return Found { intensity: &WORLD, note: Some(note) };
    };
    let Some(region) = region.map(str::trim).filter(|region| !region.is_empty()) else {
        return Found { intensity: whole, note: None };
    };
    match country.find(|row| is_region(row, region)) {
        Some(row) => Found { intensity: row, note: None },
        None => Found {
            intensity: whole,
            note: Some(format!(
                "carbon intensity: no figure for region {region:?} of {iso3}; the country's is used"
            )),
        },
    }
}

/// The region of `country_iso_code` whose electricity emits least.
pub fn cleanest_region(country_iso_code: &str) -> Option<&'static CarbonIntensity> {
    all()
        .iter()
        .filter(|row| row.iso3 == country_iso_code && !row.region.is_empty())
        .min_by(|a, b| a.g_per_kwh.total_cmp(&b.g_per_kwh))
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

fn is_region(row: &CarbonIntensity, region: &str) -> bool {
    !row.region.is_empty()
        && (row.region.eq_ignore_ascii_case(region) || row.region_code.eq_ignore_ascii_case(region))
}

/// IEA 2019, the figure that CodeCarbon falls back to (its `carbon_intensity_per_source.json`).
static WORLD: LazyLock<CarbonIntensity> = LazyLock::new(|| CarbonIntensity {
    iso3: String::new(),
    country_name: "World".into(),
    region: String::new(),
    region_code: String::new(),
    g_per_kwh: 475.0,
    year: 2019,
    source: "IEA 2019 world average, by way of codecarbon 3.3.2 (MIT)".into(),
});

/// A region of a cloud provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// Such as `aws`.
    pub provider: String,
    /// Such as `eu-west-1`.
    pub region: String,
}

/// Where electricity is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// ISO 3166-1 alpha-3.
    pub country_iso_code: String,
    /// State, province or zone, by name or code.
    pub region: Option<String>,
    /// Region of a cloud provider.
    pub cloud: Option<Cloud>,
}

/// The grid's figure at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Where.
    pub place: Place,
    /// Country in English.
    pub country_name: String,
    /// g CO2-equivalent per kWh.
    pub g_per_kwh: f64,
    /// Relative half-width of the figure's interval.
    pub uncertainty: f64,
    /// Where the figure comes from.
    pub source: String,
    /// What had to be assumed.
    pub notes: Vec<String>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// Degrees north.
    pub latitude: Option<f64>,
}

/// Where the intensity comes from while a meter runs.
#[derive(Clone, Debug)]
pub struct GridSource(Grid);

impl GridSource {
    /// The yearly figure of a place.
    pub fn yearly(place: &Place) -> Self {
        let found = find(&place.country_iso_code, place.region.as_deref());
        let row = found.intensity;
        Self(Grid {
            place: place.clone(),
            country_name: row.country_name.clone(),
            g_per_kwh: row.g_per_kwh,
            uncertainty: 0.2,
            source: format!("{}, {}, {}", row.name(), row.year, row.source),
            notes: found.note.into_iter().collect(),
            longitude: None,
            latitude: None,
        })
    }

    /// The figure now.
    pub fn now(&self) -> Grid {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_read() {
        let lines = TABLE.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(all().len(), lines - 1);
        assert!(all().iter().filter(|row| row.region.is_empty()).count() > 200);
        assert!(all().contains(&WORLD));
        for row in all() {
            assert!((0.0..2000.0).contains(&row.g_per_kwh), "{row:?}");
            assert!((2009..=2026).contains(&row.year) && !row.source.is_empty(), "{row:?}");
        }
    }

    #[test]
    fn countries_and_regions_are_found_by_name_and_code() {
        // Values that codecarbon 3.3.2 uses for the same places.
        assert!((find("FRA", None).intensity.g_per_kwh - 56.039).abs() < 1e-9);
        let california = find("usa", Some("California"));
        assert!((california.intensity.g_per_kwh - 394.769 * 0.453_592_37).abs() < 1e-3);
        assert_eq!(california.note, None);
        assert_eq!(find("USA", Some("CA")), california);
        assert!((find("NOR", Some("NO4")).intensity.g_per_kwh - 51.7).abs() < 1e-9);
    }

    #[test]
    fn unknown_places_are_labelled() {
        let nowhere = find("XXX", Some("california"));
        assert!((nowhere.intensity.g_per_kwh - 475.0).abs() < 1e-9);
        assert!(nowhere.note.is_some_and(|note| note.contains("world average") && note.contains("XXX")));
        assert!(find("", None).note.is_some());
        let country = find("DEU", Some("bavaria"));
        assert_eq!(country.intensity, find("DEU", None).intensity);
        assert!(country.note.is_some_and(|note| note.contains("bavaria")));
    }

    #[test]
    fn cleanest_region_is_one_of_the_country() {
        assert_eq!(cleanest_region("USA").map(|row| row.region.as_str()), Some("vermont"));
        assert_eq!(cleanest_region("FRA"), None);
    }
}
