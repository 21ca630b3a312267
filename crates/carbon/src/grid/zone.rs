//! Which zone of Electricity Maps a place is in.

use super::{CarbonIntensity, Place, service_error::ServiceErrorKind, table};

/// Regions whose zone bears another code, from the service's list of zones. California's and Texas' cover most of the state.
const ZONES: [(&str, &str, &str); 12] = [
    ("USA", "alaska", "US-AK"),
    ("USA", "california", "US-CAL-CISO"),
    ("USA", "connecticut", "US-NE-ISNE"),
    ("USA", "hawaii", "US-HI"),
    ("USA", "maine", "US-NE-ISNE"),
    ("USA", "massachusetts", "US-NE-ISNE"),
    ("USA", "new hampshire", "US-NE-ISNE"),
    ("USA", "new york", "US-NY-NYIS"),
    ("USA", "rhode island", "US-NE-ISNE"),
    ("USA", "texas", "US-TEX-ERCO"),
    ("USA", "vermont", "US-NE-ISNE"),
    ("CAN", "newfoundland and labrador", "CA-NL"),
];
const PROVINCES: [(&str, &str); 12] = [
    ("alberta", "AB"),
    ("british columbia", "BC"),
    ("manitoba", "MB"),
    ("new brunswick", "NB"),
    ("northwest territories", "NT"),
    ("nova scotia", "NS"),
    ("nunavut", "NU"),
    ("ontario", "ON"),
    ("prince edward island", "PE"),
    ("quebec", "QC"),
    ("saskatchewan", "SK"),
    ("yukon", "YT"),
];

/// The query to the service.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ZoneQuery {
    /// The query of the address.
    pub query: String,
    /// The zone; of a cloud region the country that the zone begins with.
    expected: String,
    /// Why it is not the zone of the place.
    pub note: Option<String>,
}

impl ZoneQuery {
    pub(super) fn of(place: &Place, zone: Option<&str>) -> Result<Self, ServiceErrorKind> {
        if let Some(zone) = zone {
            return if is_plain(zone) {
                Ok(Self::zone(zone, None))
            } else {
                Err(ServiceErrorKind::Zone(zone.to_owned()))
            };
        }
        let row = place.look_up().intensity;
        if !row.provider.is_empty() {
            return Self::cloud(row);
        }
        let alpha2 = alpha2(row).ok_or_else(|| ServiceErrorKind::Zone(place.country_iso_code.clone()))?;
        match place.region.as_deref().map(str::trim).filter(|region| !region.is_empty()) {
            None => Ok(Self::zone(alpha2, None)),
            Some(region) => Ok(match of_region(row, alpha2) {
                Some(zone) => Self::zone(&zone, None),
                None => Self::zone(
                    alpha2,
                    Some(format!(
                        "carbon intensity: no zone is known for {region:?}; that of {alpha2} is asked for"
                    )),
                ),
            }),
        }
    }

    /// Whether an answer for `zone` is one for this question: for a place that it does not know, the service may answer for
    /// where the caller is.
    pub(super) fn fits(&self, zone: &str) -> bool {
        let begins = zone.strip_prefix(&self.expected);
        begins.is_some_and(|rest| {
            rest.is_empty() || (self.query.starts_with("dataCenter") && rest.starts_with('-'))
        })
    }

    /// The zone, or the country of a cloud region.
    pub(super) fn expected(&self) -> &str {
        &self.expected
    }

    fn zone(zone: &str, note: Option<String>) -> Self {
        Self { query: format!("zone={zone}"), expected: zone.to_owned(), note }
    }

    fn cloud(row: &CarbonIntensity) -> Result<Self, ServiceErrorKind> {
        let expected = alpha2(row).ok_or_else(|| ServiceErrorKind::Zone(row.region_code.clone()))?.to_owned();
        let query = format!("dataCenterProvider={}&dataCenterRegion={}", row.provider, row.region_code);
        Ok(Self { query, expected, note: None })
    }
}

fn alpha2(row: &CarbonIntensity) -> Option<&'static str> {
    table::country(&row.iso3).map(|country| country.iso2.as_str())
}

/// The zone of a state, province or bidding zone.
fn of_region(row: &CarbonIntensity, alpha2: &str) -> Option<String> {
    let listed = ZONES.iter().find(|(iso3, region, _)| *iso3 == row.iso3 && *region == row.region);
    let province = || PROVINCES.iter().find(|(name, _)| row.iso3 == "CAN" && *name == row.region);
    match (listed, row.iso3.as_str()) {
        (Some((.., zone)), _) => Some((*zone).to_owned()),
        (None, "CAN") => province().map(|(_, code)| format!("CA-{code}")),
        (None, "NOR" | "SWE") if !row.region_code.is_empty() => Some(format!("{alpha2}-{}", row.region_code)),
        (None, "FIN") if row.region == "fi" => Some(alpha2.to_owned()),
        _ => None,
    }
}

fn is_plain(zone: &str) -> bool {
    (1..=30).contains(&zone.len()) && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Cloud;

    fn query(country: &str, region: Option<&str>) -> (String, bool) {
        let place =
            Place { country_iso_code: country.into(), region: region.map(str::to_owned), ..Place::default() };
        let asked = ZoneQuery::of(&place, None).unwrap();
        (asked.query, asked.note.is_some())
    }

    #[test]
    fn places_are_in_the_zones_that_the_service_lists() {
        assert_eq!(query("DEU", None), ("zone=DE".into(), false));
        assert_eq!(query("CAN", Some("Quebec")), ("zone=CA-QC".into(), false));
        assert_eq!(query("CAN", Some("newfoundland and labrador")), ("zone=CA-NL".into(), false));
        assert_eq!(query("USA", Some("CA")), ("zone=US-CAL-CISO".into(), false));
        assert_eq!(query("NOR", Some("NO4")), ("zone=NO-NO4".into(), false));
        assert_eq!(query("SWE", Some("se3")), ("zone=SE-SE3".into(), false));
        // Several operators share Ohio and Bavaria is no zone: the country's, with a note.
        assert_eq!(query("USA", Some("ohio")), ("zone=US".into(), true));
        assert_eq!(query("DEU", Some("bavaria")), ("zone=DE".into(), true));
    }

    #[test]
    fn every_canadian_province_of_the_table_has_a_zone() {
        for row in table::regions("CAN") {
            assert!(of_region(row, "CA").is_some(), "{row:?}");
        }
    }

    #[test]
    fn a_cloud_region_is_asked_for_by_its_name() {
        let cloud = Cloud { provider: "AWS".into(), region: "us-east-1".into() };
        let asked = ZoneQuery::of(&Place { cloud: Some(cloud), ..Place::default() }, None).unwrap();
        assert_eq!(asked.query, "dataCenterProvider=aws&dataCenterRegion=us-east-1");
        assert!(asked.fits("US-MIDA-PJM") && asked.fits("US") && !asked.fits("USX") && !asked.fits("DE"));
    }

    #[test]
    fn nothing_but_a_zone_gets_into_the_address() {
        let place = Place { country_iso_code: "DEU".into(), ..Place::default() };
        assert_eq!(ZoneQuery::of(&place, Some("FR-COR")).unwrap().query, "zone=FR-COR");
        assert!(!ZoneQuery::of(&place, None).unwrap().fits("DE-LU"));
        for zone in ["", "FR&x=1", "F R", "../x"] {
            assert!(ZoneQuery::of(&place, Some(zone)).is_err(), "{zone}");
        }
        assert!(ZoneQuery::of(&Place { country_iso_code: "XXX".into(), ..Place::default() }, None).is_err());
    }
}
