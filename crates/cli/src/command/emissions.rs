//! `greentune emissions`: energy and emissions of runs.

use clap::{Args, Subcommand};
use greentune_core_config::manifest::RunStatus;
use greentune_workbench::operation::GetEmissionsSummary;

use crate::{
    failure::Failure,
    figures::{duration, emissions, energy, number},
    output::Paint,
    session::Session,
};

/// The answer of the workbench.
type EmissionsSummary = greentune_carbon::summary::EmissionsSummary;

/// Commands of `emissions`.
#[derive(Debug, Subcommand)]
pub enum Emissions {
    /// What a run used, how that is known, and what it compares to
    Summary(Summary),
}

/// Arguments of `emissions summary`.
#[derive(Args, Debug)]
pub struct Summary {
    /// Id of the run [default: the newest one that was started]
    run: Option<String>,
}

impl Emissions {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self::Summary(Summary { run }) = self;
        let project_path = if run.is_some() { session.project() } else { Some(session.project_or_here()) };
        let run_id = session.run_or_newest(run, |status| status != RunStatus::NotStarted, "started").await?;
        let request = GetEmissionsSummary { project_path, run_id };
        let summary = session.workbench()?.get_emissions_summary(request).await?;
        session.output.answer(&summary, |paint| page(&summary, paint))
    }
}

fn page(summary: &EmissionsSummary, paint: Paint) -> String {
    let mut lines = vec![paint.heading(&summary.run_id), total(summary)];
    for stage in &summary.stages {
        lines.push(format!(
            "stage {}: {} in {}, {}  {}",
            stage.stage,
            energy(stage.energy_kwh),
            duration(stage.duration_hours * 3600.0),
            emissions(stage.emissions_kg),
            paint.faint(&stage.file),
        ));
    }
    lines.extend(basis(summary).into_iter().map(|basis| format!("  {basis}")));
    let compared = &summary.equivalencies;
    lines.push(format!(
        "compares to {} miles driven, {} smartphones charged, or {} trees growing for a year",
        number(compared.miles_driven_equivalent),
        number(compared.smartphones_charged),
        number(compared.trees_to_offset_1year),
    ));
    lines.extend(summary.recommendations.iter().map(|advice| format!("advice: {advice}")));
    lines.join("\n")
}

/// Energy with its bounds, and emissions, of the whole run.
pub fn total(summary: &EmissionsSummary) -> String {
    let totals = &summary.summary;
    let range =
        totals.energy_range_kwh.map(|[least, most]| format!(" ({} to {})", energy(least), energy(most)));
    format!(
        "{}{} in {}: {}",
        energy(totals.total_energy_kwh),
        range.unwrap_or_default(),
        duration(totals.total_duration_hours * 3600.0),
        emissions(totals.total_emissions_kg_co2),
    )
}

/// How the energy of each component is known, and the carbon intensity; each said once.
pub fn basis(summary: &EmissionsSummary) -> Vec<String> {
    let mut lines = Vec::new();
    for provenance in summary.stages.iter().filter_map(|stage| stage.provenance.as_ref()) {
        for part in &provenance.components {
            let basis = match part.basis {
                greentune_core_config::emissions::EnergyBasis::Measured => "measured",
                greentune_core_config::emissions::EnergyBasis::Modelled => "modelled",
            };
            lines.push(format!("{} {basis}: {}", part.component, part.method));
        }
        let intensity = number(provenance.carbon_intensity_g_per_kwh);
        lines.push(format!("grid {intensity} g CO2e per kWh: {}", provenance.carbon_intensity_source));
    }
    let mut said = std::collections::BTreeSet::new();
    lines.retain(|line| said.insert(line.clone()));
    lines
}
