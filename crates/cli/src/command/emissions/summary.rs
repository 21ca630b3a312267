//! `greentune emissions summary`: what a run used.

use clap::Args;
use greentune_core_config::quantities::{Unit, duration, energy_unit, mass_unit, number};
use greentune_workbench::operation::GetEmissionsSummary;

use super::{between, run_of};
use crate::{failure::Failure, output::Paint, session::Session};

/// The answer of the workbench.
type EmissionsSummary = greentune_carbon::summary::EmissionsSummary;

/// Arguments of `emissions summary`.
#[derive(Args, Debug)]
pub struct Summary {
    /// A run by its id, its name or the beginning of one, or a CodeCarbon file or a folder of them [default: the newest
    /// run that was started]
    #[arg(value_name = "RUN|FILE")]
    run: Option<String>,
}

impl Summary {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let (project_path, run_id) = run_of(self.run, session).await?;
        let request = GetEmissionsSummary { project_path, run_id };
        let summary = session.workbench()?.get_emissions_summary(request).await?;
        session.output.answer(&summary, |paint| page(&summary, paint))
    }
}

fn page(summary: &EmissionsSummary, paint: Paint) -> String {
    let mut lines = vec![paint.heading(&summary.run_id), total(summary)];
    let (kwh, kg) = units(summary);
    let stages = summary.stages.iter().map(|stage| {
        let name = format!("stage {}", stage.stage);
        (name, stage.energy_kwh, stage.duration_hours, stage.emissions_kg, &stage.file)
    });
    let runs = summary
        .runs
        .iter()
        .filter(|_| summary.runs.len() > 1)
        .map(|run| (run.run_id.clone(), run.energy_kwh, run.duration_hours, run.emissions_kg, &run.file));
    lines.extend(stages.chain(runs).map(|(name, energy, hours, emissions, file)| {
        format!(
            "{name}: {} in {}, {}  {}",
            kwh.text(energy),
            duration(hours * 3600.0),
            kg.text_co2e(emissions),
            paint.faint(file),
        )
    }));
    lines.extend(basis(summary).into_iter().map(|basis| format!("  {basis}")));
    let compared = &summary.equivalencies;
    lines.push(format!(
        "compares to {} miles driven, {} smartphones charged, or {} trees growing for a year",
        number(compared.miles_driven_equivalent),
        number(compared.smartphones_charged),
        number(compared.trees_to_offset_1year),
    ));
    lines.extend(summary.sci.iter().map(|sci| {
        let note = sci.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        format!("SCI {} g CO2e per {}{note}", number(sci.g_per_unit), sci.per.unit)
    }));
    lines.extend(summary.caveats.iter().map(|caveat| paint.doubtful(caveat)));
    lines.extend(summary.recommendations.iter().map(|advice| format!("advice: {advice}")));
    lines.join("\n")
}

/// Energy with its bounds, and emissions, of the whole run.
pub fn total(summary: &EmissionsSummary) -> String {
    let totals = &summary.summary;
    let (kwh, kg) = units(summary);
    format!(
        "{}{} in {}: {}{}",
        kwh.text(totals.total_energy_kwh),
        between(totals.energy_range_kwh, |bound| kwh.text(bound)),
        duration(totals.total_duration_hours * 3600.0),
        kg.text_co2e(totals.total_emissions_kg_co2),
        between(totals.emissions_range_kg, |bound| kg.text_co2e(bound)),
    )
}

/// The units of all figures of a summary.
fn units(summary: &EmissionsSummary) -> (Unit, Unit) {
    let totals = &summary.summary;
    (energy_unit(totals.total_energy_kwh), mass_unit(totals.total_emissions_kg_co2))
}

/// How the energy of each component is known, and the carbon intensity; each said once.
pub fn basis(summary: &EmissionsSummary) -> Vec<String> {
    let mut lines = Vec::new();
    for provenance in summary.stages.iter().filter_map(|stage| stage.provenance.as_ref()) {
        for part in &provenance.components {
            lines.push(format!("{} {}: {}", part.component, part.basis, part.method));
        }
        let intensity = number(provenance.carbon_intensity_g_per_kwh);
        lines.push(format!("grid {intensity} g CO2e per kWh: {}", provenance.carbon_intensity_source));
    }
    let mut said = std::collections::BTreeSet::new();
    lines.retain(|line| said.insert(line.clone()));
    lines
}
