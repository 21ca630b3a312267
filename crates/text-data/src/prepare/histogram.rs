//! Values in ranges, and their picture.

use std::fmt::Write as _;

use greentune_core_config::preparation::Histogram;

// Size of the picture, and of the margins around the bars.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 40.0;
const RIGHT: f64 = 16.0;
const BOTTOM: f64 = 44.0;

/// The values in about `ranges` ranges with round limits.
pub(super) fn histogram(mut values: Vec<f64>, ranges: usize) -> Histogram {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let (Some(&least), Some(&most)) = (values.first(), values.last()) else {
        return Histogram::default();
    };
    let width = round_up((most - least) / ranges as f64);
    let from = (least / width).floor() * width;
    let mut counts = vec![0; (((most - from) / width).ceil() as usize).max(1)];
    let last = counts.len() - 1;
    for value in &values {
        counts[(((value - from) / width) as usize).min(last)] += 1;
    }
    let quantile = |share: f64| values[((share * values.len() as f64).ceil() as usize).max(1) - 1];
    Histogram { from, width, counts, least, median: quantile(0.5), p95: quantile(0.95), most }
}

/// The next of 1, 2 and 5 times a power of ten; 1 for no width at all.
fn round_up(width: f64) -> f64 {
    if width <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(width.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= width * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// The picture: SVG that needs no fonts, scripts or styles of its own.
pub(super) fn svg(histogram: &Histogram, title: &str, unit: &str) -> String {
    let Histogram { from, width, counts, .. } = histogram;
    let (inner_width, inner_height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let bar = inner_width / counts.len().max(1) as f64;
    let base = TOP + inner_height;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n<title>{title}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" fill=\"#1a2b22\">{title}</text>\n"
    );
    let mut text = |x: f64, y: f64, anchor: &str, text: &str| {
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"#4a5a52\">{text}</text>"
        );
    };
    text(LEFT - 8.0, TOP + 10.0, "end", &most.to_string());
    text(LEFT - 8.0, base, "end", "0");
    let labels = counts.len().div_ceil(8).max(1);
    for index in (0..=counts.len()).step_by(labels) {
        text(LEFT + index as f64 * bar, base + 16.0, "middle", &short(from + index as f64 * width));
    }
    text(LEFT + inner_width / 2.0, base + 36.0, "middle", unit);
    for (index, count) in counts.iter().enumerate() {
        let height = inner_height * *count as f64 / most;
        let (low, high) = (from + index as f64 * width, from + (index + 1) as f64 * width);
        let _ = writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"#2e8b57\"><title>{} to {}: \
             {count}</title></rect>",
            LEFT + index as f64 * bar + 0.5,
            base - height,
            (bar - 1.0).max(0.5),
            short(low),
            short(high),
        );
    }
    let _ = writeln!(
        svg,
        "<line x1=\"{LEFT}\" y1=\"{base}\" x2=\"{}\" y2=\"{base}\" stroke=\"#4a5a52\"/>\n</svg>",
        WIDTH - RIGHT
    );
    svg
}

/// A number without the noise of its binary form.
pub(super) fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_are_round_and_quantiles_by_nearest_rank() {
        let found = histogram((1..=100).map(f64::from).collect(), 20);
        assert_eq!((found.from, found.width, found.counts.len()), (0.0, 5.0, 20));
        assert_eq!((found.least, found.median, found.p95, found.most), (1.0, 50.0, 95.0, 100.0));
        assert_eq!((found.counts[0], found.counts[19]), (4, 6));
        let one = histogram(vec![7.0; 3], 20);
        assert_eq!((one.from, one.width, one.counts), (7.0, 1.0, vec![3]));
        assert_eq!(histogram(vec![f64::NAN], 20), Histogram::default());
    }

    #[test]
    fn the_picture_names_its_ranges() {
        let svg = svg(&histogram(vec![0.1, 0.5, 0.9, 0.9], 10), "Label share", "share");
        assert!(svg.starts_with("<svg xmlns") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("<title>0.8 to 0.9: ") && svg.contains(">Label share</text>"), "{svg}");
        assert!(super::svg(&Histogram::default(), "t", "u").ends_with("</svg>\n"));
    }

    proptest! {
        #[test]
        fn every_value_is_counted_once(values in prop::collection::vec(-1e6_f64..1e6, 1..60), ranges in 1_usize..30) {
            let found = histogram(values.clone(), ranges);
            prop_assert_eq!(found.counts.iter().sum::<u64>(), values.len() as u64);
            prop_assert!(found.counts.len() <= ranges + 2);
            prop_assert!(found.from <= found.least);
            // Rounding moves an end by its size, whichever its sign.
            let rounding = 1e-9 * (1.0 + found.most.abs());
            prop_assert!(found.from + found.width * found.counts.len() as f64 >= found.most - rounding);
        }
    }
}
