use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use greentune_core_config::{
    Basis,
    emissions::{EmissionsProvenance, EmissionsRecord},
    event::{ComponentPower, EmissionsSoFar},
    settings::TrackingMode,
};

use crate::{
    CarbonError, Host, MeterConfig,
    machine::host_lock::HostLock,
    meters::{ledger::Ledger, report::Reporter, sensors::Sensors},
};

/// The longest interval: a RAPL counter of 262 kJ may wrap unseen after four minutes at 1 kW.
const MAX_INTERVAL: Duration = Duration::from_mins(1);

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
    /// The same by component.
    pub power: ComponentPower,
    /// `measured`, `modelled`, or `mixed` where both went into the energy.
    pub basis: Basis,
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
            power: Some(self.power),
            basis: self.basis.to_string(),
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
        sampler.provenance()
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
    clock: Clock,
    sensors: Sensors,
    ledger: Ledger,
    reporter: Reporter,
    host_lock: Option<HostLock>,
}

impl Sampler {
    fn new(config: MeterConfig, host: &Host) -> Self {
        let mut sensors = Sensors::probe(host, &config.counted());
        let of_machine = config.tracking_mode == TrackingMode::Machine;
        let host_lock = config.host_lock.as_deref().filter(|_| of_machine).map(|path| {
            HostLock::open(path, format!("process {} (run {})", std::process::id(), config.run_id))
        });
        let clock = Clock::start();
        let first = sensors.read(0.0, 0.0);
        let ledger = Ledger::open(&sensors, config.tracking_mode, config.interval.as_secs_f64(), &first);
        let reporter = Reporter::new(config, &sensors);
        Self { clock, sensors, ledger, reporter, host_lock }
    }

    fn sample(&mut self) {
        let readings = self.sensors.read(self.clock.awake_seconds(), self.clock.asleep_seconds());
        let seconds = readings.at_seconds - self.ledger.totals().seconds;
        let is_counting = self.host_lock.as_mut().is_none_or(|lock| lock.counts(seconds));
        self.ledger.add(&readings, is_counting);
        self.reporter.observe(&self.ledger);
    }

    fn snapshot(&self) -> Snapshot {
        let power = self.reporter.power(&self.ledger);
        Snapshot {
            record: self.reporter.record(&self.ledger),
            power_w: power.cpu_w + power.gpu_w + power.ram_w,
            power,
            basis: self.reporter.basis(&self.ledger),
        }
    }

    fn provenance(&self) -> EmissionsProvenance {
        let notes = self.host_lock.as_ref().map(HostLock::notes).unwrap_or_default();
        self.reporter.provenance(&self.ledger, notes)
    }
}

/// Time since the start by two clocks, of which one stands still while the machine sleeps. Neither follows the wall
/// clock, so a jump of that one touches the rows' timestamps alone.
struct Clock {
    started: Instant,
    ahead_at_start: f64,
}

impl Clock {
    fn start() -> Self {
        Self { started: Instant::now(), ahead_at_start: boottime_ahead() }
    }

    fn awake_seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn asleep_seconds(&self) -> f64 {
        (boottime_ahead() - self.ahead_at_start).max(0.0)
    }
}

/// Seconds by which the clock that counts sleep is ahead of the one that does not.
#[cfg(target_os = "linux")]
fn boottime_ahead() -> f64 {
    use rustix::time::{ClockId, clock_gettime};
    let seconds = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    seconds(ClockId::Boottime) - seconds(ClockId::Monotonic)
}

/// Elsewhere sleep is not told from time awake.
#[cfg(not(target_os = "linux"))]
fn boottime_ahead() -> f64 {
    0.0
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
