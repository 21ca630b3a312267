//! The tool `plan_training`.

use std::iter;

use greentune_core_config::{memory::bytes_in_words, plan::PlanAccuracy};
use greentune_workbench::{
    Result, Workbench,
    operation::{PlanTraining, PlanTrainingResponse},
};

use crate::{
    operation::{Effect, Operation},
    progress::Progress,
    wording::{duration, emissions, figure, list},
};

impl Operation for PlanTraining {
    type Response = PlanTrainingResponse;

    const NAME: &'static str = "plan_training";
    const TITLE: &'static str = "Plan training";
    const DESCRIPTION: &'static str = "Memory, time, energy, carbon and cost of a configured run before it starts; after it, \
        how far off that was. May try a few steps, up to a minute.";
    const EFFECT: Effect = Effect::Settles;

    async fn perform(self, workbench: &Workbench, _progress: Option<Progress>) -> Result<Self::Response> {
        workbench.plan_training(self).await
    }

    fn text(response: &Self::Response) -> String {
        let plan = &response.plan;
        let memory = format!(
            "The run {} needs {} of memory at its peak{}",
            response.run_id,
            bytes_in_words(plan.memory.peak_bytes),
            if plan.memory.fits == Some(false) { ", which is more than is free" } else { "" },
        );
        let time = plan.time.as_ref().map(|time| format!("about {}", duration(time.duration_seconds)));
        let energy = plan
            .energy
            .as_ref()
            .map(|used| format!("{} Wh ({})", figure(1000.0 * used.energy_kwh), used.basis));
        let carbon = plan.carbon.as_ref().map(|carbon| emissions(carbon.emissions_kg_co2));
        let cost = plan.cost.as_ref().map(|cost| {
            format!("{} {}", figure(cost.amount), cost.currency.as_deref().unwrap_or("in electricity"))
        });
        let first = iter::once(memory).chain([time, energy, carbon, cost].into_iter().flatten());
        let first = first.collect::<Vec<_>>().join(", ");
        let basis = format!("{first}; basis: {}.", plan.basis.as_str());
        let before = response.accuracy.as_ref().or(response.last_plan.as_ref()).map(how_far_off);
        iter::once(basis).chain(before).collect::<Vec<_>>().join("\n")
    }
}

fn how_far_off(accuracy: &PlanAccuracy) -> String {
    let ratios =
        list(&accuracy.quantities, |quantity| format!("{} {}", quantity.quantity, figure(quantity.ratio)));
    format!("Actual over planned for {}: {ratios}.", accuracy.run_id)
}
