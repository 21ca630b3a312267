use std::fs;

use greentune_carbon::{
    aggregate::aggregate,
    codecarbon,
    equivalence::EquivalenceTable,
    sci::FunctionalUnit,
    sidecar,
    summary::{self, RecommendationKind, RunFacts, SummaryTotals},
};
use greentune_core_config::{
    Basis, Diagnostic, ProblemKind,
    emissions::{ComponentProvenance, EmissionsProvenance, EmissionsRecord},
    layout::{ProjectLayout, RunLayout},
};

fn row(timestamp: &str, emissions: f64, hours: f64) -> EmissionsRecord {
    EmissionsRecord {
        timestamp: timestamp.into(),
        duration: hours * 3600.0,
        emissions,
        energy_consumed: emissions * 2.0,
        cpu_power: 40.0,
        country_name: "France".into(),
        country_iso_code: "FRA".into(),
        pue: 1.0,
        ..EmissionsRecord::default()
    }
}

fn run(folder: &tempfile::TempDir) -> RunLayout {
    ProjectLayout::new(folder.path()).run("v1")
}

#[test]
fn totals_come_from_the_last_row_of_each_stage() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(&folder);
    let (early, late) = ("2026-01-02T03:04:05", "2026-01-02T04:04:05");
    codecarbon::write(&run.emissions_csv(1), &[row(early, 0.1, 0.5), row(early, 0.3, 1.0)]).unwrap();
    codecarbon::write(&run.emissions_csv(2), &[row(late, 0.09, 2.0)]).unwrap();
    // Another run whose id begins alike, and a stage that has not been metered yet.
    codecarbon::write(
        &ProjectLayout::new(folder.path()).run("v1_stage1_b").emissions_csv(1),
        &[row(late, 9.0, 9.0)],
    )
    .unwrap();
    codecarbon::write(&run.emissions_csv(3), &[]).unwrap();

    let summary = summary::summarize(&run, &EquivalenceTable::default()).unwrap();
    assert_eq!(summary.summary.num_stages, 2);
    assert!((summary.summary.total_emissions_kg_co2 - 0.39).abs() < 1e-12);
    assert!((summary.summary.total_duration_hours - 3.0).abs() < 1e-12);
    assert!((summary.summary.emissions_per_hour_kg - 0.13).abs() < 1e-12);
    assert!((summary.equivalencies.miles_driven_equivalent - 0.39 / 0.393).abs() < 1e-9);
    assert_eq!(summary.summary.energy_range_kwh, None);
    assert!((summary.carbon_offset_cost_usd - 0.117).abs() < 1e-12);
    let stages: Vec<_> = summary.stages.iter().map(|stage| (stage.stage, stage.file.as_str())).collect();
    assert_eq!(stages, [(1, "v1_stage1_emissions.csv"), (2, "v1_stage2_emissions.csv")]);

    let current = summary::current(&run).unwrap();
    assert_eq!((current.current_emissions_kg_co2, current.timestamp.as_str()), (0.09, late));
    assert_eq!(current.carbon_intensity_gco2_kwh, Some(500.0));
    assert_eq!(current.emissions_file, run.emissions_csv(2));
    assert_eq!((current.stage, current.metered_stages), (2, 2));
    assert!((current.run_emissions_kg_co2 - 0.39).abs() < 1e-12, "the run so far: {current:?}");
}

#[test]
fn what_else_is_known_makes_more_of_a_summary() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(&folder);
    codecarbon::write(&run.emissions_csv(1), &[row("now", 0.3, 1.0)]).unwrap();
    let facts = RunFacts {
        functional_unit: Some(FunctionalUnit { count: 1500.0, unit: "record trained".into() }),
        steps_after_best_validation: Some((40, 100)),
        ..RunFacts::default()
    };
    let summary = summary::summarize_with(&run, &EquivalenceTable::default(), &facts).unwrap();
    let sci = summary.sci.unwrap();
    assert!((sci.g_per_unit - 0.2).abs() < 1e-12 && sci.embodied_g.is_none(), "{sci:?}");
    let texts: Vec<&String> = summary.recommendation_details.iter().map(|one| &one.text).collect();
    assert_eq!(texts, summary.recommendations.iter().collect::<Vec<_>>());
    let stopping = summary
        .recommendation_details
        .iter()
        .find(|one| one.kind == RecommendationKind::EarlyStopping)
        .unwrap();
    assert!((stopping.saves_kg.unwrap() - 0.12).abs() < 1e-12 && stopping.basis == Basis::Modelled);
}

#[test]
fn the_seeds_field_names_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(&folder);
    codecarbon::write(&run.emissions_csv(1), &[row("now", 0.3, 1.0)]).unwrap();
    let summary =
        serde_json::to_value(summary::summarize(&run, &EquivalenceTable::default()).unwrap()).unwrap();
    for pointer in [
        "/run_id",
        "/summary/total_emissions_kg_co2",
        "/summary/total_duration_hours",
        "/summary/emissions_per_hour_kg",
        "/summary/num_stages",
        "/equivalencies/miles_driven_equivalent",
        "/equivalencies/trees_to_offset_1year",
        "/equivalencies/smartphones_charged",
        "/stages/0/file",
        "/stages/0/emissions_kg",
        "/stages/0/duration_hours",
        "/recommendations",
        "/recommendation_details",
        "/carbon_offset_cost_usd",
    ] {
        assert!(summary.pointer(pointer).is_some(), "{pointer} is missing in {summary:#}");
    }
    let current = serde_json::to_value(summary::current(&run).unwrap()).unwrap();
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
        assert!(current.get(field).is_some(), "{field} is missing in {current:#}");
    }
}

#[test]
fn the_range_follows_the_uncertainty_of_the_components() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(&folder);
    codecarbon::write(&run.emissions_csv(1), &[row("now", 0.3, 1.0)]).unwrap();
    let component = |name: &str, energy_kwh, uncertainty| ComponentProvenance {
        component: name.into(),
        basis: Basis::Modelled,
        energy_kwh,
        uncertainty,
        ..ComponentProvenance::default()
    };
    let provenance = EmissionsProvenance {
        format_version: 1,
        meter: "greentune".into(),
        components: vec![component("cpu", 0.4, 2.0), component("ram", 0.2, 0.5)],
        carbon_intensity_g_per_kwh: 500.0,
        pue: 1.0,
        attempts: 1,
        ..EmissionsProvenance::default()
    };
    sidecar::write(&run.provenance(1), &provenance).unwrap();
    let summary = summary::summarize(&run, &EquivalenceTable::default()).unwrap();
    let [low, high] = summary.summary.energy_range_kwh.unwrap();
    assert!((low - 0.1).abs() < 1e-12 && (high - 1.5).abs() < 1e-12, "{low} {high}");
    assert_eq!(summary.stages[0].provenance.as_ref(), Some(&provenance));
}

#[test]
fn a_run_without_emissions_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(&folder);
    for _ in 0..2 {
        let problem = summary::current(&run).unwrap_err().problem();
        assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::NotFound, "carbon.no_emissions"));
        assert!(problem.message.contains("v1"), "{}", problem.message);
        fs::create_dir_all(run.project().emissions()).unwrap();
    }
}

#[test]
fn a_sidecar_of_a_later_format_or_broken_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(&folder);
    codecarbon::write(&run.emissions_csv(1), &[row("now", 0.3, 1.0)]).unwrap();
    let later = r#"{"format_version":3,"meter":"","components":[],"carbon_intensity_g_per_kwh":1,
        "carbon_intensity_source":"","pue":1,"notes":[],"attempts":1}"#;
    for (text, expected) in
        [(later, "format_version 3"), ("{\n\"format_version\": 1", "not a provenance file")]
    {
        fs::write(run.provenance(1), text).unwrap();
        let problem = summary::summarize(&run, &EquivalenceTable::default()).unwrap_err().problem();
        assert!(problem.message.contains(expected), "{}", problem.message);
        assert_eq!(problem.location.and_then(|location| location.file), Some(run.provenance(1)));
    }
}

type Change = fn(&mut EmissionsProvenance);

#[test]
fn energy_below_nothing_or_beyond_measure_is_refused_wherever_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(&folder);
    let refused = || summary::summarize(&run, &EquivalenceTable::default()).unwrap_err().problem().message;
    for (column, wrong) in [
        ("energy_consumed", EmissionsRecord { energy_consumed: -5.0, ..row("now", 0.3, 1.0) }),
        ("emissions", row("now", -0.3, 1.0)),
        ("ram_energy", EmissionsRecord { ram_energy: -1e-9, ..row("now", 0.3, 1.0) }),
        ("duration", row("now", 0.3, -1.0)),
        // Two of these have no sum.
        ("energy_consumed", EmissionsRecord { energy_consumed: 1e308, ..row("now", 0.3, 1.0) }),
        ("emissions", row("now", 1e300, 1.0)),
    ] {
        codecarbon::write(&run.emissions_csv(1), &[wrong]).unwrap();
        assert!(refused().contains(column), "{}", refused());
    }
    codecarbon::write(&run.emissions_csv(1), &[row("now", 0.3, 1.0)]).unwrap();
    let part =
        ComponentProvenance { component: "cpu".into(), energy_kwh: 1.0, ..ComponentProvenance::default() };
    let whole =
        EmissionsProvenance { format_version: 2, components: vec![part], ..EmissionsProvenance::default() };
    let figures: [(&str, Change); 5] = [
        ("energy_kwh of cpu", |of| of.components[0].energy_kwh = 1e308),
        ("energy_kwh of cpu", |of| of.components[0].energy_kwh = -1.0),
        ("range_kwh of cpu", |of| of.components[0].range_kwh = Some([-1.0, 2.0])),
        ("emissions_range_kg", |of| of.emissions_range_kg = Some([0.1, -0.2])),
        ("carbon_intensity_g_per_kwh", |of| of.carbon_intensity_g_per_kwh = -400.0),
    ];
    for (figure, change) in figures {
        let mut wrong = whole.clone();
        change(&mut wrong);
        sidecar::write(&run.provenance(1), &wrong).unwrap();
        assert!(refused().contains(figure), "{}", refused());
    }
    sidecar::write(&run.provenance(1), &whole).unwrap();
    assert!(summary::summarize(&run, &EquivalenceTable::default()).is_ok());
}

#[test]
fn files_are_summed_up_by_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("emissions.csv");
    let of = |run: &str, kg| EmissionsRecord { run_id: run.into(), ..row("now", kg, 1.0) };
    codecarbon::write(&file, &[of("a", 0.1), of("b", 0.5)]).unwrap();
    let summary =
        summary::summarize_paths(std::slice::from_ref(&file), &EquivalenceTable::default()).unwrap();
    assert!((summary.summary.total_emissions_kg_co2 - 0.6).abs() < 1e-12);
    assert_eq!(summary.runs.iter().map(|run| run.run_id.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    assert!(summary.caveats.is_empty(), "{:?}", summary.caveats);
    codecarbon::write(&file, &[]).unwrap();
    let problem = summary::summarize_paths(&[file], &EquivalenceTable::default()).unwrap_err().problem();
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::NotFound, "carbon.no_emissions"));
}

#[test]
fn a_run_beside_another_one_is_no_figure_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let project = ProjectLayout::new(folder.path());
    for id in ["v1", "copy"] {
        let row = EmissionsRecord {
            tracking_mode: "machine".into(),
            cpu_count: 8,
            ram_total_size: 16.0,
            run_id: id.into(),
            ..row("2026-01-02T03:04:05", 0.3, 1.0)
        };
        codecarbon::write(&project.run(id).emissions_csv(1), &[row]).unwrap();
    }
    let summary = summary::summarize(&project.run("v1"), &EquivalenceTable::default()).unwrap();
    let [caveat] = &summary.caveats[..] else { panic!("{summary:?}") };
    assert!(caveat.contains("beside copy on the same machine") && caveat.contains("59 min 59 s"), "{caveat}");
    let compared = greentune_carbon::compare::compare(&[project.run("v1"), project.run("copy")]).unwrap();
    let caveats = &compared.runs[1].difference.as_ref().unwrap().caveats;
    assert_eq!(caveats.len(), 2, "{caveats:?}");
}

#[test]
fn a_stage_file_of_another_writer_is_added_up_and_the_runs_own_row_goes_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(&folder);
    let of = |id: &str, kg| EmissionsRecord { run_id: id.into(), ..row("now", kg, 1.0) };
    let total = || {
        let summary = summary::summarize(&run, &EquivalenceTable::default()).unwrap();
        summary.summary.total_emissions_kg_co2
    };
    codecarbon::write(&run.emissions_csv(1), &[of("uuid-1", 0.1), of("uuid-2", 0.2)]).unwrap();
    assert!((total() - 0.3).abs() < 1e-12);
    codecarbon::write(&run.emissions_csv(1), &[of("v1", 0.1), of("v1", 0.4), of("uuid-2", 0.2)]).unwrap();
    assert!((total() - 0.4).abs() < 1e-12);
    codecarbon::write(&run.emissions_csv(1), &[of("v1", -0.1)]).unwrap();
    let problem = summary::summarize(&run, &EquivalenceTable::default()).unwrap_err().problem();
    assert!(
        problem.message.contains("-0.1") && problem.location.unwrap().line == Some(2),
        "{}",
        problem.message
    );
}

#[test]
fn ranks_in_the_file_of_a_stage_are_one_machine_as_in_the_aggregate() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(&folder);
    let rank = |id: &str, timestamp: &str, kwh: f64| EmissionsRecord {
        run_id: id.into(),
        tracking_mode: "machine".into(),
        cpu_count: 8,
        ram_total_size: 16.0,
        cpu_energy: kwh,
        energy_consumed: kwh,
        ..row(timestamp, kwh / 10.0, 1.0)
    };
    let check = |ranks: &[EmissionsRecord], kwh: f64, hours: f64| {
        codecarbon::write(&run.emissions_csv(1), ranks).unwrap();
        let summary = summary::summarize(&run, &EquivalenceTable::default()).unwrap();
        let SummaryTotals { total_energy_kwh, total_emissions_kg_co2, total_duration_hours, .. } =
            summary.summary;
        assert!((total_energy_kwh - kwh).abs() < 2e-3, "a machine that drew {kwh} kWh: {total_energy_kwh}");
        assert!((total_emissions_kg_co2 - kwh / 10.0).abs() < 2e-4, "{total_emissions_kg_co2}");
        assert!((total_duration_hours - hours).abs() < 1e-3, "{total_duration_hours}");
        let all = aggregate(&run.project().emissions(), &EquivalenceTable::default()).unwrap();
        assert!((all.total_energy_kwh - total_energy_kwh).abs() < 1e-9, "{all:?}");
        assert!((all.top_emitting_runs[0].duration_hours - total_duration_hours).abs() < 1e-9, "{all:?}");
        let current = summary::current(&run).unwrap();
        assert!((current.run_energy_consumed_kwh - total_energy_kwh).abs() < 1e-9, "{current:?}");
        summary.caveats
    };
    let noon = "2026-09-01T12:00:00";
    let ranks: Vec<_> = (0..4).map(|rank_number| rank(&format!("rank{rank_number}"), noon, 3.0)).collect();
    let [caveat] = &check(&ranks, 3.0, 1.0)[..] else { panic!("one caveat") };
    assert!(caveat.starts_with("stage 1: 4 meters of one run") && caveat.contains("12.0 kWh"), "{caveat}");
    // One after the other they are what each of them drew, and so they are on machines that differ.
    assert!(check(&[rank("a", "2026-09-01T11:00:00", 3.0), rank("b", noon, 2.0)], 5.0, 2.0).is_empty());
    let elsewhere = EmissionsRecord { cpu_model: "other".into(), ..rank("b", noon, 2.0) };
    assert!(check(&[rank("a", noon, 3.0), elsewhere], 5.0, 2.0).is_empty());
}
