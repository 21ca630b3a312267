//! Charts of energy and emissions.

use std::path::{Path, PathBuf};

use greentune_carbon::{
    CarbonError,
    aggregate::aggregate,
    equivalence::EquivalenceTable,
    plots::{self, Plot},
};
use greentune_core_config::layout::RunLayout;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, WorkbenchError};

/// Draw charts of a run, or of all runs of a project.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PlotEmissions {
    /// Path of the project.
    pub project_path: PathBuf,
    /// Id of the run; all runs of the project when absent.
    pub run_id: Option<String>,
    /// Folder for the charts; `emissions/plots` of the project when absent.
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
    /// Power over time and energy by component of a run, or emissions by run of a project; each as SVG and PNG.
    ///
    /// Errors: the run is unknown, or nothing was metered of it; the folder lies outside the allowed roots.
    pub async fn plot_emissions(&self, request: PlotEmissions) -> Result<PlotEmissionsResponse> {
        self.blocking(move |workbench| workbench.plot(&request)).await
    }

    fn plot(&self, request: &PlotEmissions) -> Result<PlotEmissionsResponse> {
        let project = self.open_project(&request.project_path)?;
        let folder = request.to.clone().unwrap_or_else(|| project.emissions().join("plots"));
        let folder = self.path_in(&project, &folder)?;
        let charts = match &request.run_id {
            Some(run_id) => charts_of(&self.find_run(Some(project.root()), run_id)?),
            None => aggregate(&project.emissions(), &EquivalenceTable::default())
                .map(|all| vec![(String::from("emissions_by_run"), plots::emissions_by_run(&all))]),
        };
        let mut files = Vec::new();
        for (name, chart) in charts.map_err(WorkbenchError::reported)? {
            files.extend(write(&chart, &folder.join(name)).map_err(WorkbenchError::reported)?);
        }
        Ok(PlotEmissionsResponse { success: true, files })
    }
}

/// The charts of a run by name. One that was over before its power was reported twice has no power over time.
fn charts_of(run: &RunLayout) -> std::result::Result<Vec<(String, Plot)>, CarbonError> {
    let energy = plots::energy_by_component(run)?;
    let mut charts = vec![(format!("{}_energy", run.run_id()), energy)];
    match plots::power_over_time(run) {
        Err(CarbonError::NoEmissions { .. }) => {}
        power => charts.push((format!("{}_power", run.run_id()), power?)),
    }
    Ok(charts)
}

/// Writes `chart` beside `path`, as `.svg` and as `.png`.
pub(super) fn write(chart: &Plot, path: &Path) -> std::result::Result<[PathBuf; 2], CarbonError> {
    let files = ["svg", "png"].map(|extension| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{extension}"));
        PathBuf::from(name)
    });
    for file in &files {
        chart.write(file)?;
    }
    Ok(files)
}
