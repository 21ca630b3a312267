//! Figures as people read them: three significant digits, and the unit that fits.

/// Seconds in words, such as `42 s` or `3 min 5 s`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..90 => format!("{whole} s"),
        90..5400 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// kWh in words, such as `0.412 Wh`.
pub fn energy(kwh: f64) -> String {
    if kwh < 1.0 { format!("{} Wh", number(kwh * 1000.0)) } else { format!("{} kWh", number(kwh)) }
}

/// kg CO2-equivalent in words, such as `0.157 g CO2e`.
pub fn emissions(kg: f64) -> String {
    if kg < 1.0 { format!("{} g CO2e", number(kg * 1000.0)) } else { format!("{} kg CO2e", number(kg)) }
}

/// A share in `[0, 1]` in words, such as `71.2 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A whole number with its thousands apart, such as `35,328`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// `count` things: `1 record`, `1,220 records`.
pub fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A number with three significant digits, large ones whole.
pub fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let magnitude = value.abs().log10().floor() as i32;
    let decimals = usize::try_from(2 - magnitude).unwrap_or(0);
    if decimals > 6 { format!("{value:.2e}") } else { format!("{value:.decimals$}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_fitting_unit() {
        assert_eq!(
            [0.0, 4.25, 42.4, 185.0, 7260.0].map(duration),
            ["0.0 s", "4.2 s", "42 s", "3 min 5 s", "2 h 1 min"]
        );
        assert_eq!([0.000_412, 2.5].map(energy), ["0.412 Wh", "2.50 kWh"]);
        assert_eq!(
            [0.000_000_157, 0.05, 12.0].map(emissions),
            ["0.000157 g CO2e", "50.0 g CO2e", "12.0 kg CO2e"]
        );
        assert_eq!([0.0, 0.712, 1.0].map(percent), ["0.0 %", "71.2 %", "100.0 %"]);
        assert_eq!([0, 999, 35_328, 1_000_000].map(count), ["0", "999", "35,328", "1,000,000"]);
        assert_eq!([1, 2].map(|n| counted(n, "record")), ["1 record", "2 records"]);
        assert_eq!([0.0, 1234.5, 0.5, 3e-9].map(number), ["0", "1234", "0.500", "3.00e-9"]);
    }
}
