#![allow(missing_docs, clippy::float_cmp)]

mod desk;
mod fake;
mod fake_wandb;
mod wandb;
mod wandb_live;

use std::{
    fs,
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use desk::Desk;
use fake::{Answer, FakeMlflow};
use greentune_core_config::{Diagnostic as _, Suggestion};
use greentune_http_client::TokenHosts;
use greentune_tracking::{Credentials, TrackerReport, Tracking, TrackingError, sync};

/// Sends the run to the desk's one tracker.
fn send(desk: &Desk) -> TrackerReport {
    let mut report = sync(&desk.layout, &desk.settings, &Credentials::default()).unwrap();
    assert_eq!(report.trackers.len(), 1);
    report.trackers.remove(0)
}

fn codes(report: &TrackerReport) -> Vec<&str> {
    report.problems.iter().map(|problem| problem.code.as_str()).collect()
}

#[test]
fn a_run_arrives_whole_and_within_the_limits_of_a_call() {
    let server = FakeMlflow::start();
    let mut desk = Desk::for_mlflow(&server.uri);
    desk.whole(700);
    let report = send(&desk);
    assert_eq!((report.problems.len(), report.sent, report.total), (0, desk.events(), desk.events()));
    let known = server.knows();
    assert!(known.largest_batch.0 <= 1000 && known.largest_batch.1 <= 100, "{:?}", known.largest_batch);
    let of = |key: &str| -> Vec<_> {
        known
            .metrics
            .iter()
            .filter(|((name, ..), _)| name == key)
            .map(|((_, step, _), value)| (*step, *value))
            .collect()
    };
    assert_eq!(of("stage1_train_loss"), (1..=700).map(|step| (step, 1.0 / step as f64)).collect::<Vec<_>>());
    assert_eq!(of("stage1_cpu_energy_kwh"), [(700, 0.007)]);
    assert_eq!(of("stage1_carbon_intensity_gco2_kwh"), [(700, 400.0)]);
    assert_eq!(of("stage1_emissions_per_hour_kg").last(), Some(&(700, 0.004 / (120.0 / 3600.0))));
    assert_eq!(known.params["lora.rank"], desk.settings.lora.rank.to_string());
    assert_eq!(known.params["project.description"].len(), 500);
    assert_eq!(known.statuses.last().unwrap(), "FINISHED");
    let csv = &known.artifacts["1/r/artifacts/emissions/stage1/demo-1_stage1_emissions.csv"];
    assert_eq!(*csv, fs::read(desk.layout.emissions_csv(1)).unwrap());
    assert!(known.artifacts.contains_key("1/r/artifacts/emissions/stage1/demo-1_stage1_provenance.json"));
    let run = known.run.clone().unwrap();
    assert_eq!(run["name"], "demo-1");
    assert!(run["data"]["tags"].to_string().contains("greentune.run_id"));
}

#[test]
fn emissions_stay_here_when_told_so() {
    let server = FakeMlflow::start();
    let mut desk = Desk::for_mlflow(&server.uri);
    desk.settings.mlflow.log_emissions = false;
    desk.whole(2);
    assert!(send(&desk).problems.is_empty());
    let known = server.knows();
    assert!(known.artifacts.is_empty());
    let names: std::collections::BTreeSet<_> = known.metrics.keys().map(|(name, ..)| name.as_str()).collect();
    let expected = ["final_train_loss", "gradient_norm", "learning_rate", "tokens_per_second", "train_loss"];
    assert_eq!(names.into_iter().collect::<Vec<_>>(), expected.map(|name| format!("stage1_{name}")));
}

#[test]
fn a_resumed_run_goes_on_in_the_same_place_and_repeats_no_step() {
    let server = FakeMlflow::start();
    let mut desk = Desk::for_mlflow(&server.uri);
    desk.begin(0);
    desk.steps(1..=6);
    desk.add("cancelled", &serde_json::json!({ "stage": 1, "step": 4 }));
    send(&desk);
    assert_eq!(server.knows().statuses.last().unwrap(), "KILLED");
    desk.begin(4);
    desk.steps(5..=9);
    assert_eq!(send(&desk).sent, 7);
    assert_eq!(server.knows().statuses.last().unwrap(), "RUNNING");
    desk.finish();
    // The state is lost: the run is found by its tag and everything is sent again.
    fs::remove_dir_all(desk.layout.folder().join("tracking")).unwrap();
    assert_eq!(send(&desk).sent, desk.events());
    let known = server.knows();
    assert_eq!(known.runs_created, 1);
    let losses: Vec<_> = known.metrics.keys().filter(|(name, ..)| name == "stage1_train_loss").collect();
    assert_eq!(losses.iter().map(|(_, step, _)| *step).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
}

#[test]
fn a_lost_reply_doubles_nothing() {
    for call in ["runs/create", "runs/log-batch", "runs/update", "experiments/create"] {
        let server = FakeMlflow::start().answering(call, Answer::LoseReply);
        let mut desk = Desk::for_mlflow(&server.uri);
        desk.whole(5);
        let report = send(&desk);
        assert_eq!((codes(&report), report.total), (vec![], desk.events()), "{call}");
        let known = server.knows();
        let losses = known.metrics.keys().filter(|(name, ..)| name == "stage1_train_loss").count();
        assert_eq!((known.runs_created, losses), (1, 5), "{call}");
    }
}

#[test]
fn an_experiment_that_somebody_else_makes_at_the_same_time_is_used() {
    let server = FakeMlflow::start().answering("experiments/create", Answer::Raced);
    let mut desk = Desk::for_mlflow(&server.uri);
    desk.whole(2);
    let report = send(&desk);
    assert_eq!((codes(&report), report.total), (vec![], desk.events()));
}

#[test]
fn a_server_that_comes_late_gets_everything() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut desk = Desk::for_mlflow(&format!("http://{address}"));
    desk.begin(0);
    let mut tracking = Tracking::start(&desk.layout, &desk.settings, &Credentials::default()).unwrap();
    desk.steps(1..=3);
    thread::sleep(Duration::from_millis(1500));
    let told = tracking.problems();
    assert_eq!(
        told.iter().map(|problem| problem.code.as_str()).collect::<Vec<_>>(),
        ["tracking.unreachable"]
    );
    let server = FakeMlflow::on(TcpListener::bind(address).unwrap());
    desk.finish();
    assert_eq!(tracking.finish(Duration::from_secs(10)), []);
    assert_eq!(server.knows().statuses.last().unwrap(), "FINISHED");
}

#[test]
fn a_server_that_hangs_holds_the_end_up_for_the_grace_alone() {
    let server = FakeMlflow::start().answering("experiments", Answer::Hang);
    let mut desk = Desk::for_mlflow(&server.uri);
    desk.whole(3);
    let tracking = Tracking::start(&desk.layout, &desk.settings, &Credentials::default()).unwrap();
    let begin = Instant::now();
    let problems = tracking.finish(Duration::from_secs(1));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].code, "tracking.not_sent");
    assert!(problems[0].message.starts_with(&format!("{} events of run demo-1", desk.events())));
    let rest = Suggestion::new("send the rest later", "sync_tracking").with("run_id", "demo-1");
    assert_eq!(problems[0].suggestions, [rest]);
}

#[test]
fn only_one_process_sends_a_run() {
    let server = FakeMlflow::start();
    let mut desk = Desk::for_mlflow(&server.uri);
    desk.begin(0);
    let tracking = Tracking::start(&desk.layout, &desk.settings, &Credentials::default()).unwrap();
    let second = sync(&desk.layout, &desk.settings, &Credentials::default());
    assert!(matches!(second, Err(TrackingError::Busy(_))), "{second:?}");
    tracking.finish(Duration::from_secs(5));
}

#[test]
fn a_refusal_is_told_without_what_was_refused() {
    let server =
        FakeMlflow::start().answering("experiments", Answer::Status(401, String::from("who are you?")));
    let mut desk = Desk::for_mlflow(&server.uri);
    desk.whole(2);
    let credentials = Credentials {
        mlflow_username: Some(String::from("ann")),
        mlflow_password: Some(String::from("hunter2")),
        token_hosts: TokenHosts::parse(&server.uri),
        ..Credentials::default()
    };
    let report = sync(&desk.layout, &desk.settings, &credentials).unwrap();
    assert_eq!(codes(&report.trackers[0]), ["tracking.refused"]);
    assert_eq!(server.knows().calls[0].1.as_deref(), Some("Basic YW5uOmh1bnRlcjI="));
    assert!(!format!("{report:?} {credentials:?}").contains("hunter2"));
    let token = Credentials { mlflow_token: Some(String::from("t0ken")), ..credentials };
    sync(&desk.layout, &desk.settings, &token).unwrap();
    assert_eq!(server.knows().calls.last().unwrap().1.as_deref(), Some("Bearer t0ken"));
}

#[test]
fn what_is_no_mlflow_server_is_said_to_be_none() {
    let html = String::from("<!doctype html><title>Log in</title>");
    let elsewhere = FakeMlflow::start();
    let cases = [
        (Answer::Status(200, html.clone()), "tracking.not_mlflow"),
        (Answer::Status(404, html), "tracking.not_mlflow"),
        (Answer::Redirect(format!("{}/login?next=secret", elsewhere.uri)), "tracking.redirected"),
    ];
    for (answer, code) in cases {
        let server = FakeMlflow::start().answering("", answer);
        let mut desk = Desk::for_mlflow(&server.uri);
        desk.whole(2);
        let report = send(&desk);
        assert_eq!((codes(&report), report.total), (vec![code], 0));
        assert!(!report.problems[0].message.contains("secret"));
    }
    assert!(elsewhere.knows().calls.is_empty());
}

#[test]
fn what_was_deleted_is_said_with_how_to_bring_it_back() {
    let server = FakeMlflow::start();
    let mut desk = Desk::for_mlflow(&server.uri);
    desk.whole(2);
    server.knows().experiment =
        Some(serde_json::json!({ "experiment_id": "7", "lifecycle_stage": "deleted" }));
    let report = send(&desk);
    assert_eq!(codes(&report), ["tracking.deleted"]);
    assert!(
        report.problems[0].hint.as_ref().unwrap().contains("mlflow experiments restore --experiment-id 7")
    );
    server.knows().experiment = None;
    send(&desk);
    server.knows().run.as_mut().unwrap()["info"]["lifecycle_stage"] = "deleted".into();
    assert_eq!(codes(&send(&desk)), ["tracking.deleted"]);
    // The server knows nothing of it any more: it is sent anew.
    server.knows().run = None;
    let report = send(&desk);
    assert_eq!((codes(&report), report.total), (vec![], desk.events()));
    assert_eq!(server.knows().runs_created, 2);
}

#[test]
fn what_keeps_parameters_or_files_back_does_not_keep_figures_back() {
    let server = FakeMlflow::start();
    let mut desk = Desk::for_mlflow(&server.uri);
    desk.whole(2);
    server.knows().params.insert(String::from("project.name"), String::from("another"));
    server.knows().artifact_uri = String::from("s3://bucket/1/r/artifacts");
    let report = send(&desk);
    let expected = ["tracking.rejected", "tracking.artifact_store", "tracking.artifact_store"];
    assert_eq!((codes(&report), report.total), (expected.to_vec(), desk.events()));
    assert_eq!(server.knows().statuses.last().unwrap(), "FINISHED");
}

#[test]
fn files_go_to_a_store_of_this_machine_and_to_no_other_server() {
    let store = tempfile::tempdir().unwrap();
    let mut desk = Desk::new();
    desk.whole(2);
    desk.settings.mlflow.enabled = true;
    let uris = [
        (format!("file://{}/1/r/artifacts", store.path().display()), vec![]),
        (String::from("mlflow-artifacts://other.example/1/r/artifacts"), vec!["tracking.artifact_store"; 2]),
        (String::from("file:///nowhere/at/all/1/r/artifacts"), vec!["tracking.artifact_store"; 2]),
    ];
    let credentials =
        Credentials { artifact_folders: vec![store.path().to_owned()], ..Credentials::default() };
    for (uri, expected) in uris {
        let server = FakeMlflow::start();
        server.uri.clone_into(&mut desk.settings.mlflow.tracking_uri);
        server.knows().artifact_uri = uri;
        let report = sync(&desk.layout, &desk.settings, &credentials).unwrap();
        assert_eq!(codes(&report.trackers[0]), expected);
        assert!(server.knows().artifacts.is_empty());
    }
    assert!(store.path().join("1/r/artifacts/emissions/stage1/demo-1_stage1_emissions.csv").is_file());
}

#[test]
fn a_server_chooses_no_folder_of_this_machine() {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut desk = Desk::new();
    desk.whole(2);
    desk.settings.mlflow.enabled = true;
    let project = desk.layout.project().root().to_owned();
    std::os::unix::fs::symlink(elsewhere.path(), project.join("link")).unwrap();
    let artifacts = project.join("mlruns/1/r/artifacts");
    fs::create_dir_all(&artifacts).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), artifacts.join("emissions")).unwrap();
    let uris = [
        format!("{}/1/r/artifacts", elsewhere.path().display()),
        format!("file://{}/1/r/artifacts", elsewhere.path().display()),
        format!("{}/link/1/r/artifacts", project.display()),
        artifacts.display().to_string(),
        format!("{}/../../{}/1/r/artifacts", project.display(), elsewhere.path().display()),
    ];
    for uri in uris {
        let server = FakeMlflow::start();
        server.uri.clone_into(&mut desk.settings.mlflow.tracking_uri);
        server.knows().artifact_uri.clone_from(&uri);
        assert_eq!(codes(&send(&desk)), ["tracking.artifact_store"; 2], "{uri}");
    }
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn an_address_that_a_project_brings_gets_no_credentials() {
    let server = FakeMlflow::start();
    let mut desk = Desk::for_mlflow(&server.uri);
    desk.whole(2);
    let mut credentials = Credentials {
        mlflow_token: Some(String::from("canary")),
        token_hosts: TokenHosts::parse("https://mlflow.example, localhost:1"),
        ..Credentials::default()
    };
    let report = sync(&desk.layout, &desk.settings, &credentials).unwrap();
    assert_eq!(codes(&report.trackers[0]), [""; 0], "it takes the run from anybody");
    assert!(server.knows().calls.iter().all(|call| call.1.is_none()), "{:?}", server.knows().calls);
    let refusing = FakeMlflow::start().answering("runs", Answer::Status(401, String::from("who are you?")));
    let mut strict = Desk::for_mlflow(&refusing.uri);
    strict.whole(2);
    let report = sync(&strict.layout, &strict.settings, &credentials).unwrap();
    assert_eq!(codes(&report.trackers[0]), ["tracking.token_withheld"]);
    assert!(refusing.knows().calls.iter().all(|call| call.1.is_none()), "{:?}", refusing.knows().calls);
    credentials.token_hosts = TokenHosts::parse(&server.uri);
    sync(&desk.layout, &desk.settings, &credentials).unwrap();
    assert_eq!(server.knows().calls.last().unwrap().1.as_deref(), Some("Bearer canary"));
}

#[test]
fn a_server_that_repeats_credentials_is_not_quoted() {
    for (token, username, repeated) in [
        (Some("canary-a"), None, "canary-a"),
        (None, Some("ann"), "canary-b"),
        // `ann:canary-b` in base64.
        (None, Some("ann"), "YW5uOmNhbmFyeS1i"),
    ] {
        let said = format!(r#"{{"error_code":"X","message":"no: {repeated}"}}"#);
        for answer in [
            Answer::Status(400, said.clone()),
            Answer::Status(401, said.clone()),
            Answer::Status(500, repeated.to_owned()),
            Answer::Status(200, repeated.to_owned()),
            Answer::Redirect(format!("https://elsewhere.example/{repeated}")),
        ] {
            let server = FakeMlflow::start().answering("experiments", answer.clone());
            let mut desk = Desk::for_mlflow(&server.uri);
            desk.whole(1);
            let credentials = Credentials {
                mlflow_token: token.map(str::to_owned),
                mlflow_username: username.map(str::to_owned),
                mlflow_password: Some(String::from("canary-b")),
                token_hosts: TokenHosts::parse(&server.uri),
                ..Credentials::default()
            };
            let mut tracking = Tracking::start(&desk.layout, &desk.settings, &credentials).unwrap();
            let problems = until_told(&mut tracking);
            assert!(problems.contains("(secret)") && !problems.contains(repeated), "{answer:?}: {problems}");
        }
    }
}

/// The first problems that `tracking` tells.
fn until_told(tracking: &mut Tracking) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let problems = tracking.problems();
        if !problems.is_empty() {
            return format!("{problems:?}");
        }
        assert!(Instant::now() < deadline, "nothing was told");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn no_credentials_go_over_plain_http_to_another_machine() {
    let mut desk = Desk::for_mlflow("http://192.0.2.1:5000");
    desk.whole(1);
    let mlflow = Credentials {
        mlflow_token: Some(String::from("canary")),
        token_hosts: TokenHosts::parse("192.0.2.1:5000"),
        ..Credentials::default()
    };
    let error = sync(&desk.layout, &desk.settings, &mlflow).unwrap_err();
    assert!(error.to_string().contains("plain http") && !error.to_string().contains("canary"), "{error}");
    desk.settings.mlflow.enabled = false;
    desk.settings.wandb.project = Some(String::from("p"));
    let wandb = Credentials {
        wandb_api_key: Some("0".repeat(40)),
        wandb_base_url: Some(String::from("http://192.0.2.1:8080")),
        ..Credentials::default()
    };
    let error = sync(&desk.layout, &desk.settings, &wandb).unwrap_err();
    assert!(error.to_string().starts_with("WANDB_BASE_URL is an address of plain http"), "{error}");
}

#[test]
fn an_address_that_cannot_be_one_is_refused_before_anything_is_sent() {
    let mut desk = Desk::for_mlflow("");
    desk.whole(1);
    for (uri, shown) in [
        ("http://ann:hunter2@localhost:5000", "an address with credentials in it"),
        ("ann:hunter2@localhost:5000", "an address with credentials in it"),
        ("http://localhost:5000/?token=hunter2", "an address with credentials in it"),
        ("databricks", "databricks"),
        ("file:///tmp/mlruns", "file:///tmp/mlruns"),
        ("http://", "http:"),
    ] {
        uri.clone_into(&mut desk.settings.mlflow.tracking_uri);
        let error = sync(&desk.layout, &desk.settings, &Credentials::default()).unwrap_err();
        assert!(matches!(&error, TrackingError::Setting { found, .. } if found == shown), "{error:?}");
        assert!(!error.problem().to_string().contains("hunter2"));
    }
    desk.settings.mlflow.enabled = false;
    let error = sync(&desk.layout, &desk.settings, &Credentials::default()).unwrap_err();
    assert_eq!(error.problem().code, "tracking.nothing_configured");
    assert_eq!(
        Tracking::start(&desk.layout, &desk.settings, &Credentials::default())
            .unwrap()
            .finish(Duration::ZERO),
        []
    );
}
