use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use greentune_carbon::{CarbonError, Carried, Host, Meter, MeterConfig, codecarbon, sidecar};
use greentune_core_config::{
    Diagnostic,
    emissions::{EmissionsProvenance, EnergyBasis},
    settings::TrackingMode,
};
use tempfile::TempDir;

/// Longer than any test, so that only the test takes samples.
const NEVER: Duration = Duration::from_mins(1);

fn config(interval: Duration) -> MeterConfig {
    MeterConfig {
        project_name: "narratives".into(),
        run_id: "v1-20260102-030405".into(),
        experiment_id: "e1".into(),
        country_iso_code: "usa".into(),
        region: Some("California".into()),
        pue: 1.0,
        interval,
        tracking_mode: TrackingMode::Machine,
        carried: None,
    }
}

/// A machine with one RAPL package at `energy_uj`, and no memory to be modelled.
fn machine_with_rapl(energy_uj: u64) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let package = root.path().join("sys/class/powercap/intel-rapl:0");
    fs::create_dir_all(&package).unwrap();
    fs::write(package.join("name"), "package-0\n").unwrap();
    fs::write(package.join("max_energy_range_uj"), "262143328850\n").unwrap();
    fs::create_dir_all(root.path().join("proc/self")).unwrap();
    let cpu =
        "processor\t: 0\nmodel name\t: Imaginary 9000\n\nprocessor\t: 1\nmodel name\t: Imaginary 9000\n";
    fs::write(root.path().join("proc/cpuinfo"), cpu).unwrap();
    set_energy(root.path(), energy_uj);
    root
}

fn set_energy(root: &Path, energy_uj: u64) {
    fs::write(root.join("sys/class/powercap/intel-rapl:0/energy_uj"), format!("{energy_uj}\n")).unwrap();
}

fn host(root: &TempDir) -> Host {
    Host { root: root.path().to_path_buf(), nvml: false }
}

fn component<'a>(
    provenance: &'a EmissionsProvenance,
    name: &str,
) -> Option<&'a greentune_core_config::emissions::ComponentProvenance> {
    provenance.components.iter().find(|component| component.component == name)
}

#[test]
fn rapl_is_measured() {
    let root = machine_with_rapl(1_000_000);
    let meter = Meter::start_on(config(NEVER), &host(&root)).unwrap();
    set_energy(root.path(), 3_601_000_000);
    let snapshot = meter.so_far();
    assert_eq!(snapshot.basis, "measured");
    assert!(snapshot.power_w > 0.0);
    let event = snapshot.so_far(2);
    assert_eq!((event.stage, event.energy_kwh), (2, snapshot.record.energy_consumed));

    let (record, provenance) = meter.finish();
    assert!((record.cpu_energy - 0.001).abs() < 1e-12, "{record:?}");
    assert!((record.emissions - 0.001 * 0.179_064).abs() < 1e-12, "{record:?}");
    assert_eq!((record.cpu_count, record.cpu_model.as_str()), (2, "Imaginary 9000"));
    assert_eq!((record.country_name.as_str(), record.country_iso_code.as_str()), ("United States", "USA"));
    assert_eq!((record.on_cloud.as_str(), record.tracking_mode.as_str()), ("N", "machine"));
    let cpu = component(&provenance, "cpu").unwrap();
    assert_eq!((cpu.basis, cpu.method.as_str()), (EnergyBasis::Measured, "RAPL package-0"));
    // Memory's size is unknown there: it is left out and said so, never counted as 0.
    assert!(component(&provenance, "ram").is_none());
    assert!(provenance.notes.iter().any(|note| note.starts_with("RAM")), "{:?}", provenance.notes);
}

#[test]
fn the_thread_follows_a_counter_through_wrap_around() {
    let root = machine_with_rapl(262_143_000_000);
    let meter = Meter::start_on(config(Duration::from_millis(2)), &host(&root)).unwrap();
    let energy = |meter: &Meter| component(&meter.provenance(), "cpu").unwrap().energy_kwh * 3.6e6;
    set_energy(root.path(), 671_150);
    let deadline = Instant::now() + Duration::from_secs(20);
    // `provenance` takes no sample: only the thread can have seen the new value.
    while energy(&meter) == 0.0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!((energy(&meter) - 1.0).abs() < 1e-6, "{} J", energy(&meter));
}

#[test]
fn without_a_counter_the_model_stands_in_and_says_so() {
    let root = machine_with_rapl(0);
    fs::remove_dir_all(root.path().join("sys")).unwrap();
    fs::write(root.path().join("proc/meminfo"), "MemTotal: 16777216 kB\nMemAvailable: 4194304 kB\n").unwrap();
    fs::write(root.path().join("proc/stat"), "cpu  0 0 0 1000 0 0 0 0 0 0\n").unwrap();
    let meter = Meter::start_on(config(NEVER), &host(&root)).unwrap();
    fs::write(root.path().join("proc/stat"), "cpu  1000 0 0 1000 0 0 0 0 0 0\n").unwrap();
    std::thread::sleep(Duration::from_millis(5));
    let snapshot = meter.so_far();
    assert_eq!(snapshot.basis, "modelled");
    // Two threads at full load: 8 W.
    assert!((snapshot.record.cpu_power - 8.0).abs() < 1e-6, "{}", snapshot.record.cpu_power);
    assert!((snapshot.record.ram_total_size - 16.0).abs() < 1e-9);
    assert!((snapshot.record.ram_used_gb - 12.0).abs() < 1e-9);
    assert!((snapshot.record.ram_utilization_percent - 75.0).abs() < 1e-9);
    assert!((snapshot.record.cpu_utilization_percent - 100.0).abs() < 1e-6);
    let provenance = meter.provenance();
    for component in &provenance.components {
        assert_eq!(component.basis, EnergyBasis::Modelled);
        assert!(component.uncertainty >= 1.0, "{component:?}");
    }
    assert!(component(&provenance, "cpu").unwrap().source.contains("20 to 67 %"));
    assert!(provenance.notes.iter().any(|note| note.contains("powercap")), "{:?}", provenance.notes);
}

#[test]
fn a_resumed_stage_adds_up_through_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, json) = (folder.path().join("e/s.csv"), folder.path().join("e/s.json"));
    assert_eq!(Carried::read(&csv, &json).unwrap(), None);
    for attempt in 1..=3 {
        let root = machine_with_rapl(0);
        let carried = Carried::read(&csv, &json).unwrap();
        let meter = Meter::start_on(MeterConfig { carried, ..config(NEVER) }, &host(&root)).unwrap();
        set_energy(root.path(), 3_600_000_000);
        let (record, provenance) = meter.finish();
        assert_eq!(provenance.attempts, attempt);
        codecarbon::append(&csv, &record).unwrap();
        sidecar::write(&json, &provenance).unwrap();
    }
    let carried = Carried::read(&csv, &json).unwrap().unwrap();
    assert!((carried.record.energy_consumed - 0.003).abs() < 1e-12);
    assert!((component(&carried.provenance, "cpu").unwrap().energy_kwh - 0.003).abs() < 1e-12);
    assert_eq!(codecarbon::read(&csv).unwrap().len(), 3);

    fs::remove_file(&json).unwrap();
    let carried = Carried::read(&csv, &json).unwrap().unwrap();
    assert_eq!(component(&carried.provenance, "cpu").unwrap().basis, EnergyBasis::Modelled);
    assert!(carried.provenance.notes[0].contains("no provenance"));
}

#[test]
fn the_thread_ends_at_once() {
    let root = machine_with_rapl(0);
    let started = Instant::now();
    drop(Meter::start_on(config(NEVER), &host(&root)).unwrap());
    Meter::start_on(config(NEVER), &host(&root)).unwrap().finish();
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn this_very_machine_can_be_metered() {
    let meter = Meter::start(MeterConfig { tracking_mode: TrackingMode::Process, ..config(NEVER) }).unwrap();
    let busy_until = Instant::now() + Duration::from_millis(60);
    while Instant::now() < busy_until {
        std::hint::black_box(0);
    }
    let (record, provenance) = meter.finish();
    assert!(record.duration >= 0.06);
    assert!(record.energy_consumed > 0.0, "{record:?}");
    assert!(!record.os.is_empty() && record.cpu_count > 0);
    assert_eq!(record.timestamp.len(), "2026-01-02T03:04:05".len());
    assert!(component(&provenance, "cpu").is_some());
}

#[test]
fn settings_out_of_range_are_refused() {
    for (bad, key) in [
        (MeterConfig { pue: 0.9, ..config(NEVER) }, "carbon.pue"),
        (MeterConfig { pue: f64::NAN, ..config(NEVER) }, "carbon.pue"),
        (config(Duration::ZERO), "carbon.measure_interval_seconds"),
        (config(Duration::from_secs(61)), "carbon.measure_interval_seconds"),
    ] {
        let error = Meter::start(bad).unwrap_err();
        assert!(matches!(error, CarbonError::Setting { .. }));
        let problem = error.problem();
        assert_eq!(problem.location.and_then(|location| location.key).as_deref(), Some(key));
        assert_eq!(problem.code, "carbon.setting");
    }
}
