//! Quantities as people read them: three significant digits, and the unit that fits. The one vocabulary of the command
//! line, reports, model cards and advice.

/// A unit in which figures are shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// Its symbol, such as `Wh`.
    pub symbol: &'static str,
    /// Figures in this unit per figure in the base unit (kWh, kg).
    pub per_base: f64,
}

impl Unit {
    /// `value`, which is in the base unit, in this one: `0.412 Wh`.
    pub fn text(&self, value: f64) -> String {
        format!("{} {}", number(value * self.per_base), self.symbol)
    }

    /// The same of kg CO2-equivalent: `0.412 g CO2e`.
    pub fn text_co2e(&self, kg: f64) -> String {
        format!("{} CO2e", self.text(kg))
    }
}

/// The unit for energies up to `kwh`: kWh from 1 kWh on, Wh from 1 mWh on, else mWh.
pub fn energy_unit(kwh: f64) -> Unit {
    match kwh.abs() {
        1.0.. => Unit { symbol: "kWh", per_base: 1.0 },
        tiny if tiny < 1e-6 && tiny > 0.0 => Unit { symbol: "mWh", per_base: 1e6 },
        _ => Unit { symbol: "Wh", per_base: 1e3 },
    }
}

/// The unit for masses up to `kg`: kg from 1 kg on, g from 1 mg on, else mg.
pub fn mass_unit(kg: f64) -> Unit {
    match kg.abs() {
        1.0.. => Unit { symbol: "kg", per_base: 1.0 },
        tiny if tiny < 1e-6 && tiny > 0.0 => Unit { symbol: "mg", per_base: 1e6 },
        _ => Unit { symbol: "g", per_base: 1e3 },
    }
}

/// The sum of `values`; 0 of none. (`Iterator::sum` has −0.0 for no values, which shows in JSON.)
pub fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |sum, value| sum + value)
}

/// kWh in words, such as `0.412 Wh` or `2.50 kWh`.
pub fn energy(kwh: f64) -> String {
    energy_unit(kwh).text(kwh)
}

/// kg in words, such as `0.157 g` or `2.50 kg`.
pub fn mass(kg: f64) -> String {
    mass_unit(kg).text(kg)
}

/// kg CO2-equivalent in words, such as `0.157 g CO2e`.
pub fn emissions(kg: f64) -> String {
    format!("{} CO2e", mass(kg))
}

/// Seconds in words, such as `42 s`, `3 min 5 s` or `2 h 1 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..90 => format!("{whole} s"),
        90..5400 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A share in `[0, 1]` in words, such as `71.2 %`.
pub fn percent(share: f64) -> String {
    percent_to(share, 1)
}

/// A share with `decimals` decimals, such as `71.24 %`.
pub fn percent_to(share: f64, decimals: usize) -> String {
    format!("{} %", fixed(100.0 * share, decimals))
}

/// An interval in words: both ends, each as `words` has it, such as `0.9 Wh to 1.1 Wh`.
pub fn range([low, high]: [f64; 2], words: impl Fn(f64) -> String) -> String {
    format!("{} to {}", words(low), words(high))
}

/// A whole number with its thousands apart, such as `35,328`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// `number` things: `1 record`, `1,220 records`.
pub fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A number with three significant digits, large ones whole.
pub fn number(value: f64) -> String {
    significant(value, 3)
}

/// A number with `digits` significant digits: what stands before the point in full, below a millionth by powers of ten.
pub fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return fixed(value, 0);
    }
    let decimals = usize::try_from(digits - 1 - value.abs().log10().floor() as i32).unwrap_or(0);
    let most = usize::try_from(digits + 3).unwrap_or(0);
    if decimals > most {
        let after_point = usize::try_from(digits - 1).unwrap_or(0);
        return format!("{value:.after_point$e}");
    }
    fixed(value, decimals)
}

/// A setting or a factor with up to four significant digits, without trailing zeros: `0.0002`, `2.5`, `1234567`.
pub fn plain(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return fixed(value, 0);
    }
    let decimals = (3.0 - value.abs().log10().floor()).clamp(0.0, 15.0) as usize;
    let written = format!("{value:.decimals$}");
    if written.contains('.') {
        written.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        written
    }
}

/// A number with `decimals` decimals, without a minus before zeros.
pub fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|digit| matches!(digit, '0' | '.')) => rest.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_0_and_not_minus_0() {
        let nothing: f64 = std::iter::empty::<f64>().sum();
        assert!(nothing.is_sign_negative() && sum([]).is_sign_positive());
        assert_eq!([emissions(nothing), energy(nothing), number(nothing)], ["0 g CO2e", "0 Wh", "0"]);
        assert_eq!([plain(nothing), percent(nothing), fixed(nothing, 2)], ["0", "0.0 %", "0.00"]);
    }

    #[test]
    fn quantities_have_three_digits_and_a_fitting_unit() {
        assert_eq!(
            [0.0, 4.25, 42.4, 185.0, 7260.0].map(duration),
            ["0.0 s", "4.2 s", "42 s", "3 min 5 s", "2 h 1 min"]
        );
        assert_eq!(
            [0.0, 0.000_000_123, 0.000_412, 2.5, -0.012].map(energy),
            ["0 Wh", "0.123 mWh", "0.412 Wh", "2.50 kWh", "-12.0 Wh"]
        );
        assert_eq!(
            [0.000_000_157, 0.000_04, 0.05, 12.0].map(emissions),
            ["0.157 mg CO2e", "0.0400 g CO2e", "50.0 g CO2e", "12.0 kg CO2e"]
        );
        assert_eq!([0.0, 0.712, 1.0, -0.0001].map(percent), ["0.0 %", "71.2 %", "100.0 %", "0.0 %"]);
        assert_eq!(range([0.0009, 0.0011], energy), "0.900 Wh to 1.10 Wh");
        assert_eq!(percent_to(0.912_34, 2), "91.23 %");
        assert_eq!(mass_unit(2.5).text_co2e(0.01), "0.0100 kg CO2e");
        assert!(sum([]).is_sign_positive() && sum([-0.0]).is_sign_positive());
    }

    #[test]
    fn numbers_are_cut_to_what_they_say() {
        assert_eq!([0.0, 1234.5, 0.5, 3e-9].map(number), ["0", "1234", "0.500", "3.00e-9"]);
        assert_eq!(
            [0.0, 0.012_345_6, -12.345_67, 123_456.7].map(|value| significant(value, 4)),
            ["0", "0.01235", "-12.35", "123457"]
        );
        assert_eq!([fixed(-0.001, 2), fixed(-0.1, 1)], ["0.00", "-0.1"]);
        let written = [0.0, 2.5, 0.012_345_6, 1_234_567.0, 2e-5, 99.994, -0.5].map(plain);
        assert_eq!(written, ["0", "2.5", "0.01235", "1234567", "0.00002", "99.99", "-0.5"]);
        assert_eq!([0, 999, 35_328, 1_000_000].map(count), ["0", "999", "35,328", "1,000,000"]);
        assert_eq!([1, 2].map(|n| counted(n, "record")), ["1 record", "2 records"]);
    }
}
