//! `greentune emissions compare`: runs beside each other.

use clap::Args;
use greentune_carbon::compare::{ComparedRun, EmissionsComparison};
use greentune_core_config::quantities::{duration, energy_unit, mass_unit};
use greentune_workbench::operation::CompareEmissions;

use super::{between, run_or_path};
use crate::{failure::Failure, output::Paint, session::Session};

/// Arguments of `emissions compare`.
#[derive(Args, Debug)]
pub struct Compare {
    /// Ids of runs, or CodeCarbon files and folders of them; differences are relative to the first. Of a single file the
    /// runs in it are compared
    #[arg(num_args = 1.., required = true, value_name = "RUN|FILE")]
    runs: Vec<String>,
}

impl Compare {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let run_ids = self.runs.iter().map(|name| run_or_path(name, session)).collect();
        let request = CompareEmissions { project_path: session.project(), run_ids };
        let comparison = session.workbench()?.compare_emissions(request).await?;
        session.output.answer(&comparison, |paint| page(&comparison, paint))
    }
}

fn page(comparison: &EmissionsComparison, paint: Paint) -> String {
    let most = |of: fn(&ComparedRun) -> f64| comparison.runs.iter().map(of).fold(0.0, f64::max);
    let (kwh, kg) = (energy_unit(most(|run| run.energy_kwh)), mass_unit(most(|run| run.emissions_kg)));
    let mut lines = Vec::new();
    for run in &comparison.runs {
        lines.push(paint.heading(&run.run_id));
        lines.push(format!(
            "  {}{} in {}: {}{}, {}",
            kwh.text(run.energy_kwh),
            between(run.energy_range_kwh, |bound| kwh.text(bound)),
            duration(run.duration_hours * 3600.0),
            kg.text_co2e(run.emissions_kg),
            between(run.emissions_range_kg, |bound| kg.text_co2e(bound)),
            run.basis,
        ));
        let Some(difference) = &run.difference else { continue };
        lines.push(format!("  {}", difference.verdict));
        lines.extend(difference.caveats.iter().map(|caveat| format!("  {}", paint.doubtful(caveat))));
    }
    lines.join("\n")
}
