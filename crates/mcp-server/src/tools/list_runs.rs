//! The tool `list_runs`.

use std::iter;

use greentune_workbench::{
    Result, Workbench,
    operation::{ListRuns, ListRunsResponse},
};

use crate::{
    operation::{Effect, Operation},
    progress::Progress,
    wording::{count, emissions},
};

/// Runs that the text names; the structured content has them all.
const SHOWN: usize = 20;

impl Operation for ListRuns {
    type Response = ListRunsResponse;

    const NAME: &'static str = "list_runs";
    const TITLE: &'static str = "List runs";
    const DESCRIPTION: &'static str = "The runs of a project, or all known runs, newest first.";
    const EFFECT: Effect = Effect::Reads;

    async fn perform(self, workbench: &Workbench, _progress: Option<Progress>) -> Result<Self::Response> {
        workbench.list_runs(self).await
    }

    fn text(response: &Self::Response) -> String {
        let number = count(response.runs.len() as u64, "run");
        let runs = response.runs.iter().take(SHOWN).map(|run| {
            let emissions =
                run.carbon_emissions_kg.map_or_else(String::new, |kg| format!(", {}", emissions(kg)));
            format!("{}: {}, {:.0} %{emissions}", run.run_id, run.status, run.progress_percentage)
        });
        let more = (response.runs.len() > SHOWN).then(|| String::from("…"));
        let unreadable = response.unreadable.iter().map(|run| format!("Unreadable: {run}"));
        iter::once(number).chain(runs).chain(more).chain(unreadable).collect::<Vec<_>>().join("\n")
    }
}
