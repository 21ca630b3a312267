//! `greentune runs list`: a table of runs.

use clap::Args;
use greentune_core_config::{
    Suggestion,
    quantities::{Unit, mass_unit},
};
use greentune_workbench::{
    RunSummary,
    operation::{ListRuns, ListRunsResponse},
};

use serde_json::Map;

use crate::{advice::quoted, failure::Failure, output::Paint, session::Session, table::list};

/// Arguments of `runs list`.
#[derive(Args, Debug)]
pub struct List {
    /// Runs of all projects
    #[arg(long)]
    all: bool,
}

impl List {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let project_path = session.project().filter(|_| !self.all);
        let has_project = project_path.is_some();
        let response = session.workbench()?.list_runs(ListRuns::all(project_path)).await?;
        session.output.answer(&response, |paint| page(&response, has_project, paint))
    }
}

fn page(response: &ListRunsResponse, has_project: bool, paint: Paint) -> String {
    let unreadable = response.unreadable.iter().map(|why| paint.doubtful(format!("unreadable: {why}")));
    if response.runs.is_empty() {
        let none = format!("no runs yet; configure one with {}", quoted(&new_run()));
        return unreadable.chain([none]).collect::<Vec<_>>().join("\n");
    }
    let mut heading: Vec<_> = ["RUN", "STATUS", "DONE", "EMISSIONS", "CONFIGURED"].map(str::to_owned).into();
    heading.extend((!has_project).then(|| String::from("PROJECT")));
    // One unit for the column, so that its figures can be compared at a glance.
    let most = response.runs.iter().filter_map(|run| run.carbon_emissions_kg).fold(0.0, f64::max);
    let unit = mass_unit(most);
    let rows = response.runs.iter().map(|run| row(run, unit, has_project));
    let rows: Vec<_> = std::iter::once(heading).chain(rows).collect();
    std::iter::once(list(&rows)).chain(unreadable).collect::<Vec<_>>().join("\n")
}

/// How a run is configured, with what everybody has to say.
pub fn new_run() -> Suggestion {
    let data = [("train_dataset", "FILE"), ("validation_dataset", "FILE")];
    let data: Map<_, _> = data.map(|(key, file)| (key.to_owned(), file.into())).into_iter().collect();
    Suggestion::new("configure one", "configure_training_run")
        .with("run_name", "NAME")
        .with("training_data", data)
}

fn row(run: &RunSummary, unit: Unit, has_project: bool) -> Vec<String> {
    let mut row = vec![
        run.run_id.clone(),
        run.status.to_string(),
        format!("{:.0} %", run.progress_percentage),
        run.carbon_emissions_kg.map_or_else(|| String::from("-"), |kg| format!("{} CO2e", unit.text(kg))),
        run.created_at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    ];
    row.extend((!has_project).then(|| run.project_path.display().to_string()));
    row
}
