//! Runs sent to a server of Weights & Biases. What its own client sends of the same run is compared in
//! `fixtures/interop/wandb_sync.py`.

use std::{fs, net::TcpListener, path::PathBuf, time::Duration};

use greentune_tracking::{Credentials, TrackerReport, Tracking, sync};
use serde_json::json;

use crate::{desk::Desk, fake_wandb::FakeWandb};

const KEY: &str = "0123456789abcdef0123456789abcdef01234567";
/// `api:` and the key.
const AUTHORIZATION: &str = "Basic YXBpOjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc=";

fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.settings.wandb.project = Some(String::from("adapters"));
    desk
}

fn credentials(uri: &str) -> Credentials {
    Credentials {
        wandb_api_key: Some(String::from(KEY)),
        wandb_base_url: Some(uri.to_owned()),
        ..Credentials::default()
    }
}

fn send(desk: &Desk, uri: &str) -> TrackerReport {
    let mut report = sync(&desk.layout, &desk.settings, &credentials(uri)).unwrap();
    assert_eq!(report.trackers.len(), 1);
    report.trackers.remove(0)
}

fn folder(desk: &Desk) -> PathBuf {
    desk.layout.project().root().join("wandb/offline-run-20260102_030405-demo-1")
}

/// Every file below the project, as one text.
fn all_files(desk: &Desk) -> String {
    let mut folders = vec![desk.layout.project().root().to_owned()];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                text += &String::from_utf8_lossy(&fs::read(path).unwrap());
            }
        }
    }
    text
}

#[test]
fn a_run_arrives_whole_and_the_key_stays_in_memory() {
    let server = FakeWandb::start();
    let mut desk = desk();
    desk.whole(700);
    let report = send(&desk, &server.uri);
    assert_eq!((report.problems.as_slice(), report.total), (&[][..], desk.events()));
    assert_eq!(report.place, Some(format!("{}/my%20team/adapters/runs/demo-1", server.uri)));
    assert_eq!(report.then, None);
    let known = server.knows();
    let losses: Vec<_> = known.rows.values().filter_map(|row| row["stage1_train_loss"].as_f64()).collect();
    assert_eq!(losses, (1..=700).map(|step| 1.0 / f64::from(step)).collect::<Vec<_>>());
    assert_eq!((known.broken_rows.as_slice(), known.rows_sent), (&[][..], 702));
    assert_eq!(known.rows[&0]["stage1_step"], 1);
    assert_eq!(known.summary["stage1_train_loss"], 1.0 / 700.0);
    assert_eq!(known.summary["stage1_cpu_energy_kwh"], 0.007);
    assert_eq!(known.exit_codes, [0]);
    let config: serde_json::Value =
        serde_json::from_str(known.upserts.last().unwrap()["config"].as_str().unwrap()).unwrap();
    assert_eq!(config["lora.rank"], json!({ "value": desk.settings.lora.rank }));
    let metrics = config["_wandb"]["value"]["m"].as_array().unwrap();
    assert_eq!(metrics[0], json!({ "1": "stage1_step" }));
    assert!(metrics.contains(&json!({ "1": "stage1_train_loss", "5": 1, "6": [3] })), "{metrics:?}");
    assert_eq!(known.upserts[0]["name"], "demo-1");
    let csv = "emissions/stage1/demo-1_stage1_emissions.csv";
    assert_eq!(known.files[csv], fs::read(desk.layout.emissions_csv(1)).unwrap());
    assert!(known.uploaded.iter().any(|name| name == csv), "{:?}", known.uploaded);
    for (path, authorization) in &known.calls {
        // The place of a file may be of somebody else.
        let expected = (!path.starts_with("/upload/")).then_some(AUTHORIZATION);
        assert_eq!(authorization.as_deref(), expected, "{path}");
    }
    assert!(!folder(&desk).exists(), "nothing is left to `wandb sync`");
    let written = all_files(&desk);
    assert!(written.contains("next_seq"));
    let shown = format!("{report:?} {:?}", credentials(&server.uri));
    assert!(!written.contains(KEY) && !shown.contains(KEY) && !shown.contains(&AUTHORIZATION[6..]));
}

#[test]
fn a_resumed_run_goes_on_behind_its_rows_and_what_is_sent_again_stands_there_once() {
    let server = FakeWandb::start();
    let mut desk = desk();
    desk.begin(0);
    desk.steps(1..=6);
    desk.add("cancelled", &json!({ "stage": 1, "step": 4 }));
    send(&desk, &server.uri);
    assert_eq!(server.knows().exit_codes, [255]);
    desk.begin(4);
    desk.steps(5..=9);
    desk.finish();
    send(&desk, &server.uri);
    {
        let known = server.knows();
        assert_eq!((known.rows_sent, known.rows.len()), (11, 11), "9 steps, emissions, the stage's end");
        assert_eq!(known.exit_codes, [255, 0]);
        assert_eq!(known.upserts.last().unwrap()["id"], "Yg==");
    }
    fs::remove_dir_all(desk.layout.folder().join("tracking")).unwrap();
    assert_eq!(send(&desk, &server.uri).sent, desk.events());
    let known = server.knows();
    assert_eq!((known.rows_sent, known.rows.len(), known.broken_rows.len()), (22, 11, 0));
}

#[test]
fn a_lost_reply_doubles_nothing() {
    for call in ["upsertBucket", "file_stream", "createRunFiles", "/upload/"] {
        let server = FakeWandb::start();
        server.knows().lose_reply = Some(call);
        let mut desk = desk();
        desk.whole(5);
        let report = send(&desk, &server.uri);
        assert_eq!((report.problems.as_slice(), report.total), (&[][..], desk.events()), "{call}");
        let known = server.knows();
        assert!(known.lose_reply.is_none(), "{call} was called");
        assert_eq!((known.rows.len(), known.broken_rows.len()), (7, 0), "{call}");
        assert_eq!(known.exit_codes.last(), Some(&0), "{call}");
    }
}

#[test]
fn while_the_server_is_away_the_folder_is_written_and_later_the_server_gets_everything() {
    let mut without_key = desk();
    without_key.whole(5);
    crate::send(&without_key);
    let log = |desk: &Desk| fs::read(folder(desk).join("run-demo-1.wandb")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let uri = format!("http://{address}");
    let mut desk = desk();
    desk.whole(5);
    let tracking = Tracking::start(&desk.layout, &desk.settings, &credentials(&uri)).unwrap();
    let problems = tracking.finish(Duration::from_millis(1500));
    let codes: Vec<_> = problems.iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(codes, ["tracking.unreachable", "tracking.not_sent"]);
    assert!(!format!("{problems:?}").contains(KEY));
    assert!(log(&desk) == log(&without_key));
    let server = FakeWandb::on(TcpListener::bind(address).unwrap());
    let report = send(&desk, &uri);
    assert_eq!((report.problems.as_slice(), report.sent), (&[][..], desk.events()));
    assert_eq!(server.knows().rows.len(), 7);
    // `wandb sync` passes it over now.
    assert!(folder(&desk).join("run-demo-1.wandb.synced").is_file());
}

#[test]
fn a_run_that_is_refused_goes_into_the_folder() {
    let refusals = [
        (401, r#"{"errors":[{"message":"user is not logged in"}]}"#, "tracking.refused", "not logged in"),
        (404, r#"{"errors":[{"message":"no such entity"}]}"#, "tracking.rejected", "no such entity"),
        (200, r#"{"data":null,"errors":[{"message":"bad name"}]}"#, "tracking.rejected", "bad name"),
        (200, "<!doctype html>", "tracking.not_wandb", "doctype"),
    ];
    for (status, text, code, words) in refusals {
        let server = FakeWandb::start();
        server.knows().refusal = Some((status, text));
        let mut desk = desk();
        desk.whole(3);
        let report = send(&desk, &server.uri);
        assert_eq!(report.problems.len(), 1, "{report:?}");
        let problem = &report.problems[0];
        assert_eq!(problem.code, code);
        assert!(problem.message.contains(words) && !format!("{problem:?}").contains(KEY), "{problem:?}");
        assert_eq!(report.then, Some(format!("wandb sync {}", folder(&desk).display())));
        assert!(folder(&desk).join("run-demo-1.wandb").is_file());
        assert_eq!(report.total, desk.events());
    }
}

#[test]
fn a_server_that_knows_the_run_no_more_gets_it_from_the_first_row() {
    let server = FakeWandb::start();
    let mut desk = desk();
    desk.begin(0);
    desk.steps(1..=4);
    send(&desk, &server.uri);
    {
        let mut known = server.knows();
        known.is_made = false;
        known.rows.clear();
    }
    desk.finish();
    assert!(send(&desk, &server.uri).problems.is_empty());
    let known = server.knows();
    assert_eq!((known.rows.len(), known.broken_rows.len()), (6, 0));
}
