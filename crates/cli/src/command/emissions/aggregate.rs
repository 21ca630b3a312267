//! `greentune emissions aggregate`: all runs of a project together.

use clap::Args;
use greentune_carbon::aggregate::AggregateEmissions;
use greentune_core_config::quantities::{counted, duration, emissions, energy, number};
use greentune_workbench::operation::GetAggregateEmissions;

use super::between;
use crate::{failure::Failure, output::Paint, session::Session, table::table};

/// Arguments of `emissions aggregate`.
#[derive(Args, Debug)]
pub struct Aggregate {}

impl Aggregate {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = GetAggregateEmissions { project_path: session.project_or_here() };
        let all = session.workbench()?.get_aggregate_emissions(request).await?;
        session.output.answer(&all, |paint| page(&all, paint))
    }
}

fn page(all: &AggregateEmissions, paint: Paint) -> String {
    let skipped =
        all.skipped.iter().map(|one| paint.doubtful(format!("left out: {}: {}", one.file, one.reason)));
    if all.total_runs == 0 {
        let none = String::from("nothing was metered yet");
        return std::iter::once(none).chain(skipped).collect::<Vec<_>>().join("\n");
    }
    let known = all.energy_with_provenance.as_ref().filter(|known| known.files == all.total_files);
    let mut lines = vec![
        format!(
            "{}: {}{} in {}: {}, {} each",
            counted(all.total_runs as u64, "run"),
            energy(all.total_energy_kwh),
            between(known.map(|known| known.range_kwh), energy),
            duration(all.total_duration_hours * 3600.0),
            emissions(all.total_emissions_kg_co2),
            emissions(all.average_per_run_kg),
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
            emissions(run.emissions_kg),
            energy(run.energy_kwh),
            duration(run.duration_hours * 3600.0),
        ]
    });
    lines.push(table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>()));
    lines.extend(skipped);
    lines.join("\n")
}
