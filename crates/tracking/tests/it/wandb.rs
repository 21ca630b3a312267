//! Offline folders of Weights & Biases. That its own client takes them is `fixtures/interop/wandb_sync.py`.

use std::{fs, path::PathBuf};

use serde_json::json;

use crate::{desk::Desk, send};

fn desk() -> Desk {
    let mut desk = Desk::new();
    desk.settings.wandb.project = Some(String::from("adapters"));
    desk
}

fn log(desk: &Desk) -> PathBuf {
    desk.layout.project().root().join("wandb/offline-run-20260102_030405-demo-1/run-demo-1.wandb")
}

#[test]
fn a_log_written_in_pieces_is_the_log_written_at_once() {
    let mut at_once = desk();
    at_once.whole(900);
    send(&at_once);
    let mut in_pieces = desk();
    in_pieces.begin(0);
    for first in (1..900).step_by(100) {
        in_pieces.steps(first..=first + 99);
        send(&in_pieces);
    }
    // What a crash left behind the acknowledged part is cut off.
    let mut bytes = fs::read(log(&in_pieces)).unwrap();
    bytes.extend_from_slice(b"half a record");
    fs::write(log(&in_pieces), bytes).unwrap();
    in_pieces.finish();
    let report = send(&in_pieces);
    assert_eq!((report.sent, report.total), (3, in_pieces.events()));
    assert_eq!(report.then, Some(format!("wandb sync {}", log(&in_pieces).parent().unwrap().display())));
    let (one, other) = (fs::read(log(&at_once)).unwrap(), fs::read(log(&in_pieces)).unwrap());
    assert!(one.len() > 3 * 32768, "several blocks");
    assert!(one == other);
    assert!(log(&at_once).with_file_name("files/emissions/stage1/demo-1_stage1_emissions.csv").is_file());
}

#[test]
fn a_resumed_run_takes_off_what_closed_the_log() {
    let closes =
        |bytes: &[u8]| bytes.windows(3).any(|window| window == b"\x92\x01\x06" || window == b"\x92\x01\x05");
    let mut desk = desk();
    desk.begin(0);
    desk.steps(1..=3);
    desk.add("cancelled", &json!({ "stage": 1, "step": 3 }));
    send(&desk);
    let cancelled = fs::read(log(&desk)).unwrap();
    assert!(closes(&cancelled));
    // The client leaves this behind when it has sent the folder, and passes such folders over.
    let synced = log(&desk).with_added_extension("synced");
    fs::write(&synced, "").unwrap();
    send(&desk);
    assert!(synced.exists(), "nothing is new");
    desk.begin(3);
    desk.steps(4..=4);
    send(&desk);
    assert!(!closes(&fs::read(log(&desk)).unwrap()));
    assert!(!synced.exists());
}
