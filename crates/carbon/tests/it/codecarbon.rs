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

#[test]
fn what_is_not_ours_is_set_aside_whole() {
    for foreign in [
        &b"one line without an end"[..],
        b"\x89PNG\r\n\x1a\n\0\xff",
        b"timestamp;emissions\n",
        b"loss,step\n1,2",
    ] {
        let (folder, path) = in_folder();
        fs::write(&path, foreign).unwrap();
        let aside = codecarbon::append(&path, &record("r", 1.0)).unwrap();
        assert_eq!(aside, Some(folder.path().join("emissions.csv.bak")));
        assert_eq!(fs::read(folder.path().join("emissions.csv.bak")).unwrap(), foreign);
        assert_eq!(codecarbon::read(&path).unwrap(), [record("r", 1.0)]);
    }
}

#[test]
fn a_header_cut_short_is_written_again() {
    let (folder, path) = in_folder();
    fs::write(&path, &codecarbon::COLUMNS.join(",")[..40]).unwrap();
    assert_eq!(codecarbon::read(&path).unwrap(), []);
    assert_eq!(codecarbon::append(&path, &record("r", 1.0)).unwrap(), None);
    assert_eq!(codecarbon::read(&path).unwrap(), [record("r", 1.0)]);
    assert!(!folder.path().join("emissions.csv.bak").exists());
}

#[test]
fn a_row_cut_short_anywhere_is_passed_over_and_replaced() {
    let (_folder, path) = in_folder();
    let two_lines = EmissionsRecord { cpu_model: "a \"chip\",\nof two lines".into(), ..record("r", 2.0) };
    codecarbon::write(&path, &[record("r", 1.0)]).unwrap();
    let start = fs::metadata(&path).unwrap().len() as usize;
    codecarbon::append(&path, &two_lines).unwrap();
    let whole = fs::read(&path).unwrap();
    // Behind the last comma every column is there.
    for end in start..whole.len() - "0.0\n".len() {
        fs::write(&path, &whole[..end]).unwrap();
        assert_eq!(codecarbon::last(&path).unwrap(), Some(record("r", 1.0)), "cut at {end}");
        codecarbon::append(&path, &record("r", 3.0)).unwrap();
        assert_eq!(codecarbon::read(&path).unwrap(), [record("r", 1.0), record("r", 3.0)], "cut at {end}");
    }
}

#[test]
fn other_locales_and_systems_are_read() {
    let (_folder, path) = in_folder();
    for text in [
        "\u{feff}timestamp;emissions;duration;energy_consumed;cpu_model\r\nnow;0,5;60;1,5e-3;\"a; b, c\"\r\n",
        "timestamp\temissions\tduration\tenergy_consumed\tcpu_model\nnow\t0.5\t60\t0,0015\ta; b, c\n",
        "\u{feff}timestamp,emissions,duration,energy_consumed,cpu_model\r\nnow, 0.5,60,0.0015,\"a; b, c\"",
    ] {
        fs::write(&path, text).unwrap();
        let row = codecarbon::read(&path).unwrap().pop().unwrap();
        assert_eq!((row.emissions, row.duration, row.energy_consumed), (0.5, 60.0, 0.0015), "{text}");
        assert_eq!((row.timestamp.as_str(), row.cpu_model.as_str()), ("now", "a; b, c"), "{text}");
    }
    fs::write(&path, "emissions;duration;energy_consumed\n1.234,5;60;1\n").unwrap();
    let error = codecarbon::read(&path).unwrap_err();
    assert!(error.to_string().contains("1.234,5"), "{error}");
}

/// CodeCarbon 2.3.4 wrote these columns.
const OLD: &str = "timestamp,project_name,run_id,duration,emissions,emissions_rate,cpu_power,gpu_power,ram_power,cpu_energy,\
    gpu_energy,ram_energy,energy_consumed,country_name,country_iso_code,region,cloud_provider,cloud_region,os,python_version,\
    codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,longitude,latitude,ram_total_size,tracking_mode,on_cloud,pue";
const OLD_ROW: &str = "2024-01-02T03:04:05,p,old,60.0,0.5,0.1,1,0,3,0.1,0,0.2,0.3,France,FRA,,,,Linux,3.11,2.3.4,8,chip,,,\
    2.3,48.8,15.6,machine,N,1.0";

#[test]
fn versions_may_follow_each_other_in_one_file() {
    let (_folder, path) = in_folder();
    codecarbon::write(&path, &[record("new", 1.0)]).unwrap();
    let new = fs::read_to_string(&path).unwrap();
    let (_, new_row) = new.split_once('\n').unwrap();
    for text in [
        format!("{OLD}\n{OLD_ROW}\n{new_row}"),
        format!("{OLD}\n{OLD_ROW}\n{new}"),
        format!("{}\n{OLD_ROW}\n{new_row}", codecarbon::COLUMNS.join(",")),
    ] {
        fs::write(&path, text).unwrap();
        let rows = codecarbon::read(&path).unwrap();
        assert_eq!((rows.len(), &rows[1]), (2, &record("new", 1.0)));
        let old = &rows[0];
        assert_eq!((old.run_id.as_str(), old.emissions, old.energy_consumed), ("old", 0.5, 0.3));
        assert_eq!((old.cpu_count, old.gpu_count, old.longitude, old.pue), (8, 0, Some(2.3), 1.0));
        assert_eq!(codecarbon::last(&path).unwrap(), Some(record("new", 1.0)));
    }
}

#[test]
fn absent_figures_are_defaults_only_where_a_row_does_without() {
    let (_folder, path) = in_folder();
    let header = "emissions,duration,energy_consumed,cpu_power,gpu_count,longitude,pue";
    for absent in ["", "nan", "NaN", "None", "inf", "-inf", "<NA>"] {
        fs::write(&path, format!("{header}\n1,2,3,{absent},{absent},{absent},{absent}\n")).unwrap();
        let row = codecarbon::read(&path).unwrap().remove(0);
        assert_eq!((row.cpu_power, row.gpu_count, row.longitude, row.pue), (0.0, 0, None, 1.0));
        fs::write(&path, format!("{header}\n1,2,{absent},4,0,0,1\n")).unwrap();
        let error = codecarbon::last(&path).unwrap_err();
        assert!(matches!(&error, CarbonError::Malformed { line: Some(2), .. }), "{error:?}");
        assert!(error.to_string().contains("energy_consumed"), "{error}");
    }
}

#[test]
fn the_last_row_of_a_long_file_is_found() {
    let (_folder, path) = in_folder();
    codecarbon::write(&path, &vec![record("many", 1.0); 30_000]).unwrap();
    codecarbon::append(&path, &record("last", 2.0)).unwrap();
    assert!(fs::metadata(&path).unwrap().len() > 2 << 20);
    assert_eq!(codecarbon::last(&path).unwrap(), Some(record("last", 2.0)));
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
