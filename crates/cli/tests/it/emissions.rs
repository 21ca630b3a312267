//! `greentune emissions` on files, and what `emissions track` leaves when something goes wrong.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::sandbox::{Sandbox, ran};

/// Three runs in one file of CodeCarbon, one of them with two cumulative rows.
const MANY_RUNS: &str =
    "duration,emissions,energy_consumed,cpu_energy,run_id,timestamp,tracking_mode,cpu_model
3600,0.1,1.0,0.8,run-a,2026-09-01T10:00:00,machine,CPU X
1800,0.05,0.5,0.4,run-b,2026-09-02T10:00:00,machine,CPU X
3600,0.2,2.0,1.6,run-b,2026-09-02T10:30:00,machine,CPU X
360,0.01,0.1,0.08,run-c,2026-09-03T10:00:00,machine,CPU X
";

#[test]
fn files_are_summed_up_compared_and_drawn_without_a_project() {
    let sandbox = Sandbox::new();
    sandbox.write("train_emissions.csv", MANY_RUNS);
    for arguments in [["emissions", "summary", "train_emissions.csv"], ["emissions", "summary", "."]] {
        let summary = sandbox.run(arguments.iter().chain(&["--json"])).json();
        let totals = &summary["summary"];
        let close = |key: &str, value: f64| (totals[key].as_f64().unwrap() - value).abs() < 1e-12;
        assert!(close("total_emissions_kg_co2", 0.31) && close("total_energy_kwh", 3.1), "{summary}");
        assert!(close("total_duration_hours", 2.1), "{summary}");
        assert_eq!(summary["runs"].as_array().unwrap().len(), 3, "{summary}");
    }
    let all = sandbox.run(["emissions", "aggregate", "train_emissions.csv", "--json"]).json();
    assert_eq!((&all["total_runs"], &all["total_files"]), (&json!(3), &json!(1)), "{all}");
    let compared = sandbox.run(["emissions", "compare", "train_emissions.csv", "--json"]).json();
    assert_eq!(compared["runs"].as_array().unwrap().len(), 3, "{compared}");
    let page = sandbox.run(["emissions", "aggregate", "train_emissions.csv"]);
    // One unit for all: 100 Wh stands as 0.100 kWh beside 2.00 kWh.
    assert!(page.stdout.contains("0.100 kWh") && !page.stdout.contains(" Wh"), "{page:?}");
    let drawn = sandbox.run(["emissions", "plot", "train_emissions.csv", "--json"]).json();
    assert_eq!(drawn["files"].as_array().unwrap().len(), 4, "{drawn}");
    assert!(sandbox.path("plots/energy_by_run.png").is_file());
    let missing = sandbox.run(["emissions", "summary", "missing.csv", "--json"]).problem();
    assert_eq!(missing["code"], "file.missing", "{missing}");
}

#[test]
fn a_metered_program_is_seen_by_reports_inside_and_outside_a_project() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.run(["emissions", "track", "--", "true"]).code, 0);
    let outside = sandbox.run(["emissions", "summary", "emissions.csv", "--json"]).json();
    assert!(outside["run_id"].as_str().unwrap().starts_with("track-"), "{outside}");
    let project = sandbox.project();
    let scripts = project.join("scripts");
    for folder in [&project, &scripts] {
        let tracked =
            ran(sandbox.command(["emissions", "track", "--json", "--", "true"]).current_dir(folder)).json();
        let id = tracked["run_id"].as_str().unwrap().to_owned();
        let summary =
            ran(sandbox.command(["emissions", "summary", &id, "--json"]).current_dir(&project)).json();
        assert_eq!(summary["run_id"], json!(id), "{summary}");
        sleep(Duration::from_millis(1100));
    }
    let all = ran(sandbox.command(["emissions", "aggregate", "--json"]).current_dir(&project)).json();
    assert_eq!(all["total_runs"], json!(2), "{all}");
}

/// A limit on the size of files stops a write as a full disk does.
#[test]
fn a_row_that_cannot_be_written_is_an_error_at_the_end() {
    let sandbox = Sandbox::new();
    let limited = |script: &str| {
        let mut command = Command::new("sh");
        let own = sandbox.command(["emissions", "track", "--", "sh", "-c", script]);
        command.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"]);
        command.arg(own.get_program()).args(own.get_args()).current_dir(sandbox.path("."));
        command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        ran(&mut command)
    };
    let succeeded = limited("exit 0");
    assert_eq!(succeeded.code, 69, "{succeeded:?}");
    assert!(succeeded.stderr.contains("error: the row could not be written"), "{succeeded:?}");
    assert!(!succeeded.stderr.contains("row added"), "{succeeded:?}");
    assert!(!sandbox.path("emissions.csv").exists(), "an empty file is no answer");
    let failed = limited("exit 7");
    assert_eq!(failed.code, 7, "the program's own code: {failed:?}");
    assert!(failed.stderr.contains("error: the row could not be written"), "{failed:?}");
}

/// `emissions track` of a program that would take ten minutes, once its first row is there.
fn tracking(sandbox: &Sandbox) -> Child {
    let _ = fs::remove_file(sandbox.path("emissions.csv"));
    let mut command = sandbox.command(["emissions", "track", "--", "sleep", "600"]);
    // In a group of its own, so that no terminal is taken to have sent the interrupt.
    let child = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while rows(sandbox) == 0 {
        assert!(Instant::now() < deadline, "no row was written");
        sleep(Duration::from_millis(10));
    }
    child
}

fn rows(sandbox: &Sandbox) -> usize {
    fs::read_to_string(sandbox.path("emissions.csv")).map_or(0, |text| text.lines().count().saturating_sub(1))
}

#[test]
fn a_tracker_that_is_asked_to_end_or_hung_up_leaves_its_last_row() {
    let sandbox = Sandbox::new();
    for (signal, number) in [(Signal::TERM, 15), (Signal::HUP, 1), (Signal::INT, 2)] {
        let mut child = tracking(&sandbox);
        sleep(Duration::from_millis(300));
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(128 + number), "as a shell has it");
        assert_eq!(rows(&sandbox), 1);
        let summary = sandbox.run(["emissions", "summary", "emissions.csv", "--json"]).json();
        let hours = summary["summary"]["total_duration_hours"].as_f64().unwrap();
        assert!(hours * 3600.0 > 0.25, "the row is the last one: {summary}");
    }
}

#[test]
fn a_tracker_that_is_killed_leaves_a_row() {
    let sandbox = Sandbox::new();
    let mut child = tracking(&sandbox);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(rows(&sandbox), 1);
}

#[test]
fn a_country_may_be_named_by_two_letters() {
    let sandbox = Sandbox::new();
    let tracked = sandbox.run(["emissions", "track", "--country", "FR", "--json", "--", "true"]).json();
    assert_eq!(tracked["record"]["country_iso_code"], "FRA", "{tracked}");
    let refused = sandbox.run(["emissions", "track", "--country", "GER", "--", "true"]);
    assert_eq!(refused.code, 2, "{refused:?}");
}
