//! The figure of the hour, fetched beside what is metered.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use greentune_http_client::{Backoff, jittered};
use jiff::{SignedDuration, Timestamp};

use super::{
    Grid, LiveConfig, Place,
    cache::Cache,
    figure::{LIFE_CYCLE_FACTORS, YEAR_FOR_HOURS},
    service::{ANSWER_WITHIN, Reading, Service},
    service_error::{ServiceError, ServiceErrorKind},
};

/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause, and the one after a failure that asking again does not cure.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// A service that asks for more patience gets this much.
const LONGEST_PATIENCE: Duration = Duration::from_hours(24);
/// A figure up to this old is one of now: the service publishes by the hour, with some delay.
const STILL_NOW: SignedDuration = SignedDuration::from_hours(2);
/// What the service estimates where the grid's data are not there yet; assumed.
const ESTIMATED: f64 = 0.2;
const HOUR_SECONDS: i64 = 3600;

/// Fetches until it is dropped. The thread ends at once, or after the current request; nobody waits for it.
#[derive(Debug)]
pub(super) struct Live {
    state: Arc<Mutex<State>>,
    _stop: mpsc::Sender<()>,
}

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct State {
    host: String,
    zone_note: Option<String>,
    reading: Option<Reading>,
    trouble: Option<ServiceError>,
    cache_trouble: Option<String>,
}

impl Live {
    pub(super) fn start(place: &Place, config: LiveConfig) -> Self {
        Self::start_within(place, config, ANSWER_WITHIN)
    }

    pub(super) fn start_within(place: &Place, config: LiveConfig, within: Duration) -> Self {
        let (stop, stopped) = mpsc::channel();
        let state = match Service::new(place, &config, within) {
            Ok(service) => fetch_beside(service, Cache::new(config.cache), config.refresh, stopped),
            Err(trouble) => Arc::new(Mutex::new(State { trouble: Some(trouble), ..State::default() })),
        };
        Self { state, _stop: stop }
    }

    /// The figure that is known now; `yearly` where there is none.
    pub(super) fn now(&self, yearly: &Grid) -> Grid {
        let state = lock(&self.state);
        let now = Timestamp::now();
        let mut grid = match state.reading.as_ref().filter(|reading| reading.is_usable(now)) {
            Some(reading) => of_the_hour(reading, &state, yearly, now),
            None => fallen_back(&state, yearly),
        };
        grid.notes.extend(state.cache_trouble.clone());
        grid
    }

    #[cfg(test)]
    pub(super) fn state(&self) -> std::sync::Weak<Mutex<State>> {
        Arc::downgrade(&self.state)
    }
}

fn fetch_beside(
    service: Service,
    cache: Cache,
    refresh: Duration,
    stopped: mpsc::Receiver<()>,
) -> Arc<Mutex<State>> {
    let host = service.host().to_owned();
    let state = Arc::new(Mutex::new(State {
        host: host.clone(),
        zone_note: service.asked.note.clone(),
        reading: cache.get(&service.key()),
        ..State::default()
    }));
    let fetcher = Fetcher { service, cache, refresh, state: Arc::clone(&state) };
    let spawned = thread::Builder::new().name("carbon-intensity".into()).spawn(move || fetcher.run(&stopped));
    if let Err(error) = spawned {
        lock(&state).trouble = Some(ServiceError { host, what: ServiceErrorKind::NoThread(error.kind()) });
    }
    state
}

struct Fetcher {
    service: Service,
    cache: Cache,
    refresh: Duration,
    state: Arc<Mutex<State>>,
}

impl Fetcher {
    fn run(self, stopped: &mpsc::Receiver<()>) {
        let mut failures = 0;
        loop {
            let pause = match self.fetch() {
                Ok(reading) => {
                    failures = 0;
                    self.fresh_for(&reading).max(Duration::from_millis(10))
                }
                Err(trouble) => {
                    let pause = jittered(pause_after(&trouble, failures, self.refresh));
                    failures += 1;
                    lock(&self.state).trouble = Some(trouble);
                    pause
                }
            };
            if stopped.recv_timeout(pause) != Err(mpsc::RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// The cache's figure while it is fresh, for another run may have fetched it; else the service's.
    fn fetch(&self) -> Result<Reading, ServiceError> {
        let key = self.service.key();
        let known = self.cache.get(&key).filter(|reading| !self.fresh_for(reading).is_zero());
        let (reading, cache_trouble) = if let Some(reading) = known {
            (reading, None)
        } else {
            let reading = self.service.latest()?;
            let kept = self.cache.put(&key, &reading);
            (reading, kept.err().map(|error| format!("carbon intensity: the figure is not kept: {error}")))
        };
        let mut state = lock(&self.state);
        state.reading = Some(reading.clone());
        state.trouble = None;
        state.cache_trouble = cache_trouble;
        Ok(reading)
    }

    /// Until the interval is over or the next hour begins.
    fn fresh_for(&self, reading: &Reading) -> Duration {
        let fetched = reading.fetched_at.as_second();
        let next_hour = fetched.saturating_sub(fetched.rem_euclid(HOUR_SECONDS)).saturating_add(HOUR_SECONDS);
        let next_hour = Timestamp::from_second(next_hour).unwrap_or(Timestamp::MAX);
        let interval = SignedDuration::try_from(self.refresh).unwrap_or(SignedDuration::MAX);
        let after_interval = reading.fetched_at.saturating_add(interval).unwrap_or(Timestamp::MAX);
        let left = next_hour.min(after_interval).duration_since(Timestamp::now());
        Duration::try_from(left).unwrap_or_default()
    }
}

/// How long to wait after the failure number `failures`, from 0.
fn pause_after(trouble: &ServiceError, failures: u32, refresh: Duration) -> Duration {
    let backoff = Backoff { first: refresh.min(FIRST_PAUSE), longest: LONGEST_PAUSE };
    match trouble.what {
        ServiceErrorKind::SlowDown(Some(asked)) => backoff.pause(failures, Some(asked.min(LONGEST_PATIENCE))),
        _ if trouble.lasts() => LONGEST_PAUSE,
        _ => backoff.pause(failures, None),
    }
    .max(Duration::from_millis(10))
}

fn of_the_hour(reading: &Reading, state: &State, yearly: &Grid, now: Timestamp) -> Grid {
    let Reading { zone, g_per_kwh, datetime, estimated, .. } = reading;
    let age = now.duration_since(*datetime);
    let old = age > STILL_NOW;
    let mut notes: Vec<_> = state.zone_note.iter().cloned().collect();
    let is_used = format!("the figure of zone {zone} of {} ago is used", in_words(age));
    match &state.trouble {
        Some(trouble) => notes.push(format!("carbon intensity: {trouble}; {is_used}")),
        None if old => notes.push(format!("carbon intensity: nothing newer is published; {is_used}")),
        None => {}
    }
    let mut basis = vec![format!("life-cycle factors (IPCC 2014) {:.0} %", 100.0 * LIFE_CYCLE_FACTORS)];
    let mut uncertainty = LIFE_CYCLE_FACTORS;
    if *estimated {
        uncertainty = uncertainty.hypot(ESTIMATED);
        basis.push(format!("estimated by the service {:.0} %, assumed", 100.0 * ESTIMATED));
    }
    if old {
        uncertainty = uncertainty.hypot(YEAR_FOR_HOURS);
        basis.push(format!("another hour {:.0} %, as for a yearly mean", 100.0 * YEAR_FOR_HOURS));
    }
    Grid {
        g_per_kwh: *g_per_kwh,
        uncertainty,
        source: format!(
            "Electricity Maps by {}, zone {zone}, {datetime}, {} (the service's terms apply); consumption, life cycle; \
             +-{:.0} %: {}",
            state.host,
            if *estimated { "estimated" } else { "measured" },
            100.0 * uncertainty,
            basis.join(", ")
        ),
        notes,
        ..yearly.clone()
    }
}

fn fallen_back(state: &State, yearly: &Grid) -> Grid {
    let why = match &state.trouble {
        Some(trouble) => trouble.to_string(),
        None => format!("{} has not answered yet", state.host),
    };
    let mut grid = yearly.clone();
    grid.notes.push(format!(
        "carbon intensity: {why}; the bundled yearly figure of {} g/kWh is used",
        grid.g_per_kwh
    ));
    grid
}

/// `50 min` or `3 h`.
fn in_words(age: SignedDuration) -> String {
    let minutes = age.as_mins().max(0);
    if minutes < 120 { format!("{minutes} min") } else { format!("{} h", minutes / 60) }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
