//! What is metered beside training: other programs, the wall, and what is to come.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use greentune_core_config::{
    ProblemKind,
    port::{TransferProgress, TransferReporter},
    settings::TrackingMode,
};
use greentune_workbench::{
    Observer, Workbench,
    operation::{CalibrateMeter, ForecastCarbonIntensity, TrackEmissions},
};

use crate::sandbox::{Sandbox, problem};

#[derive(Debug, Default)]
struct Ear(Mutex<Vec<u32>>);

impl TransferReporter for Ear {
    fn report(&self, _: &TransferProgress) {}
}

impl Observer for Ear {
    fn started_program(&self, pid: u32) {
        self.0.lock().unwrap().push(pid);
    }
}

fn track(sandbox: &Sandbox, command: &[&str]) -> TrackEmissions {
    TrackEmissions {
        command: command.iter().map(Into::into).collect(),
        output_file: sandbox.root().join("emissions.csv"),
        country_iso_code: Some("FRA".into()),
        tracking_mode: Some(TrackingMode::Machine),
        ..TrackEmissions::default()
    }
}

#[tokio::test]
async fn a_program_is_metered_and_the_observer_learns_its_process() {
    let sandbox = Sandbox::new("trains").await;
    let ear = Arc::new(Ear::default());
    let workbench = sandbox.workbench.reporting(Arc::clone(&ear) as _);
    let response =
        workbench.track_emissions(track(&sandbox, &["/bin/sh", "-c", "sleep 0.2; exit 3"])).await.unwrap();
    assert_eq!((response.success, response.exit_code, response.signal), (true, Some(3), None));
    assert_eq!(response.record.country_iso_code, "FRA");
    assert!(response.emissions_file.is_file() && response.provenance_file.is_file());
    assert_eq!(ear.0.lock().unwrap().len(), 1);

    let nothing = problem(workbench.track_emissions(track(&sandbox, &[])).await.unwrap_err());
    assert_eq!((nothing.kind, nothing.code.as_str()), (ProblemKind::InvalidInput, "request.value"));
    let unknown = TrackEmissions { country_iso_code: Some("GER".into()), ..track(&sandbox, &["/bin/true"]) };
    let unknown = problem(workbench.track_emissions(unknown).await.unwrap_err());
    assert_eq!(unknown.code, "carbon.unknown_country");
}

#[tokio::test]
async fn a_program_that_is_not_waited_for_any_more_ends_and_leaves_its_row() {
    let sandbox = Sandbox::new("trains").await;
    let ear = Arc::new(Ear::default());
    let workbench = sandbox.workbench.reporting(Arc::clone(&ear) as _);
    let request = track(&sandbox, &["/bin/sleep", "600"]);
    let file = request.output_file.clone();
    let tracking = tokio::spawn(async move { workbench.track_emissions(request).await });
    while ear.0.lock().unwrap().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    tracking.abort();
    let rows = || fs::read_to_string(&file).unwrap_or_default().lines().count();
    for _ in 0..1000 {
        if rows() == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(rows(), 2, "a heading and the program's row");
}

#[tokio::test]
async fn a_wall_meter_is_noted_beside_the_row_of_a_program() {
    let sandbox = Sandbox::new("trains").await;
    let tracked = sandbox.workbench.track_emissions(track(&sandbox, &["/bin/sleep", "0.2"])).await.unwrap();
    let request = CalibrateMeter {
        wall_wh: tracked.record.energy_consumed * 1000.0 * 2.0,
        wall_meter: "a plug".into(),
        emissions_file: tracked.emissions_file,
        calibration_file: sandbox.root().join("wall.json"),
    };
    let response = sandbox.workbench.calibrate_meter(request.clone()).await.unwrap();
    assert_eq!((response.success, response.measurements), (true, 1));
    assert!((response.factor - 2.0).abs() < 1e-6, "{response:?}");

    let mut config = sandbox.config("trains");
    config.allowed_roots = Some(vec![sandbox.project.root().to_owned()]);
    let outside = problem(Workbench::new(config).calibrate_meter(request).await.unwrap_err());
    assert_eq!(outside.code, "path.outside_roots");
}

#[tokio::test]
async fn a_forecast_needs_a_service_and_a_length() {
    let sandbox = Sandbox::new("trains").await;
    let refused = async |hours| {
        let request = ForecastCarbonIntensity { hours, ..ForecastCarbonIntensity::default() };
        problem(sandbox.workbench.forecast_carbon_intensity(request).await.unwrap_err())
    };
    let unset = refused(None).await;
    assert_eq!((unset.kind, unset.code.as_str()), (ProblemKind::Credentials, "carbon.no_live_source"));
    assert!(unset.hint.unwrap().contains("ELECTRICITY_MAPS_TOKEN"));
    for hours in [0.0, -1.0, f64::NAN] {
        assert_eq!(refused(Some(hours)).await.location.unwrap().key.as_deref(), Some("hours"), "{hours}");
    }
}
