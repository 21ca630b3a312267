use std::{fs, path::PathBuf};

use greentune_carbon::{CarbonError, codecarbon};
use greentune_core_config::{Diagnostic, emissions::EmissionsRecord};
use proptest::prelude::*;
use serde_json::{Map, Value};

fn record(run_id: &str, emissions: f64) -> EmissionsRecord {
    EmissionsRecord {
        timestamp: "2026-01-02T03:04:05".into(),
        project_name: "narratives, \"v1\"".into(),
        run_id: run_id.into(),
        duration: 10.5,
        emissions,
        energy_consumed: 2e-7,
        on_cloud: "N".into(),
        pue: 1.0,
        ..EmissionsRecord::default()
    }
}

fn in_folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("emissions.csv");
    (folder, path)
}

#[test]
fn columns_are_the_records_fields() {
    let value = serde_json::to_value(EmissionsRecord::default()).unwrap();
    let names: Vec<&String> = value.as_object().unwrap().keys().collect();
    assert_eq!(names, codecarbon::COLUMNS);
}

#[test]
fn append_writes_the_header_once() {
    let (_folder, path) = in_folder();
    for n in 1..=3 {
        assert_eq!(codecarbon::append(&path, &record("r", f64::from(n))).unwrap(), None);
    }
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().next(), Some(codecarbon::COLUMNS.join(",").as_str()));
    assert_eq!(text.lines().count(), 4);
    assert_eq!(codecarbon::read(&path).unwrap(), [1.0, 2.0, 3.0].map(|kg| record("r", kg)));
}

#[test]
fn a_file_with_other_columns_is_set_aside() {
    let (folder, path) = in_folder();
    for expected in ["emissions.csv.bak", "emissions.csv_0.bak", "emissions.csv_1.bak"] {
        fs::write(&path, "timestamp,emissions\nnow,1\n").unwrap();
        let aside = codecarbon::append(&path, &record("r", 1.0)).unwrap();
        assert_eq!(aside, Some(folder.path().join(expected)));
        assert_eq!(codecarbon::read(&path).unwrap().len(), 1);
    }
    assert_eq!(
        fs::read_to_string(folder.path().join("emissions.csv.bak")).unwrap(),
        "timestamp,emissions\nnow,1\n"
    );
}

#[test]
fn the_order_of_an_existing_file_is_kept() {
    let (_folder, path) = in_folder();
    let mut columns = codecarbon::COLUMNS;
    columns.reverse();
    fs::write(&path, columns.join(",") + "\n").unwrap();
    assert_eq!(codecarbon::append(&path, &record("r", 1.0)).unwrap(), None);
    assert!(fs::read_to_string(&path).unwrap().starts_with("wue,pue,"));
    assert_eq!(codecarbon::read(&path).unwrap(), [record("r", 1.0)]);
}

#[test]
fn a_row_cut_short_by_a_crash_is_passed_over_and_replaced() {
    let (_folder, path) = in_folder();
    codecarbon::write(&path, &[record("r", 1.0), record("r", 2.0)]).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    let torn = &whole[..whole.len() - 60];
    assert!(!torn.ends_with('\n') && torn.lines().count() == 3);
    fs::write(&path, torn).unwrap();
    assert_eq!(codecarbon::read(&path).unwrap(), [record("r", 1.0)]);
    codecarbon::append(&path, &record("r", 3.0)).unwrap();
    assert_eq!(codecarbon::read(&path).unwrap(), [record("r", 1.0), record("r", 3.0)]);
}

#[test]
fn a_last_row_without_a_newline_is_kept() {
    let (_folder, path) = in_folder();
    codecarbon::write(&path, &[record("r", 1.0)]).unwrap();
    fs::write(&path, fs::read_to_string(&path).unwrap().trim_end()).unwrap();
    codecarbon::append(&path, &record("r", 2.0)).unwrap();
    assert_eq!(codecarbon::read(&path).unwrap(), [record("r", 1.0), record("r", 2.0)]);
}

#[test]
fn older_and_newer_files_are_read_by_name() {
    let (_folder, path) = in_folder();
    let text = "future,emissions,duration,energy_consumed,cpu_count,longitude\nx,0.5,60,1e-3,8.0,\ny,0.7,70,2e-3,8.0,2.5\n";
    fs::write(&path, text).unwrap();
    let rows = codecarbon::read(&path).unwrap();
    assert_eq!(rows.iter().map(|row| row.emissions).collect::<Vec<_>>(), [0.5, 0.7]);
    assert_eq!((rows[0].cpu_count, rows[0].longitude, rows[1].longitude), (8, None, Some(2.5)));
    assert_eq!((rows[0].on_cloud.as_str(), rows[0].pue), ("N", 1.0));
    assert_eq!(codecarbon::carbon_intensity_g_per_kwh(&rows[1]), Some(350_000.0));
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let (_folder, path) = in_folder();
    assert_eq!(codecarbon::read(&path).unwrap(), []);
    fs::write(&path, "").unwrap();
    assert_eq!(codecarbon::read(&path).unwrap(), []);

    fs::write(&path, "loss,step\n1,2\n").unwrap();
    let error = codecarbon::read(&path).unwrap_err();
    assert!(error.to_string().contains("duration"), "{error}");

    fs::write(&path, "emissions,duration,energy_consumed\n1,2,3\n1,soon,3\n").unwrap();
    let error = codecarbon::read(&path).unwrap_err();
    assert!(matches!(&error, CarbonError::Malformed { line: Some(3), .. }), "{error:?}");
    let problem = error.problem();
    assert_eq!(problem.code, "carbon.malformed_file");
    assert!(problem.message.contains("\"duration\" is \"soon\""), "{}", problem.message);

    fs::write(&path, "emissions,duration,energy_consumed\n1,2\n").unwrap();
    let error = codecarbon::read(&path).unwrap_err();
    assert!(matches!(&error, CarbonError::Malformed { line: Some(2), .. }), "{error:?}");
}

#[test]
fn a_folder_in_the_way_is_named() {
    let (_folder, path) = in_folder();
    fs::create_dir(&path).unwrap();
    let error = codecarbon::append(&path, &record("r", 1.0)).unwrap_err();
    assert!(error.to_string().contains("emissions.csv"), "{error}");
}

/// A record with any text and any finite numbers.
fn any_record() -> impl Strategy<Value = EmissionsRecord> {
    let number = prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL;
    (prop::collection::vec(number, 38), prop::collection::vec("[ -~\n\r\"é，]{0,12}", 38)).prop_map(
        |(numbers, texts)| {
            let defaults = serde_json::to_value(EmissionsRecord::default()).unwrap();
            let values: Map<String, Value> = defaults
                .as_object()
                .unwrap()
                .iter()
                .zip(numbers.iter().zip(texts))
                .map(|((name, default), (number, text))| {
                    let value = match default {
                        Value::String(_) => text.into(),
                        default if default.is_u64() => (number.to_bits() as u32).into(),
                        _ => (*number).into(),
                    };
                    (name.clone(), value)
                })
                .collect();
            serde_json::from_value(Value::Object(values)).unwrap()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn rows_survive_the_round_trip(records in prop::collection::vec(any_record(), 0..4), last in any_record()) {
        let (_folder, path) = in_folder();
        codecarbon::write(&path, &records).unwrap();
        codecarbon::append(&path, &last).unwrap();
        let mut expected = records;
        expected.push(last);
        prop_assert_eq!(codecarbon::read(&path).unwrap(), expected);
    }
}
