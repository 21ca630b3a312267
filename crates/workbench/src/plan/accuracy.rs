//! How far off a plan was, once its run is done.

use greentune_core_config::{
    event::{Event, EventKind},
    manifest::{RunStatus, StageRecord},
    plan::{PlanAccuracy, PlannedActual, TrainingPlan},
};

use super::kept_plan;
use crate::run::Run;

/// How far off the plan of `run` was; `None` before its end, or without a plan.
pub(crate) fn accuracy_of(run: &Run) -> Option<PlanAccuracy> {
    let manifest = &run.manifest;
    let is_done = |stage: &StageRecord| stage.status == RunStatus::Completed;
    if manifest.status != RunStatus::Completed || !manifest.stages.iter().all(is_done) {
        return None;
    }
    let plan = kept_plan(&run.layout)?;
    let began = run.events.iter().find(|event| matches!(event.kind, EventKind::Started { .. }))?;
    Some(PlanAccuracy {
        run_id: plan.run_id.clone(),
        basis: plan.basis,
        planned_afterwards: plan.planned_at > began.at,
        quantities: quantities(run, &plan),
    })
}

/// How far off the newest plan of `runs` was that was made before its run.
pub(crate) fn last_accuracy(runs: &[Run]) -> Option<PlanAccuracy> {
    runs.iter().filter_map(accuracy_of).find(|accuracy| !accuracy.planned_afterwards)
}

fn quantities(run: &Run, plan: &TrainingPlan) -> Vec<PlannedActual> {
    let stages = &run.manifest.stages;
    let peak = stages.iter().filter_map(|stage| stage.peak_memory_bytes).max();
    let used = |of: fn(&StageRecord) -> Option<f64>| stages.iter().map(of).sum::<Option<f64>>();
    let memory = peak.map(|actual| {
        let range = plan.memory.peak_range_bytes.map(|bytes| bytes as f64);
        compared("peak_memory_bytes", plan.memory.peak_bytes as f64, range, actual as f64)
    });
    let time = plan.time.as_ref().map(|time| {
        compared("duration_seconds", time.duration_seconds, time.range_seconds, working_seconds(&run.events))
    });
    let energy = plan.energy.as_ref().and_then(|energy| {
        let actual = used(|stage| Some(stage.emissions.as_ref()?.energy_kwh))?;
        Some(compared("energy_kwh", energy.energy_kwh, energy.range_kwh, actual))
    });
    let carbon = plan.carbon.as_ref().and_then(|carbon| {
        let actual = used(|stage| Some(stage.emissions.as_ref()?.emissions_kg_co2))?;
        Some(compared("emissions_kg_co2", carbon.emissions_kg_co2, carbon.range_kg_co2, actual))
    });
    [memory, time, energy, carbon].into_iter().flatten().collect()
}

fn compared(quantity: &str, planned: f64, range: [f64; 2], actual: f64) -> PlannedActual {
    PlannedActual {
        quantity: quantity.to_owned(),
        planned,
        actual,
        ratio: if planned > 0.0 { actual / planned } else { 0.0 },
        within_range: (range[0]..=range[1]).contains(&actual),
    }
}

/// Seconds in which a worker was at work: of each attempt, from its start to its last event.
fn working_seconds(events: &[Event]) -> f64 {
    let mut seconds = 0.0;
    let mut began = None;
    for (index, event) in events.iter().enumerate() {
        if matches!(event.kind, EventKind::Started { .. }) {
            began = Some(event.at);
        }
        let next = events.get(index + 1).map(|next| &next.kind);
        let is_last = matches!(next, None | Some(EventKind::Started { .. }));
        if let (true, Some(began)) = (is_last, began) {
            seconds += event.at.duration_since(began).as_secs_f64();
        }
    }
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_between_attempts_is_not_work() {
        let event =
            |second: i64, kind| Event { seq: 0, at: jiff::Timestamp::from_second(second).unwrap(), kind };
        let started = || EventKind::Started { pid: 1, device: String::from("cpu"), resumed: false };
        let events = [
            event(100, started()),
            event(110, EventKind::Cancelled { stage: 1, step: 3, reason: None }),
            event(500, started()),
            event(505, EventKind::Finished { duration_seconds: 5.0 }),
        ];
        assert!((working_seconds(&events) - 15.0).abs() < 1e-9);
    }

    #[test]
    fn a_ratio_is_actual_over_planned() {
        let quantity = compared("energy_kwh", 2.0, [1.0, 2.5], 3.0);
        assert!((quantity.ratio - 1.5).abs() < 1e-12 && !quantity.within_range);
    }
}
