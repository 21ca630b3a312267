//! Readings in, energy out. No clock and no IO, so that its laws can be tested.
//!
//! Energy is summed in µJ as `f64`: whole numbers are exact up to 2^53 µJ, which is 2500 kWh.

use std::mem;

use greentune_core_config::{event::ComponentPower, settings::TrackingMode};

use crate::{
    machine::{Ticks, Tree},
    meters::{
        counter::{Counter, CounterSet},
        cpu::LoadModel,
        gpu::{GpuReading, OwnShare},
        ram,
        rapl::Domain,
        sensors::{Readings, Sensors},
    },
};

/// Seconds over which the power "now" is averaged: NVML's counter moves about every 100 ms.
const POWER_WINDOW_SECONDS: f64 = 1.0;
/// Samples this many intervals apart are worth a note.
const LATE_INTERVALS: f64 = 3.0;
/// Sleep shorter than this is not told from the two clocks' jitter.
const LEAST_SLEEP_SECONDS: f64 = 0.1;

/// Energy as drawn (no PUE) and utilisation, as sums over time; sums of separate spans add up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub seconds: f64,
    pub cpu_joules: f64,
    pub gpu_joules: f64,
    pub ram_joules: f64,
    /// Integral of the processor's load, in `[0, 1]`, over seconds; likewise the two below.
    pub cpu_load_seconds: f64,
    pub gpu_load_seconds: f64,
    pub ram_load_seconds: f64,
    pub ram_gb_seconds: f64,
}

impl Totals {
    pub fn joules(&self) -> f64 {
        self.cpu_joules + self.gpu_joules + self.ram_joules
    }
}

impl std::ops::Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            seconds: self.seconds + other.seconds,
            cpu_joules: self.cpu_joules + other.cpu_joules,
            gpu_joules: self.gpu_joules + other.gpu_joules,
            ram_joules: self.ram_joules + other.ram_joules,
            cpu_load_seconds: self.cpu_load_seconds + other.cpu_load_seconds,
            gpu_load_seconds: self.gpu_load_seconds + other.gpu_load_seconds,
            ram_load_seconds: self.ram_load_seconds + other.ram_load_seconds,
            ram_gb_seconds: self.ram_gb_seconds + other.ram_gb_seconds,
        }
    }
}

/// Energy by component, in µJ.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Energy {
    cpu: f64,
    gpu: f64,
    ram: f64,
}

/// Adds up what the readings of one machine say.
#[derive(Debug)]
pub(crate) struct Ledger {
    cpu: Source<LoadModel>,
    ram: Option<Source<f64>>,
    gpus: Vec<Gpu>,
    apportioned: Apportioned,
    cpu_unsettled: UnattributedEnergy,
    ram_unsettled: UnattributedEnergy,
    ram_total_gb: Option<f64>,
    last_at: f64,
    last_ticks: Option<Ticks>,
    last_tree_ticks: Option<u64>,
    shares: Shares,
    energy: Energy,
    totals: Totals,
    counted_seconds: f64,
    window: (f64, Energy),
    power: ComponentPower,
    span: Span,
}

/// How a component's energy is obtained: by counters, or by a model of the power.
#[derive(Debug)]
pub(crate) enum Source<Model> {
    Counters { set: CounterSet, names: Vec<String> },
    Model(Model),
}

/// The components of which only the process's share is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Apportioned {
    pub cpu: bool,
    pub ram: bool,
    pub gpu: bool,
}

/// Energy whose process share is not known yet.
#[derive(Clone, Copy, Debug, Default)]
struct UnattributedEnergy(f64);

#[derive(Debug)]
struct Gpu {
    source: GpuSource,
    share: Option<f64>,
    unsettled: UnattributedEnergy,
}

#[derive(Debug)]
enum GpuSource {
    Counter(Counter),
    /// Power that was read last, in W, and when.
    Power(Option<(f64, f64)>),
}

/// Shares between two readings, in `[0, 1]`.
#[derive(Clone, Copy, Debug, Default)]
struct Shares {
    /// Of the processor's time, what was busy.
    busy: Option<f64>,
    /// Of the busy time, the process's.
    own: Option<f64>,
}

/// What came between readings.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    interval_seconds: f64,
    late: u64,
    longest_seconds: f64,
    asleep_seconds: f64,
    slept: u64,
    unknown_gpu_shares: u64,
}

impl Ledger {
    /// A ledger for the machine that `sensors` found, opened at `first`.
    pub fn open(sensors: &Sensors, mode: TrackingMode, interval_seconds: f64, first: &Readings) -> Self {
        let identity = &sensors.identity;
        let cpu = counters(&sensors.domains.processor, &first.processor_uj, first.at_seconds)
            .unwrap_or_else(|| Source::Model(LoadModel::new(identity, first.ticks.is_some())));
        let arm = cfg!(any(target_arch = "aarch64", target_arch = "arm"));
        let modelled = identity.ram_total_gb.map(|gb| Source::Model(ram::power_w(gb, arm)));
        let ram = if sensors.domains.is_platform {
            None
        } else {
            counters(&sensors.domains.memory, &first.memory_uj, first.at_seconds).or(modelled)
        };
        let of_process = mode == TrackingMode::Process;
        let tree = of_process && first.tree.is_some();
        let apportioned = Apportioned {
            cpu: tree && first.ticks.is_some(),
            ram: tree && first.memory.is_some(),
            gpu: tree && !first.gpus.is_empty() && first.gpus.iter().all(|gpu| gpu.processes.is_some()),
        };
        let mut ledger = Self::new(cpu, ram, identity.ram_total_gb, first);
        ledger.apportioned = apportioned;
        ledger.span.interval_seconds = interval_seconds;
        ledger
    }

    fn new(
        cpu: Source<LoadModel>,
        ram: Option<Source<f64>>,
        ram_total_gb: Option<f64>,
        first: &Readings,
    ) -> Self {
        Self {
            cpu,
            ram,
            gpus: first.gpus.iter().enumerate().map(|(n, gpu)| Gpu::new(n, gpu, first.at_seconds)).collect(),
            apportioned: Apportioned::default(),
            cpu_unsettled: UnattributedEnergy::default(),
            ram_unsettled: UnattributedEnergy::default(),
            ram_total_gb,
            last_at: first.at_seconds,
            last_ticks: first.ticks,
            last_tree_ticks: first.tree.as_ref().map(|tree| tree.ticks),
            shares: Shares::default(),
            energy: Energy::default(),
            totals: Totals::default(),
            counted_seconds: 0.0,
            window: (first.at_seconds, Energy::default()),
            power: ComponentPower::default(),
            span: Span {
                interval_seconds: f64::INFINITY,
                asleep_seconds: first.asleep_seconds,
                ..Span::default()
            },
        }
    }

    /// Adds the span between the last readings and these. Its energy is left out where another meter of this host
    /// counts it (`is_counting` is false).
    pub fn add(&mut self, readings: &Readings, is_counting: bool) {
        // Time that goes backwards is ignored.
        let at = readings.at_seconds.max(self.last_at);
        let seconds = at - self.last_at;
        self.last_at = at;
        self.totals.seconds += seconds;
        self.span.observe(seconds, readings.asleep_seconds);
        self.update_shares(readings.ticks, readings.tree.as_ref());
        let used = Energy {
            cpu: self.cpu_uj(readings, at, seconds),
            gpu: self.gpu_uj(readings, at),
            ram: self.ram_uj(readings, at, seconds),
        };
        if is_counting {
            self.counted_seconds += seconds;
            self.energy.cpu += used.cpu;
            self.energy.gpu += used.gpu;
            self.energy.ram += used.ram;
        }
        self.totals.cpu_joules = self.energy.cpu / 1e6;
        self.totals.gpu_joules = self.energy.gpu / 1e6;
        self.totals.ram_joules = self.energy.ram / 1e6;
        self.add_utilisation(readings, seconds);
        self.update_power();
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Seconds whose energy was counted here.
    pub fn counted_seconds(&self) -> f64 {
        self.counted_seconds
    }

    /// W over the last second or more, without PUE.
    pub fn power(&self) -> ComponentPower {
        self.power
    }

    pub fn cpu(&self) -> &Source<LoadModel> {
        &self.cpu
    }

    /// How memory is counted, if it is.
    pub fn ram(&self) -> Option<&Source<f64>> {
        self.ram.as_ref()
    }

    pub fn apportioned(&self) -> Apportioned {
        self.apportioned
    }

    /// GPUs whose energy is a counter's difference (the others' is integrated power), and GPUs in all.
    pub fn gpus_with_counter(&self) -> (usize, usize) {
        let with_counter = self.gpus.iter().filter(|gpu| matches!(gpu.source, GpuSource::Counter(_))).count();
        (with_counter, self.gpus.len())
    }

    /// What happened to the counters and the clock, in words.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.span.notes();
        if let Source::Counters { set, .. } = &self.cpu {
            notes.extend(set.notes());
        }
        if let Some(Source::Counters { set, .. }) = &self.ram {
            notes.extend(set.notes());
        }
        for gpu in &self.gpus {
            if let GpuSource::Counter(counter) = &gpu.source {
                notes.extend(counter.notes());
            }
        }
        notes
    }

    fn update_shares(&mut self, ticks: Option<Ticks>, tree: Option<&Tree>) {
        let (Some(now), Some(last)) = (ticks, self.last_ticks) else { return };
        let total = now.total.saturating_sub(last.total);
        // A tick is 10 ms: between two quick looks none may have passed, and the last shares stand.
        if total == 0 {
            return;
        }
        let busy = now.busy.saturating_sub(last.busy);
        self.shares.busy = Some((busy as f64 / total as f64).min(1.0));
        // A process that ended uses nothing.
        let now_and_last = tree.map(|tree| tree.ticks).zip(self.last_tree_ticks);
        let own = now_and_last.map_or(0, |(now, last)| now.saturating_sub(last));
        // The process's ticks are counted apart from the machine's and may run ahead of them.
        self.shares.own = Some(if own == 0 { 0.0 } else { own as f64 / busy.max(own) as f64 });
        self.last_ticks = ticks;
        self.last_tree_ticks = tree.map(|tree| tree.ticks).or(self.last_tree_ticks);
    }

    fn cpu_uj(&mut self, readings: &Readings, at: f64, seconds: f64) -> f64 {
        let uj = match &mut self.cpu {
            Source::Counters { set, .. } => set.advance(&readings.processor_uj, at) as f64,
            Source::Model(model) => model.power_w(self.shares.busy) * seconds * 1e6,
        };
        let share = if self.apportioned.cpu { self.shares.own } else { Some(1.0) };
        self.cpu_unsettled.settle(uj, share)
    }

    fn ram_uj(&mut self, readings: &Readings, at: f64, seconds: f64) -> f64 {
        let uj = match &mut self.ram {
            None => return 0.0,
            Some(Source::Counters { set, .. }) => set.advance(&readings.memory_uj, at) as f64,
            Some(Source::Model(watts)) => *watts * seconds * 1e6,
        };
        let share = if self.apportioned.ram { own_memory(readings) } else { Some(1.0) };
        self.ram_unsettled.settle(uj, share)
    }

    fn gpu_uj(&mut self, readings: &Readings, at: f64) -> f64 {
        let mut sum_uj = 0.0;
        for (n, (gpu, reading)) in self.gpus.iter_mut().zip(&readings.gpus).enumerate() {
            let uj = gpu.source.advance(reading, at);
            let share = match readings.gpu_shares.get(n) {
                _ if !self.apportioned.gpu => Some(1.0),
                Some(OwnShare::Known(share)) => {
                    gpu.share = Some(*share);
                    gpu.share
                }
                // Idle power is charged to the process that used the GPU last.
                Some(OwnShare::Idle) => gpu.share,
                Some(OwnShare::Unknown) | None => {
                    self.span.unknown_gpu_shares += 1;
                    Some(1.0)
                }
            };
            sum_uj += gpu.unsettled.settle(uj, share);
        }
        sum_uj
    }

    fn add_utilisation(&mut self, readings: &Readings, seconds: f64) {
        self.totals.cpu_load_seconds += self.shares.busy.unwrap_or(0.0) * seconds;
        let loads = readings.gpus.iter().filter_map(|gpu| gpu.load).fold(0.0, |loads, load| loads + load);
        self.totals.gpu_load_seconds += loads / (readings.gpus.len().max(1) as f64) * seconds;
        if let Some(memory) = readings.memory {
            self.totals.ram_gb_seconds += memory.used_gb * seconds;
            let total_gb = self.ram_total_gb.filter(|total_gb| *total_gb > 0.0);
            self.totals.ram_load_seconds +=
                total_gb.map_or(0.0, |total_gb| memory.used_gb / total_gb * seconds);
        }
    }

    fn update_power(&mut self) {
        let (since, before) = self.window;
        let seconds = self.last_at - since;
        // The first window may be shorter, so that there is a figure from the start.
        if seconds >= POWER_WINDOW_SECONDS || (since <= 0.0 && seconds > 0.0) {
            let watts = |now_uj: f64, before_uj: f64| (now_uj - before_uj) / 1e6 / seconds;
            self.power = ComponentPower {
                cpu_w: watts(self.energy.cpu, before.cpu),
                gpu_w: watts(self.energy.gpu, before.gpu),
                ram_w: watts(self.energy.ram, before.ram),
            };
        }
        if seconds >= POWER_WINDOW_SECONDS {
            self.window = (self.last_at, self.energy);
        }
    }
}

/// Counters that can all be read; `None` where one cannot, or there is none.
fn counters<Model>(domains: &[Domain], first_uj: &[Option<u64>], at: f64) -> Option<Source<Model>> {
    let counter = |(domain, uj): (&Domain, &Option<u64>)| {
        uj.map(|uj| Counter::new(&format!("RAPL {}", domain.name), Some(domain.range_uj), uj, at))
    };
    let counters: Vec<Counter> = domains.iter().zip(first_uj).map(counter).collect::<Option<_>>()?;
    let names = domains.iter().map(|domain| domain.name.clone()).collect();
    (!counters.is_empty()).then(|| Source::Counters { set: CounterSet::new(counters), names })
}

/// The process's share of the memory in use: the shares of all processes together are the machine's.
fn own_memory(readings: &Readings) -> Option<f64> {
    let used_gb = readings.memory?.used_gb;
    let own_gb = readings.tree.as_ref()?.resident_gb;
    // Shared pages count for each process that has them, so the sum may exceed the memory in use.
    (used_gb > 0.0).then(|| (own_gb / used_gb).min(1.0))
}

impl UnattributedEnergy {
    /// The share of `uj` and of what waited before, once there is one.
    fn settle(&mut self, uj: f64, share: Option<f64>) -> f64 {
        self.0 += uj;
        share.map_or(0.0, |share| mem::take(&mut self.0) * share)
    }
}

impl Gpu {
    fn new(number: usize, first: &GpuReading, at: f64) -> Self {
        let source = match first.energy_uj {
            Some(uj) => GpuSource::Counter(Counter::new(&format!("GPU {number}"), None, uj, at)),
            None => GpuSource::Power(first.power_w.map(|watts| (watts, at))),
        };
        Self { source, share: None, unsettled: UnattributedEnergy::default() }
    }
}

impl GpuSource {
    /// Energy since the last reading, in µJ.
    fn advance(&mut self, reading: &GpuReading, at: f64) -> f64 {
        match self {
            Self::Counter(counter) => counter.advance(reading.energy_uj, at) as f64,
            // The trapezoid rule; the next reading covers one that failed.
            Self::Power(last) => {
                let Some(now_w) = reading.power_w else { return 0.0 };
                let (before_w, since) = last.replace((now_w, at)).unwrap_or((now_w, at));
                f64::midpoint(before_w, now_w) * (at - since) * 1e6
            }
        }
    }
}

impl Span {
    fn observe(&mut self, seconds: f64, asleep_seconds: f64) {
        if seconds > LATE_INTERVALS * self.interval_seconds {
            self.late += 1;
            self.longest_seconds = self.longest_seconds.max(seconds);
        }
        if asleep_seconds > self.asleep_seconds + LEAST_SLEEP_SECONDS {
            self.slept += 1;
            self.asleep_seconds = asleep_seconds;
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.late > 0 {
            notes.push(format!(
                "sampling: {} sample(s) came more than {LATE_INTERVALS} intervals late, the latest after {:.1} s; counters \
                 cover the gaps, models take the load before and after for the load within",
                self.late, self.longest_seconds
            ));
        }
        if self.slept > 0 {
            notes.push(format!(
                "sleep: the machine slept {} time(s), {:.0} s in all; modelled components are taken to draw nothing then",
                self.slept, self.asleep_seconds
            ));
        }
        if self.unknown_gpu_shares > 0 {
            notes.push(format!(
                "GPU: in {} reading(s) the driver named no process that can be seen from here (a container, or no right \
                 to see it); the whole GPU was counted then",
                self.unknown_gpu_shares
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests;
