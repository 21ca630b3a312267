//! `greentune emissions current`: the latest figures of a run.

use clap::Args;
use greentune_carbon::summary::CurrentEmissions;
use greentune_core_config::quantities::{counted, duration, energy_unit, mass_unit, number};
use greentune_workbench::operation::GetCurrentEmissions;

use super::run_of;
use crate::{failure::Failure, output::Paint, session::Session};

/// Arguments of `emissions current`.
#[derive(Args, Debug)]
pub struct Current {
    /// The run: its id, its name or the beginning of one [default: the newest one that was started]
    run: Option<String>,
}

impl Current {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let (project_path, run_id) = run_of(self.run, session).await?;
        let request = GetCurrentEmissions { project_path, run_id };
        let current = session.workbench()?.get_current_emissions(request).await?;
        session.output.answer(&current, |paint| page(&current, paint))
    }
}

fn page(current: &CurrentEmissions, paint: Paint) -> String {
    let intensity = current.carbon_intensity_gco2_kwh.map_or_else(
        || format!("grid of {}", current.country),
        |g| format!("grid of {}: {} g CO2e per kWh", current.country, number(g)),
    );
    let (kwh, kg) = (energy_unit(current.run_energy_consumed_kwh), mass_unit(current.run_emissions_kg_co2));
    [
        paint.heading(&current.run_id),
        format!(
            "so far {} in {}: {}, over {}",
            kwh.text(current.run_energy_consumed_kwh),
            duration(current.run_duration_seconds),
            kg.text_co2e(current.run_emissions_kg_co2),
            counted(current.metered_stages as u64, "stage"),
        ),
        format!(
            "stage {}: {} in {}: {}",
            current.stage,
            kwh.text(current.energy_consumed_kwh),
            duration(current.duration_seconds),
            kg.text_co2e(current.current_emissions_kg_co2)
        ),
        format!(
            "mean power of the stage: processor {} W, GPUs {} W, memory {} W",
            number(current.cpu_power_w),
            number(current.gpu_power_w),
            number(current.ram_power_w)
        ),
        intensity,
        paint.faint(format!("as of {}, {}", current.timestamp, current.emissions_file.display())),
    ]
    .join("\n")
}
