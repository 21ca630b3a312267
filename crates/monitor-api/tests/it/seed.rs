//! The three requests of the seed's monitor, field for field.

use std::fs;

use crate::place::Place;

const ROW: &str = "timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,cpu_power,gpu_power,ram_power,cpu_energy,gpu_energy,ram_energy,energy_consumed,water_consumed,country_name,country_iso_code,region,cloud_provider,cloud_region,os,python_version,codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,longitude,latitude,ram_total_size,tracking_mode,cpu_utilization_percent,gpu_utilization_percent,ram_utilization_percent,ram_used_gb,on_cloud,pue,wue\n";

fn row(run: &str, hour: u8, seconds: f64, kg: f64) -> String {
    format!(
        "2026-01-02T{hour:02}:04:05,health,{run},5b0fa12a-3dd7-45bb-9766-cc326314d9f1,{seconds},{kg},0.0001,40.0,0.0,10.0,0.02,0.0,0.005,0.025,0.0,France,FRA,,,,Linux,3.12,3.3.0,2,A processor,0,,2.3,48.8,16.0,machine,50,0,40,6.0,N,1.0,0.0\n"
    )
}

/// A trained run with two stages that were metered.
pub async fn metered(place: &Place) -> String {
    let run = place.trained().await;
    let folder = place.root().join("health/emissions");
    fs::create_dir_all(&folder).unwrap();
    for (stage, seconds, kg) in [(1_u8, 1800.0, 0.25), (2, 3600.0, 0.5)] {
        let file = folder.join(format!("{run}_stage{stage}_emissions.csv"));
        fs::write(file, format!("{ROW}{}", row(&run, 2 * stage, seconds, kg))).unwrap();
    }
    run
}

#[tokio::test]
async fn current_summary_and_aggregate_have_the_seeds_fields() {
    let place = Place::new("trains");
    let run = metered(&place).await;
    let current = place.read(&format!("/emissions/{run}/current")).await;
    for field in [
        "run_id",
        "current_emissions_kg_co2",
        "duration_seconds",
        "energy_consumed_kwh",
        "cpu_power_w",
        "gpu_power_w",
        "ram_power_w",
        "carbon_intensity_gco2_kwh",
        "country",
        "timestamp",
        "emissions_file",
    ] {
        assert!(current.get(field).is_some(), "{field}: {current}");
    }
    assert_eq!(current["country"], "France");
    let summary = place.read(&format!("/emissions/{run}/summary")).await;
    assert_eq!(summary["run_id"], run);
    assert_eq!(summary["summary"]["total_emissions_kg_co2"], 0.75);
    assert_eq!(summary["summary"]["total_duration_hours"], 1.5);
    assert_eq!(summary["summary"]["emissions_per_hour_kg"], 0.5);
    assert_eq!(summary["summary"]["num_stages"], 2);
    for field in ["miles_driven_equivalent", "trees_to_offset_1year", "smartphones_charged"] {
        assert!(summary["equivalencies"][field].as_f64().is_some_and(|value| value > 0.0), "{field}");
    }
    assert_eq!(summary["stages"].as_array().unwrap().len(), 2);
    assert!(summary["recommendations"].as_array().is_some_and(|all| !all.is_empty()));
    assert!(summary["carbon_offset_cost_usd"].is_number());
    let all = place.read("/emissions/aggregate").await;
    assert_eq!((&all["total_emissions_kg_co2"], &all["total_runs"]), (&0.75.into(), &1.into()));
    for field in
        ["total_duration_hours", "average_per_run_kg", "trees_to_offset_1year", "total_offset_cost_usd"]
    {
        assert!(all[field].is_number(), "{field}: {all}");
    }
    assert_eq!(all["top_emitting_runs"][0]["emissions_kg"], 0.75);
}

#[tokio::test]
async fn rows_are_a_table_and_a_file() {
    let place = Place::new("trains");
    let run = metered(&place).await;
    let table = place.read("/api/v1/emissions/rows").await;
    let column =
        |name: &str| table["columns"].as_array().unwrap().iter().position(|one| one == name).unwrap();
    assert_eq!(table["rows"].as_array().unwrap().len(), 2);
    assert_eq!(table["rows"][0][column("run_id")], run);
    assert_eq!(table["rows"][1][column("stage")], 2);
    assert_eq!(table["rows"][1][column("emissions")], 0.5);
    let file = place.get("/api/v1/emissions/rows?format=csv").await;
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"emissions.csv\""));
    assert!(
        file.body.starts_with("run_id,stage,timestamp,") && file.body.lines().count() == 3,
        "{}",
        file.body
    );
}

#[tokio::test]
async fn a_run_without_emissions_is_not_found() {
    let place = Place::new("trains");
    let unknown = place.get("/emissions/nothing/current").await;
    assert_eq!(unknown.problem(), (404, "run.unknown".into()));
    let run = place.run().await;
    let (status, _) = place.get(&format!("/emissions/{run}/summary")).await.problem();
    assert_eq!(status, 404, "nothing was metered yet");
}
