//! The tool `get_aggregate_emissions`.

use greentune_carbon::aggregate::AggregateEmissions;
use greentune_workbench::{Result, Workbench, operation::GetAggregateEmissions};

use crate::{
    operation::{Effect, Operation},
    progress::Progress,
    wording::{count, duration, emissions, figure},
};

impl Operation for GetAggregateEmissions {
    type Response = AggregateEmissions;

    const NAME: &'static str = "get_aggregate_emissions";
    const TITLE: &'static str = "Get the emissions of all runs";
    const DESCRIPTION: &'static str = "Energy and CO2 emissions of all runs of a project together: totals, the runs that emitted most, by country, \
         machine, month and day.";
    const EFFECT: Effect = Effect::Reads;

    async fn perform(self, workbench: &Workbench, _progress: Option<Progress>) -> Result<Self::Response> {
        workbench.get_aggregate_emissions(self).await
    }

    fn text(response: &Self::Response) -> String {
        let most = response
            .top_emitting_runs
            .first()
            .map(|run| format!(" Most by {}: {}.", run.run_id, emissions(run.emissions_kg)));
        let skipped = match response.skipped.len() {
            0 => String::new(),
            skipped => format!(" {} could not be read and are left out.", count(skipped as u64, "file")),
        };
        format!(
            "{}: {} from {} kWh over {}.{}{skipped}",
            count(response.total_runs as u64, "run"),
            emissions(response.total_emissions_kg_co2),
            figure(response.total_energy_kwh),
            duration(3600.0 * response.total_duration_hours),
            most.unwrap_or_default(),
        )
    }
}
