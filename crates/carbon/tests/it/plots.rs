use std::{fs, path::Path};

use greentune_carbon::{
    aggregate::{AggregateEmissions, RunEmissions},
    codecarbon, plots, sidecar,
};
use greentune_core_config::{
    Basis,
    emissions::{ComponentProvenance, EmissionsProvenance, EmissionsRecord},
    event::{EmissionsSoFar, Event, EventKind},
    layout::{ProjectLayout, RunLayout},
};

fn run(folder: &Path) -> RunLayout {
    ProjectLayout::new(folder).run("narratives-v1")
}

fn events(run: &RunLayout) {
    let sample = |n: u32| {
        let stage = if n < 240 { 1 } else { 2 };
        let seconds = f64::from(if stage == 1 { n } else { n - 240 }) * 5.0;
        let power_w = 55.0 + 20.0 * (f64::from(n) / 9.0).sin() + if stage == 2 { 30.0 } else { 0.0 };
        let so_far = EmissionsSoFar {
            stage,
            duration_seconds: seconds,
            energy_kwh: 0.0,
            emissions_kg_co2: 0.0,
            power_w,
            power: None,
            basis: "modelled".into(),
        };
        Event {
            seq: u64::from(n),
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
            kind: EventKind::Emissions(so_far),
        }
    };
    let mut text: String = (0..400).map(|n| serde_json::to_string(&sample(n)).unwrap() + "\n").collect();
    text += "{\"seq\":400,\"at\":\"2026";
    fs::create_dir_all(run.folder()).unwrap();
    fs::write(run.events(), text).unwrap();
}

fn stages(run: &RunLayout) {
    for (stage, scale) in [(1, 1.0), (2, 1.7)] {
        let record = EmissionsRecord {
            cpu_energy: 0.031 * scale,
            gpu_energy: 0.064 * scale,
            ram_energy: 0.012 * scale,
            energy_consumed: 0.107 * scale,
            pue: 1.0,
            ..EmissionsRecord::default()
        };
        let component = |name: &str, energy_kwh, uncertainty| ComponentProvenance {
            component: name.into(),
            basis: Basis::Modelled,
            energy_kwh,
            uncertainty,
            ..ComponentProvenance::default()
        };
        let provenance = EmissionsProvenance {
            format_version: 1,
            components: vec![
                component("cpu", 0.031 * scale, 0.5),
                component("gpu", 0.064 * scale, 0.05),
                component("ram", 0.012 * scale, 0.5),
            ],
            pue: 1.0,
            attempts: 1,
            ..EmissionsProvenance::default()
        };
        codecarbon::write(&run.emissions_csv(stage), &[record]).unwrap();
        sidecar::write(&run.provenance(stage), &provenance).unwrap();
    }
}

fn many() -> AggregateEmissions {
    let run = |n: usize| RunEmissions {
        run_id: format!("narratives-{}", ["v1", "v2-longer-name-than-fits-here", "v3"][n % 3]),
        file: String::new(),
        stages: vec![1],
        emissions_kg: 1.3 / (n + 1) as f64,
        energy_kwh: 0.0,
        duration_hours: 0.0,
        timestamp: String::new(),
    };
    AggregateEmissions {
        total_runs: 47,
        top_emitting_runs: (0..10).map(run).collect(),
        ..AggregateEmissions::default()
    }
}

#[test]
fn charts_show_the_runs_figures() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path());
    events(&run);
    stages(&run);
    let power = plots::power_over_time(&run).unwrap();
    assert_eq!(power.svg().matches("<polyline").count(), 2, "a line per stage");
    assert!(power.svg().contains("power (W)") && power.svg().contains("metered time (min)"));
    let energy = plots::energy_by_component(&run).unwrap();
    for part in ["CPU", "GPU", "memory", "stage 2", "energy (kWh); whiskers", "0.107", "0.182"] {
        assert!(energy.svg().contains(part), "{part}");
    }
    let emissions = plots::emissions_by_run(&many());
    assert!(emissions.svg().contains("the 10 highest of 47 runs") && emissions.svg().contains("1.30"));
    for (name, plot) in [("power", power), ("energy", energy), ("emissions", emissions)] {
        for extension in ["svg", "png"] {
            plot.write(&folder.path().join(format!("{name}.{extension}"))).unwrap();
        }
        let png = fs::read(folder.path().join(format!("{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
        // Width, in the header: twice the SVG's 800.
        assert_eq!(png[16..20], 1600u32.to_be_bytes());
        // Looked at by eye: GREENTUNE_PLOTS names a folder to keep them in.
        if let Some(keep) = std::env::var_os("GREENTUNE_PLOTS") {
            fs::copy(folder.path().join(format!("{name}.png")), Path::new(&keep).join(format!("{name}.png")))
                .unwrap();
        }
    }
}

#[test]
fn text_is_drawn_without_any_font_of_the_system() {
    let named = |name: &str| {
        let mut all = many();
        all.top_emitting_runs.iter_mut().for_each(|run| run.run_id = name.into());
        plots::emissions_by_run(&all).png().unwrap()
    };
    assert!(named("run-a") == named("run-a"));
    // Were the font missing, both would be the same bars without a name.
    assert!(named("run-a") != named("run-b"));
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path());
    assert!(plots::power_over_time(&run).unwrap_err().to_string().contains("events.jsonl"));
    fs::create_dir_all(run.folder()).unwrap();
    fs::write(run.events(), "").unwrap();
    assert!(plots::power_over_time(&run).unwrap_err().to_string().contains("narratives-v1"));
    let nothing = plots::emissions_by_run(&AggregateEmissions::default());
    assert!(nothing.png().is_ok());
    let error = nothing.write(&folder.path().join("chart.jpg")).unwrap_err();
    assert!(error.to_string().contains(".svg nor .png"), "{error}");
}

/// The whole course: from the stage's beginning to its end, which is later than its last event.
#[test]
fn power_reaches_to_the_end_of_the_stage() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path());
    let so_far = |seconds, kwh| EmissionsSoFar {
        stage: 1,
        duration_seconds: seconds,
        energy_kwh: kwh,
        emissions_kg_co2: 0.0,
        power_w: 36.0,
        power: None,
        basis: "modelled".into(),
    };
    let event = |kind| Event { seq: 0, at: "2026-01-02T03:04:05Z".parse().unwrap(), kind };
    let events = [
        event(EventKind::Emissions(so_far(10.0, 1e-4))),
        event(EventKind::StageFinished {
            stage: 1,
            duration_seconds: 9.0,
            final_train_loss: 1.0,
            emissions: Some(so_far(60.0, 6e-4)),
            peak_memory_bytes: None,
        }),
    ];
    let text: String = events.iter().map(|event| serde_json::to_string(event).unwrap() + "\n").collect();
    fs::create_dir_all(run.folder()).unwrap();
    fs::write(run.events(), text).unwrap();
    let ends = |svg: &str| {
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let x = |point: &str| point.split(',').next().unwrap().parse::<f64>().unwrap();
        let all: Vec<f64> = points.split(' ').map(x).collect();
        (all[0], *all.last().unwrap())
    };
    // The axis reaches from 0 to 60 s over the chart's width, from 76 to 768.
    assert_eq!(ends(plots::power_over_time(&run).unwrap().svg()), (76.0, 768.0));
    // A cancelled stage has no such event; its row says how long it was metered.
    let first = serde_json::to_string(&events[0]).unwrap() + "\n";
    fs::write(run.events(), first).unwrap();
    let record = EmissionsRecord { duration: 60.0, energy_consumed: 6e-4, pue: 1.0, ..Default::default() };
    codecarbon::write(&run.emissions_csv(1), &[record]).unwrap();
    assert_eq!(ends(plots::power_over_time(&run).unwrap().svg()), (76.0, 768.0));
}

#[test]
fn a_chart_without_anything_to_see_is_not_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path());
    codecarbon::write(&run.emissions_csv(1), &[EmissionsRecord::default()]).unwrap();
    assert!(plots::energy_by_component(&run).is_err());
    assert!(plots::energy_of_paths(&[run.emissions_csv(1)]).is_err());
}
