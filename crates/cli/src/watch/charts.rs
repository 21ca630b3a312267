//! Curves of a run as charts of a terminal.

use greentune_core_config::quantities::{count, duration, number};
use greentune_workbench::operation::GetSeriesResponse;
use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Style, Stylize as _},
    symbols::Marker,
    text::Line,
    widgets::{Axis, Block, BorderType, Chart, Dataset, GraphType, Paragraph},
};

/// Lines in one chart, with their colours: distinct for those who see no red and green, too.
const COLOURS: [Color; 4] = [Color::Cyan, Color::Yellow, Color::Magenta, Color::Green];

/// A chart: its title, its figures with their words, and the value that its axis begins with, if it is not the least.
pub struct Wanted {
    pub title: &'static str,
    pub lines: &'static [(&'static str, &'static str)],
    pub from_zero: bool,
}

/// The charts that are worth a place, in that order.
pub const WANTED: &[Wanted] = &[
    Wanted {
        title: "loss (nats)",
        lines: &[("train_loss", "training"), ("validation_loss", "validation")],
        from_zero: false,
    },
    Wanted {
        title: "accuracy",
        lines: &[("accuracy", "accuracy"), ("token_accuracy", "token accuracy")],
        from_zero: false,
    },
    Wanted {
        title: "power (W)",
        lines: &[
            ("power_w", "all"),
            ("cpu_power_w", "processor"),
            ("gpu_power_w", "GPUs"),
            ("ram_power_w", "memory"),
        ],
        from_zero: true,
    },
    Wanted {
        title: "share trained on, threshold",
        lines: &[("activation_rate", "share"), ("threshold", "threshold")],
        from_zero: true,
    },
    Wanted {
        title: "speed (per second)",
        lines: &[("tokens_per_second", "tokens"), ("samples_per_second", "samples")],
        from_zero: true,
    },
    Wanted { title: "learning rate", lines: &[("learning_rate", "learning rate")], from_zero: true },
];

/// The charts for which `series` has figures.
pub fn available(series: &GetSeriesResponse) -> Vec<&'static Wanted> {
    let has = |wanted: &&Wanted| wanted.lines.iter().any(|(name, _)| series.series.contains_key(*name));
    WANTED.iter().filter(has).collect()
}

/// Draws `wanted` over steps, or over time.
pub fn draw(frame: &mut Frame<'_>, area: Rect, series: &GetSeriesResponse, wanted: &Wanted, over_time: bool) {
    let lines: Vec<(&str, Vec<(f64, f64)>)> = wanted
        .lines
        .iter()
        .filter_map(|(name, words)| {
            let buckets = series.series.get(*name)?;
            let x = |index: usize| if over_time { buckets.time[index] } else { buckets.x[index] as f64 };
            let points = buckets.mean.iter().enumerate().map(|(index, mean)| (x(index), *mean));
            let points: Vec<_> = points.filter(|(_, y)| y.is_finite()).collect();
            // A component that draws nothing, such as a GPU that is not there, is no line.
            let is_nothing =
                *name != "power_w" && name.ends_with("_w") && points.iter().all(|(_, y)| *y == 0.0);
            (!points.is_empty() && !is_nothing).then_some((*words, points))
        })
        .collect();
    let block = Block::bordered().border_type(BorderType::Rounded).border_style(Style::new().dark_gray());
    let newest = |points: &[(f64, f64)]| points.last().map(|(_, y)| number(*y)).unwrap_or_default();
    let mut title = vec![format!(" {} ", wanted.title).bold()];
    for (index, (words, points)) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        title.push(format!("{words} {} ", newest(points)).fg(colour));
    }
    let block = block.title(Line::from(title));
    let all = || lines.iter().flat_map(|(_, points)| points.iter().copied());
    if all().count() < 2 {
        frame.render_widget(Paragraph::new("waiting for the first steps").dark_gray().block(block), area);
        return;
    }
    let bounds = |values: &mut dyn Iterator<Item = f64>| {
        values
            .fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)])
    };
    let x = bounds(&mut all().map(|(x, _)| x));
    let y = bounds(&mut all().map(|(_, y)| y));
    let y = padded(if wanted.from_zero { [y[0].min(0.0), y[1]] } else { y });
    let datasets = lines.iter().enumerate().map(|(index, (_, points))| {
        let colour = COLOURS[index % COLOURS.len()];
        Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).style(colour).data(points)
    });
    let label = |value: f64| if over_time { duration(value) } else { count(value as u64) };
    let dim = Style::new().dark_gray();
    let chart = Chart::new(datasets.collect())
        .block(block)
        .legend_position(None)
        .x_axis(Axis::default().bounds(x).labels([label(x[0]), label(x[1])]).style(dim))
        .y_axis(
            Axis::default()
                .bounds(y)
                .labels([number(y[0]), number(f64::midpoint(y[0], y[1])), number(y[1])])
                .style(dim),
        );
    frame.render_widget(chart, area);
}

/// Bounds with a little room; of one value some room on both sides.
fn padded([low, high]: [f64; 2]) -> [f64; 2] {
    let room = if high > low { (high - low) * 0.05 } else { high.abs().max(1e-9) * 0.5 };
    // What is never negative is not shown below 0.
    [if low >= 0.0 { (low - room).max(0.0) } else { low - room }, high + room]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_have_room_and_do_not_fall_below_zero() {
        let near = |found: [f64; 2], [low, high]: [f64; 2]| {
            (found[0] - low).abs() < 1e-9 && (found[1] - high).abs() < 1e-9
        };
        assert!(near(padded([0.0, 10.0]), [0.0, 10.5]) && near(padded([2.0, 2.0]), [1.0, 3.0]));
        assert!(padded([-1.0, 1.0])[0] < -1.0);
        let [low, high] = padded([0.0, 0.0]);
        assert!(low == 0.0 && high > 0.0);
    }
}
