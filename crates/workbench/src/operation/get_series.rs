//! The course of a run's figures, in buckets.

use std::{collections::BTreeMap, path::PathBuf};

use greentune_core_config::{layout::RunLayout, manifest::RunStatus};
use greentune_run_folder::{Buckets, Part, RunSeries, RunView, StageSpan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench};

/// Buckets of a figure when the request does not say.
const POINTS: u64 = 500;
/// Buckets of a figure at most.
const MOST_POINTS: u64 = 4000;

/// Ask for the course of a run's figures.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GetSeries {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run.
    pub run_id: String,
    /// Figures, such as `train_loss`; all that the run has when absent.
    #[serde(default)]
    pub names: Vec<String>,
    /// Buckets of each figure at most, up to 4000; 500 when absent.
    pub points: Option<u64>,
    /// First step, counted over all stages.
    pub from: Option<u64>,
    /// Last step.
    pub to: Option<u64>,
    /// Number of an event (`last_seq` of an earlier answer): only values of later events are asked for.
    pub after: Option<u64>,
}

/// The course of a run's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GetSeriesResponse {
    /// Id of the run.
    pub run_id: String,
    /// Where the run stands.
    pub status: RunStatus,
    /// Number of the last event that was read.
    pub last_seq: Option<u64>,
    /// Whether the series go on where those of the earlier answer end; else they are to be taken instead.
    pub appended: bool,
    /// The stages that have begun.
    pub stages: Vec<StageSpan>,
    /// The figures by name.
    pub series: BTreeMap<String, Buckets>,
}

impl Workbench {
    /// Reads the course of a run's figures: means with extremes over neighbouring steps.
    ///
    /// Errors: the run is unknown; its events cannot be read.
    pub async fn get_series(&self, request: GetSeries) -> Result<GetSeriesResponse> {
        self.blocking(move |workbench| {
            let run = workbench.find_run(request.project_path.as_deref(), &request.run_id)?;
            let status = workbench.look(&run, RunView::status)?;
            let answer = |series: &mut RunSeries| answer(&request, series, status);
            workbench.series_of(&run, answer)?
        })
        .await
    }

    /// The course of the figures of the run at `layout`, of which only what is new is read.
    pub(crate) fn series_of<T>(&self, layout: &RunLayout, of: impl FnOnce(&mut RunSeries) -> T) -> Result<T> {
        let open = || {
            let mut series = RunSeries::new(&layout.events());
            series.refresh()?;
            Ok(series)
        };
        self.series().with(layout.folder(), open, |series| Ok(series.refresh()?), of)
    }
}

fn answer(request: &GetSeries, series: &mut RunSeries, status: RunStatus) -> Result<GetSeriesResponse> {
    let points = request.points.unwrap_or(POINTS).clamp(1, MOST_POINTS);
    let part = Part {
        names: request.names.clone(),
        points: usize::try_from(points).unwrap_or(1),
        from: request.from,
        to: request.to,
    };
    let new = request.after.and_then(|after| series.after(after, &request.names));
    Ok(GetSeriesResponse {
        run_id: request.run_id.clone(),
        status,
        last_seq: series.last_seq(),
        appended: new.is_some(),
        stages: series.stages().to_vec(),
        series: match new {
            Some(new) => new,
            None => series.part(&part)?,
        },
    })
}
