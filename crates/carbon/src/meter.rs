use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use greentune_core_config::{
    emissions::{EmissionsProvenance, EmissionsRecord},
    event::EmissionsSoFar,
    settings::TrackingMode,
};

use crate::{CarbonError, Carried, Host, ledger::Ledger, report::Reporter, sensors::Sensors};

/// The longest interval: a RAPL counter of 262 kJ may wrap unseen after four minutes at 1 kW.
const MAX_INTERVAL: Duration = Duration::from_mins(1);

/// What a meter is to count, and where.
#[derive(Clone, Debug)]
pub struct MeterConfig {
    /// CodeCarbon's `project_name`.
    pub project_name: String,
    /// CodeCarbon's `run_id`.
    pub run_id: String,
    /// CodeCarbon's `experiment_id`.
    pub experiment_id: String,
    /// Country whose grid is used, ISO 3166-1 alpha-3.
    pub country_iso_code: String,
    /// State, province or zone in that country, by name or code.
    pub region: Option<String>,
    /// Power usage effectiveness of the data centre, at least 1; multiplies energy.
    pub pue: f64,
    /// Time between samples, above 0 and at most 60 s.
    pub interval: Duration,
    /// Whose energy is counted where a model can tell; counters always cover the whole machine.
    pub tracking_mode: TrackingMode,
    /// Earlier attempts of the same stage, to which this one adds.
    pub carried: Option<Carried>,
}

/// Samples energy in a thread of its own from [`Meter::start`] to [`Meter::finish`] (or until it is dropped).
#[derive(Debug)]
pub struct Meter {
    sampler: Arc<Mutex<Sampler>>,
    /// Dropping it ends the thread at once.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The state of a meter at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Cumulative row, earlier attempts included.
    pub record: EmissionsRecord,
    /// Power of all components over the last second or more, in W, without PUE.
    pub power_w: f64,
    /// `measured`, `modelled`, or `mixed` where both went into the energy.
    pub basis: &'static str,
}

impl Snapshot {
    /// The snapshot as an event of `stage`.
    pub fn so_far(&self, stage: u8) -> EmissionsSoFar {
        EmissionsSoFar {
            stage,
            duration_seconds: self.record.duration,
            energy_kwh: self.record.energy_consumed,
            emissions_kg_co2: self.record.emissions,
            power_w: self.power_w,
            basis: self.basis.to_owned(),
        }
    }
}

impl Meter {
    /// Starts to meter this machine.
    ///
    /// # Errors
    /// A setting out of range, or no thread to be had. A counter that cannot be read is no error: a model stands in and
    /// the provenance says why.
    pub fn start(config: MeterConfig) -> Result<Self, CarbonError> {
        Self::start_on(config, &Host::default())
    }

    /// Starts to meter the machine that `host` describes.
    pub fn start_on(config: MeterConfig, host: &Host) -> Result<Self, CarbonError> {
        check(&config)?;
        let interval = config.interval;
        let sampler = Arc::new(Mutex::new(Sampler::new(config, host)));
        let (stop, stopped) = mpsc::channel::<()>();
        let shared = Arc::clone(&sampler);
        let sample_until_stopped = move || {
            while stopped.recv_timeout(interval) == Err(mpsc::RecvTimeoutError::Timeout) {
                lock(&shared).sample();
            }
        };
        let thread = thread::Builder::new()
            .name("carbon-meter".into())
            .spawn(sample_until_stopped)
            .map_err(CarbonError::Thread)?;
        Ok(Self { sampler, stop: Some(stop), thread: Some(thread) })
    }

    /// Takes a sample now and says what was used so far.
    pub fn so_far(&self) -> Snapshot {
        let mut sampler = lock(&self.sampler);
        sampler.sample();
        sampler.snapshot()
    }

    /// How the figures are got, as of the last sample.
    pub fn provenance(&self) -> EmissionsProvenance {
        let sampler = lock(&self.sampler);
        sampler.reporter.provenance(&sampler.ledger)
    }

    /// Takes the last sample and ends the thread.
    pub fn finish(mut self) -> (EmissionsRecord, EmissionsProvenance) {
        self.end_thread();
        let record = self.so_far().record;
        (record, self.provenance())
    }

    fn end_thread(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has lost samples at most; the counters' next difference covers them.
            let _ = thread.join();
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.end_thread();
    }
}

struct Sampler {
    started: Instant,
    sensors: Sensors,
    ledger: Ledger,
    reporter: Reporter,
}

impl Sampler {
    fn new(config: MeterConfig, host: &Host) -> Self {
        let sensors = Sensors::probe(host);
        let started = Instant::now();
        let ledger = Ledger::open(&sensors, config.tracking_mode, &sensors.read(0.0));
        let reporter = Reporter::new(config, &sensors);
        Self { started, sensors, ledger, reporter }
    }

    fn sample(&mut self) {
        let readings = self.sensors.read(self.started.elapsed().as_secs_f64());
        self.ledger.add(&readings);
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            record: self.reporter.record(&self.ledger),
            power_w: self.ledger.power_w(),
            basis: self.reporter.basis(&self.ledger),
        }
    }
}

impl std::fmt::Debug for Sampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sampler").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

fn lock(sampler: &Mutex<Sampler>) -> MutexGuard<'_, Sampler> {
    sampler.lock().unwrap_or_else(PoisonError::into_inner)
}

fn check(config: &MeterConfig) -> Result<(), CarbonError> {
    if !config.pue.is_finite() || config.pue < 1.0 {
        let found = config.pue.to_string();
        return Err(CarbonError::Setting { key: "carbon.pue", found, allowed: "a number of at least 1" });
    }
    if config.interval.is_zero() || config.interval > MAX_INTERVAL {
        return Err(CarbonError::Setting {
            key: "carbon.measure_interval_seconds",
            found: format!("{} s", config.interval.as_secs_f64()),
            allowed: "above 0 s and at most 60 s, so that no counter wraps around unseen",
        });
    }
    Ok(())
}
