use std::{fs, path::Path};

use greentune_carbon::{
    aggregate::{AggregateEmissions, aggregate},
    codecarbon,
    equivalence::EquivalenceTable,
    sidecar,
};
use greentune_core_config::{
    Basis,
    emissions::{ComponentProvenance, EmissionsProvenance, EmissionsRecord},
};

fn row(country: &str, timestamp: &str, emissions: f64, hours: f64) -> EmissionsRecord {
    EmissionsRecord {
        timestamp: timestamp.into(),
        duration: hours * 3600.0,
        emissions,
        energy_consumed: emissions * 2.0,
        country_name: country.into(),
        cpu_model: "chip".into(),
        pue: 1.0,
        ..EmissionsRecord::default()
    }
}

fn write(folder: &Path, name: &str, rows: &[EmissionsRecord]) {
    codecarbon::write(&folder.join(name), rows).unwrap();
}

fn all(folder: &Path) -> AggregateEmissions {
    aggregate(folder, &EquivalenceTable::default()).unwrap()
}

#[test]
fn nothing_adds_up_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for folder in [folder.path(), &folder.path().join("missing")] {
        let all = serde_json::to_value(all(folder)).unwrap();
        assert_eq!((&all["total_emissions_kg_co2"], &all["total_runs"]), (&0.0.into(), &0.into()));
        assert_eq!(all["average_per_run_kg"], 0.0);
    }
}

#[test]
fn stages_are_one_run_and_the_last_row_counts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let first = row("France", "2026-01-30T10:00:00", 0.1, 0.5);
    write(folder, "a_stage1_emissions.csv", &[first, row("France", "2026-01-31T23:00:00", 0.3, 1.0)]);
    write(folder, "a_stage2_emissions.csv", &[row("Norway", "2026-02-01T01:00:00", 0.2, 2.0)]);
    write(folder, "b_stage1_emissions.csv", &[row("Norway", "2026-02-01T02:00:00", 1.0, 3.0)]);
    write(folder, "codecarbons_emissions.csv", &[row("Norway", "yesterday", 0.5, 1.0)]);
    write(folder, "begun_stage1_emissions.csv", &[]);
    let all = all(folder);
    assert_eq!((all.total_runs, all.total_files), (3, 4));
    assert!((all.total_emissions_kg_co2 - 2.0).abs() < 1e-12);
    assert!((all.total_duration_hours - 7.0).abs() < 1e-12);
    assert!((all.average_per_run_kg - 2.0 / 3.0).abs() < 1e-12);
    assert!((all.trees_to_offset_1year - 2.0 / 6.0).abs() < 1e-12);
    let [low, high] = all.total_offset_cost_range_usd;
    assert!((low - 0.002).abs() < 1e-12 && (high - 0.6).abs() < 1e-12);
    let runs: Vec<_> =
        all.top_emitting_runs.iter().map(|run| (run.run_id.as_str(), run.stages.clone())).collect();
    assert_eq!(runs, [("b", vec![1]), ("a", vec![1, 2]), ("codecarbons", vec![])]);
    assert_eq!(all.top_emitting_runs[1].timestamp, "2026-02-01T01:00:00");
    let names = |shares: &[greentune_carbon::aggregate::Share]| -> Vec<(String, usize)> {
        shares.iter().map(|share| (share.name.clone(), share.files)).collect()
    };
    assert_eq!(names(&all.by_country), [("Norway".into(), 3), ("France".into(), 1)]);
    assert_eq!(names(&all.by_machine), [("chip".into(), 4)]);
    assert_eq!(names(&all.by_month), [(String::new(), 1), ("2026-01".into(), 1), ("2026-02".into(), 2)]);
    assert_eq!(names(&all.by_day)[1], ("2026-01-31".into(), 1));
    let json = serde_json::to_value(&all).unwrap();
    for pointer in [
        "/top_emitting_runs/0/file",
        "/top_emitting_runs/0/emissions_kg",
        "/top_emitting_runs/0/duration_hours",
        "/top_emitting_runs/0/timestamp",
        "/total_offset_cost_usd",
        "/trees_to_offset_1year",
    ] {
        assert!(json.pointer(pointer).is_some(), "{pointer} is missing in {json:#}");
    }
}

#[test]
fn a_bad_file_is_named_and_spoils_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "good_stage1_emissions.csv", &[row("France", "now", 0.5, 1.0)]);
    write(folder, "negative_stage1_emissions.csv", &[row("France", "now", -0.5, 1.0)]);
    write(folder, "sidecar_stage1_emissions.csv", &[row("France", "now", 9.0, 1.0)]);
    fs::write(folder.join("sidecar_stage1_provenance.json"), "{").unwrap();
    fs::write(folder.join("foreign_emissions.csv"), "loss,step\n1,2\n").unwrap();
    fs::write(folder.join("nan_emissions.csv"), "emissions,duration,energy_consumed\nnan,1,1\n").unwrap();
    fs::create_dir(folder.join("folder_emissions.csv")).unwrap();
    fs::write(folder.join("other_emissions.csv.bak"), "x").unwrap();
    let all = all(folder);
    assert_eq!((all.total_runs, all.total_emissions_kg_co2), (1, 0.5));
    let skipped: Vec<&str> = all.skipped.iter().map(|skipped| skipped.file.as_str()).collect();
    assert_eq!(
        skipped,
        [
            "folder_emissions.csv",
            "foreign_emissions.csv",
            "nan_emissions.csv",
            "negative_stage1_emissions.csv",
            "sidecar_stage1_emissions.csv"
        ]
    );
    assert!(all.skipped[2].reason.contains("\"nan\""), "{:?}", all.skipped);
}

#[test]
fn bounds_are_of_the_files_that_have_them() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "a_stage1_emissions.csv", &[row("France", "now", 0.5, 1.0)]);
    write(folder, "b_stage1_emissions.csv", &[row("France", "now", 3.0, 1.0)]);
    assert_eq!(all(folder).energy_with_provenance, None);
    let cpu = ComponentProvenance {
        component: "cpu".into(),
        basis: Basis::Modelled,
        energy_kwh: 1.0,
        uncertainty: 0.5,
        ..ComponentProvenance::default()
    };
    let provenance = EmissionsProvenance {
        format_version: 1,
        components: vec![cpu],
        carbon_intensity_g_per_kwh: 500.0,
        pue: 1.0,
        attempts: 1,
        ..EmissionsProvenance::default()
    };
    sidecar::write(&folder.join("a_stage1_provenance.json"), &provenance).unwrap();
    let known = all(folder).energy_with_provenance.unwrap();
    assert_eq!((known.energy_kwh, known.range_kwh, known.files), (1.0, [0.5, 1.5], 1));
}

#[test]
fn totals_do_not_hang_on_threads_and_at_most_ten_runs_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    for n in 1..=53 {
        write(
            folder.path(),
            &format!("r{n}_stage1_emissions.csv"),
            &[row("France", "now", f64::from(n), 1.0)],
        );
    }
    let all = all(folder.path());
    assert_eq!((all.total_files, all.total_emissions_kg_co2), (53, 53.0 * 54.0 / 2.0));
    let top: Vec<f64> = all.top_emitting_runs.iter().map(|run| run.emissions_kg).collect();
    assert_eq!(top, (44..=53).rev().map(f64::from).collect::<Vec<_>>());
}
