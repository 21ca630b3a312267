//! The text of the charts.

use std::fmt::Write as _;

use super::{COLOURS, ChartLine, LineChart};

const WIDTH: f64 = 800.0;
const TOP: f64 = 64.0;
const RIGHT: f64 = 32.0;
/// Height of a row of the legend, and its greatest width.
const LEGEND_STEP: f64 = 20.0;
const LEGEND_WIDTH: f64 = 560.0;
/// Points of a line that get a mark each.
const MOST_MARKS: usize = 60;
/// Longer labels lose their middle: the beginning and the end tell runs apart, which end with their time.
const LABEL_CHARACTERS: usize = 36;

/// One line of a chart.
pub(super) struct Line {
    pub name: String,
    /// Seconds and W.
    pub points: Vec<[f64; 2]>,
}

/// One bar and what it is made of.
pub(super) struct Bar {
    pub label: String,
    pub segments: Vec<Segment>,
    /// Lower and upper bound of the bar's end.
    pub range: Option<[f64; 2]>,
}

/// Part of a bar.
pub(super) struct Segment {
    pub name: &'static str,
    pub value: f64,
    pub colour: &'static str,
}

impl Bar {
    /// What the axis must reach.
    pub fn top(&self) -> f64 {
        self.range.map_or(0.0, |[_, high]| high).max(self.sum())
    }

    fn sum(&self) -> f64 {
        self.segments.iter().fold(0.0, |sum, segment| sum + segment.value)
    }
}

/// A chart of lines: seconds across, W up.
pub(super) fn lines(title: &str, lines: &[Line]) -> String {
    const HEIGHT: f64 = 420.0;
    let (left, bottom) = (76.0, HEIGHT - 60.0);
    let most =
        |axis: usize| lines.iter().flat_map(|line| &line.points).map(|point| point[axis]).fold(0.0, f64::max);
    let (unit, per_unit) = time_unit(most(0));
    let (across, up) = (Axis::new(most(0) / per_unit), Axis::new(most(1)));
    let x = |seconds: f64| left + (WIDTH - RIGHT - left) * across.share(seconds / per_unit);
    let y = |watts: f64| bottom - (bottom - TOP) * up.share(watts);
    let mut body = String::new();
    for tick in up.ticks() {
        rule(&mut body, [left, y(tick)], [WIDTH - RIGHT, y(tick)]);
        text(&mut body, [left - 8.0, y(tick) + 4.5], "end", &up.label(tick));
    }
    for tick in across.ticks() {
        text(&mut body, [x(tick * per_unit), bottom + 20.0], "middle", &across.label(tick));
    }
    axis_line(&mut body, [left, bottom], [WIDTH - RIGHT, bottom]);
    text(
        &mut body,
        [f64::midpoint(left, WIDTH - RIGHT), HEIGHT - 16.0],
        "middle",
        &format!("metered time ({unit})"),
    );
    text(&mut body, [16.0, TOP - 14.0], "start", "power (W)");
    for (Line { points, .. }, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let path: Vec<String> =
            points.iter().map(|[seconds, watts]| format!("{:.1},{:.1}", x(*seconds), y(*watts))).collect();
        let _ = write!(
            body,
            r#"<polyline fill="none" stroke="{colour}" stroke-width="1.8" stroke-linejoin="round" points="{}"/>"#,
            path.join(" ")
        );
    }
    let names: Vec<(&str, &str)> = lines
        .iter()
        .zip(COLOURS.iter().cycle())
        .map(|(line, colour)| (line.name.as_str(), *colour))
        .collect();
    if names.len() > 1 {
        legend(&mut body, &names);
    }
    document(title, HEIGHT, &body)
}

/// A chart of lines over any quantity, with bands behind them.
pub(super) fn chart(chart: &LineChart) -> String {
    const HEIGHT: f64 = 460.0;
    let lines: Vec<ChartLine> = chart.lines.iter().map(finite).collect();
    let names: Vec<(String, &str)> =
        lines.iter().map(|line| shortened(&line.name)).zip(COLOURS.into_iter().cycle()).collect();
    let rows = legend_rows(&names);
    // The first row stands in the line of the quantity's name.
    let top = TOP + LEGEND_STEP * rows.len().saturating_sub(1) as f64;
    let (left, bottom) = (76.0, HEIGHT - 60.0);
    let spans = |across: bool| {
        let points =
            lines.iter().flat_map(|line| &line.points).map(|[x, y]| if across { [*x, *x] } else { [*y, *y] });
        let bands = lines
            .iter()
            .flat_map(|line| &line.band)
            .map(|[x, low, high]| if across { [*x, *x] } else { [*low, *high] });
        points.chain(bands).fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], [less, more]| {
            [low.min(less), high.max(more)]
        })
    };
    let [least, most] = spans(false);
    let reached = chart.up_reaches.map_or([least, most], |value| [least.min(value), most.max(value)]);
    let (across, up) = (Axis::spanning(spans(true)), Axis::spanning(reached));
    let x = |value: f64| left + (WIDTH - RIGHT - left) * across.share(value);
    let y = |value: f64| bottom - (bottom - top) * up.share(value);
    let mut body = String::new();
    for tick in up.ticks() {
        rule(&mut body, [left, y(tick)], [WIDTH - RIGHT, y(tick)]);
        text(&mut body, [left - 8.0, y(tick) + 4.5], "end", &up.label(tick));
    }
    for tick in across.ticks() {
        line(&mut body, [x(tick), bottom], [x(tick), bottom + 5.0], "#666666");
        text(&mut body, [x(tick), bottom + 20.0], "middle", &across.label(tick));
    }
    axis_line(&mut body, [left, bottom], [WIDTH - RIGHT, bottom]);
    text(&mut body, [f64::midpoint(left, WIDTH - RIGHT), HEIGHT - 16.0], "middle", &chart.across);
    text(&mut body, [16.0, TOP - 14.0], "start", &chart.up);
    for (ChartLine { points, band, .. }, (_, colour)) in lines.iter().zip(&names) {
        let there = band.iter().map(|[at, low, _]| [*at, *low]);
        let back = band.iter().rev().map(|[at, _, high]| [*at, *high]);
        let at = |[across, up]: [f64; 2]| format!("{:.1},{:.1}", x(across), y(up));
        if band.len() > 1 {
            let outline: Vec<String> = there.chain(back).map(at).collect();
            let _ = write!(
                body,
                r#"<polygon fill="{colour}" fill-opacity="0.18" points="{}"/>"#,
                outline.join(" ")
            );
        }
        let path: Vec<String> = points.iter().copied().map(at).collect();
        let _ = write!(
            body,
            r#"<polyline fill="none" stroke="{colour}" stroke-width="1.8" stroke-linejoin="round" points="{}"/>"#,
            path.join(" ")
        );
        // Marks that touch each other only thicken the line.
        if points.len() <= MOST_MARKS {
            for [across, up] in points {
                let _ = write!(
                    body,
                    r#"<circle cx="{:.1}" cy="{:.1}" r="3" fill="{colour}"/>"#,
                    x(*across),
                    y(*up)
                );
            }
        }
    }
    if names.len() > 1 || lines.iter().any(|line| !line.band.is_empty()) {
        for (number, row) in rows.iter().enumerate() {
            legend_at(&mut body, TOP - 14.0 + LEGEND_STEP * number as f64, row);
        }
    }
    document(&chart.title, HEIGHT, &body)
}

/// Names in as many rows as they need beside the name of the quantity.
fn legend_rows<'a>(names: &'a [(String, &'a str)]) -> Vec<Vec<(&'a str, &'a str)>> {
    let mut rows: Vec<Vec<(&str, &str)>> = vec![Vec::new()];
    let mut room = LEGEND_WIDTH;
    for (name, colour) in names {
        let width = legend_width(name);
        if width > room && rows.last().is_some_and(|row| !row.is_empty()) {
            rows.push(Vec::new());
            room = LEGEND_WIDTH;
        }
        room -= width;
        if let Some(row) = rows.last_mut() {
            row.push((name.as_str(), *colour));
        }
    }
    rows
}

fn finite(line: &ChartLine) -> ChartLine {
    let mut line = line.clone();
    line.points.retain(|point| point.iter().all(|value| value.is_finite()));
    line.band.retain(|point| point.iter().all(|value| value.is_finite()));
    line
}

/// A chart of bars that lie, so that their labels can be read; `factor` takes values to `unit`.
pub(super) fn bars(title: &str, quantity: &str, unit: &str, factor: f64, bars: &[Bar]) -> String {
    const STEP: f64 = 38.0;
    const THICK: f64 = 22.0;
    let labels: Vec<String> = bars.iter().map(|bar| shortened(&bar.label)).collect();
    let longest = labels.iter().map(|label| label.chars().count()).max().unwrap_or_default();
    let left = 32.0 + 7.4 * longest as f64;
    // Behind the longest bar stands its figure.
    let right = WIDTH - RIGHT - 56.0;
    let bottom = TOP + STEP * bars.len().max(1) as f64 + 6.0;
    let axis = Axis::new(bars.iter().map(Bar::top).fold(0.0, f64::max) * factor);
    let x = |value: f64| left + (right - left) * axis.share(value * factor);
    let mut body = String::new();
    for tick in axis.ticks() {
        rule(&mut body, [x(tick / factor), TOP], [x(tick / factor), bottom]);
        text(&mut body, [x(tick / factor), bottom + 20.0], "middle", &axis.label(tick));
    }
    let mut names: Vec<(&str, &str)> = Vec::new();
    for (number, (bar, label)) in bars.iter().zip(&labels).enumerate() {
        let top = TOP + STEP * number as f64 + (STEP - THICK) / 2.0 + 3.0;
        let middle = top + THICK / 2.0;
        text(&mut body, [left - 10.0, middle + 4.5], "end", label);
        let mut from = 0.0;
        for Segment { name, value, colour } in &bar.segments {
            let (at, wide) = (x(from), x(from + value) - x(from));
            let _ = write!(
                body,
                r#"<rect x="{at:.1}" y="{top:.1}" width="{wide:.1}" height="{THICK}" fill="{colour}"/>"#
            );
            from += value;
            if !name.is_empty() && !names.contains(&(name, colour)) {
                names.push((name, colour));
            }
        }
        if let Some([low, high]) = bar.range {
            whisker(&mut body, x(low), x(high), middle);
        }
        text(&mut body, [x(bar.top()) + 8.0, middle + 4.5], "start", &figure(bar.sum() * factor));
    }
    axis_line(&mut body, [left, TOP], [left, bottom]);
    let bounds =
        if bars.iter().any(|bar| bar.range.is_some()) { "; whiskers: bounds of the sum" } else { "" };
    text(
        &mut body,
        [f64::midpoint(left, right), bottom + 44.0],
        "middle",
        &format!("{quantity} ({unit}){bounds}"),
    );
    legend(&mut body, &names);
    document(title, bottom + 60.0, &body)
}

fn document(title: &str, height: f64, body: &str) -> String {
    let title = escaped(title);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0}" viewBox="0 0 {WIDTH} {height:.0}" font-family="'Open Sans', sans-serif" font-size="13" fill="#333333"><title>{title}</title><rect width="100%" height="100%" fill="#ffffff"/><text x="16" y="28" font-size="17" fill="#111111">{title}</text>{body}</svg>"##
    ) + "\n"
}

/// Below the title, at the right.
fn legend(body: &mut String, names: &[(&str, &str)]) {
    legend_at(body, TOP - 14.0, names);
}

fn legend_at(body: &mut String, y: f64, names: &[(&str, &str)]) {
    let mut x = WIDTH - RIGHT;
    for (name, colour) in names.iter().rev() {
        x -= 7.4 * name.chars().count() as f64;
        text(body, [x, y], "start", name);
        x -= 18.0;
        let _ =
            write!(body, r#"<rect x="{x:.1}" y="{:.1}" width="12" height="12" fill="{colour}"/>"#, y - 11.0);
        x -= 18.0;
    }
}

/// What [`legend_at`] needs for one name.
fn legend_width(name: &str) -> f64 {
    7.4 * name.chars().count() as f64 + 36.0
}

fn whisker(body: &mut String, low: f64, high: f64, middle: f64) {
    let (top, bottom) = (middle - 6.0, middle + 6.0);
    let _ = write!(
        body,
        r##"<path d="M{low:.1} {top:.1}V{bottom:.1}M{low:.1} {middle:.1}H{high:.1}M{high:.1} {top:.1}V{bottom:.1}" stroke="#222222" stroke-width="1.5" fill="none"/>"##
    );
}

fn text(body: &mut String, [x, y]: [f64; 2], anchor: &str, text: &str) {
    let _ = write!(body, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#, escaped(text));
}

fn rule(body: &mut String, from: [f64; 2], to: [f64; 2]) {
    line(body, from, to, "#e2e2e2");
}

fn axis_line(body: &mut String, from: [f64; 2], to: [f64; 2]) {
    line(body, from, to, "#666666");
}

fn line(body: &mut String, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], colour: &str) {
    let _ = write!(body, r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}"/>"#);
}

/// The bundled font has ASCII alone, and XML takes no control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            ' '..='~' => escaped.push(character),
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}

fn shortened(label: &str) -> String {
    if label.chars().count() <= LABEL_CHARACTERS {
        return label.to_owned();
    }
    let end = (LABEL_CHARACTERS - 3) / 2;
    let begin = LABEL_CHARACTERS - 3 - end;
    let count = label.chars().count();
    let kept = |from: usize, to: usize| label.chars().skip(from).take(to - from).collect::<String>();
    format!("{}...{}", kept(0, begin), kept(count - end, count))
}

/// Three significant digits.
fn figure(value: f64) -> String {
    let digits = if value > 0.0 { (2.0 - value.log10().floor()).clamp(0.0, 9.0) as usize } else { 0 };
    format!("{value:.digits$}")
}

fn time_unit(seconds: f64) -> (&'static str, f64) {
    match seconds {
        hours if hours >= 7200.0 => ("h", 3600.0),
        minutes if minutes >= 180.0 => ("min", 60.0),
        _ => ("s", 1.0),
    }
}

/// An axis with ticks at 1, 2 or 5 times a power of ten.
struct Axis {
    /// Steps from 0 to its begin.
    first: f64,
    step: f64,
    steps: usize,
}

impl Axis {
    /// From 0 to a round number at or above `most`.
    fn new(most: f64) -> Self {
        Self::spanning([0.0, if most > 0.0 { most } else { 1.0 }])
    }

    /// Between round numbers around `low` and `high`; from 0 to 1 where they are no interval.
    fn spanning([low, high]: [f64; 2]) -> Self {
        let [low, high] = if !(low.is_finite() && high.is_finite()) {
            [0.0, 1.0]
        } else if low < high {
            [low, high]
        } else {
            // A single figure stands in the middle.
            [low - 0.5 * low.abs().max(1.0), low + 0.5 * low.abs().max(1.0)]
        };
        let rough = (high - low) / 7.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|nice| nice * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        Self { first, step, steps: (last - first) as usize }
    }

    fn share(&self, value: f64) -> f64 {
        (value / self.step - self.first) / self.steps as f64
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (0..=self.steps).map(|number| (self.first + number as f64) * self.step)
    }

    fn label(&self, tick: f64) -> String {
        let digits = (-self.step.log10().floor()).clamp(0.0, 12.0) as usize;
        format!("{tick:.digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers_that_cover_the_figures() {
        for (most, last, count) in
            [(0.73, "0.8", 5), (100.0, "100", 6), (3.0e-5, "0.000030", 7), (0.0, "1.0", 6)]
        {
            let axis = Axis::new(most);
            let ticks: Vec<f64> = axis.ticks().collect();
            assert_eq!((axis.label(ticks[ticks.len() - 1]).as_str(), ticks.len()), (last, count), "{most}");
            assert!(axis.share(most) <= 1.0 + 1e-9);
        }
    }

    #[test]
    fn axes_begin_where_the_figures_do() {
        for (span, first, last) in [
            ([0.871, 0.934], "0.87", "0.94"),
            ([-0.2, 0.3], "-0.2", "0.3"),
            ([3.0, 3.0], "1.5", "4.5"),
            ([f64::INFINITY, f64::NEG_INFINITY], "0.0", "1.0"),
        ] {
            let axis = Axis::spanning(span);
            let ticks: Vec<f64> = axis.ticks().collect();
            assert_eq!(
                (axis.label(ticks[0]), axis.label(ticks[ticks.len() - 1])),
                (first.into(), last.into())
            );
            assert!(
                !span[0].is_finite() || axis.share(span[0]) >= -1e-9 && axis.share(span[1]) <= 1.0 + 1e-9
            );
        }
    }

    #[test]
    fn long_names_keep_what_tells_them_apart() {
        let name = |time: &str| shortened(&format!("a-run-with-a-name-that-is-long-{time}"));
        assert_ne!(name("20261128-003045"), name("20261128-003046"));
        assert_eq!(name("20261128-003045").chars().count(), LABEL_CHARACTERS);
        assert_eq!(shortened("short"), "short");
    }

    #[test]
    fn names_cannot_break_the_picture() {
        let bar = Bar { label: "<&\u{1}>".into(), segments: vec![], range: None };
        let svg = bars("a \"title\" & <more>", "emissions", "kg", 1.0, &[bar]);
        assert!(svg.contains("&lt;&amp; &gt;") && svg.contains("&amp; &lt;more&gt;"), "{svg}");
    }
}
