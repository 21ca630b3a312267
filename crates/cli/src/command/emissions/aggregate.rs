//! `greentune emissions aggregate`: all runs of a project, or in files, together.

use std::path::PathBuf;

use clap::Args;
use greentune_carbon::aggregate::AggregateEmissions;
use greentune_core_config::quantities::{counted, duration, energy_unit, mass_unit, number};
use greentune_workbench::operation::GetAggregateEmissions;

use super::between;
use crate::{failure::Failure, output::Paint, session::Session, table::table};

/// Arguments of `emissions aggregate`.
#[derive(Args, Debug)]
pub struct Aggregate {
    /// CodeCarbon files, or folders of them [default: those of the project]
    files: Vec<PathBuf>,
}

impl Aggregate {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let project_path =
            if self.files.is_empty() { Some(session.project_or_here()) } else { session.project() };
        let files = self.files.iter().map(|file| session.here(file)).collect();
        let request = GetAggregateEmissions { project_path, files };
        let all = session.workbench()?.get_aggregate_emissions(request).await?;
        session.output.answer(&all, |paint| page(&all, paint))
    }
}

fn page(all: &AggregateEmissions, paint: Paint) -> String {
    let left_out = all.skipped.iter().map(|one| format!("left out: {}: {}", one.file, one.reason));
    let shared = all.shared_machines.iter().map(|shared| shared.message.clone());
    let skipped = shared.chain(all.notes.iter().cloned()).chain(left_out).map(|line| paint.doubtful(line));
    if all.total_runs == 0 {
        let none = String::from("nothing was metered yet");
        return std::iter::once(none).chain(skipped).collect::<Vec<_>>().join("\n");
    }
    // One unit for all figures of a kind, so that they can be set against each other.
    let (kwh, kg) = (energy_unit(all.total_energy_kwh), mass_unit(all.total_emissions_kg_co2));
    let known = all.energy_with_provenance.as_ref().filter(|known| known.files == all.total_files);
    let mut lines = vec![
        format!(
            "{}: {}{} in {}: {}, {} each",
            counted(all.total_runs as u64, "run"),
            kwh.text(all.total_energy_kwh),
            between(known.map(|known| known.range_kwh), |bound| kwh.text(bound)),
            duration(all.total_duration_hours * 3600.0),
            kg.text_co2e(all.total_emissions_kg_co2),
            kg.text_co2e(all.average_per_run_kg),
        ),
        format!(
            "compares to {} miles driven, {} smartphones charged, or {} trees growing for a year",
            number(all.equivalencies.miles_driven_equivalent),
            number(all.equivalencies.smartphones_charged),
            number(all.equivalencies.trees_to_offset_1year),
        ),
        String::new(),
    ];
    let heading = ["RUN", "EMISSIONS", "ENERGY", "TIME"].map(str::to_owned).to_vec();
    let rows = all.top_emitting_runs.iter().map(|run| {
        vec![
            run.run_id.clone(),
            kg.text_co2e(run.emissions_kg),
            kwh.text(run.energy_kwh),
            duration(run.duration_hours * 3600.0),
        ]
    });
    lines.push(table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>()));
    lines.extend(skipped);
    lines.join("\n")
}
