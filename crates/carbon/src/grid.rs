//! Carbon intensity of electricity: yearly figures by country, region and cloud region, compiled in (`data/README.md`),
//! and the figure of the hour from Electricity Maps (feature `online`).
//!
//! A [`Place`] says where, a [`GridSource`] answers with a [`Grid`]: the figure, how far it may be off, where it comes from.

mod figure;
mod place;
mod settings;
mod source;
mod table;

#[cfg(feature = "online")]
mod cache;
#[cfg(feature = "online")]
mod endpoint;
mod forecast;
#[cfg(feature = "online")]
mod live;
#[cfg(feature = "online")]
mod service;
#[cfg(feature = "online")]
mod service_error;
#[cfg(feature = "online")]
mod zone;

#[cfg(feature = "online")]
pub use endpoint::{DEFAULT_ENDPOINT, LiveConfig, Secret, check_endpoint};
pub use figure::Grid;
#[cfg(feature = "online")]
pub use forecast::fetch_forecast;
pub use forecast::{Forecast, ForecastHour, Window, cleaner_hours};
pub use place::{Cloud, Place};
pub use settings::LiveAccess;
#[cfg(feature = "online")]
pub use settings::live_config;
pub use source::GridSource;
pub use table::{CarbonIntensity, Found, Scope, all, cleanest, cleanest_region, find};
