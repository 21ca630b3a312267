//! A run's emissions against its alerts and budgets, while it is trained.

use std::collections::BTreeSet;

use greentune_core_config::{
    event::{Event, EventKind},
    manifest::{RunManifest, StageRecord},
    settings::CarbonSettings,
};

use crate::{Result, WorkbenchError};

/// Emissions per hour are a mean. Over a shorter span than this, one burst would look like a steady rate.
const STEADY_SECONDS: f64 = 30.0;
const HIGH_EMISSIONS: &str = "carbon.high_emissions";
const HIGH_RATE: &str = "carbon.high_emissions_per_hour";
const BUDGET_SPENT: &str = "carbon.budget_spent";

/// Which warnings a run has had already: each is given once.
#[derive(Debug, Default)]
pub(crate) struct CarbonWatch {
    given: BTreeSet<&'static str>,
}

impl CarbonWatch {
    /// The watch of a run that already has these events.
    pub fn after(events: &[Event]) -> Self {
        let mut watch = Self::default();
        for event in events {
            match &event.kind {
                // A budget may have been raised since; if it has not, the next attempt says so again.
                EventKind::Started { .. } => drop(watch.given.remove(BUDGET_SPENT)),
                EventKind::Warning { code, .. } => {
                    let known = [HIGH_EMISSIONS, HIGH_RATE, BUDGET_SPENT];
                    watch.given.extend(known.into_iter().find(|known| known == code));
                }
                _ => {}
            }
        }
        watch
    }

    /// The warnings that the run's figures give now and have not given before.
    pub fn look(&mut self, manifest: &RunManifest) -> Vec<EventKind> {
        let findings = [
            (HIGH_EMISSIONS, high_emissions(manifest)),
            (HIGH_RATE, high_rate(manifest)),
            (BUDGET_SPENT, budget_spent(manifest)),
        ];
        let new = |(code, message): (&'static str, Option<String>)| {
            let message = message?;
            self.given.insert(code).then(|| EventKind::Warning { code: code.to_owned(), message })
        };
        findings.into_iter().filter_map(new).collect()
    }
}

/// Why a run must stop, when its budget is spent.
pub(crate) fn budget_spent(manifest: &RunManifest) -> Option<String> {
    let CarbonSettings { budget_kg, budget_kwh, .. } = manifest.settings.carbon;
    let (kg, kwh) = used(manifest);
    let over = |used: f64, budget: Option<f64>, unit: &str, key: &str| {
        let budget = budget.filter(|budget| used >= *budget)?;
        Some(format!("the run has used {used:.6} {unit} of its carbon.{key} of {budget} {unit}"))
    };
    over(kg, budget_kg, "kg CO2e", "budget_kg").or_else(|| over(kwh, budget_kwh, "kWh", "budget_kwh"))
}

/// Refuses to start a run whose budget is spent already.
pub(crate) fn refuse_spent(manifest: &RunManifest) -> Result<()> {
    budget_spent(manifest).map_or(Ok(()), |message| {
        Err(WorkbenchError::BudgetSpent { run_id: manifest.run_id.clone(), message })
    })
}

/// The error for a cancelled run: its budget is spent, or somebody cancelled it.
pub(crate) fn end_of(manifest: &RunManifest) -> WorkbenchError {
    refuse_spent(manifest).err().unwrap_or_else(|| WorkbenchError::Cancelled(manifest.run_id.clone()))
}

/// kg CO2e and kWh of all stages so far, over all attempts.
fn used(manifest: &RunManifest) -> (f64, f64) {
    let emissions = manifest.stages.iter().filter_map(|stage: &StageRecord| stage.emissions.as_ref());
    emissions.fold((0.0, 0.0), |(kg, kwh), stage| (kg + stage.emissions_kg_co2, kwh + stage.energy_kwh))
}

fn high_emissions(manifest: &RunManifest) -> Option<String> {
    let limit = manifest.settings.carbon.alerts.high_emissions_kg;
    let (kg, _) = used(manifest);
    (kg > limit).then(|| {
        format!(
            "the run has emitted {kg:.3} kg CO2e, more than carbon.alerts.high_emissions_kg = {limit}; \
             carbon.budget_kg would stop it"
        )
    })
}

fn high_rate(manifest: &RunManifest) -> Option<String> {
    let limit = manifest.settings.carbon.alerts.high_emissions_per_hour_kg;
    let steady = |stage: &StageRecord| {
        let emissions =
            stage.emissions.as_ref().filter(|so_far| so_far.duration_seconds >= STEADY_SECONDS)?;
        let per_hour = emissions.emissions_kg_co2 / emissions.duration_seconds * 3600.0;
        (per_hour > limit).then_some((stage.stage, per_hour))
    };
    let (stage, per_hour) = manifest.stages.iter().find_map(steady)?;
    Some(format!(
        "stage {stage} emits {per_hour:.3} kg CO2e per hour, more than \
         carbon.alerts.high_emissions_per_hour_kg = {limit}"
    ))
}
