//! What training cost, how that is known, and what is not.

use std::collections::BTreeSet;

use greentune_core_config::{
    Basis,
    emissions::EmissionsRecord,
    memory::bytes_in_words,
    quantities::{Unit, duration, energy, energy_unit, mass, mass_unit, number, percent, percent_to, range},
    selection::SelectionSoFar,
};
use serde::Serialize;

use super::{
    Subject,
    figures::{accuracy, training_seconds},
    row::{Row, row},
};
use crate::run_energy::Total;

/// Bytes in the unit of CodeCarbon's `ram_total_size`.
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// What a stage cost.
#[derive(Debug, Serialize)]
pub(super) struct StageCost {
    stage: u8,
    time: String,
    energy: String,
    emissions: String,
    basis: Basis,
}

/// How the energy of one component in one stage was got.
#[derive(Debug, Serialize)]
pub(super) struct ComponentLine {
    stage: u8,
    component: String,
    energy: String,
    interval: String,
    basis: Basis,
    method: String,
    source: String,
}

/// The total in a sentence; `None` when nothing was metered.
pub(super) fn energy_sentence(subject: &Subject) -> Option<String> {
    let Total { kwh, kg, seconds, basis, .. } = subject.energy.total()?;
    let made = if subject.is_classifier() { "data or hardware" } else { "the base model" };
    Some(format!(
        "{} CO2-equivalent from {} over {}{}; energy {basis}. Training with its evaluation is counted, not the making of {made}.",
        mass(kg),
        energy(kwh),
        duration(seconds),
        unmetered(subject).map(|stages| format!(", without {stages}, not metered")).unwrap_or_default(),
    ))
}

fn unmetered(subject: &Subject) -> Option<String> {
    let stages: Vec<_> = subject.energy.unmetered.iter().map(|stage| format!("stage {stage}")).collect();
    (!stages.is_empty()).then(|| stages.join(" and "))
}

pub(super) fn sustainability(subject: &Subject) -> Vec<Row> {
    let total = subject.energy.total();
    let baseline = subject.comparison.map(|comparison| &comparison.baseline);
    let beside =
        |figure: Option<String>| figure.map_or(String::new(), |figure| format!(" (baseline: {figure})"));
    // Time and energy stand in one table, so both are of the same work.
    let metered = total.as_ref().filter(|_| subject.energy.unmetered.is_empty()).map(|total| total.seconds);
    let (label, seconds, theirs) = match metered {
        Some(seconds) => {
            ("time, with evaluation", Some(seconds), baseline.and_then(|known| known.metered_seconds))
        }
        None => (
            "training time",
            training_seconds(&subject.trained),
            baseline.and_then(|known| known.duration_seconds),
        ),
    };
    let time = seconds.map(|seconds| format!("{}{}", duration(seconds), beside(theirs.map(duration))));
    // Without a baseline it stands among the results.
    let right = baseline.and_then(|baseline| {
        let (own, _) = accuracy(subject.stage)?;
        let theirs = baseline.accuracy?;
        let points = 100.0 * (own - theirs);
        Some(format!("{} (baseline: {}, {points:+.2} points)", percent_to(own, 2), percent_to(theirs, 2)))
    });
    let spared = subject.stage.selection.as_ref().and_then(SelectionSoFar::compute_savings);
    let arithmetic = spared.map(|spared| {
        format!("{} of the sparse phase's (compute: from counted samples, not from energy)", percent(spared))
    });
    let with_range = |figure: String, range: Option<String>| match range {
        Some(range) => format!("{figure} (interval {range})"),
        None => figure,
    };
    let provenances: Vec<_> =
        subject.energy.stages.iter().filter_map(|stage| stage.provenance.as_ref()).collect();
    let intensities: BTreeSet<_> = provenances
        .iter()
        .filter(|known| known.carbon_intensity_g_per_kwh > 0.0)
        .map(|known| format!("{} g/kWh", number(known.carbon_intensity_g_per_kwh)))
        .collect();
    let sources: BTreeSet<_> =
        provenances.iter().map(|known| known.carbon_intensity_source.clone()).collect();
    let pue: BTreeSet<_> =
        provenances.iter().filter(|known| known.pue > 0.0).map(|known| known.pue.to_string()).collect();
    let calibrations: BTreeSet<_> =
        provenances.iter().filter_map(|known| Some(known.calibration.as_ref()?.name.clone())).collect();
    let every = subject.manifest().settings.carbon.measure_interval_seconds;
    let meters: BTreeSet<_> =
        provenances.iter().map(|known| format!("{}, sampled every {every} s", known.meter)).collect();
    let joined = |words: BTreeSet<String>| Some(words.into_iter().collect::<Vec<_>>().join("; "));
    let mut rows = vec![
        row("energy savings", saving(subject)),
        avoided(subject, total.as_ref()),
        row(label, time),
        row("accuracy", right),
        row("arithmetic spared", arithmetic),
    ];
    if let Some(total) = total {
        rows.extend([
            row("energy", Some(with_range(energy(total.kwh), total.range_kwh.map(|kwh| range(kwh, energy))))),
            row(
                "emissions",
                Some(with_range(
                    format!("{} CO2-equivalent", mass(total.kg)),
                    total.range_kg.map(|kg| range(kg, mass)),
                )),
            ),
            row("carbon intensity", joined(intensities)),
            row("source of the intensity", joined(sources)),
            row("data-centre overhead (PUE)", joined(pue)),
            row("metered by", joined(meters)),
            row("calibrated by", joined(calibrations)),
        ]);
    }
    rows.into_iter().flatten().collect()
}

fn saving(subject: &Subject) -> Option<String> {
    let saving = subject.comparison?.saving.as_ref().filter(|saving| saving.basis != Basis::Compute)?;
    let interval =
        saving.range.map_or(String::new(), |bounds| format!(", interval {}", range(bounds, percent)));
    Some(format!("{} ({}{interval})", percent(saving.fraction), saving.basis.as_str()))
}

/// Emissions of the baseline less those of the run, where its energy was compared.
fn avoided(subject: &Subject, total: Option<&Total>) -> Option<Row> {
    let comparison = subject.comparison?;
    let saving = comparison.saving.as_ref().filter(|saving| saving.basis != Basis::Compute)?;
    let kg = comparison.baseline.emissions_kg? - total?.kg;
    let label = if kg >= 0.0 { "CO2 avoided" } else { "CO2 added" };
    row(label, Some(format!("{} ({})", mass(kg.abs()), saving.basis.as_str())))
}

pub(super) fn stage_costs(subject: &Subject) -> Vec<StageCost> {
    let (kwh, kg) = units(subject);
    let stages = subject.energy.stages.iter();
    stages
        .map(|stage| StageCost {
            stage: stage.stage,
            time: duration(stage.seconds),
            energy: kwh.text(stage.kwh),
            emissions: kg.text(stage.kg),
            basis: stage.basis,
        })
        .collect()
}

/// The units of all energies and masses of a card's tables.
fn units(subject: &Subject) -> (Unit, Unit) {
    let total = subject.energy.total();
    total.map_or((energy_unit(0.0), mass_unit(0.0)), |total| (energy_unit(total.kwh), mass_unit(total.kg)))
}

pub(super) fn components(subject: &Subject) -> Vec<ComponentLine> {
    let (kwh, _) = units(subject);
    let mut rows = Vec::new();
    for stage in &subject.energy.stages {
        for component in stage.provenance.iter().flat_map(|known| &known.components) {
            rows.push(ComponentLine {
                stage: stage.stage,
                component: component.component.clone(),
                energy: kwh.text(component.energy_kwh),
                interval: range(component.interval_kwh(), |bound| kwh.text(bound)),
                basis: component.basis,
                method: component.method.clone(),
                source: component.source.clone(),
            });
        }
    }
    rows
}

/// The machine, as its meter saw it.
pub(super) fn hardware(subject: &Subject) -> Vec<Row> {
    let Some(last) = subject.energy.stages.iter().rev().find_map(|stage| stage.record.as_ref()) else {
        return Vec::new();
    };
    let EmissionsRecord {
        cpu_model, cpu_count, gpu_model, gpu_count, ram_total_size, os, tracking_mode, ..
    } = last;
    let peak = subject.trained.iter().filter_map(|stage| stage.peak_memory_bytes).max();
    let rows = [
        row("processor", (!cpu_model.is_empty()).then(|| format!("{cpu_model}, {cpu_count} threads"))),
        row("GPU", (*gpu_count > 0).then(|| format!("{gpu_count} × {gpu_model}"))),
        row("memory", (*ram_total_size > 0.0).then(|| bytes_in_words((*ram_total_size * GIB) as u64))),
        row("largest memory of training", peak.map(bytes_in_words)),
        row("system", Some(os.as_str())),
        row("metered", Some(tracking_mode.as_str())),
    ];
    rows.into_iter().flatten().collect()
}

/// What was not measured, or not by this run.
pub(super) fn limits(subject: &Subject) -> Vec<String> {
    let mut limits = Vec::new();
    let manifest = subject.manifest();
    if let Some(report) = subject.stage.classification.as_ref().filter(|report| report.dataset_role != "test")
    {
        limits.push(format!(
            "The figures are of {} images, on which training was followed; no test images were evaluated.",
            report.dataset_role
        ));
    }
    if let Some(skipped) =
        subject.stage.classification.as_ref().map(|report| report.skipped).filter(|n| *n > 0)
    {
        limits.push(format!("{skipped} images could not be decoded and are in no figure."));
    }
    if !subject.is_classifier()
        && subject.stage.evaluations.iter().all(|report| report.dataset_role != "test")
    {
        limits.push(String::from("No test records were evaluated when the stage ended."));
    }
    let untrained = manifest
        .stages
        .iter()
        .filter(|record| !subject.trained.iter().any(|known| known.stage == record.stage));
    let untrained: Vec<_> = untrained.map(|record| format!("stage {}", record.stage)).collect();
    if !untrained.is_empty() {
        limits.push(format!("These weights are without {}.", untrained.join(" and ")));
    }
    limits.extend(subject.run.damage.iter().map(|damage| format!("The run's record is damaged: {damage}.")));
    limits.extend(comparison(subject));
    limits.extend(metering(subject));
    limits
}

fn comparison(subject: &Subject) -> Vec<String> {
    let Some(comparison) = subject.comparison else {
        return subject
            .is_classifier()
            .then(|| {
                String::from(
                    "No baseline run was named: what training otherwise would have used is not known.",
                )
            })
            .into_iter()
            .collect();
    };
    let id = &comparison.baseline.run_id;
    let mut limits = Vec::new();
    if !comparison.differences.is_empty() {
        let what = comparison.differences.join(" and ");
        limits.push(format!("No saving is stated against {id}: {what} differ."));
    } else if comparison.saving.is_none() {
        limits.push(format!("No saving is stated against {id}: not all of both trainings was metered."));
    }
    limits.extend(comparison.caveats.iter().map(|caveat| format!("Against {id}: {caveat}.")));
    limits
}

fn metering(subject: &Subject) -> Vec<String> {
    if subject.energy.stages.is_empty() {
        return vec![String::from("Training was not metered: its energy and emissions are not known.")];
    }
    let mut limits: Vec<String> = unmetered(subject)
        .map(|stages| format!("Totals are without {stages}, which was not metered."))
        .into_iter()
        .collect();
    let provenances: Vec<_> =
        subject.energy.stages.iter().filter_map(|stage| stage.provenance.as_ref()).collect();
    if provenances.len() < subject.energy.stages.len() {
        limits.push(String::from(
            "How energy was metered was not recorded for every stage, so it has no interval.",
        ));
    }
    let modelled: BTreeSet<_> = provenances
        .iter()
        .flat_map(|known| &known.components)
        .filter(|component| component.basis == Basis::Modelled)
        .map(|component| component.component.as_str())
        .collect();
    if !modelled.is_empty() {
        let modelled = modelled.into_iter().collect::<Vec<_>>().join(", ");
        limits.push(format!(
            "Energy of {modelled} was computed from time and rated power, not read from a counter."
        ));
    }
    if provenances.iter().all(|known| known.calibration.is_none()) {
        limits.push(String::from(
            "Power supply, fans, disks and board are seen by no counter and by none of these models.",
        ));
    }
    let shared = subject.energy.shared.iter().chain(&subject.energy.counted_once);
    limits.extend(shared.map(|shared| format!("{shared}.")));
    let notes: BTreeSet<_> = provenances.iter().flat_map(|known| &known.notes).collect();
    limits.extend(notes.into_iter().map(|note| format!("Meter: {note}")));
    limits
}
