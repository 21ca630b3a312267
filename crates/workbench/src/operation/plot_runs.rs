//! Charts of runs beside each other.

use std::path::PathBuf;

use greentune_reports::comparison::{Comparison, RunFigures, charts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compare_runs::CompareRuns;
use crate::{Result, Workbench, WorkbenchError, reach::Access, run_ids::RunIds};

/// Draw charts of runs of adaptive sparse training beside full training.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct PlotRuns {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// The run; several are a group over seeds.
    pub ast_run_id: RunIds,
    /// The run or runs to compare with; found as by `compare_runs` when absent.
    pub baseline_run_id: Option<RunIds>,
    /// Folder for the charts, in the project of the first run; `comparisons/{run_id}` there when absent.
    pub to: Option<PathBuf>,
}

/// The charts that were drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlotRunsResponse {
    /// Always true; a problem is an error.
    pub success: bool,
    /// The AST runs.
    pub ast_run_ids: Vec<String>,
    /// The runs beside them; empty when there is none.
    pub baseline_run_ids: Vec<String>,
    /// Each chart as SVG and as PNG.
    pub files: Vec<PathBuf>,
}

impl Workbench {
    /// Accuracy against energy, and activation rate and threshold over epochs, as far as the runs have them; each as SVG and
    /// PNG, each file replaced in one step.
    ///
    /// Errors: as `compare_runs`; no run was evaluated twice; the folder lies outside the project or the allowed roots.
    pub async fn plot_runs(&self, request: PlotRuns) -> Result<PlotRunsResponse> {
        self.blocking(move |workbench| {
            let PlotRuns { project_path, ast_run_id, baseline_run_id, to } = request;
            let comparison = workbench.comparison(&CompareRuns {
                project_path: project_path.clone(),
                ast_run_id,
                baseline_run_id,
                format: None,
            })?;
            let first = &comparison.ast[0].run_id;
            let run = workbench.find_run(project_path.as_deref(), first)?;
            let folder = to.unwrap_or_else(|| PathBuf::from("comparisons").join(first));
            let folder = workbench.path_in(run.project(), &folder, Access::Write)?;
            let charts = charts(&comparison);
            if charts.is_empty() {
                return Err(nothing_to_draw(&comparison));
            }
            let mut files = Vec::new();
            for (name, chart) in charts {
                files.extend(workbench.write_chart(&chart, &folder.join(name))?);
            }
            let ids = |runs: &[RunFigures]| runs.iter().map(|run| run.run_id.clone()).collect();
            Ok(PlotRunsResponse {
                success: true,
                ast_run_ids: ids(&comparison.ast),
                baseline_run_ids: ids(&comparison.baseline),
                files,
            })
        })
        .await
    }
}

fn nothing_to_draw(comparison: &Comparison) -> WorkbenchError {
    WorkbenchError::CannotCompare {
        reason: format!("{} was evaluated less than twice while it trained", comparison.ast[0].run_id),
        instead: String::from("train more epochs, or lower training.eval_steps of a language model"),
    }
}
