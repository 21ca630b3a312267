//! The hours in which electricity will be cleanest.

use std::{path::PathBuf, time::Duration};

use greentune_carbon::intensity::{Place, cleaner_hours, fetch_forecast, live_config};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Result, Workbench, WorkbenchError};

/// Hours of work when the request does not say.
const HOURS: f64 = 1.0;

/// Ask for the cleanest hours.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForecastCarbonIntensity {
    /// Path of the project, whose settings say where the electricity comes from.
    pub project_path: Option<PathBuf>,
    /// Hours that the work will take; 1 when absent.
    pub hours: Option<f64>,
    /// Settings on top, by dotted key or nested, such as carbon.country_iso_code.
    pub override_params: Option<Map<String, Value>>,
}

/// The cleanest hours of the forecast.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForecastCarbonIntensityResponse {
    /// When they begin.
    #[schemars(with = "String")]
    pub start: Timestamp,
    /// When they end.
    #[schemars(with = "String")]
    pub end: Timestamp,
    /// Mean carbon intensity in them, in g CO2e per kWh.
    pub mean_gco2_kwh: f64,
    /// Mean carbon intensity of as many hours from now on, in g CO2e per kWh.
    pub now_gco2_kwh: f64,
    /// Share of the emissions that waiting spares.
    pub saving: f64,
}

impl Workbench {
    /// Asks the service that the settings name for its forecast.
    ///
    /// Errors: no service is set up, it refuses or does not answer; its forecast is shorter than the work.
    pub async fn forecast_carbon_intensity(
        &self,
        request: ForecastCarbonIntensity,
    ) -> Result<ForecastCarbonIntensityResponse> {
        self.blocking(move |workbench| workbench.forecast(request)).await
    }

    fn forecast(&self, request: ForecastCarbonIntensity) -> Result<ForecastCarbonIntensityResponse> {
        let hours = request.hours.unwrap_or(HOURS);
        let length = Duration::try_from_secs_f64(hours * 3600.0).ok().filter(|length| !length.is_zero());
        let length = length.ok_or_else(|| WorkbenchError::InvalidValue {
            key: "hours",
            found: hours.to_string(),
            allowed: String::from("a number above 0"),
        })?;
        let carbon = self.carbon_settings(request.project_path.as_deref(), request.override_params)?;
        let config = live_config(&carbon, &self.config().meter.live).ok_or(WorkbenchError::NoLiveSource)?;
        let forecast = fetch_forecast(&Place::from(&carbon), &config).map_err(WorkbenchError::reported)?;
        let window = cleaner_hours(&forecast, length).ok_or(WorkbenchError::ShortForecast { hours })?;
        Ok(ForecastCarbonIntensityResponse {
            start: window.start,
            end: window.end,
            mean_gco2_kwh: window.mean_g_per_kwh,
            now_gco2_kwh: window.now_g_per_kwh,
            saving: window.saving(),
        })
    }
}
