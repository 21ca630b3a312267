//! `greentune emissions compare`: runs beside each other.

use clap::Args;
use greentune_carbon::compare::EmissionsComparison;
use greentune_core_config::quantities::{duration, emissions, energy};
use greentune_workbench::operation::CompareEmissions;

use super::between;
use crate::{failure::Failure, output::Paint, session::Session};

/// Arguments of `emissions compare`.
#[derive(Args, Debug)]
pub struct Compare {
    /// Ids of the runs; differences are relative to the first
    #[arg(num_args = 2.., required = true)]
    runs: Vec<String>,
}

impl Compare {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = CompareEmissions { project_path: session.project(), run_ids: self.runs };
        let comparison = session.workbench()?.compare_emissions(request).await?;
        session.output.answer(&comparison, |paint| page(&comparison, paint))
    }
}

fn page(comparison: &EmissionsComparison, paint: Paint) -> String {
    let mut lines = Vec::new();
    for run in &comparison.runs {
        lines.push(paint.heading(&run.run_id));
        lines.push(format!(
            "  {}{} in {}: {}{}, {}",
            energy(run.energy_kwh),
            between(run.energy_range_kwh, energy),
            duration(run.duration_hours * 3600.0),
            emissions(run.emissions_kg),
            between(run.emissions_range_kg, emissions),
            run.basis,
        ));
        let Some(difference) = &run.difference else { continue };
        lines.push(format!("  {}", difference.verdict));
        lines.extend(difference.caveats.iter().map(|caveat| format!("  {}", paint.doubtful(caveat))));
    }
    lines.join("\n")
}
