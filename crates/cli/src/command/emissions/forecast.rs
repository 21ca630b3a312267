//! `greentune emissions forecast`: the hours in which electricity will be cleanest.

use clap::Args;
use greentune_core_config::quantities::number;
use greentune_workbench::operation::ForecastCarbonIntensity;

use crate::{failure::Failure, session::Session};

/// Arguments of `emissions forecast`.
#[derive(Args, Debug)]
pub struct Forecast {
    /// Hours that the work will take
    #[arg(long, value_name = "H", default_value_t = 1.0)]
    hours: f64,
    /// A setting, such as carbon.country_iso_code=FRA; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl Forecast {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = ForecastCarbonIntensity {
            project_path: session.project(),
            hours: Some(self.hours),
            override_params: None,
        };
        let window = session.workbench_with(&self.settings)?.forecast_carbon_intensity(request).await?;
        session.output.answer(&window, |paint| {
            format!(
                "{} {} to {}: {} g CO2e per kWh, {} now ({} % less)",
                paint.heading("cleanest hours:"),
                window.start,
                window.end,
                number(window.mean_gco2_kwh),
                number(window.now_gco2_kwh),
                number(window.saving * 100.0),
            )
        })
    }
}
