//! Figures as people read them.

/// A figure with four significant digits, without trailing zeros: `0.01234`, `2.5`, `1234567`.
pub fn figure(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let decimals = (3.0 - value.abs().log10().floor()).clamp(0.0, 15.0) as usize;
    let written = format!("{value:.decimals$}");
    if written.contains('.') {
        written.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        written
    }
}

/// Emissions in the unit that suits them: `12.3 mg`, `4.5 g`, `1.2 kg` of CO2-equivalent.
pub(crate) fn emissions(kg: f64) -> String {
    let (value, unit) = match kg {
        kg if kg >= 1.0 => (kg, "kg"),
        kg if kg >= 1e-3 => (kg * 1e3, "g"),
        kg => (kg * 1e6, "mg"),
    };
    format!("{} {unit} CO2e", figure(value))
}

/// A duration in the unit that suits it: `42 s`, `3.5 min`, `2.1 h`.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 90.0 => format!("{seconds:.0} s"),
        seconds if seconds < 5400.0 => format!("{:.1} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}

/// `1 step`, `2 steps`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `text` of each item, separated by commas.
pub(crate) fn list<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_four_significant_digits() {
        let written = [0.0, 2.5, 0.012_345_6, 1_234_567.0, 2e-5, 99.994, -0.5].map(figure);
        assert_eq!(written, ["0", "2.5", "0.01235", "1234567", "0.00002", "99.99", "-0.5"]);
    }

    #[test]
    fn units_suit_the_size() {
        assert_eq!(
            [1.25, 0.0045, 1.2e-5, 0.0].map(emissions),
            ["1.25 kg CO2e", "4.5 g CO2e", "12 mg CO2e", "0 mg CO2e"]
        );
        assert_eq!([42.0, 210.0, 7560.0].map(duration), ["42 s", "3.5 min", "2.1 h"]);
        assert_eq!([count(1, "step"), count(0, "step")], ["1 step", "0 steps"]);
    }
}
