//! Countries by their codes, and which one somebody meant.

use std::{fmt, sync::LazyLock};

const TABLE: &str = include_str!("../../data/countries.tsv");

/// Below this likeness a name is no help.
const ALIKE: f64 = 0.5;
/// Countries that are suggested at most.
const MOST: usize = 3;

/// A country with a figure of carbon intensity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country {
    /// ISO 3166-1 alpha-3.
    pub alpha3: &'static str,
    /// ISO 3166-1 alpha-2; empty where a territory has none.
    pub alpha2: &'static str,
    /// In English.
    pub name: &'static str,
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.alpha3, self.name)
    }
}

/// All of them, by their codes of three letters.
pub fn countries() -> &'static [Country] {
    static COUNTRIES: LazyLock<Vec<Country>> = LazyLock::new(|| {
        let country = |line: &'static str| {
            let mut cells = line.split('\t');
            Some(Country { alpha3: cells.next()?, alpha2: cells.next()?, name: cells.next()? })
        };
        TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(country).collect()
    });
    &COUNTRIES
}

/// The code of three letters of the country that `code` is the code of, in two or three letters of any case; `None` for
/// anything else, and for a country without a figure.
pub fn alpha3(code: &str) -> Option<&'static str> {
    let code = code.trim();
    let is_of = |known: &str| !known.is_empty() && known.eq_ignore_ascii_case(code);
    let found = countries().iter().find(|country| is_of(country.alpha3) || is_of(country.alpha2));
    found.map(|country| country.alpha3)
}

/// Up to three countries that somebody who wrote `text` may have meant, the nearest first: by code, initials or name.
pub fn nearest(text: &str) -> Vec<Country> {
    let wanted = text.trim().to_lowercase();
    let mut alike: Vec<_> =
        countries().iter().map(|country| (likeness(country, &wanted), *country)).collect();
    alike.retain(|(score, _)| *score > ALIKE);
    alike.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    if alike.first().is_some_and(|(score, _)| *score >= 1.0) {
        alike.retain(|(score, _)| *score >= 1.0);
    }
    alike.into_iter().take(MOST).map(|(_, country)| country).collect()
}

/// From 0 to 1; 1 when one of its names is the same but for case.
fn likeness(country: &Country, wanted: &str) -> f64 {
    let initials: String = country.name.split_whitespace().filter_map(|word| word.chars().next()).collect();
    if country.alpha2.eq_ignore_ascii_case(wanted) || initials.eq_ignore_ascii_case(wanted) {
        return 1.0;
    }
    let like = |name: &str| strsim::normalized_damerau_levenshtein(&name.to_lowercase(), wanted);
    like(country.name).max(like(country.alpha3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_two_and_three_letters_name_a_country_in_any_case() {
        let codes = ["FR", "fr", " de", "fra", "USA"].map(alpha3);
        assert_eq!(codes, [Some("FRA"), Some("FRA"), Some("DEU"), Some("FRA"), Some("USA")]);
        assert_eq!(["", "XX", "France"].map(alpha3), [None, None, None]);
    }

    #[test]
    fn names_suggest_their_codes() {
        let meant = |text| nearest(text).first().map(ToString::to_string).unwrap_or_default();
        assert_eq!(meant("France"), "FRA (France)");
        assert_eq!(meant("germnay"), "DEU (Germany)");
        assert_eq!(meant("UK"), "GBR (United Kingdom)");
        assert_eq!(meant("zzzzzzzz"), "");
    }
}
