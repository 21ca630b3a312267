//! `greentune emissions`: energy and emissions of runs, and of any other program.

mod aggregate;
mod calibrate;
mod compare;
mod current;
mod forecast;
mod list;
mod plot;
mod summary;
mod track;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use greentune_core_config::manifest::RunStatus;

pub use summary::{basis, total};

use crate::{failure::Failure, session::Session};

/// Commands of `emissions`.
#[derive(Debug, Subcommand)]
pub enum Emissions {
    /// Show the energy and emissions of a run or a file, their basis, and equivalents
    Summary(summary::Summary),
    /// The latest figures of a run that is being trained
    Current(current::Current),
    /// Add up the energy and emissions of all runs of the project, or in files
    Aggregate(aggregate::Aggregate),
    /// Every row that was metered in the project, or in files, as CSV
    List(list::List),
    /// Compare runs or files, and say whether the meters can distinguish them
    Compare(compare::Compare),
    /// Charts as SVG and PNG: loss, power and energy of a run, or emissions and energy by run
    Plot(plot::Plot),
    /// Meter any program while it runs
    Track(track::Track),
    /// Record the reading of a wall meter, to calibrate the counters
    Calibrate(calibrate::Calibrate),
    /// Find the hours in which electricity will be cleanest
    Forecast(forecast::Forecast),
}

impl Emissions {
    pub(super) fn operation(&self) -> &'static str {
        match self {
            Self::Summary(_) => "get_emissions_summary",
            Self::Current(_) => "get_current_emissions",
            Self::Aggregate(_) => "get_aggregate_emissions",
            Self::List(_) => "list_emissions",
            Self::Compare(_) => "compare_emissions",
            Self::Plot(_) => "plot_emissions",
            Self::Track(_) => "track_emissions",
            Self::Calibrate(_) => "calibrate_meter",
            Self::Forecast(_) => "forecast_carbon_intensity",
        }
    }

    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Summary(summary) => summary.run(session).await,
            Self::Current(current) => current.run(session).await,
            Self::Aggregate(aggregate) => aggregate.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Compare(compare) => compare.run(session).await,
            Self::Plot(plot) => plot.run(session).await,
            Self::Track(track) => track.run(session).await,
            Self::Calibrate(calibrate) => calibrate.run(session).await,
            Self::Forecast(forecast) => forecast.run(session).await,
        }
    }
}

/// `name` as the workbench takes it: a file or folder by its whole path, so that it is taken from the current folder; else
/// the id of a run.
fn run_or_path(name: &str, session: &Session) -> String {
    let path = session.here(Path::new(name));
    let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let is_other_folder = path.is_dir() && !path.join("run-manifest.json").is_file();
    if is_csv || name.contains(['/', '\\']) || path.is_file() || is_other_folder {
        path.to_string_lossy().into_owned()
    } else {
        name.to_owned()
    }
}

/// The project to look in, and `run` or the newest run that was started.
async fn run_of(run: Option<String>, session: &Session) -> Result<(Option<PathBuf>, String), Failure> {
    let project_path = if run.is_some() { session.project() } else { Some(session.project_or_here()) };
    let run = run.map(|run| run_or_path(&run, session));
    let run_id = session.run_or_newest(run, |status| status != RunStatus::NotStarted, "started").await?;
    Ok((project_path, run_id))
}

/// ` (LEAST to MOST)` in words, or nothing.
fn between(range: Option<[f64; 2]>, words: impl Fn(f64) -> String) -> String {
    range.map(|[least, most]| format!(" ({} to {})", words(least), words(most))).unwrap_or_default()
}
