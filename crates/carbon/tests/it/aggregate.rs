use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use greentune_carbon::{
    aggregate::{AggregateEmissions, aggregate, aggregate_paths},
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

/// A row of a whole machine.
fn of_machine(run_id: &str, timestamp: &str, kwh: f64, hours: f64) -> EmissionsRecord {
    EmissionsRecord {
        run_id: run_id.into(),
        tracking_mode: "machine".into(),
        energy_consumed: kwh,
        cpu_count: 8,
        ram_total_size: 16.0,
        ..row("France", timestamp, kwh / 10.0, hours)
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

/// What files said is kept; a change of a file or of its sidecar shows all the same.
#[test]
fn a_file_that_has_changed_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (name, csv) = ("a_stage1_emissions.csv", folder.join("a_stage1_emissions.csv"));
    let dated = |name: &str, seconds: u64| {
        let time = SystemTime::now() - Duration::from_secs(seconds);
        fs::File::options().write(true).open(folder.join(name)).unwrap().set_modified(time).unwrap();
    };
    let total = || all(folder).total_emissions_kg_co2;
    write(folder, name, &[row("France", "2026-01-30T10:00:00", 0.1, 0.5)]);
    dated(name, 100);
    assert!((total() - 0.1).abs() < 1e-12 && (total() - 0.1).abs() < 1e-12);
    // As long as before.
    let text = fs::read_to_string(&csv).unwrap();
    fs::write(&csv, text.replace("2026-01-30T10:00:00", "2026-01-30T11:00:00").replacen("0.1", "0.7", 1))
        .unwrap();
    dated(name, 50);
    assert!((total() - 0.7).abs() < 1e-12);
    // Changed within a tick of the file system's clock: nothing tells, so what is so new is not kept.
    let soon = SystemTime::now() + Duration::from_secs(1);
    let at_once = |emissions: &str| {
        fs::write(&csv, text.replacen("0.1", emissions, 1)).unwrap();
        fs::File::options().write(true).open(&csv).unwrap().set_modified(soon).unwrap();
        total()
    };
    assert!((at_once("0.3") - 0.3).abs() < 1e-12 && (at_once("0.4") - 0.4).abs() < 1e-12);
    dated(name, 50);
    assert!(all(folder).energy_with_provenance.is_none());
    let range = Some([0.1, 1.0]);
    let provenance = EmissionsProvenance {
        format_version: 2,
        attempts: 1,
        energy_range_kwh: range,
        ..EmissionsProvenance::default()
    };
    sidecar::write(&folder.join("a_stage1_provenance.json"), &provenance).unwrap();
    assert!(all(folder).energy_with_provenance.is_some());
    dated("a_stage1_provenance.json", 50);
    assert!(all(folder).energy_with_provenance.is_some() && all(folder).energy_with_provenance.is_some());
    fs::remove_file(folder.join("a_stage1_provenance.json")).unwrap();
    assert!(all(folder).energy_with_provenance.is_none());
    fs::remove_file(&csv).unwrap();
    assert_eq!(all(folder).total_runs, 0);
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

/// CodeCarbon's own file of several runs, one of them with two cumulative rows.
const MANY_RUNS: &str = "duration,emissions,energy_consumed,run_id,timestamp,tracking_mode,cpu_model
3600,0.1,1.0,run-a,2026-09-01T10:00:00,machine,CPU X
1800,0.05,0.5,run-b,2026-09-02T10:00:00,machine,CPU X
3600,0.2,2.0,run-b,2026-09-02T10:30:00,machine,CPU X
360,0.01,0.1,run-c,2026-09-03T10:00:00,machine,CPU X
";

#[test]
fn every_run_of_a_file_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("train_emissions.csv"), MANY_RUNS).unwrap();
    let all = all(folder.path());
    assert_eq!((all.total_runs, all.total_files), (3, 1));
    assert!((all.total_emissions_kg_co2 - 0.31).abs() < 1e-12, "{all:?}");
    assert!((all.total_energy_kwh - 3.1).abs() < 1e-12 && (all.total_duration_hours - 2.1).abs() < 1e-12);
    let ids: Vec<&str> = all.top_emitting_runs.iter().map(|run| run.run_id.as_str()).collect();
    assert_eq!(ids, ["run-b", "run-a", "run-c"]);
    assert!(all.shared_machines.is_empty() && all.skipped.is_empty());
}

#[test]
fn a_run_that_was_metered_anew_under_its_id_counts_both_times() {
    let folder = tempfile::tempdir().unwrap();
    let rows = [
        of_machine("a", "2026-09-01T10:00:00", 1.0, 1.0),
        of_machine("a", "2026-09-02T10:00:00", 0.5, 0.5),
        of_machine("a", "2026-09-02T10:30:00", 0.9, 1.0),
    ];
    write(folder.path(), "a_emissions.csv", &rows);
    let all = all(folder.path());
    assert!((all.total_energy_kwh - 1.9).abs() < 1e-12 && all.total_runs == 1, "{all:?}");
}

#[test]
fn four_ranks_of_one_machine_are_one_machine() {
    let folder = tempfile::tempdir().unwrap();
    let ranks: Vec<_> =
        (0..4).map(|rank| of_machine(&format!("rank{rank}"), "2026-09-01T10:00:00", 3.0, 1.0)).collect();
    write(folder.path(), "train_emissions.csv", &ranks);
    let all = all(folder.path());
    assert!((all.total_energy_kwh - 3.0).abs() < 1e-9, "a machine that drew 3 kWh: {all:?}");
    assert!((all.total_emissions_kg_co2 - 0.3).abs() < 1e-9 && (all.total_duration_hours - 1.0).abs() < 1e-9);
    let [shared] = &all.shared_machines[..] else { panic!("{all:?}") };
    assert_eq!((shared.runs.len(), shared.recorded_energy_kwh), (4, 12.0));
    assert!((shared.energy_kwh - 3.0).abs() < 1e-9 && shared.message.contains("12.0 kWh"), "{shared:?}");
    assert!((all.top_emitting_runs[0].energy_kwh - 0.75).abs() < 1e-9);
}

#[test]
fn runs_that_overlap_share_the_machine_while_they_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // 9 to 11 and 10 to 12 o'clock, 1 kW each: three hours of one machine.
    write(folder, "a_stage1_emissions.csv", &[of_machine("a", "2026-09-01T11:00:00", 2.0, 2.0)]);
    write(folder, "b_stage1_emissions.csv", &[of_machine("b", "2026-09-01T12:00:00", 2.0, 2.0)]);
    // One after the other, to the second, is no overlap; nor is another machine, or a process's own share.
    write(folder, "c_stage1_emissions.csv", &[of_machine("c", "2026-09-01T13:00:00", 1.0, 1.0)]);
    let other =
        EmissionsRecord { cpu_model: "other".into(), ..of_machine("d", "2026-09-01T11:00:00", 1.0, 1.0) };
    write(folder, "d_stage1_emissions.csv", &[other]);
    let process = EmissionsRecord {
        tracking_mode: "process".into(),
        ..of_machine("e", "2026-09-01T11:00:00", 1.0, 1.0)
    };
    write(folder, "e_stage1_emissions.csv", &[process]);
    let all = all(folder);
    assert!((all.total_energy_kwh - 6.0).abs() < 2e-3, "{}", all.total_energy_kwh);
    assert_eq!(all.shared_machines.len(), 1);
    assert_eq!(all.shared_machines[0].runs, ["a", "b"]);
}

#[test]
fn meters_that_take_turns_are_not_shared_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for rank in ["a", "b"] {
        write(folder, &format!("{rank}_emissions.csv"), &[of_machine(rank, "2026-09-01T11:00:00", 1.5, 1.0)]);
        let provenance = EmissionsProvenance {
            format_version: 2,
            takes_turns: true,
            attempts: 1,
            energy_range_kwh: Some([1.0, 2.0]),
            ..EmissionsProvenance::default()
        };
        sidecar::write(&folder.join(format!("{rank}_provenance.json")), &provenance).unwrap();
    }
    let all = all(folder);
    assert!((all.total_energy_kwh - 3.0).abs() < 1e-12 && all.shared_machines.is_empty(), "{all:?}");
}

#[test]
fn a_resumed_run_is_placed_by_its_last_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // An hour yesterday and an hour from 11 o'clock; another run was metered from 10 to 11.
    write(folder, "a_stage1_emissions.csv", &[of_machine("a", "2026-09-02T12:00:00", 2.0, 2.0)]);
    let provenance = EmissionsProvenance {
        format_version: 2,
        attempts: 2,
        attempt_seconds: Some(3600.0),
        energy_range_kwh: Some([1.0, 3.0]),
        ..EmissionsProvenance::default()
    };
    sidecar::write(&folder.join("a_stage1_provenance.json"), &provenance).unwrap();
    write(folder, "b_stage1_emissions.csv", &[of_machine("b", "2026-09-02T11:00:00", 1.0, 1.0)]);
    let all = all(folder);
    assert!((all.total_energy_kwh - 3.0).abs() < 1e-12 && all.shared_machines.is_empty(), "{all:?}");
}

#[test]
fn rows_of_every_version_count_and_what_is_below_0_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train_emissions.csv");
    let old: Vec<&str> = codecarbon::COLUMNS
        .into_iter()
        .filter(|column| !["experiment_id", "water_consumed", "wue", "ram_used_gb"].contains(column))
        .filter(|column| !column.ends_with("utilization_percent"))
        .collect();
    assert_eq!(old.len(), 31);
    let row = |columns: &[&str], run: &str, kwh: f64| -> String {
        let cell = |column: &&str| match *column {
            "run_id" => run.to_owned(),
            "duration" => String::from("3600"),
            "emissions" | "energy_consumed" => kwh.to_string(),
            _ => String::new(),
        };
        columns.iter().map(cell).collect::<Vec<_>>().join(",")
    };
    let since_2_5: Vec<&str> = codecarbon::COLUMNS
        .into_iter()
        .filter(|column| old.contains(column) || *column == "experiment_id")
        .collect();
    let since_3_1: Vec<&str> = codecarbon::COLUMNS
        .into_iter()
        .filter(|column| since_2_5.contains(column) || ["water_consumed", "wue"].contains(column))
        .collect();
    assert_eq!((since_2_5.len(), since_3_1.len()), (32, 34));
    let text = [
        old.join(","),
        row(&old, "first", 1.0),
        row(&since_2_5, "second", 2.0),
        row(&since_3_1, "third", 4.0),
        row(&codecarbon::COLUMNS, "fourth", 8.0),
        row(&codecarbon::COLUMNS, "wrong", -16.0),
    ];
    fs::write(&path, text.join("\n") + "\n").unwrap();
    let all = all(folder.path());
    assert!((all.total_energy_kwh - 15.0).abs() < 1e-12 && all.total_runs == 4, "{all:?}");
    let [skipped] = &all.skipped[..] else { panic!("{all:?}") };
    assert!(skipped.reason.contains("\"wrong\"") && skipped.reason.contains("-16"), "{skipped:?}");
}

#[test]
fn files_and_folders_may_be_named_and_a_file_that_was_set_aside_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("any name.csv"), MANY_RUNS).unwrap();
    let factors = EquivalenceTable::default();
    let named = folder.join("any name.csv");
    let twice = aggregate_paths(&[named.clone(), named], &factors).unwrap();
    assert!((twice.total_energy_kwh - 3.1).abs() < 1e-12, "the same file counts once");
    let inner = folder.join("inner");
    // What CodeCarbon does with a file of another version: run-b went on in the new file.
    write(&inner, "emissions.csv", &[of_machine("run-b", "2026-09-02T11:00:00", 2.5, 1.5)]);
    fs::write(inner.join("emissions.csv.bak"), MANY_RUNS).unwrap();
    let all = aggregate_paths(&[inner], &factors).unwrap();
    assert!((all.total_energy_kwh - 3.6).abs() < 1e-12, "{all:?}");
    assert!(all.notes[0].contains("2 runs of emissions.csv.bak"), "{:?}", all.notes);
    assert!(aggregate_paths(&[folder.join("missing.csv")], &factors).is_err());
}

#[test]
fn nothing_is_no_negative_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let all = serde_json::to_string(&all(folder.path())).unwrap();
    assert!(!all.contains("-0.0"), "{all}");
}
