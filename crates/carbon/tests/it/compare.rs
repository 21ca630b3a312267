use greentune_carbon::{codecarbon, compare::compare, sidecar};
use greentune_core_config::{
    Basis,
    emissions::{ComponentProvenance, EmissionsProvenance, EmissionsRecord},
    layout::{ProjectLayout, RunLayout},
};

fn run(folder: &tempfile::TempDir, id: &str, kwh: f64, uncertainty: Option<f64>, country: &str) -> RunLayout {
    let run = ProjectLayout::new(folder.path()).run(id);
    let record = EmissionsRecord {
        duration: 3600.0,
        emissions: kwh / 2.0,
        energy_consumed: kwh,
        country_iso_code: country.into(),
        tracking_mode: "machine".into(),
        pue: 1.0,
        ..EmissionsRecord::default()
    };
    codecarbon::write(&run.emissions_csv(1), &[record]).unwrap();
    if let Some(uncertainty) = uncertainty {
        let cpu = ComponentProvenance {
            component: "cpu".into(),
            basis: Basis::Measured,
            energy_kwh: kwh,
            uncertainty,
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
        sidecar::write(&run.provenance(1), &provenance).unwrap();
    }
    run
}

#[test]
fn differences_say_whether_the_meters_could_tell() {
    let folder = tempfile::tempdir().unwrap();
    let runs = [
        run(&folder, "first", 1.0, Some(0.1), "FRA"),
        run(&folder, "near", 1.1, Some(0.1), "FRA"),
        run(&folder, "less", 0.5, Some(0.1), "NOR"),
        run(&folder, "unknown", 2.0, None, "FRA"),
    ];
    let compared = compare(&runs).unwrap().runs;
    assert_eq!(compared[0].difference, None);
    assert_eq!((compared[0].basis.as_str(), compared[0].energy_range_kwh), ("measured", Some([0.9, 1.1])));
    let difference = |n: usize| compared[n].difference.as_ref().unwrap();
    assert_eq!(difference(1).distinguishable, Some(false));
    assert!(difference(1).verdict.contains("not distinguishable (+10.0 % energy)"), "{:?}", difference(1));
    assert!(difference(1).caveats.is_empty(), "{:?}", difference(1));
    assert_eq!(difference(2).distinguishable, Some(true));
    assert!(difference(2).verdict.contains("used less (-50.0 %"), "{:?}", difference(2));
    assert_eq!(difference(2).caveats, ["grid: NOR here, FRA in the first run"]);
    assert!((difference(2).emissions_kg + 0.25).abs() < 1e-12);
    assert_eq!(compared[2].emissions_range_kg, Some([0.225, 0.275]));
    assert_eq!((difference(3).distinguishable, compared[3].energy_range_kwh), (None, None));
    assert_eq!(difference(3).caveats, ["energy: unknown here, measured in the first run"]);
}

#[test]
fn a_run_without_emissions_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let runs = [run(&folder, "first", 1.0, None, "FRA"), ProjectLayout::new(folder.path()).run("absent")];
    assert!(compare(&runs).unwrap_err().to_string().contains("absent"));
    assert_eq!(compare(&[]).unwrap().runs, []);
}
