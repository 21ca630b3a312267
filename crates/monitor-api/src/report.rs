//! One file with a run's page, which needs no server: `greentune report RUN --html`.

use std::path::PathBuf;

use greentune_core_config::Problem;
use greentune_workbench::{
    Workbench,
    operation::{GetEmissionsSummary, GetSeries, MonitorTrainingProgress, ShowRun},
};
use serde_json::{Value, json};

/// Buckets of each figure: more than a wide screen can show.
const POINTS: u64 = 1500;

const TEMPLATE: &str = include_str!("../assets/report.html");
const SCRIPT: &str = include_str!("../assets/dashboard.js");
const STYLE: &str = include_str!("../assets/dashboard.css");

/// The page of the run `run_id`, with everything in it.
///
/// Errors: the run is unknown, or its files cannot be read.
pub async fn html(
    workbench: &Workbench,
    project_path: Option<PathBuf>,
    run_id: &str,
) -> Result<String, Problem> {
    use greentune_core_config::Diagnostic as _;
    let (project, run) = (|| project_path.clone(), || run_id.to_owned());
    let failed = |error: greentune_workbench::WorkbenchError| error.problem();
    let shown = ShowRun { project_path: project(), run_id: run() };
    let shown = workbench.show_run(shown).await.map_err(failed)?;
    let progress =
        MonitorTrainingProgress { project_path: project(), run_id: run(), include_emissions: Some(true) };
    let progress = workbench.monitor_training_progress(progress).await.map_err(failed)?;
    let series =
        GetSeries { project_path: project(), run_id: run(), points: Some(POINTS), ..GetSeries::default() };
    let series = workbench.get_series(series).await.map_err(failed)?;
    // A run that was not metered has a page all the same.
    let summary = GetEmissionsSummary { project_path: project(), run_id: run() };
    let summary = workbench.get_emissions_summary(summary).await.ok();
    Ok(page(&json!({ "run": shown, "progress": progress, "series": series, "summary": summary })))
}

/// The template with style, script and data in their places.
fn page(data: &Value) -> String {
    // In a script, `<` could end it.
    let data = data.to_string().replace('<', "\\u003c");
    let data = format!("<script type=\"application/json\" id=\"greentune-report\">{data}</script>");
    let parts = [("/*style*/", STYLE), ("/*script*/", SCRIPT), ("<!--data-->", data.as_str())];
    let mut page = String::with_capacity(TEMPLATE.len() + STYLE.len() + SCRIPT.len() + data.len());
    let mut rest = TEMPLATE;
    // In one pass, so that what is filled in is not looked through.
    while let Some((place, (mark, part))) =
        parts.iter().filter_map(|part| Some((rest.find(part.0)?, part))).min_by_key(|(place, _)| *place)
    {
        page.push_str(&rest[..place]);
        page.push_str(part);
        rest = &rest[place + mark.len()..];
    }
    page + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_leave_its_place() {
        let page = page(&json!({ "run": "</script><script>alert(1)</script>/*style*/" }));
        assert!(!page.contains("alert(1)</script>") && page.contains("\\u003c/script>"));
        assert_eq!(page.matches("/*style*/").count(), 1, "that of the data");
    }
}
