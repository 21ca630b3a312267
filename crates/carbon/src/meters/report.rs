//! From sums to what is written: CodeCarbon's row and the sidecar.

use greentune_core_config::{
    Basis,
    emissions::{
        AppliedCalibration, ComponentProvenance, EmissionsProvenance, EmissionsRecord, basis_of,
        sum_of_intervals_kwh,
    },
    event::ComponentPower,
    memory::bytes_in_words,
    settings::TrackingMode,
};
use jiff::Zoned;

use crate::{
    BYTES_PER_GB, Carried, JOULES_PER_KWH, MeterConfig,
    files::{codecarbon, sidecar},
    grid::Grid,
    meters::{
        calibration::Fit,
        carried, cpu,
        evidence::Evidence,
        gpu,
        ledger::{Ledger, Source, Totals},
        ram, rapl,
        sensors::Sensors,
    },
};

/// Name and version of this meter.
pub(crate) const METER: &str = concat!("greentune ", env!("CARGO_PKG_VERSION"));

/// Turns a ledger into a row and a sidecar.
pub(crate) struct Reporter {
    config: MeterConfig,
    /// The calibration in numbers and in words, if it is this machine's.
    calibration: Option<(Fit, String)>,
    /// What every row says of the machine; the rest is empty.
    machine: EmissionsRecord,
    emitted: EmissionTotals,
    notes: Vec<String>,
}

/// Emissions as they arise: the grid's figure may change while a run lasts.
#[derive(Debug)]
struct EmissionTotals {
    grid: Grid,
    joules: f64,
    kwh: f64,
    grams: f64,
    /// Integral of the intensity's relative uncertainty over grams.
    uncertain_grams: f64,
    range_g_per_kwh: Option<[f64; 2]>,
    sources: Vec<String>,
    notes: Vec<String>,
}

/// A component's share of the sidecar before it is written.
struct Part {
    component: &'static str,
    joules: f64,
    method: String,
    is_measured: bool,
    evidence: Evidence,
    is_apportioned: bool,
}

impl Reporter {
    pub fn new(config: MeterConfig, sensors: &Sensors) -> Self {
        let identity = &sensors.identity;
        let machine = EmissionsRecord {
            os: identity.os.clone(),
            cpu_count: identity.threads.unwrap_or_default(),
            cpu_model: identity.cpu_model.clone(),
            gpu_count: sensors.gpus.infos.len() as u32,
            gpu_model: sensors.gpus.model(),
            ram_total_size: identity.ram_total_gb.unwrap_or_default(),
            codecarbon_version: METER.into(),
            ..EmissionsRecord::default()
        };
        let mut notes = sensors.notes.clone();
        let calibration = match calibration(&config, &identity.cpu_model) {
            Ok(calibration) => calibration,
            Err(why) => {
                notes.push(why);
                None
            }
        };
        Self { emitted: EmissionTotals::new(config.grid.now()), calibration, config, machine, notes }
    }

    /// Lets the energy since the last call emit at the grid's figure of now.
    pub fn observe(&mut self, ledger: &Ledger) {
        let joules = self.calibrated(ledger).joules();
        let kwh = self.kwh(joules - self.emitted.joules);
        self.emitted.joules = joules;
        self.emitted.add(kwh, self.config.grid.now());
    }

    /// The cumulative row, earlier attempts included.
    pub fn record(&self, ledger: &Ledger) -> EmissionsRecord {
        let now = self.calibrated(ledger);
        let config = &self.config;
        let earlier = config.carried.as_ref();
        let before = earlier.map(|carried| &carried.record);
        let all = earlier.map_or(now, |carried| now + carried.totals());
        let mean = |integral: f64| if all.seconds > 0.0 { integral / all.seconds } else { 0.0 };
        let energy = |joules: f64, before: Option<f64>| self.kwh(joules) + before.unwrap_or_default();
        let emissions = self.emitted.grams / 1000.0 + before.map_or(0.0, |record| record.emissions);
        let grid = &self.emitted.grid;
        let cloud = grid.place.cloud.as_ref();
        EmissionsRecord {
            timestamp: Zoned::now().strftime("%Y-%m-%dT%H:%M:%S").to_string(),
            project_name: config.project_name.clone(),
            run_id: config.run_id.clone(),
            experiment_id: config.experiment_id.clone(),
            duration: all.seconds,
            emissions,
            emissions_rate: mean(emissions),
            cpu_power: mean(all.cpu_joules),
            gpu_power: mean(all.gpu_joules),
            ram_power: mean(all.ram_joules),
            cpu_energy: energy(now.cpu_joules, before.map(|record| record.cpu_energy)),
            gpu_energy: energy(now.gpu_joules, before.map(|record| record.gpu_energy)),
            ram_energy: energy(now.ram_joules, before.map(|record| record.ram_energy)),
            energy_consumed: energy(now.joules(), before.map(|record| record.energy_consumed)),
            country_name: grid.country_name.clone(),
            country_iso_code: grid.place.country_iso_code.trim().to_uppercase(),
            region: grid.place.region.clone().unwrap_or_default(),
            cloud_provider: cloud.map(|cloud| cloud.provider.clone()).unwrap_or_default(),
            cloud_region: cloud.map(|cloud| cloud.region.clone()).unwrap_or_default(),
            on_cloud: if cloud.is_some() { "Y" } else { "N" }.into(),
            tracking_mode: config.tracking_mode.as_str().into(),
            cpu_utilization_percent: 100.0 * mean(all.cpu_load_seconds),
            gpu_utilization_percent: 100.0 * mean(all.gpu_load_seconds),
            ram_utilization_percent: 100.0 * mean(all.ram_load_seconds),
            ram_used_gb: mean(all.ram_gb_seconds),
            pue: config.pue,
            ..self.machine.clone()
        }
    }

    /// W over the last second or more, calibrated, without PUE.
    pub fn power(&self, ledger: &Ledger) -> ComponentPower {
        let power = ledger.power();
        let Some((fit, _)) = &self.calibration else { return power };
        let raw_w = power.cpu_w + power.gpu_w + power.ram_w;
        let scale = if raw_w > 0.0 { fit.factor + fit.overhead_w / raw_w } else { 0.0 };
        ComponentPower { cpu_w: power.cpu_w * scale, gpu_w: power.gpu_w * scale, ram_w: power.ram_w * scale }
    }

    /// The sidecar, earlier attempts included; `more_notes` are those of the meter itself.
    pub fn provenance(&self, ledger: &Ledger, more_notes: Vec<String>) -> EmissionsProvenance {
        let earlier = self.config.carried.as_ref();
        let now = self.components(ledger);
        let energy_range = self.energy_range_kwh(ledger, &now);
        let kwh = self.kwh(self.calibrated(ledger).joules());
        let emissions_range = self.emitted.range_kg(kwh, energy_range);
        let record = self.record(ledger);
        let add = |now: [f64; 2], before: Option<[f64; 2]>| {
            before.map_or(now, |before| [now[0] + before[0], now[1] + before[1]])
        };
        // Of one attempt alone it is the grid's figure itself, without a quotient's rounding.
        let of_all = earlier.and_then(|_| codecarbon::carbon_intensity_g_per_kwh(&record));
        let intensity = of_all.unwrap_or(self.emitted.mean_g_per_kwh());
        EmissionsProvenance {
            format_version: sidecar::FORMAT_VERSION,
            meter: METER.into(),
            components: match earlier {
                Some(carried) => carried::add_components(now, carried),
                None => now,
            },
            carbon_intensity_g_per_kwh: intensity,
            carbon_intensity_source: self.emitted.sources.join("; "),
            pue: self.config.pue,
            notes: self.notes(ledger, more_notes),
            attempts: earlier.map_or(0, |carried| carried.provenance.attempts) + 1,
            attempt_seconds: Some(ledger.totals().seconds),
            takes_turns: self.config.host_lock.is_some()
                && self.config.tracking_mode == TrackingMode::Machine,
            energy_range_kwh: Some(add(energy_range, earlier.map(Carried::energy_range_kwh))),
            emissions_range_kg: Some(add(emissions_range, earlier.map(Carried::emissions_range_kg))),
            carbon_intensity_range_g_per_kwh: self.emitted.range_g_per_kwh,
            carbon_intensity_uncertainty: Some(self.emitted.uncertainty()),
            calibration: self.calibration.as_ref().map(|(_, name)| AppliedCalibration {
                name: name.clone(),
                raw_energy_kwh: self.kwh(ledger.totals().joules()),
                energy_kwh: kwh,
            }),
        }
    }

    /// `measured`, `modelled`, or `mixed` where both went into the energy.
    pub fn basis(&self, ledger: &Ledger) -> Basis {
        let now = self.components(ledger);
        let components = match &self.config.carried {
            Some(carried) => carried::add_components(now, carried),
            None => now,
        };
        basis_of(&components)
    }

    /// Totals as the wall meter would have them, if there is a calibration.
    fn calibrated(&self, ledger: &Ledger) -> Totals {
        let totals = ledger.totals();
        let Some((fit, _)) = &self.calibration else { return totals };
        let (raw, overhead) = (totals.joules(), fit.overhead_w * ledger.counted_seconds());
        if raw <= 0.0 {
            return Totals { cpu_joules: overhead, ..totals };
        }
        // Energy that no counter sees is divided between the components in proportion to the energy that counters see.
        let scale = fit.factor + overhead / raw;
        Totals {
            cpu_joules: totals.cpu_joules * scale,
            gpu_joules: totals.gpu_joules * scale,
            ram_joules: totals.ram_joules * scale,
            ..totals
        }
    }

    /// Bounds of the components add up, because their errors have common causes (the same load, the same supply, the
    /// same omissions), and only a better meter could show which errors are independent. With a wall meter the sum
    /// itself was measured.
    fn energy_range_kwh(&self, ledger: &Ledger, components: &[ComponentProvenance]) -> [f64; 2] {
        if let Some((fit, _)) = &self.calibration {
            let kwh = self.kwh(self.calibrated(ledger).joules());
            return [kwh * (1.0 - fit.uncertainty).max(0.0), kwh * (1.0 + fit.uncertainty)];
        }
        sum_of_intervals_kwh(components)
    }

    fn components(&self, ledger: &Ledger) -> Vec<ComponentProvenance> {
        let totals = self.calibrated(ledger);
        let mut parts = vec![cpu_part(ledger, totals.cpu_joules)];
        if let (with_counter, gpus @ 1..) = ledger.gpus_with_counter() {
            parts.push(gpu_part(ledger, with_counter, gpus, totals.gpu_joules));
        }
        if let Some(source) = ledger.ram() {
            parts.push(self.ram_part(ledger, source, totals.ram_joules));
        }
        parts.into_iter().map(|part| self.component(part)).collect()
    }

    fn component(&self, part: Part) -> ComponentProvenance {
        let energy_kwh = self.kwh(part.joules);
        let [low, high] =
            if part.is_apportioned { part.evidence.factors_of_share() } else { part.evidence.factors };
        let is_measured = part.is_measured && !part.is_apportioned;
        ComponentProvenance {
            component: part.component.into(),
            basis: if is_measured { Basis::Measured } else { Basis::Modelled },
            method: part.method,
            source: part.evidence.source.into(),
            energy_kwh,
            uncertainty: (1.0 - low).max(high - 1.0),
            scope: match self.config.process {
                _ if !part.is_apportioned => "whole machine".into(),
                None => "this process and its descendants".into(),
                Some(pid) => format!("process {pid} and its descendants"),
            },
            range_kwh: Some([energy_kwh * low, energy_kwh * high]),
            year: part.evidence.year,
        }
    }

    fn ram_part(&self, ledger: &Ledger, source: &Source<f64>, joules: f64) -> Part {
        let is_apportioned = ledger.apportioned().ram;
        let gb = self.machine.ram_total_size;
        let (method, is_measured, evidence) = match source {
            Source::Counters { names, .. } => (format!("RAPL {}", names.join(", ")), true, rapl::DRAM),
            Source::Model(_) => {
                let dimms = ram::dimms(gb);
                (
                    format!(
                        "DIMM model: {dimms} DIMM(s) guessed from {}",
                        bytes_in_words((gb * BYTES_PER_GB) as u64)
                    ),
                    false,
                    ram::EVIDENCE,
                )
            }
        };
        let share = if is_apportioned { " x resident share of the memory in use (estimate)" } else { "" };
        let method = format!("{method}{share}");
        Part { component: "ram", joules, method, is_measured, evidence, is_apportioned }
    }

    fn notes(&self, ledger: &Ledger, more_notes: Vec<String>) -> Vec<String> {
        let mut notes = self.notes.clone();
        notes.extend(more_notes);
        notes.extend(ledger.notes());
        notes.extend(self.unshared(ledger));
        notes.extend(self.emitted.notes.iter().cloned());
        if self.calibration.is_none() {
            notes.push("power supply, fans, disks and board are not counted".into());
        }
        if let Some(carried) = &self.config.carried {
            let before = carried.provenance.carbon_intensity_g_per_kwh;
            let now = self.emitted.mean_g_per_kwh();
            if (before - now).abs() > 1e-6 * before.abs().max(now.abs()) {
                notes.push(format!(
                    "carbon intensity: earlier attempts were counted at {before:.3} g/kWh, this one at {now:.3}"
                ));
            }
            notes.extend(carried.provenance.notes.clone());
        }
        let mut seen = Vec::new();
        notes.retain(|note| {
            !seen.contains(note) && {
                seen.push(note.clone());
                true
            }
        });
        notes
    }

    /// The components that are counted whole although the mode asks for a process's share.
    fn unshared(&self, ledger: &Ledger) -> Option<String> {
        if self.config.tracking_mode == TrackingMode::Machine {
            return None;
        }
        let shared = ledger.apportioned();
        let has_gpu = ledger.gpus_with_counter().1 > 0;
        let whole: Vec<&str> = [
            ("the processor (its load or the process's time is unreadable)", !shared.cpu),
            ("memory (the process's part is unreadable)", !shared.ram && ledger.ram().is_some()),
            (
                "GPUs (the driver tells no use by process: MIG, no right to it, or not supported)",
                has_gpu && !shared.gpu,
            ),
        ]
        .into_iter()
        .filter_map(|(name, is_whole)| is_whole.then_some(name))
        .collect();
        (!whole.is_empty()).then(|| format!("tracking_mode process: counted whole: {}", whole.join(", ")))
    }

    /// kWh at the meter of the building for joules drawn by the machine: PUE multiplies energy.
    fn kwh(&self, joules: f64) -> f64 {
        joules / JOULES_PER_KWH * self.config.pue
    }
}

/// The calibration of this machine; `Err` says in words why there is none although one was given.
fn calibration(config: &MeterConfig, cpu_model: &str) -> Result<Option<(Fit, String)>, String> {
    let Some(calibration) = &config.calibration else { return Ok(None) };
    if calibration.cpu_model() != cpu_model {
        return Err(format!(
            "calibration: not applied: it is of a machine with {:?}, this one has {cpu_model:?}",
            calibration.cpu_model()
        ));
    }
    if config.tracking_mode == TrackingMode::Process {
        return Err("calibration: not applied: a wall meter sees the whole machine, not one process".into());
    }
    Ok(Some((calibration.fit(), calibration.name())))
}

fn cpu_part(ledger: &Ledger, joules: f64) -> Part {
    let is_apportioned = ledger.apportioned().cpu;
    let (method, is_measured, evidence) = match ledger.cpu() {
        Source::Counters { names, .. } => (format!("RAPL {}", names.join(", ")), true, rapl::PACKAGE),
        Source::Model(model) => (model.method.clone(), false, cpu::EVIDENCE),
    };
    let share = if is_apportioned { " x share of the busy processor time (estimate)" } else { "" };
    let method = format!("{method}{share}");
    Part { component: "cpu", joules, method, is_measured, evidence, is_apportioned }
}

fn gpu_part(ledger: &Ledger, with_counter: usize, gpus: usize, joules: f64) -> Part {
    let is_apportioned = ledger.apportioned().gpu;
    let method = match gpus - with_counter {
        0 => format!("total-energy counter of {gpus} GPU(s)"),
        sampled => {
            format!("energy counter of {with_counter} GPU(s), power integrated of {sampled} without one")
        }
    };
    let share = if is_apportioned { " x share of the GPU's use by processes (estimate)" } else { "" };
    let method = format!("{method}{share}");
    Part { component: "gpu", joules, method, is_measured: true, evidence: gpu::EVIDENCE, is_apportioned }
}

impl EmissionTotals {
    fn new(grid: Grid) -> Self {
        let mut emitted = Self {
            grid: grid.clone(),
            joules: 0.0,
            kwh: 0.0,
            grams: 0.0,
            uncertain_grams: 0.0,
            range_g_per_kwh: None,
            sources: Vec::new(),
            notes: Vec::new(),
        };
        emitted.add(0.0, grid);
        emitted
    }

    fn add(&mut self, kwh: f64, grid: Grid) {
        let grams = kwh * grid.g_per_kwh;
        self.kwh += kwh;
        self.grams += grams;
        self.uncertain_grams += grams * grid.uncertainty;
        if kwh > 0.0 {
            let [least, most] = self.range_g_per_kwh.unwrap_or([grid.g_per_kwh; 2]);
            self.range_g_per_kwh = Some([least.min(grid.g_per_kwh), most.max(grid.g_per_kwh)]);
        }
        if !self.sources.contains(&grid.source) {
            self.sources.push(grid.source.clone());
        }
        for note in &grid.notes {
            if !self.notes.contains(note) {
                self.notes.push(note.clone());
            }
        }
        self.grid = grid;
    }

    /// Relative half-width of the intensity's interval, weighted by emissions.
    fn uncertainty(&self) -> f64 {
        if self.grams > 0.0 { self.uncertain_grams / self.grams } else { self.grid.uncertainty }
    }

    fn mean_g_per_kwh(&self) -> f64 {
        match self.range_g_per_kwh {
            // Without a change there is nothing to be rounded.
            Some([least, most]) if least < most && self.kwh > 0.0 => self.grams / self.kwh,
            _ => self.grid.g_per_kwh,
        }
    }

    /// Bounds of the emissions of `kwh` that lie in `range_kwh`: both the energy and the intensity at their worst.
    fn range_kg(&self, kwh: f64, range_kwh: [f64; 2]) -> [f64; 2] {
        if kwh <= 0.0 {
            return [0.0, 0.0];
        }
        let (kg, uncertainty) = (self.grams / 1000.0, self.uncertainty());
        [
            kg * range_kwh[0] / kwh * (1.0 - uncertainty).max(0.0),
            kg * range_kwh[1] / kwh * (1.0 + uncertainty),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        Carried, Host,
        grid::{GridSource, Place},
        machine::Ticks,
        meters::sensors::Readings,
    };

    /// A machine without counters: two readings are power times time.
    fn used(seconds: f64, pue: f64, carried: Option<Carried>) -> Carried {
        let place = Place { country_iso_code: "FRA".into(), region: None, cloud: None };
        let config = MeterConfig { pue, carried, ..MeterConfig::new("p", "r", GridSource::yearly(&place)) };
        let mut sensors =
            Sensors::probe(&Host { root: PathBuf::from("/nonexistent"), nvml: false }, &config.counted());
        sensors.identity.threads = Some(4);
        sensors.identity.ram_total_gb = Some(8.0);
        let at = |seconds: f64, total: u64| Readings {
            at_seconds: seconds,
            ticks: Some(Ticks { total, busy: total / 2 }),
            ..Readings::default()
        };
        let mut ledger = Ledger::open(&sensors, config.tracking_mode, f64::INFINITY, &at(0.0, 0));
        let mut reporter = Reporter::new(config, &sensors);
        ledger.add(&at(seconds, 1000), true);
        reporter.observe(&ledger);
        Carried { record: reporter.record(&ledger), provenance: reporter.provenance(&ledger, vec![]) }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
    }

    #[test]
    fn figures_fit_together() {
        let Carried { record, provenance } = used(3600.0, 1.0, None);
        // 16 W x (0.1 + 0.9 / 8) and 10 W of memory (3 W on ARM) for an hour, at France's 44.18 g/kWh.
        assert!(close(record.cpu_power, 3.4) && close(record.cpu_energy, 0.0034), "{record:?}");
        assert!(close(record.energy_consumed, record.cpu_energy + record.ram_energy));
        assert!(close(record.emissions, record.energy_consumed * 0.044_18));
        assert!(close(record.emissions_rate, record.emissions / 3600.0));
        assert!(close(record.cpu_utilization_percent, 50.0));
        assert!(record.gpu_power.is_sign_positive(), "no GPU is 0 and not -0");
        let energy: f64 = provenance.components.iter().map(|component| component.energy_kwh).sum();
        assert!(close(energy, record.energy_consumed));
        assert!(provenance.carbon_intensity_source.contains("France, 2024"), "{provenance:?}");
        assert!(provenance.notes.iter().any(|note| note.starts_with("RAPL")), "{provenance:?}");
        assert_eq!(provenance.attempts, 1);
    }

    #[test]
    fn intervals_reach_from_components_to_emissions() {
        let Carried { record, provenance } = used(3600.0, 1.5, None);
        let [cpu, ram] = &provenance.components[..] else { panic!("{provenance:?}") };
        // Half to three times the load model, half to twice the memory model.
        assert_eq!(cpu.range_kwh, Some([cpu.energy_kwh * 0.5, cpu.energy_kwh * 3.0]));
        assert_eq!(ram.range_kwh, Some([ram.energy_kwh * 0.5, ram.energy_kwh * 2.0]));
        assert_eq!((cpu.year, cpu.uncertainty), (Some(2025), 2.0));
        let [low, high] = provenance.energy_range_kwh.unwrap();
        assert!(close(low, record.energy_consumed * 0.5));
        assert!(close(high, cpu.energy_kwh * 3.0 + ram.energy_kwh * 2.0));
        let grid = provenance.carbon_intensity_uncertainty.unwrap();
        assert!(grid > 0.0);
        let [least, most] = provenance.emissions_range_kg.unwrap();
        let kg_per_kwh = provenance.carbon_intensity_g_per_kwh / 1000.0;
        assert!(
            close(least, low * kg_per_kwh * (1.0 - grid)) && close(most, high * kg_per_kwh * (1.0 + grid))
        );
        let twice = used(3600.0, 1.5, Some(used(3600.0, 1.5, None))).provenance;
        assert!(close(twice.energy_range_kwh.unwrap()[1], 2.0 * high));
        assert!(close(twice.emissions_range_kg.unwrap()[0], 2.0 * least));
    }

    #[test]
    fn emissions_follow_the_intensity_of_their_hour() {
        let place = Place { country_iso_code: "FRA".into(), region: None, cloud: None };
        let at = |g_per_kwh| Grid { g_per_kwh, uncertainty: 0.1, ..GridSource::yearly(&place).now() };
        let mut emitted = EmissionTotals::new(at(100.0));
        emitted.add(1.0, at(100.0));
        emitted.add(3.0, at(300.0));
        assert!(close(emitted.grams, 1000.0) && close(emitted.mean_g_per_kwh(), 250.0));
        assert_eq!(emitted.range_g_per_kwh, Some([100.0, 300.0]));
        assert!(close(emitted.uncertainty(), 0.1));
    }

    #[test]
    fn an_attempt_without_energy_leaves_no_nan() {
        let Carried { record, .. } = used(0.0, 1.0, None);
        assert_eq!((record.emissions_rate, record.cpu_power, record.duration), (0.0, 0.0, 0.0));
    }

    #[test]
    fn repeated_attempts_do_not_repeat_words() {
        let attempts = (0..3).fold(None, |carried, _| Some(used(10.0, 1.0, carried)));
        let provenance = attempts.map(|carried| carried.provenance);
        let provenance = provenance.as_ref().expect("three attempts");
        assert_eq!(provenance.attempts, 3);
        let first = used(10.0, 1.0, None).provenance;
        assert_eq!(provenance.notes, first.notes);
        for (all, one) in provenance.components.iter().zip(&first.components) {
            assert_eq!((&all.method, &all.source), (&one.method, &one.source));
            assert!(close(all.energy_kwh, 3.0 * one.energy_kwh) && close(all.uncertainty, one.uncertainty));
        }
    }

    proptest! {
        #[test]
        fn pue_multiplies_energy_and_not_power(seconds in 0.1f64..1e5, pue in 1.0f64..3.0) {
            let (plain, overhead) = (used(seconds, 1.0, None).record, used(seconds, pue, None).record);
            prop_assert!(close(overhead.energy_consumed, pue * plain.energy_consumed));
            prop_assert!(close(overhead.emissions, pue * plain.emissions));
            prop_assert!(close(overhead.cpu_power, plain.cpu_power));
        }

        #[test]
        fn attempts_add_up(first in 0.1f64..1e5, second in 0.1f64..1e5, pue in 1.0f64..3.0) {
            let whole = used(first + second, pue, None).record;
            let resumed = used(second, pue, Some(used(first, pue, None)));
            let record = &resumed.record;
            for (resumed, whole) in [
                (record.duration, whole.duration),
                (record.energy_consumed, whole.energy_consumed),
                (record.cpu_energy, whole.cpu_energy),
                (record.ram_energy, whole.ram_energy),
                (record.emissions, whole.emissions),
                (record.cpu_power, whole.cpu_power),
                (record.cpu_utilization_percent, whole.cpu_utilization_percent),
            ] {
                prop_assert!(close(resumed, whole), "{} {}", resumed, whole);
            }
            prop_assert_eq!(resumed.provenance.attempts, 2);
        }
    }
}
