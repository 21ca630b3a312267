//! Charts of a comparison: accuracy against energy, activation rate and threshold over epochs.

use greentune_carbon::plots::{ChartLine, LineChart, Plot};
use greentune_core_config::{
    quantities::{Unit, energy_unit},
    settings::Task,
};

use super::{
    compare::Comparison,
    figures::{CurvePoint, RunFigures},
};
use crate::statistics::mean;

/// The charts that the runs have figures for, by file name.
///
/// A run is a line; a group of runs is the line of their means with a band from the least to the greatest.
pub fn charts(comparison: &Comparison) -> Vec<(&'static str, Plot)> {
    let sides = [("AST", comparison.ast.as_slice()), ("baseline", comparison.baseline.as_slice())];
    let sides: Vec<Side> = sides
        .into_iter()
        .filter(|(_, runs)| !runs.is_empty())
        .map(|(name, runs)| Side { name: side_name(name, runs), runs })
        .collect();
    let is_images = comparison.ast.first().is_some_and(|run| run.task == Task::ImageClassification);
    let model = comparison.ast.first().map_or("", |run| run.model.as_str());
    let over = if is_images { "epoch" } else { "step" };
    let Unit { symbol: unit, per_base: factor } = unit_of_energy(&comparison.ast, &comparison.baseline);
    let share =
        if is_images { "validation accuracy (%)" } else { "token accuracy on validation records (%)" };
    let drawn = |chart: LineChart, of: &dyn Fn(&CurvePoint) -> Option<[f64; 2]>| {
        let lines: Vec<ChartLine> = sides.iter().filter_map(|side| side.line(of)).collect();
        (!lines.is_empty()).then(|| Plot::lines(&LineChart { lines, ..chart }))
    };
    let named = |what: &str, across: &str, up: &str| LineChart {
        title: format!("{what}: {model}"),
        across: across.to_owned(),
        up: up.to_owned(),
        ..LineChart::default()
    };
    let energy = named("Accuracy against energy", &format!("energy of the run so far ({unit})"), share);
    let rate =
        LineChart { up_reaches: Some(0.0), ..named("Activation rate", over, "trained on (% of samples)") };
    let threshold = named("Threshold of selection", over, "threshold (score)");
    let all = [
        (
            "accuracy_energy",
            drawn(energy, &|point| Some([point.energy_kwh? * factor, 100.0 * point.accuracy])),
        ),
        ("activation_rate", drawn(rate, &|point| Some([point.at, 100.0 * point.activation_rate?]))),
        ("threshold", drawn(threshold, &|point| Some([point.at, point.threshold?]))),
    ];
    all.into_iter().filter_map(|(name, plot)| Some((name, plot?))).collect()
}

/// One side of the comparison.
struct Side<'a> {
    name: String,
    runs: &'a [RunFigures],
}

impl Side<'_> {
    /// The line of this side; `None` unless every run has two points or more.
    fn line(&self, of: &dyn Fn(&CurvePoint) -> Option<[f64; 2]>) -> Option<ChartLine> {
        let curves: Vec<Vec<[f64; 2]>> =
            self.runs.iter().map(|run| run.curve.iter().filter_map(of).collect()).collect();
        // A run of a group that ended earlier ends the mean.
        let length = curves.iter().map(Vec::len).min().filter(|length| *length > 1)?;
        let column =
            |number: usize, axis: usize| curves.iter().map(|curve| curve[number][axis]).collect::<Vec<_>>();
        let point = |number| Some([mean(&column(number, 0))?, mean(&column(number, 1))?]);
        let points = (0..length).map(point).collect::<Option<Vec<_>>>()?;
        let bounds = |number| {
            let values = column(number, 1);
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            [points[number][0], least, values.iter().copied().fold(f64::NEG_INFINITY, f64::max)]
        };
        let band = if curves.len() > 1 { (0..length).map(bounds).collect() } else { Vec::new() };
        Some(ChartLine { name: self.name.clone(), points, band })
    }
}

fn side_name(name: &str, runs: &[RunFigures]) -> String {
    match runs.len() {
        1 => name.to_owned(),
        count => format!("{name}: mean of {count}, range"),
    }
}

/// The unit in which the greatest energy is a number that can be read.
fn unit_of_energy(ast: &[RunFigures], baseline: &[RunFigures]) -> Unit {
    let points = ast.iter().chain(baseline).flat_map(|run| &run.curve);
    energy_unit(points.filter_map(|point| point.energy_kwh).fold(0.0, f64::max))
}
