//! A run's folder: its manifest, its events and its heartbeat, as they are looked at.
//!
//! The input is a manifest (that of the corpus where it is empty), a NUL, events, a NUL, a heartbeat.
#![no_main]

use std::{fs, sync::LazyLock};

use greentune_core_config::layout::RunLayout;
use greentune_fuzz::Scratch;
use greentune_run_folder::{
    EventReader, LocalLiveness, Run, RunView, last_memory, overall_pace, read_after, trained_stage,
};
use libfuzzer_sys::fuzz_target;

const RUN: &str = "project/runs/first-20261127-120000";
const MANIFEST: &[u8] = include_bytes!("../seeds/run-manifest.json");

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::new);

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let manifest = parts.next().filter(|part| !part.is_empty()).unwrap_or(MANIFEST);
    SCRATCH.write(&format!("{RUN}/run-manifest.json"), manifest);
    SCRATCH.write(&format!("{RUN}/events.jsonl"), parts.next().unwrap_or_default());
    SCRATCH.write(&format!("{RUN}/heartbeat.json"), parts.next().unwrap_or_default());
    let layout = RunLayout::at(SCRATCH.path(RUN)).expect("a run's folder");
    let mut reader = EventReader::new(layout.events());
    while reader.next(3).is_ok_and(|new| !new.events.is_empty()) {}
    let _ = read_after(&layout.events(), Some(2), 5);
    let _ = last_memory(&layout);
    if let Ok(mut view) = RunView::open(layout.clone(), &LocalLiveness) {
        look_at(&view);
        let _ = view.refresh(&LocalLiveness);
        look_at(&view);
    }
    if let Ok(run) = Run::read(layout.clone(), &LocalLiveness) {
        run.summary();
        run.compute_savings();
        run.seconds_per_record();
        overall_pace(&run.manifest);
        for stage in &run.manifest.stages {
            run.samples_of(stage);
            let _ = trained_stage(&run.manifest, stage.stage);
        }
    }
    let _ = fs::remove_file(layout.lock());
});

fn look_at(view: &RunView) {
    let manifest = view.manifest();
    assert!(serde_json::to_string(manifest).is_ok());
    assert!(serde_json::to_string(&view.summary()).is_ok());
    let _ = (view.status(), view.last_step(), view.evaluation(), view.device(), view.last_seq());
    let _ = (view.warnings(), view.damage(), view.remaining_seconds(), view.compute_savings());
}
