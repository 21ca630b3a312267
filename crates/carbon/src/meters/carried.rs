//! Earlier attempts of a stage, so that one that was interrupted and resumed adds up.

use std::path::Path;

use greentune_core_config::{
    Basis,
    emissions::{ComponentProvenance, EmissionsProvenance, EmissionsRecord, sum_of_intervals_kwh},
    quantities::sum,
};

use crate::{
    CarbonError,
    files::{codecarbon, sidecar},
    meters::{cpu, ledger::Totals},
};

/// What earlier attempts of the same stage used.
#[derive(Clone, Debug, PartialEq)]
pub struct Carried {
    /// Their last row; rows are cumulative.
    pub record: EmissionsRecord,
    /// Their sidecar.
    pub provenance: EmissionsProvenance,
}

impl Carried {
    /// What earlier attempts left in a stage's files; `None` when there was none.
    ///
    /// A sidecar that is missing (the attempt ended between the two files) does not lose the energy: it is carried with
    /// the widest uncertainty and a note.
    pub fn read(csv: &Path, provenance: &Path) -> Result<Option<Self>, CarbonError> {
        let name = csv.file_name().unwrap_or_default().to_string_lossy();
        let run_id = name.rsplit_once("_stage").map_or("", |(run_id, _)| run_id);
        let Some(own) = codecarbon::of_run(csv, run_id)? else { return Ok(None) };
        let record = own.record;
        let provenance = match sidecar::read(provenance)? {
            Some(found) => found,
            None => without_sidecar(&record),
        };
        Ok(Some(Self { record, provenance }))
    }

    /// Bounds of their energy; the row may be a moment newer than the sidecar.
    pub(crate) fn energy_range_kwh(&self) -> [f64; 2] {
        let components = &self.provenance.components;
        let known = sum(components.iter().map(|component| component.energy_kwh));
        let range = self.provenance.energy_interval_kwh();
        let scale = if known > 0.0 { self.record.energy_consumed / known } else { 1.0 };
        range.map(|bound| bound * scale)
    }

    /// Bounds of their emissions; those of format 1 know of the energy's alone.
    pub(crate) fn emissions_range_kg(&self) -> [f64; 2] {
        let (kg, kwh) = (self.record.emissions, self.record.energy_consumed);
        let intensity = if kwh > 0.0 { kg / kwh } else { 0.0 };
        let range = self.energy_range_kwh().map(|bound| bound * intensity);
        self.provenance.emissions_range_kg.unwrap_or(range)
    }

    /// The earlier attempts as sums over time, energy as drawn (mean power times duration knows no PUE).
    pub(crate) fn totals(&self) -> Totals {
        let record = &self.record;
        let seconds = record.duration;
        Totals {
            seconds,
            cpu_joules: record.cpu_power * seconds,
            gpu_joules: record.gpu_power * seconds,
            ram_joules: record.ram_power * seconds,
            cpu_load_seconds: record.cpu_utilization_percent / 100.0 * seconds,
            gpu_load_seconds: record.gpu_utilization_percent / 100.0 * seconds,
            ram_load_seconds: record.ram_utilization_percent / 100.0 * seconds,
            ram_gb_seconds: record.ram_used_gb * seconds,
        }
    }
}

/// Adds the components of earlier attempts to those of this one.
pub(crate) fn add_components(now: Vec<ComponentProvenance>, earlier: &Carried) -> Vec<ComponentProvenance> {
    let mut components = now;
    for before in &earlier.provenance.components {
        // The row is written before the sidecar, so its energy is the truer one.
        let energy_kwh = energy_kwh(&earlier.record, &before.component).unwrap_or(before.energy_kwh);
        let scale = if before.energy_kwh > 0.0 { energy_kwh / before.energy_kwh } else { 1.0 };
        let range_kwh = before.range_kwh.map(|range| range.map(|bound| bound * scale));
        let before = ComponentProvenance { energy_kwh, range_kwh, ..before.clone() };
        match components.iter_mut().find(|component| component.component == before.component) {
            Some(component) => *component = add(component, &before),
            None => components.push(before),
        }
    }
    components
}

fn add(now: &ComponentProvenance, before: &ComponentProvenance) -> ComponentProvenance {
    let energy_kwh = now.energy_kwh + before.energy_kwh;
    let [low, high] = sum_of_intervals_kwh(&[now.clone(), before.clone()]);
    let farther = (energy_kwh - low).max(high - energy_kwh);
    ComponentProvenance {
        component: now.component.clone(),
        // A sum of which a part is modelled is modelled.
        basis: if now.basis == before.basis { now.basis } else { Basis::Modelled },
        method: either(&now.method, &before.method),
        source: either(&now.source, &before.source),
        energy_kwh,
        uncertainty: if energy_kwh > 0.0 { farther / energy_kwh } else { now.uncertainty },
        scope: either(&now.scope, &before.scope),
        range_kwh: Some([low, high]),
        year: now.year,
    }
}

fn either(now: &str, before: &str) -> String {
    // `before` may itself be the sum of several attempts that ended in the same words.
    if before.split(EARLIER).any(|part| part == now) {
        before.to_owned()
    } else {
        format!("{now}{EARLIER}{before}")
    }
}

const EARLIER: &str = "; earlier attempts: ";

fn without_sidecar(record: &EmissionsRecord) -> EmissionsProvenance {
    let [low, high] = cpu::EVIDENCE.factors;
    let component = |name: &str| {
        let energy_kwh = energy_kwh(record, name).unwrap_or_default();
        ComponentProvenance {
            component: name.to_owned(),
            basis: Basis::Modelled,
            method: "unknown: the attempt left no provenance".into(),
            source: "the stage's emissions file".into(),
            energy_kwh,
            uncertainty: high - 1.0,
            scope: "unknown".into(),
            range_kwh: Some([energy_kwh * low, energy_kwh * high]),
            year: None,
        }
    };
    let names = ["cpu", "gpu", "ram"].into_iter();
    EmissionsProvenance {
        format_version: sidecar::FORMAT_VERSION,
        meter: record.codecarbon_version.clone(),
        components: names.map(component).filter(|component| component.energy_kwh > 0.0).collect(),
        carbon_intensity_g_per_kwh: codecarbon::carbon_intensity_g_per_kwh(record).unwrap_or_default(),
        carbon_intensity_source: "unknown: the attempt left no provenance".into(),
        pue: record.pue,
        notes: vec!["an earlier attempt left no provenance; how its energy was got is unknown".into()],
        attempts: 1,
        ..EmissionsProvenance::default()
    }
}

fn energy_kwh(record: &EmissionsRecord, component: &str) -> Option<f64> {
    match component {
        "cpu" => Some(record.cpu_energy),
        "gpu" => Some(record.gpu_energy),
        "ram" => Some(record.ram_energy),
        _ => None,
    }
}
