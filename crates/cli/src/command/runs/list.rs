//! `greentune runs list`: a table of runs.

use clap::Args;
use greentune_core_config::quantities::emissions;
use greentune_workbench::{
    RunSummary,
    operation::{ListRuns, ListRunsResponse},
};

use crate::{failure::Failure, output::Paint, session::Session, table::list};

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
        let response = session.workbench()?.list_runs(ListRuns { project_path }).await?;
        session.output.answer(&response, |paint| page(&response, has_project, paint))
    }
}

fn page(response: &ListRunsResponse, has_project: bool, paint: Paint) -> String {
    let unreadable = response.unreadable.iter().map(|why| paint.doubtful(format!("unreadable: {why}")));
    if response.runs.is_empty() {
        let none = "no runs yet; configure one with `greentune runs new`";
        return unreadable.chain([none.to_owned()]).collect::<Vec<_>>().join("\n");
    }
    let mut heading: Vec<_> = ["RUN", "STATUS", "DONE", "EMISSIONS", "CONFIGURED"].map(str::to_owned).into();
    heading.extend((!has_project).then(|| String::from("PROJECT")));
    let rows: Vec<_> =
        std::iter::once(heading).chain(response.runs.iter().map(|run| row(run, has_project))).collect();
    std::iter::once(list(&rows)).chain(unreadable).collect::<Vec<_>>().join("\n")
}

fn row(run: &RunSummary, has_project: bool) -> Vec<String> {
    let mut row = vec![
        run.run_id.clone(),
        run.status.to_string(),
        format!("{:.0} %", run.progress_percentage),
        run.carbon_emissions_kg.map_or_else(|| String::from("-"), emissions),
        run.created_at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    ];
    row.extend((!has_project).then(|| run.project_path.display().to_string()));
    row
}
