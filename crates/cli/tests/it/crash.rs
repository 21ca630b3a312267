//! The crash test, in short; `just crash-test` is the long one.
#![allow(clippy::print_stdout, reason = "a fault is printed where it happens")]

#[allow(dead_code, reason = "the long form can also end after a time")]
#[path = "../../examples/crash_test/campaign/mod.rs"]
mod campaign;

use std::path::PathBuf;

use campaign::{Campaign, Until};

#[test]
fn what_is_killed_loses_nothing_shows_nothing_half_and_leaves_nothing_behind() {
    let campaign = Campaign {
        binary: PathBuf::from(env!("CARGO_BIN_EXE_greentune")),
        seed: 12,
        until: Until::Kills(14),
        only: None,
    };
    let report = campaign::run(&campaign).unwrap();
    assert!(report.faults.is_empty(), "{report}");
}
