//! Figures as text, with their units.

/// Normal quantile of a two-sided interval of 95 %.
const Z_95: f64 = 1.959_963_984_540_054;

/// A share as percent.
pub(super) fn percent(share: f64, decimals: usize) -> String {
    format!("{:.decimals$} %", 100.0 * share)
}

/// Both ends of an interval of shares.
pub(super) fn percent_range([low, high]: [f64; 2], decimals: usize) -> String {
    format!("{} to {}", percent(low, decimals), percent(high, decimals))
}

/// kWh as Wh below one kWh.
pub(super) fn energy(kwh: f64) -> String {
    if kwh.abs() < 1.0 {
        format!("{} Wh", significant(1000.0 * kwh))
    } else {
        format!("{} kWh", significant(kwh))
    }
}

/// Both ends of an interval of energies.
pub(super) fn energy_range([low, high]: [f64; 2]) -> String {
    format!("{} to {}", energy(low), energy(high))
}

/// kg CO2-equivalent as g below one kg.
pub(super) fn mass(kg: f64) -> String {
    if kg.abs() < 1.0 { format!("{} g", significant(1000.0 * kg)) } else { format!("{} kg", significant(kg)) }
}

/// Seconds as s, min or h.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        short if short < 120.0 => format!("{} s", significant(short)),
        medium if medium < 7200.0 => format!("{} min", significant(medium / 60.0)),
        long => format!("{} h", significant(long / 3600.0)),
    }
}

/// Three significant digits at least; whole numbers are not rounded.
pub(super) fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits_before = value.abs().log10().floor() as i32 + 1;
    let decimals = (3 - digits_before).clamp(0, 12) as usize;
    format!("{value:.decimals$}")
}

/// Wilson's interval of 95 % for a share of `n` independent draws (Wilson, *JASA* 22, 1927); `None` without draws.
pub(super) fn wilson(share: f64, n: u64) -> Option<[f64; 2]> {
    if n == 0 {
        return None;
    }
    let (n, z2) = (n as f64, Z_95 * Z_95);
    let centre = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_95 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    Some([(centre - half).max(0.0), (centre + half).min(1.0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilsons_interval_is_that_of_the_books() {
        // Newcombe, Statistics in Medicine 17, 1998, table I, method 3: 81 of 263 and 1 of 29.
        for (successes, n, [low, high]) in [(81.0, 263, [0.2553, 0.3662]), (1.0, 29, [0.0061, 0.1718])] {
            let [lower, upper] = wilson(successes / n as f64, n).unwrap();
            assert!((lower - low).abs() < 5e-5 && (upper - high).abs() < 5e-5, "{lower} {upper}");
        }
        assert!(wilson(1.0, 10).unwrap()[1] <= 1.0);
        assert_eq!(wilson(0.5, 0), None);
    }

    #[test]
    fn units_fit_the_figure() {
        assert_eq!(energy(0.000_012_34), "0.0123 Wh");
        assert_eq!(energy(12.345), "12.3 kWh");
        assert_eq!(mass(0.245), "245 g");
        assert_eq!(mass(-0.001), "-1.00 g");
        assert_eq!(duration(45.0), "45.0 s");
        assert_eq!(duration(15_120.0), "4.20 h");
        assert_eq!(significant(123_456.0), "123456");
        assert_eq!(significant(0.0), "0");
    }
}
