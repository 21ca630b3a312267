//! The tool `get_emissions_summary`.

use greentune_carbon::summary::EmissionsSummary;
use greentune_workbench::{Result, Workbench, operation::GetEmissionsSummary};

use crate::{
    operation::{Effect, Operation},
    progress::Progress,
    wording::{count, duration, emissions, figure},
};

impl Operation for GetEmissionsSummary {
    type Response = EmissionsSummary;

    const NAME: &'static str = "get_emissions_summary";
    const TITLE: &'static str = "Get an emissions summary";
    const DESCRIPTION: &'static str =
        "Energy and CO2 emissions of a run, per stage, with comparisons and what would lower them.";
    const EFFECT: Effect = Effect::Reads;

    async fn perform(self, workbench: &Workbench, _progress: Option<Progress>) -> Result<Self::Response> {
        workbench.get_emissions_summary(self).await
    }

    fn text(response: &Self::Response) -> String {
        let total = &response.summary;
        let range = total.energy_range_kwh.map_or_else(String::new, |[least, most]| {
            format!(" (between {} and {})", figure(least), figure(most))
        });
        format!(
            "{}: {} from {} kWh{range} in {} over {}, as much as {} miles by car.",
            response.run_id,
            emissions(total.total_emissions_kg_co2),
            figure(total.total_energy_kwh),
            duration(3600.0 * total.total_duration_hours),
            count(total.num_stages as u64, "stage"),
            figure(response.equivalencies.miles_driven_equivalent)
        )
    }
}
