//! Charts of energy and emissions.

use std::path::PathBuf;

use greentune_carbon::{
    CarbonError,
    aggregate::aggregate,
    equivalence::EquivalenceTable,
    plots::{self, Plot},
};
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
            Some(run_id) => {
                let run = self.find_run(Some(project.root()), run_id)?;
                plots::power_over_time(&run)
                    .and_then(|power| Ok([(power, "power"), (plots::energy_by_component(&run)?, "energy")]))
                    .map(|charts| charts.map(|(chart, name)| (chart, format!("{run_id}_{name}"))).to_vec())
            }
            None => aggregate(&project.emissions(), &EquivalenceTable::default())
                .map(|all| vec![(plots::emissions_by_run(&all), String::from("emissions_by_run"))]),
        };
        let mut files = Vec::new();
        for (chart, name) in charts.map_err(WorkbenchError::reported)? {
            files.extend(write(&chart, &folder.join(name)).map_err(WorkbenchError::reported)?);
        }
        Ok(PlotEmissionsResponse { success: true, files })
    }
}

fn write(chart: &Plot, path: &std::path::Path) -> Result<[PathBuf; 2], CarbonError> {
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
