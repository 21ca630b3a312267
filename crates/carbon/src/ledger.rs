//! Readings in, joules out. No clock and no IO, so that its laws can be tested.

use greentune_core_config::settings::TrackingMode;

use crate::{
    cpu::LoadModel,
    gpu::GpuReading,
    machine::Ticks,
    ram,
    sensors::{Readings, Sensors},
};

/// Seconds over which the power "now" is averaged: NVML's counter moves about every 100 ms.
const POWER_WINDOW_SECONDS: f64 = 1.0;
/// Counters this close, in µJ, are taken for one counter seen twice: some multi-die processors show the package's
/// counter once per die. One joule covers the milliseconds between two reads (CodeCarbon's tolerance, `core/rapl.py`).
const MIRROR_UJ: u64 = 1_000_000;

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

/// Adds up what the readings of one machine say.
#[derive(Debug)]
pub(crate) struct Ledger {
    cpu: Cpu,
    gpus: Vec<Gpu>,
    ram: Option<Ram>,
    last_at: f64,
    last_ticks: Option<Ticks>,
    shares: Option<Shares>,
    totals: Totals,
    window: (f64, f64),
    power_w: f64,
}

/// How the processor's energy is got.
#[derive(Debug)]
pub(crate) enum Cpu {
    Counters(Vec<PackageCounter>),
    Model(LoadModel),
}

/// A RAPL counter; all fields in µJ.
#[derive(Debug)]
pub(crate) struct PackageCounter {
    start: u64,
    last: u64,
    range: u64,
    total: u64,
}

#[derive(Debug)]
struct Gpu {
    last_mj: Option<u64>,
    joules: f64,
}

#[derive(Debug)]
struct Ram {
    total_gb: f64,
    mode: TrackingMode,
}

/// Shares of the processor's time between two readings, in `[0, 1]`.
#[derive(Clone, Copy, Debug)]
struct Shares {
    busy: f64,
    own: Option<f64>,
}

impl Ledger {
    /// A ledger for the machine that `sensors` found, opened at `first`.
    pub fn open(sensors: &Sensors, mode: TrackingMode, first: &Readings) -> Self {
        let counters: Option<Vec<PackageCounter>> = sensors
            .packages
            .iter()
            .zip(&first.packages_uj)
            .map(|(package, uj)| uj.map(|uj| PackageCounter::new(uj, package.range_uj)))
            .collect();
        let cpu = match counters {
            Some(counters) if !counters.is_empty() => Cpu::Counters(counters),
            _ => {
                let load_known =
                    first.ticks.is_some_and(|ticks| mode == TrackingMode::Machine || ticks.own.is_some());
                Cpu::Model(LoadModel::new(sensors.identity.threads, mode, load_known))
            }
        };
        let gpus = first.gpus.iter().map(|gpu| Gpu { last_mj: gpu.energy_mj, joules: 0.0 }).collect();
        let ram = sensors.identity.ram_total_gb.map(|total_gb| Ram { total_gb, mode });
        Self::new(cpu, gpus, ram, first)
    }

    fn new(cpu: Cpu, gpus: Vec<Gpu>, ram: Option<Ram>, first: &Readings) -> Self {
        Self {
            cpu,
            gpus,
            ram,
            last_at: first.at_seconds,
            last_ticks: first.ticks,
            shares: None,
            totals: Totals::default(),
            window: (first.at_seconds, 0.0),
            power_w: 0.0,
        }
    }

    /// Adds the span between the last readings and these.
    pub fn add(&mut self, readings: &Readings) {
        let seconds = (readings.at_seconds - self.last_at).max(0.0);
        self.last_at = self.last_at.max(readings.at_seconds);
        self.totals.seconds += seconds;
        self.add_load(readings.ticks, seconds);
        self.add_cpu(&readings.packages_uj, seconds);
        self.add_gpus(&readings.gpus, seconds);
        self.add_ram(readings, seconds);
        self.update_power();
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// W over the last second or more, all components together, without PUE.
    pub fn power_w(&self) -> f64 {
        self.power_w
    }

    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    /// GPUs whose energy is a counter's difference (the others' is sampled power), and GPUs in all.
    pub fn gpus_with_counter(&self) -> (usize, usize) {
        (self.gpus.iter().filter(|gpu| gpu.last_mj.is_some()).count(), self.gpus.len())
    }

    /// Whether memory is counted.
    pub fn counts_ram(&self) -> bool {
        self.ram.is_some()
    }

    fn add_load(&mut self, ticks: Option<Ticks>, seconds: f64) {
        if let (Some(now), Some(last)) = (ticks, self.last_ticks) {
            let total = now.total.saturating_sub(last.total);
            // A tick is 10 ms: between two quick looks none may have passed, and the last shares stand.
            if total > 0 {
                let share = |ticks: u64| (ticks as f64 / total as f64).min(1.0);
                self.shares = Some(Shares {
                    busy: share(now.busy.saturating_sub(last.busy)),
                    own: now.own.zip(last.own).map(|(now, last)| share(now.saturating_sub(last))),
                });
                self.last_ticks = ticks;
            }
        }
        self.totals.cpu_load_seconds += self.shares.map_or(0.0, |shares| shares.busy) * seconds;
    }

    fn add_cpu(&mut self, packages_uj: &[Option<u64>], seconds: f64) {
        match &mut self.cpu {
            Cpu::Counters(counters) => {
                for (counter, uj) in counters.iter_mut().zip(packages_uj) {
                    counter.advance(*uj);
                }
                self.totals.cpu_joules = distinct_uj(counters) as f64 / 1e6;
            }
            Cpu::Model(model) => {
                let share = self.shares.and_then(|shares| model.share_of(shares.busy, shares.own));
                self.totals.cpu_joules += model.power_w(share) * seconds;
            }
        }
    }

    fn add_gpus(&mut self, readings: &[GpuReading], seconds: f64) {
        for (gpu, reading) in self.gpus.iter_mut().zip(readings) {
            gpu.add(reading, seconds);
        }
        // A fold, because the sum of no floats is -0.
        self.totals.gpu_joules = self.gpus.iter().fold(0.0, |joules, gpu| joules + gpu.joules);
        let loads = readings.iter().filter_map(|reading| reading.load).fold(0.0, |loads, load| loads + load);
        self.totals.gpu_load_seconds += loads / (readings.len().max(1) as f64) * seconds;
    }

    fn add_ram(&mut self, readings: &Readings, seconds: f64) {
        let Some(ram) = &self.ram else { return };
        let own_gb = readings.memory.and_then(|memory| memory.own_gb);
        self.totals.ram_joules += ram.power_w(own_gb) * seconds;
        if let Some(memory) = readings.memory {
            self.totals.ram_gb_seconds += memory.used_gb * seconds;
            self.totals.ram_load_seconds += memory.used_gb / ram.total_gb * seconds;
        }
    }

    fn update_power(&mut self) {
        let (since, joules) = self.window;
        let seconds = self.last_at - since;
        // The first window may be shorter, so that there is a figure from the start.
        if seconds >= POWER_WINDOW_SECONDS || (since <= 0.0 && seconds > 0.0) {
            self.power_w = (self.totals.joules() - joules) / seconds;
        }
        if seconds >= POWER_WINDOW_SECONDS {
            self.window = (self.last_at, self.totals.joules());
        }
    }
}

impl PackageCounter {
    fn new(start_uj: u64, range_uj: u64) -> Self {
        Self { start: start_uj, last: start_uj, range: range_uj, total: 0 }
    }

    /// A read that failed changes nothing: the next one's difference covers the gap.
    fn advance(&mut self, now_uj: Option<u64>) {
        let Some(now_uj) = now_uj else { return };
        self.total += if now_uj >= self.last {
            now_uj - self.last
        } else {
            self.range.saturating_sub(self.last) + now_uj
        };
        self.last = now_uj;
    }

    fn mirrors(&self, other: &Self) -> bool {
        self.start.abs_diff(other.start) <= MIRROR_UJ && self.total.abs_diff(other.total) <= MIRROR_UJ
    }
}

/// Sum of the counters, each mirrored one once.
fn distinct_uj(counters: &[PackageCounter]) -> u64 {
    let is_first = |index: usize| !counters[..index].iter().any(|earlier| counters[index].mirrors(earlier));
    counters.iter().enumerate().filter(|(index, _)| is_first(*index)).map(|(_, counter)| counter.total).sum()
}

impl Gpu {
    fn add(&mut self, reading: &GpuReading, seconds: f64) {
        match (self.last_mj, reading.energy_mj) {
            (Some(last), Some(now)) => {
                // The counter starts again from 0 when the driver is loaded again.
                let difference = if now >= last { now - last } else { now };
                self.joules += difference as f64 / 1e3;
                self.last_mj = Some(now);
            }
            // The next difference covers the gap.
            (Some(_), None) => {}
            (None, _) => self.joules += reading.power_w.unwrap_or(0.0) * seconds,
        }
    }
}

impl Ram {
    fn power_w(&self, own_gb: Option<f64>) -> f64 {
        let gb = match self.mode {
            TrackingMode::Machine => self.total_gb,
            TrackingMode::Process => own_gb.unwrap_or(self.total_gb),
        };
        ram::power_w(gb, cfg!(any(target_arch = "aarch64", target_arch = "arm")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RANGE: u64 = 262_143_328_850;

    fn package(start_uj: u64) -> PackageCounter {
        PackageCounter::new(start_uj, RANGE)
    }

    fn ticks(total: u64, busy: u64) -> Ticks {
        Ticks { total, busy, own: Some(0) }
    }

    fn modelled(first: &Readings) -> Ledger {
        let cpu = Cpu::Model(LoadModel::new(Some(2), TrackingMode::Machine, true));
        Ledger::new(cpu, vec![], Some(Ram { total_gb: 8.0, mode: TrackingMode::Machine }), first)
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
    }

    #[test]
    fn model_is_power_times_time() {
        let mut ledger = modelled(&Readings { ticks: Some(ticks(0, 0)), ..Readings::default() });
        ledger.add(&Readings { at_seconds: 10.0, ticks: Some(ticks(2000, 1000)), ..Readings::default() });
        let totals = ledger.totals();
        // 8 W x (0.1 + 0.9 / 8) and 10 W of memory, for 10 s.
        assert!(close(totals.cpu_joules, 17.0) && close(totals.ram_joules, 100.0), "{totals:?}");
        assert!(close(totals.cpu_load_seconds, 5.0));
        assert!(close(ledger.power_w(), 11.7));
    }

    #[test]
    fn a_quick_second_look_keeps_the_load() {
        let mut ledger = modelled(&Readings { ticks: Some(ticks(0, 0)), ..Readings::default() });
        ledger.add(&Readings { at_seconds: 10.0, ticks: Some(ticks(2000, 2000)), ..Readings::default() });
        ledger.add(&Readings { at_seconds: 10.001, ticks: Some(ticks(2000, 2000)), ..Readings::default() });
        assert!(close(ledger.totals().cpu_joules, 8.0 * 10.001));
        assert!(close(ledger.power_w(), 18.0), "{}", ledger.power_w());
    }

    #[test]
    fn unreadable_load_is_not_zero_power() {
        let mut ledger = modelled(&Readings::default());
        ledger.add(&Readings { at_seconds: 2.0, ..Readings::default() });
        assert!(close(ledger.totals().cpu_joules, 8.0));
    }

    #[test]
    fn counters_wrap_and_survive_a_failed_read() {
        let mut ledger =
            Ledger::new(Cpu::Counters(vec![package(RANGE - 2_000_000)]), vec![], None, &Readings::default());
        let at = |at_seconds, uj| Readings { at_seconds, packages_uj: vec![uj], ..Readings::default() };
        ledger.add(&at(1.0, None));
        assert!(close(ledger.totals().cpu_joules, 0.0));
        ledger.add(&at(2.0, Some(3_000_000)));
        assert!(close(ledger.totals().cpu_joules, 5.0));
        assert!(!ledger.counts_ram());
    }

    #[test]
    fn mirrored_packages_count_once_and_independent_ones_twice() {
        let read =
            |a, b| Readings { at_seconds: 1.0, packages_uj: vec![Some(a), Some(b)], ..Readings::default() };
        let start = 50_000_000;
        let open = || {
            let packages = vec![package(start), package(start + 200)];
            Ledger::new(Cpu::Counters(packages), vec![], None, &Readings::default())
        };
        let mut mirrored = open();
        mirrored.add(&read(start + 80_000_000, start + 80_000_400));
        assert!(close(mirrored.totals().cpu_joules, 80.0));
        let mut independent = open();
        independent.add(&read(start + 80_000_000, start + 60_000_200));
        assert!(close(independent.totals().cpu_joules, 140.0));
    }

    #[test]
    fn gpus_use_the_counter_and_else_sampled_power() {
        let gpus = vec![Gpu { last_mj: Some(1000), joules: 0.0 }, Gpu { last_mj: None, joules: 0.0 }];
        let mut ledger = Ledger::new(Cpu::Counters(vec![]), gpus, None, &Readings::default());
        let with_counter = GpuReading { energy_mj: Some(4000), power_w: Some(999.0), load: Some(0.5) };
        let with_power = GpuReading { energy_mj: None, power_w: Some(70.0), load: Some(1.0) };
        ledger.add(&Readings {
            at_seconds: 2.0,
            gpus: vec![with_counter, with_power],
            ..Readings::default()
        });
        assert!(close(ledger.totals().gpu_joules, 3.0 + 140.0));
        assert!(close(ledger.totals().gpu_load_seconds, 1.5));
        assert_eq!(ledger.gpus_with_counter(), (1, 2));
        let reloaded = GpuReading { energy_mj: Some(500), ..with_counter };
        ledger.add(&Readings { at_seconds: 3.0, gpus: vec![reloaded, with_power], ..Readings::default() });
        assert!(close(ledger.totals().gpu_joules, 143.5 + 70.0));
    }

    proptest! {
        #[test]
        fn counters_sum_to_what_was_drawn(
            start in 0..RANGE,
            spans in prop::collection::vec(0..RANGE, 1..30),
        ) {
            let mut counter = package(start);
            let mut now = start;
            for span in &spans {
                now = (now + span) % RANGE;
                counter.advance(Some(now));
            }
            prop_assert_eq!(counter.total, spans.iter().sum::<u64>());
        }

        #[test]
        fn energy_adds_up_over_splits(
            load in 0u64..=100,
            splits in prop::collection::vec(1u64..1000, 1..20),
        ) {
            let at = |seconds: u64| Readings {
                at_seconds: seconds as f64,
                ticks: Some(ticks(seconds * 200, seconds * 2 * load)),
                ..Readings::default()
            };
            let (mut split, mut whole) = (modelled(&at(0)), modelled(&at(0)));
            let mut seconds = 0;
            for span in splits {
                seconds += span;
                split.add(&at(seconds));
            }
            whole.add(&at(seconds));
            prop_assert!(close(split.totals().joules(), whole.totals().joules()));
            prop_assert!(close(split.totals().seconds, whole.totals().seconds));
            prop_assert!(close(split.power_w(), whole.power_w()));
        }
    }
}
