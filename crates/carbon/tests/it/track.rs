//! Other programs, metered.

use std::{fs, path::Path, process::Command, time::Duration};

use greentune_carbon::{
    CarbonError, MeterConfig, codecarbon,
    intensity::{GridSource, Place},
    sidecar,
    track::{TrackConfig, provenance_file, track},
};
use greentune_core_config::{emissions::EmissionsRecord, settings::CarbonSettings};

fn config(run_id: &str) -> MeterConfig {
    let grid = GridSource::yearly(&Place::from(&CarbonSettings::default()));
    MeterConfig::new("tracked", run_id, grid)
}

fn run(run_id: &str, script: &str, csv: &Path) -> i32 {
    let mut command = Command::new("sh");
    let mut pid = None;
    let tracked =
        track(command.args(["-c", script]), TrackConfig::new(config(run_id), csv), |id| pid = Some(id))
            .unwrap();
    assert!(pid.is_some() && tracked.trouble.is_none(), "{:?}", tracked.trouble);
    assert!(tracked.record.energy_consumed > 0.0 && tracked.record.duration > 0.0);
    tracked.status.code().unwrap()
}

#[cfg(unix)]
#[test]
fn each_program_is_one_row_and_keeps_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("emissions.csv");
    assert_eq!(run("first", "sleep 0.2", &csv), 0);
    assert_eq!(run("second", "exit 3", &csv), 3);
    let rows = codecarbon::read(&csv).unwrap();
    assert_eq!(rows.iter().map(|row| row.run_id.as_str()).collect::<Vec<_>>(), ["first", "second"]);
    assert!(rows[0].duration >= 0.2);
    let known = sidecar::read(&provenance_file(&csv, "first")).unwrap().unwrap();
    let [low, high] = known.energy_range_kwh.unwrap();
    assert!(low < rows[0].energy_consumed && rows[0].energy_consumed < high);
}

#[cfg(unix)]
#[test]
fn the_row_of_a_program_that_still_runs_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("emissions.csv");
    let seen = folder.path().join("seen");
    // The program itself looks at its row, twice.
    let script = format!(
        "for n in 1 2; do sleep 1; tail -n 1 {csv} >> {seen}; echo >> {seen}; done",
        csv = csv.display(),
        seen = seen.display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    let write_every = Duration::from_millis(50);
    let config = TrackConfig { write_every, ..TrackConfig::new(config("long"), &csv) };
    let tracked = track(&mut command, config, |_| ()).unwrap();
    assert!(tracked.status.success() && tracked.trouble.is_none(), "{tracked:?}");
    let last = codecarbon::read(&csv).unwrap();
    let header = fs::read_to_string(&csv).unwrap().lines().next().unwrap().to_owned();
    let rows: Vec<EmissionsRecord> = fs::read_to_string(&seen)
        .unwrap()
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let copy = folder.path().join("copy.csv");
            fs::write(&copy, format!("{header}\n{line}\n")).unwrap();
            codecarbon::read(&copy).unwrap().remove(0)
        })
        .collect();
    assert_eq!((rows.len(), last.len()), (2, 1));
    let durations = [rows[0].duration, rows[1].duration, last[0].duration];
    assert!(durations[0] > 0.5 && durations.is_sorted_by(|a, b| a < b), "{durations:?}");
}

#[test]
fn a_program_that_is_not_there_leaves_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("emissions.csv");
    let error = track(&mut Command::new("no-such-program"), TrackConfig::new(config("none"), &csv), |_| ())
        .unwrap_err();
    assert!(matches!(error, CarbonError::Program { .. }) && !csv.exists(), "{error}");
    let nowhere = folder.path().join("nowhere/emissions.csv");
    let error =
        track(&mut Command::new("true"), TrackConfig::new(config("none"), &nowhere), |_| ()).unwrap_err();
    assert!(matches!(error, CarbonError::File { .. }), "{error}");
}

#[test]
fn a_row_is_brought_up_to_date_and_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("emissions.csv");
    for (run_id, energy_consumed) in [("a", 1.0), ("b", 2.0), ("a", 3.0)] {
        let row = EmissionsRecord { run_id: run_id.into(), energy_consumed, ..Default::default() };
        codecarbon::update(&csv, &row).unwrap();
    }
    let rows = codecarbon::read(&csv).unwrap();
    assert_eq!(rows.iter().map(|row| row.run_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!((rows[0].energy_consumed - 3.0).abs() < 1e-12, "{rows:?}");
}
