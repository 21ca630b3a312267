//! What stays when processes are killed, when files are not what they should be, and when nobody reads.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use greentune_core_config::{
    preparation::PrepareTask,
    settings::Settings,
    task::{WorkerAnswer, WorkerTask},
};
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, ran};

const PATIENCE: Duration = Duration::from_secs(30);
/// So many that writing them takes longer than it takes to see that it began.
const RECORDS: usize = 200_000;

/// Waits until `is_so`; whether it was in time.
fn within(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if is_so() {
            return true;
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

/// A worker that prepares `records` of a data set into `out`, as the workbench starts it.
fn preparing(sandbox: &Sandbox, records: usize, seed: u64) -> Child {
    let line =
        |n: usize| json!({"instruction": format!("Say {n}."), "output": format!("{n}"), "n": n}).to_string();
    let data = sandbox.write("raw.jsonl", &(0..records).map(|n| line(n) + "\n").collect::<String>());
    let task = WorkerTask::Prepare(Box::new(PrepareTask {
        settings: Settings::default(),
        base_model_path: None,
        no_base_model: None,
        datasets: vec![data],
        out: sandbox.path("out"),
        reports: sandbox.path("reports"),
        seed,
        deduplicate: true,
        force: true,
    }));
    let task = sandbox.write("task.json", &serde_json::to_string(&task).unwrap());
    let answer = sandbox.path("answer.json");
    let arguments =
        ["worker", "--task", task.to_str().unwrap(), "--answer", answer.to_str().unwrap(), "--attached"];
    sandbox.command(arguments).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits for `worker` as somebody who wants its answer: standard input stays open.
fn succeeds(mut worker: Child) -> bool {
    let _open = worker.stdin.take();
    worker.wait().unwrap().success()
}

/// Folders in which splits are being written.
fn staging(out: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(out).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.to_string_lossy().contains("/.preparing-")).collect()
}

/// The numbers of the records in each split.
fn splits(out: &Path) -> [Vec<u64>; 3] {
    ["train", "validation", "test"].map(|split| {
        let text = fs::read_to_string(out.join(format!("{split}.jsonl"))).unwrap_or_default();
        let numbers =
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["n"].as_u64().unwrap());
        numbers.collect()
    })
}

#[test]
fn a_preparation_that_is_killed_leaves_the_old_splits_and_the_next_one_sweeps() {
    let sandbox = Sandbox::new();
    let out = sandbox.path("out");
    assert!(succeeds(preparing(&sandbox, RECORDS, 1)));
    let before = splits(&out);
    let mut killed = preparing(&sandbox, RECORDS, 2);
    assert!(within(PATIENCE, || !staging(&out).is_empty()), "it never wrote");
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(splits(&out), before);
    assert_eq!(staging(&out).len(), 1);
    assert!(succeeds(preparing(&sandbox, RECORDS, 2)));
    assert_ne!(splits(&out), before);
    assert_eq!(staging(&out), Vec::<PathBuf>::new());
}

#[test]
fn a_worker_ends_with_who_asked_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let out = sandbox.path("out");
    let mut worker = preparing(&sandbox, RECORDS, 1);
    // A folder that was made an instant ago is left to the next preparation's sweep.
    let writes = || staging(&out).iter().any(|folder| folder.join("splits").exists());
    assert!(within(PATIENCE, writes), "it never wrote");
    // What happens when the process that asked is killed: its end of the pipe closes.
    drop(worker.stdin.take());
    assert_eq!(worker.wait().unwrap().code(), Some(130));
    assert_eq!((splits(&out), staging(&out)), (<[Vec<u64>; 3]>::default(), Vec::new()));
    assert!(!sandbox.path("answer.json").exists());
    // One that is left in peace answers.
    assert!(succeeds(preparing(&sandbox, 10, 1)));
    let answer = fs::read(sandbox.path("answer.json")).unwrap();
    assert!(matches!(serde_json::from_slice(&answer).unwrap(), WorkerAnswer::Prepared(_)));
}

#[test]
fn a_file_that_is_no_index_of_runs_is_left_alone() {
    let sandbox = Sandbox::new();
    let notes = sandbox.write("notes.txt", &"my only copy\n".repeat(100));
    let mut command = sandbox.command(["runs", "list", "--all", "--json"]);
    let refused = ran(command.env("GREENTUNE_STATE_URL", format!("sqlite:{}", notes.display())));
    assert_eq!(refused.problem()["code"], "store.not_an_index");
    assert_eq!(refused.code, 2);
    assert_eq!(fs::read_to_string(notes).unwrap(), "my only copy\n".repeat(100));
}

#[test]
fn a_damaged_index_is_said_once_and_kept() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let damaged = "no index any more\n".repeat(100);
    let index = sandbox.write("home/state.db", &damaged);
    let listed = sandbox.run(["runs", "list", "--all"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    assert_eq!(listed.stderr.matches("was damaged").count(), 1, "{}", listed.stderr);
    assert_eq!(sandbox.run(["runs", "list", "--all"]).stderr, "");
    let kept = fs::read_dir(index.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let kept: Vec<_> = kept.filter(|path| path.to_string_lossy().contains("damaged-")).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(fs::read_to_string(&kept[0]).unwrap(), damaged);
}

#[test]
fn escape_sequences_of_data_do_not_reach_the_terminal_and_json_is_exact() {
    let sandbox = Sandbox::new();
    sandbox.project();
    let evil = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}txt";
    let record = json!({"instruction": format!("Say {evil}"), "output": evil, evil: 1, "quality": evil});
    let data = sandbox.write("p/data/raw/evil.jsonl", &format!("{record}\n{record}\n").repeat(20));
    let inspect = ["--project", "p", "data", "inspect", data.to_str().unwrap(), "--show", "2"];
    let page = sandbox.run(inspect);
    assert_eq!(page.code, 0, "{page:?}");
    for obeyed in ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}'] {
        assert!(!page.stdout.contains(obeyed) && !page.stderr.contains(obeyed), "{obeyed:?} in {page:?}");
    }
    assert!(page.stdout.contains("\\u{1b}]0;owned"), "{}", page.stdout);
    let exact = sandbox.run(inspect.into_iter().chain(["--json"])).json();
    assert!(exact.to_string().contains(&json!(evil).to_string()[1..8]), "{exact}");
    // A name in an error.
    let missing = sandbox.run(["--project", "p", "runs", "show", "a\u{1b}[2J"]);
    assert!(missing.code != 0 && !missing.stderr.contains('\u{1b}'), "{missing:?}");
}

#[test]
fn a_server_that_is_asked_to_end_ends_quietly() {
    use rustix::process::{Pid, Signal, kill_process};
    for signal in [Signal::INT, Signal::TERM] {
        let sandbox = Sandbox::new();
        let mut command = sandbox.command(["mcp", "--root", "."]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut server = command.spawn().unwrap();
        let (mut to, mut from) =
            (server.stdin.take().unwrap(), BufReader::new(server.stdout.take().unwrap()));
        let client = json!({"name": "test", "version": "1"});
        let opening = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
        writeln!(to, "{}", json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": opening}))
            .unwrap();
        from.read_line(&mut String::new()).unwrap();
        kill_process(Pid::from_child(&server), signal).unwrap();
        let output = server.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(0), ""), "{signal:?}");
    }
}

#[test]
fn a_client_that_does_not_read_standard_error_is_served() {
    const CALLS: usize = 300;
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(["mcp", "--root", "."]);
    // As much as the server can say: more than a pipe holds.
    command.env("RUST_LOG", "trace").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut server = command.spawn().unwrap();
    let (mut to, from) = (server.stdin.take().unwrap(), BufReader::new(server.stdout.take().unwrap()));
    let (tell, answers) = mpsc::channel();
    thread::spawn(move || from.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let client = json!({"name": "test", "version": "1"});
    let opening = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
    writeln!(to, "{}", json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": opening}))
        .unwrap();
    writeln!(to, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).unwrap();
    answers.recv_timeout(PATIENCE).unwrap();
    for id in 1..=CALLS {
        writeln!(to, "{}", json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"})).unwrap();
        let answer = answers.recv_timeout(PATIENCE);
        assert!(answer.is_ok(), "call {id} was not answered");
    }
    drop(to);
    let ended = within(PATIENCE, || server.try_wait().unwrap().is_some());
    if !ended {
        server.kill().unwrap();
    }
    assert!(ended, "the server did not end with its client");
}

/// As on a full disk: the process that asked is told why there is no answer.
#[test]
fn a_worker_that_cannot_write_its_answer_says_it() {
    let sandbox = Sandbox::new();
    let task = sandbox.write("task.json", r#"{"task":"probe_devices"}"#);
    let answer = task.join("answer.json");
    let worker = ran(sandbox.command(["worker", "--task"]).arg(&task).arg("--answer").arg(&answer));
    assert_ne!(worker.code, 0, "{worker:?}");
    let said: Value = serde_json::from_str(&worker.stdout).unwrap();
    assert_eq!(said["answer"], "failed");
    assert!(said["problem"]["message"].as_str().unwrap().contains("answer.json"), "{said}");
}
