//! The tool `compare_runs`.

use greentune_workbench::{
    Result, Workbench,
    operation::{CompareRuns, CompareRunsResponse},
};

use crate::{
    operation::{Effect, Operation},
    progress::Progress,
};

impl Operation for CompareRuns {
    type Response = CompareRunsResponse;

    const NAME: &'static str = "compare_runs";
    const TITLE: &'static str = "Compare runs";
    const DESCRIPTION: &'static str = "Adaptive sparse beside full training: accuracy, energy, time, cost, CO2 with intervals, bases \
         and caveats. Several ids (commas) are seeds of a group.";
    const EFFECT: Effect = Effect::Reads;

    async fn perform(self, workbench: &Workbench, _progress: Option<Progress>) -> Result<Self::Response> {
        workbench.compare_runs(self).await
    }

    fn text(response: &Self::Response) -> String {
        response.markdown.clone()
    }
}
