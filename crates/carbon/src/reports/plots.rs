//! Charts, as SVG and PNG: power over time, energy by component, emissions by run, and lines over any quantity.
//!
//! A few fixed charts take less code than they would through a plotting library, whose bar charts know no bounds.
//! PNGs are the same SVG, drawn by `resvg` with the bundled Open Sans (`data/font`), so that they look the same everywhere.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use greentune_core_config::{
    emissions::{EmissionsProvenance, EmissionsRecord},
    event::{Event, EventKind},
    layout::RunLayout,
    quantities::counted,
};
use resvg::{tiny_skia, usvg};

use crate::{
    CarbonError, JOULES_PER_KWH,
    files::durable,
    reports::{
        aggregate::AggregateEmissions,
        rows,
        summary::{self, StageRow},
    },
};

mod svg;

use svg::{Bar, Line, Segment};

/// Okabe and Ito's palette, which colour-blind people can tell apart: blue, orange, green, vermilion, purple, sky blue.
const COLOURS: [&str; 6] = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"];
/// Pixels of a PNG for one of the SVG.
const PNG_SCALE: f32 = 2.0;
/// Metered time after a stage's last event that is worth a point.
const LEAST_REST_SECONDS: f64 = 0.5;
/// More bars than this make a chart that nobody reads.
const MOST_BARS: usize = 10;
/// More points than this cannot be told apart in the chart's width.
const MOST_POINTS: usize = 1500;

/// A chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    svg: String,
}

/// Lines over a quantity, with a mark at every point.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LineChart {
    /// Title.
    pub title: String,
    /// Label of the horizontal axis, with its unit.
    pub across: String,
    /// Label of the vertical axis, with its unit.
    pub up: String,
    /// A value that the vertical axis includes in any case, such as 0 for shares.
    pub up_reaches: Option<f64>,
    /// The lines, each of its own colour up to six.
    pub lines: Vec<ChartLine>,
}

/// One line of a [`LineChart`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChartLine {
    /// Name for the legend.
    pub name: String,
    /// Across and up, in the order in which they are joined; what is not finite is left out.
    pub points: Vec<[f64; 2]>,
    /// Across, lower and upper end of a band behind the line; may be empty.
    pub band: Vec<[f64; 3]>,
}

impl Plot {
    /// Lines over a quantity; the axes reach from just below the least figure to just above the greatest.
    pub fn lines(chart: &LineChart) -> Self {
        Self { svg: svg::chart(chart) }
    }

    /// The chart as SVG.
    pub fn svg(&self) -> &str {
        &self.svg
    }

    /// The chart as PNG.
    pub fn png(&self) -> Result<Vec<u8>, CarbonError> {
        static OPTIONS: LazyLock<usvg::Options<'static>> = LazyLock::new(|| {
            let mut fonts = usvg::fontdb::Database::new();
            fonts.load_font_data(include_bytes!("../../data/font/OpenSans-ASCII.ttf").to_vec());
            usvg::Options { fontdb: Arc::new(fonts), ..usvg::Options::default() }
        });
        let failed = |what: &str| CarbonError::Plot(what.to_owned());
        let tree = usvg::Tree::from_str(&self.svg, &OPTIONS).map_err(|error| failed(&error.to_string()))?;
        let size = tree.size().to_int_size().scale_by(PNG_SCALE);
        let size = size.ok_or_else(|| failed("the chart has no size"))?;
        let pixels = tiny_skia::Pixmap::new(size.width(), size.height());
        let mut pixels = pixels.ok_or_else(|| failed("the chart is too large"))?;
        let scale = tiny_skia::Transform::from_scale(PNG_SCALE, PNG_SCALE);
        resvg::render(&tree, scale, &mut pixels.as_mut());
        pixels.encode_png().map_err(|error| failed(&error.to_string()))
    }

    /// Writes the chart to `path`, which ends in `.svg` or `.png`, replacing what is there in one step.
    pub fn write(&self, path: &Path) -> Result<(), CarbonError> {
        match path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).as_deref() {
            Some("svg") => durable::replace(path, self.svg.as_bytes()),
            Some("png") => durable::replace(path, &self.png()?),
            _ => Err(CarbonError::Plot(format!(
                "{} is neither .svg nor .png; a chart's file ends in one of them",
                path.display()
            ))),
        }
    }
}

/// Power of a run over its metered time, from its `events.jsonl` and the rows of its stages; a gap between attempts is none
/// in metered time.
pub fn power_over_time(run: &RunLayout) -> Result<Plot, CarbonError> {
    let lines = power(run)?;
    if lines.iter().all(|line| line.points.len() < 2) {
        return Err(CarbonError::NoEmissions { run_id: run.run_id(), folder: run.folder().to_path_buf() });
    }
    Ok(Plot { svg: svg::lines(&format!("Power of {}", run.run_id()), &lines) })
}

/// Energy of each stage by component; where there is provenance, whiskers are the bounds of the stage's sum.
///
/// # Errors
/// Nothing of the run was metered, or no energy was used.
pub fn energy_by_component(run: &RunLayout) -> Result<Plot, CarbonError> {
    let rows = summary::stage_rows(run)?;
    let bars = rows.iter().map(|row| {
        let range = row.provenance.as_ref().map(EmissionsProvenance::energy_interval_kwh);
        energy_bar(format!("stage {}", row.stage), &row.record, range)
    });
    let title = format!("Energy of {}", run.run_id());
    energy_bars(&title, &bars.collect::<Vec<_>>())
        .ok_or_else(|| CarbonError::NoEmissions { run_id: run.run_id(), folder: run.project().emissions() })
}

/// The same of the runs in files and folders, a bar per run: those that used most.
///
/// # Errors
/// A path is missing; no run is in any of them, or none used energy.
pub fn energy_of_paths(paths: &[PathBuf]) -> Result<Plot, CarbonError> {
    let mut rows = rows::of_paths(paths)?.rows;
    rows.sort_by(|a, b| b.record.energy_consumed.total_cmp(&a.record.energy_consumed));
    rows.truncate(MOST_BARS);
    let bars = rows.iter().map(|row| {
        let range = row.provenance.as_deref().map(EmissionsProvenance::energy_interval_kwh);
        let stage = row.stage.map(|stage| format!(", stage {stage}")).unwrap_or_default();
        energy_bar(format!("{}{stage}", row.run_id), &row.record, range)
    });
    energy_bars("Energy by run, as recorded", &bars.collect::<Vec<_>>())
        .ok_or_else(|| CarbonError::NoRuns { paths: paths.to_vec(), reasons: Vec::new() })
}

fn energy_bar(label: String, record: &EmissionsRecord, range: Option<[f64; 2]>) -> Bar {
    let energies = [("CPU", record.cpu_energy), ("GPU", record.gpu_energy), ("memory", record.ram_energy)];
    let known = energies.iter().fold(0.0, |sum, (_, energy)| sum + energy);
    // Older files know of the sum alone.
    let rest = ("not divided", (record.energy_consumed - known).max(0.0));
    let is_shown = |energy: f64| energy > 1e-6 * record.energy_consumed;
    let segments =
        energies.into_iter().chain([rest]).zip(COLOURS).filter(|((_, energy), _)| is_shown(*energy));
    let segments = segments.map(|((name, value), colour)| Segment { name, value, colour }).collect();
    Bar { label, segments, range }
}

/// `None` where there is nothing to see.
fn energy_bars(title: &str, bars: &[Bar]) -> Option<Plot> {
    if top(bars) <= 0.0 {
        return None;
    }
    let (unit, factor) = energy_unit(bars);
    Some(Plot { svg: svg::bars(title, "energy", unit, factor, bars) })
}

/// Emissions of the runs that emitted most.
pub fn emissions_by_run(all: &AggregateEmissions) -> Plot {
    let bars: Vec<Bar> = all
        .top_emitting_runs
        .iter()
        .map(|run| Bar {
            label: run.run_id.clone(),
            segments: vec![Segment { name: "", value: run.emissions_kg, colour: COLOURS[0] }],
            range: None,
        })
        .collect();
    let title = match all.total_runs {
        shown if shown == bars.len() => format!("Emissions of {}", counted(shown as u64, "run")),
        total => format!("Emissions: the {} highest of {total} runs", bars.len()),
    };
    let (unit, factor) = if top(&bars) >= 0.1 { ("kg CO2e", 1.0) } else { ("g CO2e", 1000.0) };
    Plot { svg: svg::bars(&title, "emissions", unit, factor, &bars) }
}

fn energy_unit(bars: &[Bar]) -> (&'static str, f64) {
    if top(bars) >= 0.1 { ("kWh", 1.0) } else { ("Wh", 1000.0) }
}

fn top(bars: &[Bar]) -> f64 {
    bars.iter().map(Bar::top).fold(0.0, f64::max)
}

/// Metered seconds and W, stage by stage, which stand one after another. A stage begins where it was metered first and ends
/// where its row does, which is later than its last event: when the last step is done, the stage is evaluated.
fn power(run: &RunLayout) -> Result<Vec<Line>, CarbonError> {
    let mut stages = samples(run)?;
    let rows = match summary::stage_rows(run) {
        Ok(rows) => rows,
        Err(CarbonError::NoEmissions { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    for row in &rows {
        match stages.iter_mut().find(|(stage, _)| *stage == row.stage) {
            Some((_, samples)) => samples.extend(rest_of(row, samples.last().copied())),
            None => stages.push((row.stage, rest_of(row, None))),
        }
    }
    stages.sort_by_key(|(stage, _)| *stage);
    let (mut lines, mut begin) = (Vec::new(), 0.0);
    for (stage, samples) in stages {
        let mut points: Vec<[f64; 2]> =
            samples.iter().map(|sample| [begin + sample.seconds, sample.watts]).collect();
        // The first sample is of the seconds before it.
        if let Some([_, watts]) = points.first().copied().filter(|[first, _]| *first > begin) {
            points.insert(0, [begin, watts]);
        }
        begin = points.last().map_or(begin, |last| last[0]);
        lines.push(Line { name: format!("stage {stage}"), points: thinned(points) });
    }
    Ok(lines)
}

/// Power at a moment of a stage.
#[derive(Clone, Copy)]
struct PowerSample {
    seconds: f64,
    watts: f64,
    kwh: f64,
}

fn samples(run: &RunLayout) -> Result<Vec<(u8, Vec<PowerSample>)>, CarbonError> {
    let path = run.events();
    let file = File::open(&path).map_err(CarbonError::file("read", &path))?;
    let mut stages: Vec<(u8, Vec<PowerSample>)> = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(CarbonError::file("read", &path))?;
        // A last line that a crash cut short, and kinds of a later version, are no samples.
        let Ok(Event { kind, .. }) = serde_json::from_slice(&line) else { continue };
        let (EventKind::Emissions(so_far) | EventKind::StageFinished { emissions: Some(so_far), .. }) = kind
        else {
            continue;
        };
        if stages.last().is_none_or(|(stage, _)| *stage != so_far.stage) {
            stages.push((so_far.stage, Vec::new()));
        }
        if let Some((_, samples)) = stages.last_mut() {
            let seconds = so_far.duration_seconds;
            samples.push(PowerSample { seconds, watts: so_far.power_w, kwh: so_far.energy_kwh });
        }
    }
    Ok(stages)
}

/// What the row of a stage knows beyond its `last` sample, as mean power.
fn rest_of(row: &StageRow, last: Option<PowerSample>) -> Vec<PowerSample> {
    let EmissionsRecord { duration, energy_consumed, pue, .. } = row.record;
    let (from, known) = last.map_or((0.0, 0.0), |last| (last.seconds, last.kwh));
    let seconds = duration - from;
    if seconds < LEAST_REST_SECONDS {
        return Vec::new();
    }
    let watts = ((energy_consumed - known) * JOULES_PER_KWH / seconds / pue.max(1.0)).max(0.0);
    [from, duration].map(|seconds| PowerSample { seconds, watts, kwh: energy_consumed }).to_vec()
}

/// Means of neighbours, so that no more than `MOST_POINTS` are left.
fn thinned(points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    let group = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |group: &[[f64; 2]]| {
        [0, 1].map(|axis| group.iter().map(|point| point[axis]).sum::<f64>() / group.len() as f64)
    };
    if group == 1 { points } else { points.chunks(group).map(mean).collect() }
}
