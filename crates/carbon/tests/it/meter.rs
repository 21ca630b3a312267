use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use greentune_carbon::{
    CarbonError, Carried, Host, Meter, MeterConfig, MeterEnvironment,
    calibration::{Calibration, Measurement},
    codecarbon,
    intensity::{GridSource, Place},
    sidecar,
};
use greentune_core_config::{
    Basis, Diagnostic,
    emissions::EmissionsProvenance,
    settings::{CarbonSettings, TrackingMode},
};
use tempfile::TempDir;

/// Longer than any test, so that only the test takes samples.
const NEVER: Duration = Duration::from_mins(1);

fn config(interval: Duration) -> MeterConfig {
    MeterConfig {
        experiment_id: "e1".into(),
        interval,
        ..MeterConfig::new("narratives", "v1-20260102-030405", grid())
    }
}

fn grid() -> GridSource {
    let (country_iso_code, region) = ("usa".into(), Some("California".into()));
    GridSource::yearly(&Place { country_iso_code, region, cloud: None })
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
    assert_eq!(snapshot.basis, Basis::Measured);
    assert!(snapshot.power_w > 0.0);
    assert!((snapshot.power.cpu_w - snapshot.power_w).abs() < 1e-9);
    let event = snapshot.so_far(2);
    assert_eq!((event.stage, event.energy_kwh), (2, snapshot.record.energy_consumed));

    let (record, provenance) = meter.finish();
    assert!((record.cpu_energy - 0.001).abs() < 1e-12, "{record:?}");
    assert!((record.emissions - 0.001 * 0.179_064).abs() < 1e-12, "{record:?}");
    assert_eq!((record.cpu_count, record.cpu_model.as_str()), (2, "Imaginary 9000"));
    assert_eq!((record.country_name.as_str(), record.country_iso_code.as_str()), ("United States", "USA"));
    assert_eq!((record.on_cloud.as_str(), record.tracking_mode.as_str()), ("N", "machine"));
    let cpu = component(&provenance, "cpu").unwrap();
    assert_eq!((cpu.basis, cpu.method.as_str()), (Basis::Measured, "RAPL package-0"));
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
    assert_eq!(snapshot.basis, Basis::Modelled);
    // Two threads at full load: 8 W.
    assert!((snapshot.record.cpu_power - 8.0).abs() < 1e-6, "{}", snapshot.record.cpu_power);
    assert!((snapshot.record.ram_total_size - 16.0).abs() < 1e-9);
    assert!((snapshot.record.ram_used_gb - 12.0).abs() < 1e-9);
    assert!((snapshot.record.ram_utilization_percent - 75.0).abs() < 1e-9);
    assert!((snapshot.record.cpu_utilization_percent - 100.0).abs() < 1e-6);
    let provenance = meter.provenance();
    for component in &provenance.components {
        assert_eq!(component.basis, Basis::Modelled);
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
    assert_eq!(component(&carried.provenance, "cpu").unwrap().basis, Basis::Modelled);
    assert!(carried.provenance.notes[0].contains("no provenance"));
}

#[test]
fn memory_is_measured_where_every_package_has_its_counter() {
    let root = machine_with_rapl(0);
    let dram = root.path().join("sys/class/powercap/intel-rapl:0:0");
    fs::create_dir_all(&dram).unwrap();
    for (file, text) in [("name", "dram\n"), ("max_energy_range_uj", "65712999613\n"), ("energy_uj", "0\n")] {
        fs::write(dram.join(file), text).unwrap();
    }
    let meter = Meter::start_on(config(NEVER), &host(&root)).unwrap();
    set_energy(root.path(), 36_000_000);
    fs::write(dram.join("energy_uj"), "7200000\n").unwrap();
    let (record, provenance) = meter.finish();
    assert!(
        (record.ram_energy - 2e-6).abs() < 1e-15 && (record.cpu_energy - 1e-5).abs() < 1e-15,
        "{record:?}"
    );
    let ram = component(&provenance, "ram").unwrap();
    assert_eq!((ram.basis, ram.method.as_str(), ram.year), (Basis::Measured, "RAPL dram-0", Some(2016)));
}

/// Gives the machine a process 42 that is this one, and a processor that was busy for `busy` ticks.
fn set_process(root: &Path, own: u64, busy: u64) {
    let stat = format!("42 (train) R 1 2 3 4 -1 0 0 0 0 0 {own} 0 0 0 20 0 1 0 1 1 1024");
    for (file, text) in
        [("proc/self/stat", stat), ("proc/stat", format!("cpu  {busy} 0 0 1000 0 0 0 0 0 0\n"))]
    {
        fs::write(root.join(file), text).unwrap();
    }
}

#[test]
fn a_process_has_its_share_of_counters_and_memory() {
    let root = machine_with_rapl(0);
    fs::write(root.path().join("proc/meminfo"), "MemTotal: 16777216 kB\nMemAvailable: 16760832 kB\n")
        .unwrap();
    let used = |tracking_mode| {
        set_energy(root.path(), 0);
        set_process(root.path(), 0, 0);
        let meter = Meter::start_on(MeterConfig { tracking_mode, ..config(NEVER) }, &host(&root)).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        set_energy(root.path(), 360_000_000);
        set_process(root.path(), 250, 1000);
        meter.finish()
    };
    let (machine, _) = used(TrackingMode::Machine);
    let (process, provenance) = used(TrackingMode::Process);
    assert!((machine.cpu_energy - 1e-4).abs() < 1e-15, "{machine:?}");
    assert!((process.cpu_energy - 0.25e-4).abs() < 1e-15, "{process:?}");
    // 1024 pages of the 16 MB in use.
    let share = process.ram_power / machine.ram_power;
    assert!((share - 0.25).abs() < 1e-6 || rustix::param::page_size() != 4096, "{share}");
    for name in ["cpu", "ram"] {
        let part = component(&provenance, name).unwrap();
        assert_eq!((part.basis, part.scope.as_str()), (Basis::Modelled, "this process and its descendants"));
        assert!(part.method.contains("share") && part.method.contains("estimate"), "{part:?}");
        assert!(part.uncertainty > 1.0, "{part:?}");
    }
}

#[test]
fn two_meters_of_one_host_count_it_once() {
    let root = machine_with_rapl(0);
    let host = host(&root);
    let rank = |run_id: &str| {
        let host_lock = Some(root.path().join("meter.lock"));
        let config = MeterConfig { host_lock, run_id: run_id.into(), ..config(NEVER) };
        Meter::start_on(config, &host).unwrap()
    };
    let (first, second) = (rank("rank0"), rank("rank1"));
    set_energy(root.path(), 100_000_000);
    assert!(second.so_far().record.energy_consumed.abs() < 1e-15);
    let (record, provenance) = first.finish();
    assert!((record.cpu_energy * 3.6e6 - 100.0).abs() < 1e-9);
    assert!(!provenance.notes.iter().any(|note| note.contains("counted it")), "{:?}", provenance.notes);

    // The first one's time is over: the second takes the machine over with its next sample.
    set_energy(root.path(), 130_000_000);
    second.so_far();
    set_energy(root.path(), 150_000_000);
    let (record, provenance) = second.finish();
    assert!((record.cpu_energy * 3.6e6 - 20.0).abs() < 1e-9, "{record:?}");
    let note = provenance.notes.iter().find(|note| note.contains("counted it")).unwrap();
    assert!(note.contains("run rank0") && note.contains("counts it since"), "{note}");
}

#[test]
fn a_lock_that_cannot_be_had_is_said_and_the_machine_counted() {
    let root = machine_with_rapl(0);
    let host_lock = Some(root.path().join("no/such/folder/lock"));
    let meter = Meter::start_on(MeterConfig { host_lock, ..config(NEVER) }, &host(&root)).unwrap();
    set_energy(root.path(), 3_600_000);
    let (record, provenance) = meter.finish();
    assert!((record.energy_consumed - 1e-6).abs() < 1e-15);
    assert!(provenance.notes.iter().any(|note| note.contains("no/such/folder")), "{:?}", provenance.notes);
}

#[test]
fn a_calibration_of_this_machine_is_applied_and_named() {
    let root = machine_with_rapl(0);
    let path = root.path().join("calibration.json");
    let measurement = |wall_wh, counters_wh| Measurement {
        date: "2026-01-02".into(),
        host: "bench".into(),
        cpu_model: "Imaginary 9000".into(),
        wall_meter: "Plug X".into(),
        wall_wh,
        counters_wh,
        seconds: 3600.0,
    };
    Calibration::record(&path, measurement(130.0, 100.0)).unwrap();
    let used = |calibration, tracking_mode| {
        set_energy(root.path(), 0);
        let config = MeterConfig { calibration: Some(calibration), tracking_mode, pue: 2.0, ..config(NEVER) };
        let meter = Meter::start_on(config, &host(&root)).unwrap();
        set_energy(root.path(), 3_600_000_000);
        meter.finish()
    };
    let calibration = Calibration::read(&path).unwrap();
    let (record, provenance) = used(calibration.clone(), TrackingMode::Machine);
    assert!((record.cpu_energy - 0.0026).abs() < 1e-12, "{record:?}");
    assert!((record.emissions - record.energy_consumed * 0.179_064).abs() < 1e-12);
    let applied = provenance.calibration.unwrap();
    assert!((applied.raw_energy_kwh - 0.002).abs() < 1e-12 && (applied.energy_kwh - 0.0026).abs() < 1e-12);
    assert!(
        applied.name.contains("Plug X") && applied.name.contains("1.3000 x counters"),
        "{}",
        applied.name
    );
    let [low, high] = provenance.energy_range_kwh.unwrap();
    assert!((low - 0.0026 * 0.88).abs() < 1e-12 && (high - 0.0026 * 1.12).abs() < 1e-12, "{low} {high}");

    let (record, provenance) = used(calibration, TrackingMode::Process);
    assert_eq!((record.cpu_energy, provenance.calibration), (0.002, None));
    let foreign = Measurement { cpu_model: "Other 1".into(), ..measurement(130.0, 100.0) };
    let foreign = Calibration::record(&root.path().join("foreign.json"), foreign).unwrap();
    let (record, provenance) = used(foreign, TrackingMode::Machine);
    assert_eq!((record.cpu_energy, provenance.calibration), (0.002, None));
    assert!(provenance.notes.iter().any(|note| note.contains("Other 1")), "{:?}", provenance.notes);
}

#[test]
fn a_sidecar_of_the_first_format_is_carried_on() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, json) = (folder.path().join("s.csv"), folder.path().join("s.json"));
    let root = machine_with_rapl(0);
    let meter = Meter::start_on(config(NEVER), &host(&root)).unwrap();
    set_energy(root.path(), 3_600_000_000);
    codecarbon::append(&csv, &meter.finish().0).unwrap();
    let old = r#"{"format_version":1,"meter":"greentune 0.1.0","components":[{"component":"cpu","basis":"measured",
        "method":"RAPL package-0","source":"","energy_kwh":0.001,"uncertainty":0.1,"scope":"whole machine"}],
        "carbon_intensity_g_per_kwh":179.064,"carbon_intensity_source":"","pue":1.0,"notes":[],"attempts":3}"#;
    fs::write(&json, old).unwrap();
    let carried = Carried::read(&csv, &json).unwrap();
    set_energy(root.path(), 0);
    let meter = Meter::start_on(MeterConfig { carried, ..config(NEVER) }, &host(&root)).unwrap();
    set_energy(root.path(), 3_600_000_000);
    let (_, provenance) = meter.finish();
    assert_eq!((provenance.format_version, provenance.attempts), (2, 4));
    let [low, high] = provenance.energy_range_kwh.unwrap();
    assert!((low - 0.0018).abs() < 1e-12 && (high - 0.0022).abs() < 1e-12, "{low} {high}");
    let [least, most] = provenance.emissions_range_kg.unwrap();
    assert!(least < low * 0.179_064 && most > high * 0.179_064, "the grid's uncertainty widens it");
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
fn an_interval_that_is_no_span_of_time_is_refused() {
    for seconds in [1e300, f64::INFINITY, f64::NAN, -1.0, 0.0] {
        let settings = CarbonSettings { measure_interval_seconds: seconds, ..CarbonSettings::default() };
        let config = MeterConfig::of(&settings, &MeterEnvironment::default(), "p", "r").unwrap();
        let error = Meter::start(config).unwrap_err();
        assert!(matches!(error, CarbonError::Setting { .. }), "{seconds}: {error}");
    }
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
