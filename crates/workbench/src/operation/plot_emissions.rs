//! Charts of energy and emissions.

use std::path::{Path, PathBuf};

use greentune_carbon::{
    CarbonError,
    aggregate::{aggregate_paths, files_of_project},
    equivalence::EquivalenceTable,
    plots::{self, Plot},
};
use greentune_reports::loss_curve;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError, reach::Access, run::Run};

/// Draw charts of a run, or of all runs of a project.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PlotEmissions {
    /// Path of the project; needed for a run.
    pub project_path: Option<PathBuf>,
    /// Id of the run; all runs of the project when absent. Or a CodeCarbon file or a folder of such files, as a path with a
    /// separator or an ending `.csv`.
    pub run_id: Option<String>,
    /// Folder for the charts; `emissions/plots` of the project when absent, and `plots` beside files.
    pub to: Option<PathBuf>,
}

/// The charts that were drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlotEmissionsResponse {
    /// Always true; a problem is an error.
    pub success: bool,
    /// Each chart as SVG and as PNG.
    pub files: Vec<PathBuf>,
}

impl Workbench {
    /// Loss, power over time and energy by component of a run; emissions and energy by run of a project or of files. Each as
    /// SVG and PNG; what there are no figures for is not drawn.
    ///
    /// Errors: the run is unknown, or nothing was metered of it; the folder lies outside the allowed roots.
    pub async fn plot_emissions(&self, request: PlotEmissions) -> Result<PlotEmissionsResponse> {
        self.blocking(move |workbench| workbench.plot(&request)).await
    }

    fn plot(&self, request: &PlotEmissions) -> Result<PlotEmissionsResponse> {
        let project = request.project_path.as_deref();
        let named = request.run_id.as_deref();
        let file = named.map(|name| self.emissions_path(project, name)).transpose()?.flatten();
        let (folder, charts) = match (file, named) {
            (Some(file), _) => {
                let beside = if file.is_dir() { file.clone() } else { file.with_file_name("") };
                let folder =
                    request.to.as_deref().map(|to| self.allowed(project, to, Access::Write)).transpose()?;
                (folder.unwrap_or_else(|| beside.join("plots")), charts_of_files(&[file]))
            }
            (None, run_id) => {
                let project = self.open_project(project.unwrap_or_else(|| Path::new(".")))?;
                let folder = request.to.clone().unwrap_or_else(|| project.emissions().join("plots"));
                let charts = match run_id {
                    Some(run_id) => charts_of(&self.read_run(Some(project.root()), run_id)?),
                    None => charts_of_files(&files_of_project(&project)),
                };
                (self.path_in(&project, &folder, Access::Write)?, charts)
            }
        };
        let mut files = Vec::new();
        for (name, chart) in charts.map_err(WorkbenchError::reported)? {
            files.extend(self.write_chart(&chart, &folder.join(name))?);
        }
        Ok(PlotEmissionsResponse { success: true, files })
    }
}

/// Charts that a run may have, by name.
pub const RUN_CHARTS: &[&str] = &["energy", "power", "loss"];

impl Workbench {
    /// A chart of a run as PNG, one of [`RUN_CHARTS`]; nothing is written.
    ///
    /// Errors: the run is unknown, or has no figures for the chart.
    pub async fn chart_of_run(&self, run_id: &str, chart: &str) -> Result<Vec<u8>> {
        let (run_id, chart) = (run_id.to_owned(), chart.to_owned());
        self.blocking(move |workbench| {
            let run = workbench.read_run(None, &run_id)?;
            let charts = charts_of(&run).map_err(WorkbenchError::reported)?;
            let name = format!("{}_{chart}", run.layout.run_id());
            let drawn = charts.into_iter().find(|(known, _)| *known == name);
            let (_, drawn) = drawn.ok_or_else(|| WorkbenchError::InvalidValue {
                key: "chart",
                found: chart,
                allowed: format!("one of {} that the run has figures for", RUN_CHARTS.join(", ")),
            })?;
            drawn.png().map_err(WorkbenchError::reported)
        })
        .await
    }
}

type Charts = std::result::Result<Vec<(String, Plot)>, CarbonError>;

fn charts_of_files(files: &[PathBuf]) -> Charts {
    let all = aggregate_paths(files, &EquivalenceTable::default())?;
    let energy = plots::energy_of_paths(files)?;
    let emissions = (all.total_emissions_kg_co2 > 0.0)
        .then(|| (String::from("emissions_by_run"), plots::emissions_by_run(&all)));
    Ok(emissions.into_iter().chain([(String::from("energy_by_run"), energy)]).collect())
}

/// The charts of a run by name. One that was over before its power was reported twice has no power over time.
fn charts_of(run: &Run) -> Charts {
    let run_id = run.layout.run_id();
    let energy = plots::energy_by_component(&run.layout)?;
    let mut charts = vec![(format!("{run_id}_energy"), energy)];
    match plots::power_over_time(&run.layout) {
        Err(CarbonError::NoEmissions { .. }) => {}
        power => charts.push((format!("{run_id}_power"), power?)),
    }
    charts.extend(loss_curve(run).map(|loss| (format!("{run_id}_loss"), loss)));
    Ok(charts)
}

impl Workbench {
    /// Writes `chart` beside `path`, as `.svg` and as `.png`.
    ///
    /// Errors: a file of the name is there that greentune did not write, and the paths are not a person's own.
    pub(super) fn write_chart(&self, chart: &Plot, path: &Path) -> Result<[PathBuf; 2]> {
        let files = ["svg", "png"].map(|extension| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{extension}"));
            PathBuf::from(name)
        });
        files.iter().try_for_each(|file| self.check_replaceable(file))?;
        for file in &files {
            chart.write(file).map_err(WorkbenchError::reported)?;
            self.note_written(file);
        }
        Ok(files)
    }
}
