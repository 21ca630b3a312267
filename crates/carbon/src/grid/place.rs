//! Where electricity is drawn.

use greentune_core_config::country;

use super::table::{self, CarbonIntensity, Found};
use crate::CarbonError;

/// Names that a hint lists at most.
const NEAREST: usize = 3;
/// Below this likeness a name is no help.
const ALIKE: f64 = 0.5;
const PROVIDERS: [&str; 3] = ["aws", "azure", "gcp"];

/// Where electricity is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// ISO 3166-1 alpha-3.
    pub country_iso_code: String,
    /// State, province or zone in that country, by name or code.
    pub region: Option<String>,
    /// Region of a cloud provider; goes before country and region.
    pub cloud: Option<Cloud>,
}

/// A region of a cloud provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// `aws`, `azure` or `gcp`.
    pub provider: String,
    /// The provider's name of the region, such as `us-east-1`.
    pub region: String,
}

impl Place {
    /// The intensity for this place. A cloud region that is not in the table gets the figure of country and region.
    pub(super) fn look_up(&self) -> Found {
        let on_the_ground = || table::find(&self.country_iso_code, self.region.as_deref());
        let Some(cloud) = &self.cloud else { return on_the_ground() };
        let provider = cloud.provider.trim();
        let known = table::cloud_regions(provider)
            .find(|row| row.region_code.eq_ignore_ascii_case(cloud.region.trim()));
        if let Some(intensity) = known {
            return Found { intensity, note: None };
        }
        let Found { intensity, note } = on_the_ground();
        let mut why = format!(
            "carbon intensity: no figure for {provider} {:?}; that of {} is used",
            cloud.region,
            intensity.name()
        );
        if let Some(note) = note {
            why = format!("{why} ({note})");
        }
        Found { intensity, note: Some(why) }
    }

    /// Checks that there is a figure for every name. A region of a country that has no figures by region passes: the
    /// country's is the best there is.
    ///
    /// # Errors
    /// [`CarbonError::UnknownPlace`] with the nearest names.
    pub fn check(&self) -> Result<(), CarbonError> {
        match &self.cloud {
            Some(cloud) => cloud.check(),
            None => self.check_country(),
        }
    }

    fn check_country(&self) -> Result<(), CarbonError> {
        let Some(country) = table::country(&self.country_iso_code) else {
            return Err(unknown_country(&self.country_iso_code));
        };
        let Some(region) = self.region.as_deref().map(str::trim).filter(|region| !region.is_empty()) else {
            return Ok(());
        };
        let rows: Vec<_> = table::regions(&country.iso3).collect();
        if rows.is_empty() || rows.iter().any(|row| table::is_region(row, region)) {
            return Ok(());
        }
        let nearest =
            nearest(rows.into_iter().map(|row| (likeness_of_region(row, region), row.region.clone())));
        let examples: Vec<_> =
            table::regions(&country.iso3).take(NEAREST).map(|row| row.region.clone()).collect();
        Err(CarbonError::UnknownPlace {
            key: "carbon.region",
            code: "carbon.unknown_region",
            message: format!(
                "carbon.region is {region:?}; no region of {} is called so",
                country.country_name
            ),
            hint: format!(
                "{} Without a region the country's figure is used.",
                suggestion(&nearest, &examples)
            ),
        })
    }
}

impl Cloud {
    fn check(&self) -> Result<(), CarbonError> {
        let provider = self.provider.trim().to_lowercase();
        if !PROVIDERS.contains(&provider.as_str()) {
            return Err(CarbonError::UnknownPlace {
                key: "carbon.cloud_provider",
                code: "carbon.unknown_cloud_provider",
                message: format!("the cloud provider is {:?}; allowed are aws, azure and gcp", self.provider),
                hint: "Without a cloud provider the figure of country and region is used.".into(),
            });
        }
        let region = self.region.trim();
        let rows = || table::cloud_regions(&provider);
        if rows().any(|row| row.region_code.eq_ignore_ascii_case(region)) {
            return Ok(());
        }
        let nearest =
            nearest(rows().map(|row| (likeness(&row.region_code, region), row.region_code.clone())));
        let examples: Vec<_> = rows().take(NEAREST).map(|row| row.region_code.clone()).collect();
        Err(CarbonError::UnknownPlace {
            key: "carbon.cloud_region",
            code: "carbon.unknown_cloud_region",
            message: format!(
                "the cloud region is {region:?}; no region of {provider} with a figure is called so"
            ),
            hint: suggestion(&nearest, &examples),
        })
    }
}

fn unknown_country(found: &str) -> CarbonError {
    let nearest: Vec<_> = country::nearest(found).iter().map(ToString::to_string).collect();
    CarbonError::UnknownPlace {
        key: "carbon.country_iso_code",
        code: "carbon.unknown_country",
        message: format!(
            "carbon.country_iso_code is {found:?}; allowed is an ISO 3166-1 alpha-3 code of a country with a figure"
        ),
        hint: suggestion(&nearest, &["DEU (Germany)".into(), "USA (United States)".into()]),
    }
}

fn likeness_of_region(row: &CarbonIntensity, wanted: &str) -> f64 {
    likeness(&row.region, wanted).max(likeness(&row.region_code, wanted))
}

/// From 0 to 1; 1 when the names are the same but for case.
fn likeness(name: &str, wanted: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(&name.to_lowercase(), &wanted.to_lowercase())
}

/// The names most alike, the best first.
fn nearest(candidates: impl Iterator<Item = (f64, String)>) -> Vec<String> {
    let mut alike: Vec<_> = candidates.filter(|(score, _)| *score > ALIKE).collect();
    alike.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    if alike.first().is_some_and(|(score, _)| *score >= 1.0) {
        alike.retain(|(score, _)| *score >= 1.0);
    }
    alike.into_iter().take(NEAREST).map(|(_, name)| name).collect()
}

fn suggestion(nearest: &[String], examples: &[String]) -> String {
    if nearest.is_empty() {
        format!("Known are for example {}.", examples.join(", "))
    } else {
        format!("Did you mean {}?", nearest.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use greentune_core_config::Diagnostic as _;

    use super::*;

    fn refused(place: &Place) -> (String, String, String) {
        let problem = place.check().unwrap_err().problem();
        (problem.code, problem.message, problem.hint.unwrap())
    }

    fn country(code: &str) -> Place {
        Place { country_iso_code: code.into(), ..Place::default() }
    }

    fn cloud(provider: &str, region: &str) -> Place {
        Place { cloud: Some(Cloud { provider: provider.into(), region: region.into() }), ..Place::default() }
    }

    #[test]
    fn known_places_pass() {
        for place in [country("DEU"), country(" fra "), cloud("aws", "us-east-1"), cloud("Azure", "WestUS2")]
        {
            place.check().unwrap();
        }
        for region in ["california", "CA", " "] {
            Place { region: Some(region.into()), ..country("USA") }.check().unwrap();
        }
        // No German figures by state: the country's is used and a note says so.
        Place { region: Some("bavaria".into()), ..country("DEU") }.check().unwrap();
    }

    #[test]
    fn unknown_countries_get_the_nearest_codes() {
        for (found, meant) in [
            ("Germany", "DEU (Germany)"),
            ("Germnay", "DEU (Germany)"),
            ("de", "DEU (Germany)"),
            ("UK", "GBR (United Kingdom)"),
            ("uae", "ARE (United Arab Emirates)"),
        ] {
            let (code, message, hint) = refused(&country(found));
            assert_eq!(code, "carbon.unknown_country");
            assert!(message.contains(found) && message.contains("alpha-3"), "{message}");
            assert!(hint.starts_with(&format!("Did you mean {meant}")), "{found}: {hint}");
        }
        assert!(refused(&country("")).2.contains("USA (United States)"));
    }

    #[test]
    fn unknown_regions_get_the_nearest_names() {
        let (code, message, hint) = refused(&Place { region: Some("Califronia".into()), ..country("USA") });
        assert_eq!(code, "carbon.unknown_region");
        assert!(message.contains("Califronia") && hint.contains("california"), "{message} {hint}");
        let (code, _, hint) = refused(&cloud("gcp", "us-centrall1"));
        assert_eq!(code, "carbon.unknown_cloud_region");
        assert!(hint.contains("us-central1"), "{hint}");
        assert_eq!(refused(&cloud("nimbus", "x")).0, "carbon.unknown_cloud_provider");
    }
}
