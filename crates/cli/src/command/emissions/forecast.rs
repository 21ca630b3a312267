//! `greentune emissions forecast`: the hours in which electricity will be cleanest.

use std::time::Duration;

use clap::Args;
use greentune_carbon::intensity::{Place, cleaner_hours, fetch_forecast, live_config};
use greentune_core_config::{Diagnostic, ProblemKind};
use serde_json::json;

use crate::{failure::Failure, figures::number, session::Session};

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
        let length = Duration::try_from_secs_f64(self.hours * 3600.0).ok().filter(|length| !length.is_zero());
        let Some(length) = length else {
            let message = format!("--hours is {}; allowed is a number above 0", self.hours);
            return Err(Failure::new(ProblemKind::InvalidInput, "arguments.invalid", message));
        };
        let workbench = session.workbench_with(&self.settings)?;
        let carbon = workbench.carbon_settings(session.project()).await?;
        let access = session.environment().meter().live;
        let Some(config) = live_config(&carbon, &access) else {
            let message = "no service is asked for forecasts";
            return Err(Failure::new(ProblemKind::Credentials, "carbon.no_live_source", message).with_hint(
                "set ELECTRICITY_MAPS_TOKEN (docs/carbon-intensity.md), and carbon.offline_mode = false",
            ));
        };
        let place = Place::from(&carbon);
        let fetched = tokio::task::spawn_blocking(move || fetch_forecast(&place, &config)).await;
        let forecast = fetched
            .map_err(|error| Failure::new(ProblemKind::Internal, "carbon.forecast", error.to_string()))?
            .map_err(|error| Failure(error.problem()))?;
        let Some(window) = cleaner_hours(&forecast, length) else {
            let message = format!("the forecast does not reach over {} hours", self.hours);
            return Err(Failure::new(ProblemKind::Unavailable, "carbon.short_forecast", message));
        };
        let answer = json!({
            "start": window.start,
            "end": window.end,
            "mean_gco2_kwh": window.mean_g_per_kwh,
            "now_gco2_kwh": window.now_g_per_kwh,
            "saving": window.saving(),
        });
        session.output.answer(&answer, |paint| {
            format!(
                "{} {} to {}: {} g CO2e per kWh, {} now ({} % less)",
                paint.heading("cleanest hours:"),
                window.start,
                window.end,
                number(window.mean_g_per_kwh),
                number(window.now_g_per_kwh),
                number(window.saving() * 100.0),
            )
        })
    }
}
