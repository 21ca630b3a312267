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

#[test]
fn a_row_takes_the_place_of_all_rows_of_its_run_and_others_stay_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("emissions.csv");
    let of = |run_id: &str, energy_consumed| EmissionsRecord {
        run_id: run_id.into(),
        project_name: "two\nlines, \"quoted\"".into(),
        energy_consumed,
        ..EmissionsRecord::default()
    };
    // An older stage file: several cumulative rows.
    codecarbon::write(&csv, &[of("a", 1.0), of("b", 2.0), of("a", 3.0)]).unwrap();
    let odd = format!("now,{}", "odd,".repeat(36));
    let before = fs::read_to_string(&csv).unwrap() + &odd + "x\n" + "a row that a crash";
    fs::write(&csv, before).unwrap();
    codecarbon::update(&csv, &of("a", 4.0)).unwrap();
    let text = fs::read_to_string(&csv).unwrap();
    assert!(text.contains(&odd) && !text.contains("a crash"), "{text}");
    let rows = codecarbon::runs(&csv).unwrap();
    let known: Vec<_> = rows.rows.iter().map(|row| (row.run_id.as_str(), row.energy_consumed)).collect();
    assert_eq!(known, [("a", 4.0), ("b", 2.0)]);
    assert_eq!(rows.refused.len(), 1, "the odd row is named");
}

/// What a tracker leaves when it is killed at once.
#[cfg(unix)]
#[test]
fn the_first_row_is_there_before_the_first_interval_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("emissions.csv");
    let seen = folder.path().join("seen");
    let script = format!("sleep 0.7; cp {} {}", csv.display(), seen.display());
    assert_eq!(run("early", &script, &csv), 0);
    assert_eq!(codecarbon::read(&seen).unwrap().len(), 1, "after 0.7 s, where rows are 15 s apart");
}

/// A limit on the size of files stops a write as a full disk does; the disk is full from the start here.
#[cfg(target_os = "linux")]
#[test]
fn a_row_that_cannot_be_written_is_said_and_leaves_no_empty_file() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("emissions.csv");
    // A folder that takes no new files: the CSV can be opened, and never be replaced.
    fs::write(&csv, "").unwrap();
    fs::create_dir(folder.path().join(".emissions.lock")).unwrap();
    let mut command = Command::new("true");
    let tracked = track(&mut command, TrackConfig::new(config("none"), &csv), |_| ()).unwrap();
    assert!(tracked.status.success());
    assert!(tracked.trouble.is_some_and(|trouble| matches!(trouble, CarbonError::File { .. })));
}
