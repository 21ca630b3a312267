//! Hours that come, and when a job would emit least.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Carbon intensity of the hours that come.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// Zone of Electricity Maps.
    pub zone: String,
    /// In the order of time; each lasts until the next, the last as long as the one before.
    pub hours: Vec<ForecastHour>,
}

/// Forecast for an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForecastHour {
    /// When it begins.
    pub start: Timestamp,
    /// g CO2-equivalent per kWh.
    pub g_per_kwh: f64,
}

/// When a job would emit least, against starting now.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// When the job would begin.
    pub start: Timestamp,
    /// When it would end.
    pub end: Timestamp,
    /// Mean over the window, g CO2-equivalent per kWh.
    pub mean_g_per_kwh: f64,
    /// Mean over as long a job that begins with the forecast.
    pub now_g_per_kwh: f64,
}

impl Window {
    /// The share of emissions that waiting saves, from 0 to 1.
    pub fn saving(&self) -> f64 {
        if self.now_g_per_kwh > 0.0 { 1.0 - self.mean_g_per_kwh / self.now_g_per_kwh } else { 0.0 }
    }
}

/// The start within the forecast's horizon with the lowest mean for a job of `duration` at constant power; the earliest of
/// equals. None when the job is longer than the horizon or has no duration.
pub fn cleaner_hours(forecast: &Forecast, duration: Duration) -> Option<Window> {
    let steps = Steps::of(&forecast.hours)?;
    let duration = SignedDuration::try_from(duration).ok().filter(SignedDuration::is_positive)?;
    let window = |start: Timestamp| {
        let end = start.checked_add(duration).ok()?;
        (start >= steps.start() && end <= steps.end()).then(|| (start, end, steps.mean(start, end)))
    };
    let (.., now_g_per_kwh) = window(steps.start())?;
    // The mean of steps is lowest where the window begins or ends with one.
    let ends = steps.bounds.iter().filter_map(|bound| bound.checked_sub(duration).ok());
    let mut starts: Vec<Timestamp> = steps.bounds.iter().copied().chain(ends).collect();
    starts.sort();
    let best = starts.into_iter().filter_map(window).min_by(|a, b| a.2.total_cmp(&b.2));
    best.map(|(start, end, mean_g_per_kwh)| Window { start, end, mean_g_per_kwh, now_g_per_kwh })
}

/// Asks for the forecast of a place, and waits for it.
///
/// # Errors
/// [`CarbonError::Live`](crate::CarbonError::Live): the service has none for this place or token, or does not answer.
#[cfg(feature = "online")]
pub fn fetch_forecast(
    place: &super::Place,
    config: &super::LiveConfig,
) -> Result<Forecast, crate::CarbonError> {
    use super::{
        service::{ANSWER_WITHIN, Service},
        service_error::ServiceError,
    };
    let refused = |trouble: ServiceError| crate::CarbonError::Live {
        kind: trouble.kind(),
        message: trouble.to_string(),
    };
    let service = Service::new(place, config, ANSWER_WITHIN).map_err(refused)?;
    let (zone, hours) = service.forecast().map_err(refused)?;
    let mut hours: Vec<_> =
        hours.into_iter().map(|(start, g_per_kwh)| ForecastHour { start, g_per_kwh }).collect();
    hours.sort_by_key(|hour| hour.start);
    hours.dedup_by_key(|hour| hour.start);
    Ok(Forecast { zone, hours })
}

/// The forecast as a step function: one bound more than figures.
struct Steps {
    bounds: Vec<Timestamp>,
    figures: Vec<f64>,
}

impl Steps {
    /// None below two hours, and when they are not in the order of time.
    fn of(hours: &[ForecastHour]) -> Option<Self> {
        let [.., before, last] = hours else { return None };
        let end = last.start.checked_add(last.start.duration_since(before.start)).ok()?;
        let bounds: Vec<_> = hours.iter().map(|hour| hour.start).chain([end]).collect();
        let figures = hours.iter().map(|hour| hour.g_per_kwh).collect();
        bounds.is_sorted_by(|a, b| a < b).then_some(Self { bounds, figures })
    }

    fn start(&self) -> Timestamp {
        self.bounds.first().copied().unwrap_or_default()
    }

    fn end(&self) -> Timestamp {
        self.bounds.last().copied().unwrap_or_default()
    }

    fn mean(&self, from: Timestamp, to: Timestamp) -> f64 {
        let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64().max(0.0);
        let steps = self.bounds.iter().zip(self.bounds.iter().skip(1)).zip(&self.figures);
        let weighted: f64 = steps.map(|((a, b), figure)| figure * seconds(from.max(*a), to.min(*b))).sum();
        weighted / seconds(from, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast(figures: &[f64]) -> Forecast {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let hours = (0..).zip(figures).map(|(hour, g_per_kwh)| ForecastHour {
            start: start + SignedDuration::from_hours(hour),
            g_per_kwh: *g_per_kwh,
        });
        Forecast { zone: "FR".into(), hours: hours.collect() }
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_mins(minutes)
    }

    #[test]
    fn the_window_with_the_lowest_mean_is_found() {
        let window = cleaner_hours(&forecast(&[300.0, 200.0, 100.0, 150.0, 400.0]), minutes(120)).unwrap();
        assert_eq!(window.start.to_string(), "2026-01-01T02:00:00Z");
        assert_eq!(window.end.to_string(), "2026-01-01T04:00:00Z");
        assert!((window.mean_g_per_kwh - 125.0).abs() < 1e-9 && (window.now_g_per_kwh - 250.0).abs() < 1e-9);
        assert!((window.saving() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_window_may_end_with_an_hour_instead_of_beginning_with_one() {
        // 90 minutes: 30 of the 150 before the cheap hour are better than 30 of the 400 after it.
        let window = cleaner_hours(&forecast(&[300.0, 150.0, 100.0, 400.0]), minutes(90)).unwrap();
        assert_eq!(window.start.to_string(), "2026-01-01T01:30:00Z");
        assert!((window.mean_g_per_kwh - (75.0 + 100.0) / 1.5).abs() < 1e-9, "{window:?}");
    }

    #[test]
    fn no_start_on_a_fine_raster_is_better() {
        let forecast = forecast(&[310.0, 120.0, 240.0, 90.0, 95.0, 260.0, 80.0, 500.0]);
        let steps = Steps::of(&forecast.hours).unwrap();
        for length in [17, 60, 95, 180, 301, 480] {
            let best = cleaner_hours(&forecast, minutes(length)).unwrap();
            let job = SignedDuration::try_from(minutes(length)).unwrap();
            for minute in 0..=480 - job.as_mins() {
                let start = steps.start() + SignedDuration::from_mins(minute);
                assert!(best.mean_g_per_kwh <= steps.mean(start, start + job) + 1e-9, "{length} {minute}");
            }
        }
    }

    #[test]
    fn now_is_kept_where_nothing_is_better_and_what_does_not_fit_is_none() {
        let flat = forecast(&[100.0, 100.0, 100.0]);
        let window = cleaner_hours(&flat, minutes(60)).unwrap();
        assert_eq!((window.start, window.saving()), (flat.hours[0].start, 0.0));
        assert_eq!(cleaner_hours(&flat, minutes(181)), None);
        assert_eq!(cleaner_hours(&flat, Duration::ZERO), None);
        assert_eq!(cleaner_hours(&forecast(&[]), minutes(1)), None);
        let mut backwards = flat.clone();
        backwards.hours.reverse();
        assert_eq!(cleaner_hours(&backwards, minutes(60)), None);
    }
}
