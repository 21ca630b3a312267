//! Advice that follows from a run's figures. Each function answers with one sentence or none.

use super::StageRow;
use crate::intensity;

/// Below this many kg nothing that could be saved is worth a sentence (the charge of eight smartphones).
const WORTH_SAVING_KG: f64 = 0.1;
/// A GPU that is busy for less of the time than this waits for something.
const BUSY_GPU_PERCENT: f64 = 50.0;

pub(super) fn of(rows: &[StageRow]) -> Vec<String> {
    let mut advice = Vec::new();
    let kg: f64 = rows.iter().map(|row| row.record.emissions).sum();
    if kg >= WORTH_SAVING_KG {
        advice.extend(cleaner_region(rows, kg));
        advice.extend(rows.iter().filter_map(idle_gpu));
        advice.extend(overhead(rows, kg));
    }
    advice.extend(readable_counter(rows));
    advice
}

/// What the same energy would have emitted in the cleanest region of the same country.
fn cleaner_region(rows: &[StageRow], kg: f64) -> Option<String> {
    let energy_kwh: f64 = rows.iter().map(|row| row.record.energy_consumed).sum();
    let country = &rows.first()?.record.country_iso_code;
    let cleanest = intensity::cleanest_region(country)?;
    let there_kg = energy_kwh * cleanest.g_per_kwh / 1000.0;
    if rows.iter().any(|row| row.record.country_iso_code != *country) || there_kg > kg / 2.0 {
        return None;
    }
    Some(format!(
        "The same {energy_kwh:.2} kWh would have emitted {there_kg:.2} kg instead of {kg:.2} kg in {} \
         ({:.0} g/kWh, {}).",
        cleanest.name(),
        cleanest.g_per_kwh,
        cleanest.year
    ))
}

fn idle_gpu(row: &StageRow) -> Option<String> {
    let record = &row.record;
    let share = record.gpu_energy / record.energy_consumed;
    let busy = record.gpu_utilization_percent;
    (share > 0.5 && busy < BUSY_GPU_PERCENT).then(|| {
        format!(
            "In stage {} the GPU took {:.0} % of the energy but was busy {busy:.0} % of the time; a larger batch_size \
             would use the same watts for more records.",
            row.stage,
            share * 100.0
        )
    })
}

/// What the data centre adds.
fn overhead(rows: &[StageRow], kg: f64) -> Option<String> {
    let added: f64 =
        rows.iter().map(|row| row.record.emissions * (1.0 - 1.0 / row.record.pue.max(1.0))).sum();
    (added > kg / 6.0).then(|| {
        format!("{added:.2} kg of the {kg:.2} kg are the data centre's overhead (PUE); a site with a lower PUE saves them.")
    })
}

/// A counter that exists and may not be read: the figures could be measured instead of modelled.
fn readable_counter(rows: &[StageRow]) -> Option<String> {
    let denied =
        |note: &String| note.starts_with("RAPL") && note.to_lowercase().contains("permission denied");
    let denied =
        rows.iter().filter_map(|row| row.provenance.as_ref()).any(|known| known.notes.iter().any(denied));
    denied.then(|| {
        "The processor's energy is modelled, not measured, because its RAPL counter may be read by root alone; \
         `sudo chmod -R a+r /sys/class/powercap/intel-rapl` makes it readable until the next boot (to every user, which \
         is what CVE-2020-8694 warns of)."
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use greentune_core_config::emissions::{EmissionsProvenance, EmissionsRecord};

    use super::*;

    fn row(record: EmissionsRecord, notes: &[&str]) -> StageRow {
        let provenance = EmissionsProvenance {
            format_version: 1,
            meter: String::new(),
            components: vec![],
            carbon_intensity_g_per_kwh: 0.0,
            carbon_intensity_source: String::new(),
            pue: record.pue,
            notes: notes.iter().map(ToString::to_string).collect(),
            attempts: 1,
            ..EmissionsProvenance::default()
        };
        StageRow { stage: 1, file: PathBuf::new(), record, provenance: Some(provenance) }
    }

    fn ten_kwh(country: &str) -> EmissionsRecord {
        EmissionsRecord {
            country_iso_code: country.into(),
            energy_consumed: 10.0,
            emissions: 3.69,
            pue: 1.0,
            ..EmissionsRecord::default()
        }
    }

    #[test]
    fn a_small_clean_run_gets_no_advice() {
        let record = EmissionsRecord { emissions: 1e-6, energy_consumed: 1e-5, ..ten_kwh("USA") };
        assert_eq!(of(&[row(record, &[])]), Vec::<String>::new());
        assert_eq!(of(&[row(ten_kwh("FRA"), &[])]), Vec::<String>::new());
    }

    #[test]
    fn a_cleaner_region_is_named_with_its_figure() {
        let advice = of(&[row(ten_kwh("USA"), &[])]);
        assert_eq!(
            advice,
            ["The same 10.00 kWh would have emitted 0.24 kg instead of 3.69 kg in United States (vermont) \
              (24 g/kWh, 2023)."]
        );
    }

    #[test]
    fn idle_gpus_overhead_and_denied_counters_are_told() {
        let record =
            EmissionsRecord { gpu_energy: 9.0, gpu_utilization_percent: 20.0, pue: 1.5, ..ten_kwh("FRA") };
        let denied = "RAPL: /sys/class/powercap/intel-rapl:0/energy_uj: Permission denied (os error 13)";
        let advice = of(&[row(record, &[denied])]);
        assert_eq!(advice.len(), 3, "{advice:#?}");
        assert!(advice[0].contains("90 %") && advice[0].contains("20 %"), "{}", advice[0]);
        assert!(advice[1].starts_with("1.23 kg of the 3.69 kg"), "{}", advice[1]);
        assert!(advice[2].contains("RAPL"));
        let busy = EmissionsRecord { gpu_energy: 9.0, gpu_utilization_percent: 95.0, ..ten_kwh("FRA") };
        assert_eq!(of(&[row(busy, &["RAPL: no package domain"])]), Vec::<String>::new());
    }
}
