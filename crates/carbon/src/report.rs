//! From sums to what is written: CodeCarbon's row and the sidecar.

use greentune_core_config::{
    emissions::{ComponentProvenance, EmissionsProvenance, EmissionsRecord, EnergyBasis},
    settings::TrackingMode,
};
use jiff::Zoned;

use crate::{
    JOULES_PER_KWH, MeterConfig, carried, cpu, gpu,
    intensity::{self, Found},
    ledger::{Cpu, Ledger, Totals},
    ram, rapl,
    sensors::Sensors,
    sidecar,
};

/// Name and version of this meter.
pub(crate) const METER: &str = concat!("greentune ", env!("CARGO_PKG_VERSION"));

/// Turns a ledger into a row and a sidecar.
pub(crate) struct Reporter {
    config: MeterConfig,
    place: Found,
    /// What every row says of the machine; the rest is empty.
    machine: EmissionsRecord,
    packages: Vec<String>,
    notes: Vec<String>,
}

impl Reporter {
    pub fn new(config: MeterConfig, sensors: &Sensors) -> Self {
        let identity = &sensors.identity;
        let machine = EmissionsRecord {
            os: identity.os.clone(),
            cpu_count: identity.threads.unwrap_or_default(),
            cpu_model: identity.cpu_model.clone(),
            gpu_count: sensors.gpus.names.len() as u32,
            gpu_model: sensors.gpus.model(),
            ram_total_size: identity.ram_total_gb.unwrap_or_default(),
            on_cloud: "N".into(),
            codecarbon_version: METER.into(),
            ..EmissionsRecord::default()
        };
        Self {
            place: intensity::find(&config.country_iso_code, config.region.as_deref()),
            config,
            machine,
            packages: sensors.packages.iter().map(|package| package.name.clone()).collect(),
            notes: sensors.notes.clone(),
        }
    }

    /// The cumulative row, earlier attempts included.
    pub fn record(&self, ledger: &Ledger) -> EmissionsRecord {
        let now = ledger.totals();
        let config = &self.config;
        let earlier = config.carried.as_ref();
        let before = earlier.map(|carried| &carried.record);
        let all = earlier.map_or(now, |carried| now + carried.totals());
        let mean = |integral: f64| if all.seconds > 0.0 { integral / all.seconds } else { 0.0 };
        let energy = |joules: f64, before: Option<f64>| self.kwh(joules) + before.unwrap_or_default();
        let kg = self.kwh(now.joules()) * self.place.intensity.g_per_kwh / 1000.0;
        let emissions = kg + before.map_or(0.0, |record| record.emissions);
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
            country_name: self.place.intensity.country_name.clone(),
            country_iso_code: config.country_iso_code.trim().to_uppercase(),
            region: config.region.clone().unwrap_or_default(),
            tracking_mode: config.tracking_mode.as_str().into(),
            cpu_utilization_percent: 100.0 * mean(all.cpu_load_seconds),
            gpu_utilization_percent: 100.0 * mean(all.gpu_load_seconds),
            ram_utilization_percent: 100.0 * mean(all.ram_load_seconds),
            ram_used_gb: mean(all.ram_gb_seconds),
            pue: config.pue,
            ..self.machine.clone()
        }
    }

    /// The sidecar, earlier attempts included.
    pub fn provenance(&self, ledger: &Ledger) -> EmissionsProvenance {
        let earlier = self.config.carried.as_ref();
        let components = self.components(ledger);
        let components = match earlier {
            Some(carried) => carried::add_components(components, carried),
            None => components,
        };
        let place = self.place.intensity;
        EmissionsProvenance {
            format_version: sidecar::FORMAT_VERSION,
            meter: METER.into(),
            components,
            carbon_intensity_g_per_kwh: place.g_per_kwh,
            carbon_intensity_source: format!("{}, {}, {}", place.name(), place.year, place.source),
            pue: self.config.pue,
            notes: self.notes(),
            attempts: earlier.map_or(0, |carried| carried.provenance.attempts) + 1,
        }
    }

    /// `measured`, `modelled`, or `mixed` where both went into the energy.
    pub fn basis(&self, ledger: &Ledger) -> &'static str {
        let components = self.provenance(ledger).components;
        let measured = components.iter().filter(|component| component.basis == EnergyBasis::Measured).count();
        match measured {
            0 => "modelled",
            n if n == components.len() => "measured",
            _ => "mixed",
        }
    }

    fn components(&self, ledger: &Ledger) -> Vec<ComponentProvenance> {
        let Totals { cpu_joules, gpu_joules, ram_joules, .. } = ledger.totals();
        let mut components = vec![self.cpu(ledger.cpu(), cpu_joules)];
        if let (with_counter, gpus @ 1..) = ledger.gpus_with_counter() {
            components.push(self.gpu(with_counter, gpus, gpu_joules));
        }
        if ledger.counts_ram() {
            components.push(self.ram(ram_joules));
        }
        components
    }

    fn cpu(&self, cpu: &Cpu, joules: f64) -> ComponentProvenance {
        let energy_kwh = self.kwh(joules);
        match cpu {
            Cpu::Counters(_) => ComponentProvenance {
                component: "cpu".into(),
                basis: EnergyBasis::Measured,
                method: format!("RAPL {}", self.packages.join(", ")),
                source: rapl::SOURCE.into(),
                energy_kwh,
                uncertainty: rapl::UNCERTAINTY,
                scope: "whole machine".into(),
            },
            Cpu::Model(model) => ComponentProvenance {
                component: "cpu".into(),
                basis: EnergyBasis::Modelled,
                method: model.method.clone(),
                source: cpu::SOURCE.into(),
                energy_kwh,
                uncertainty: cpu::UNCERTAINTY,
                scope: self.modelled_scope(),
            },
        }
    }

    fn gpu(&self, with_counter: usize, gpus: usize, joules: f64) -> ComponentProvenance {
        let method = match gpus - with_counter {
            0 => format!("NVML total-energy counter of {gpus} GPU(s)"),
            sampled => format!(
                "NVML: energy counter of {with_counter} GPU(s), power sampled of {sampled} without one"
            ),
        };
        ComponentProvenance {
            component: "gpu".into(),
            basis: EnergyBasis::Measured,
            method,
            source: gpu::SOURCE.into(),
            energy_kwh: self.kwh(joules),
            uncertainty: gpu::UNCERTAINTY,
            scope: "whole machine".into(),
        }
    }

    fn ram(&self, joules: f64) -> ComponentProvenance {
        let method = match self.config.tracking_mode {
            TrackingMode::Machine => {
                let gb = self.machine.ram_total_size;
                format!("DIMM model: {} DIMM(s) guessed from {gb:.1} GB", ram::dimms(gb))
            }
            TrackingMode::Process => "DIMM model of the memory that this process holds".into(),
        };
        ComponentProvenance {
            component: "ram".into(),
            basis: EnergyBasis::Modelled,
            method,
            source: ram::SOURCE.into(),
            energy_kwh: self.kwh(joules),
            uncertainty: ram::UNCERTAINTY,
            scope: self.modelled_scope(),
        }
    }

    fn modelled_scope(&self) -> String {
        match self.config.tracking_mode {
            TrackingMode::Machine => "whole machine".into(),
            TrackingMode::Process => "this process".into(),
        }
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        notes.extend(self.place.note.clone());
        notes.push("power supply, fans, disks and board are not counted".into());
        if let Some(carried) = &self.config.carried {
            let (before, now) =
                (carried.provenance.carbon_intensity_g_per_kwh, self.place.intensity.g_per_kwh);
            if (before - now).abs() > 1e-9 {
                notes.push(format!(
                    "carbon intensity: earlier attempts were counted at {before} g/kWh, this one at {now}"
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

    /// kWh at the meter of the building for joules drawn by the machine: PUE multiplies energy.
    fn kwh(&self, joules: f64) -> f64 {
        joules / JOULES_PER_KWH * self.config.pue
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::{Carried, Host, machine::Ticks, sensors::Readings};

    /// A machine without counters: two readings are power times time.
    fn used(seconds: f64, pue: f64, carried: Option<Carried>) -> Carried {
        let mut sensors = Sensors::probe(&Host { root: PathBuf::from("/nonexistent"), nvml: false });
        sensors.identity.threads = Some(4);
        sensors.identity.ram_total_gb = Some(8.0);
        let config = MeterConfig {
            project_name: "p".into(),
            run_id: "r".into(),
            experiment_id: "e".into(),
            country_iso_code: "FRA".into(),
            region: None,
            pue,
            interval: Duration::from_secs(1),
            tracking_mode: TrackingMode::Machine,
            carried,
        };
        let at = |seconds: f64, total: u64| Readings {
            at_seconds: seconds,
            ticks: Some(Ticks { total, busy: total / 2, own: None }),
            ..Readings::default()
        };
        let mut ledger = Ledger::open(&sensors, config.tracking_mode, &at(0.0, 0));
        ledger.add(&at(seconds, 1000));
        let reporter = Reporter::new(config, &sensors);
        Carried { record: reporter.record(&ledger), provenance: reporter.provenance(&ledger) }
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
