//! Several writers at one file, in threads and in processes, and a disk that is full.

use std::{
    collections::HashSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
};

use greentune_carbon::{CarbonError, codecarbon};
use greentune_core_config::emissions::EmissionsRecord;

/// What a child process of these tests appends to.
const FILE: &str = "GREENTUNE_TEST_FILE";
const WRITER: &str = "GREENTUNE_TEST_WRITER";

fn record(writer: &str, number: usize) -> EmissionsRecord {
    EmissionsRecord {
        run_id: format!("{writer}-{number}"),
        project_name: "a \"quoted\", name\nof two lines".into(),
        pue: 1.0,
        ..EmissionsRecord::default()
    }
}

fn append_many(path: &Path, writer: &str, rows: usize) {
    for number in 0..rows {
        assert_eq!(codecarbon::append(path, &record(writer, number)).unwrap(), None);
    }
}

/// This test program again, as a process that runs one of the ignored functions below.
fn child(function: &str, path: &Path, writer: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "--ignored", &format!("writers::{function}")])
        .env(FILE, path)
        .env(WRITER, writer);
    command
}

fn given() -> (PathBuf, String) {
    (env::var_os(FILE).unwrap().into(), env::var(WRITER).unwrap())
}

#[test]
#[ignore = "a process of another test"]
fn child_appends() {
    let (path, writer) = given();
    append_many(&path, &writer, 50);
}

#[test]
fn threads_and_processes_lose_no_row_and_tear_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("emissions.csv");
    let mut processes: Vec<Child> =
        (0..4).map(|n| child("child_appends", &path, &format!("process{n}")).spawn().unwrap()).collect();
    thread::scope(|scope| {
        for n in 0..4 {
            let path = &path;
            scope.spawn(move || append_many(path, &format!("thread{n}"), 50));
        }
    });
    assert!(processes.iter_mut().all(|process| process.wait().unwrap().success()));
    let rows = codecarbon::read(&path).unwrap();
    let distinct: HashSet<&str> = rows.iter().map(|row| row.run_id.as_str()).collect();
    assert_eq!((rows.len(), distinct.len()), (400, 400));
    assert!(rows.iter().all(|row| row.project_name == record("", 0).project_name));
    assert_eq!(codecarbon::last(&path).unwrap().as_ref(), rows.last());
}

#[test]
#[ignore = "a process of another test"]
fn child_meets_the_limit() {
    let (path, writer) = given();
    let before = codecarbon::read(&path).unwrap();
    let error = (0..).find_map(|n| codecarbon::append(&path, &record(&writer, n)).err()).unwrap();
    assert!(matches!(&error, CarbonError::File { action: "write", .. }), "{error:?}");
    let rows = codecarbon::read(&path).unwrap();
    assert!(rows.len() > before.len() && rows.starts_with(&before));
    let text = fs::read(&path).unwrap();
    assert!(text.ends_with(b"\n"), "part of a row was left");
    let many = vec![record(&writer, 0); 1000];
    assert!(codecarbon::write(&path, &many).is_err());
    assert_eq!(fs::read(&path).unwrap(), text, "a replacement that failed changed the file");
}

/// A limit on the size of files stops a write halfway, as a full disk does.
#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_that_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("emissions.csv");
    append_many(&path, "before", 3);
    let child = child("child_meets_the_limit", &path, "over");
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$@\"", "sh"]);
    limited.arg(child.get_program()).args(child.get_args());
    limited.envs(child.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = limited.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    append_many(&path, "after", 1);
    let rows = codecarbon::read(&path).unwrap();
    assert_eq!(rows.last().map(|row| row.run_id.as_str()), Some("after-0"));
    let left: HashSet<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["emissions.csv", ".emissions.lock"].map(Into::into).into());
}
