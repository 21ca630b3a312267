use greentune_core_config::manifest::RunStatus;
use ratatui::{Terminal, backend::TestBackend};
use serde_json::json;

use super::*;

fn watched(status: &str) -> Watched {
    let steps: Vec<u64> = (1..=40).collect();
    let losses: Vec<f64> = steps.iter().map(|step| 4.0 / *step as f64).collect();
    let buckets = json!({
        "x": steps, "time": losses, "mean": losses, "min": losses, "max": losses, "count": vec![1; 40],
    });
    let progress = json!({
        "run_id": "first-\u{1b}[31m20260101", "status": status, "current_stage": 1, "current_iteration": 40,
        "total_iterations": 100, "progress_percentage": 40.0, "metrics": {}, "carbon_emissions_kg": 2e-6,
        "emissions": [{ "stage": 1, "duration_seconds": 4.0, "energy_kwh": 1e-5, "emissions_kg_co2": 2e-6,
                        "power_w": 9.5, "basis": "modelled" }],
        "remaining_seconds": 61.0, "stages": [], "warnings": ["the loss does not fall"],
    });
    let series = json!({
        "run_id": "first", "status": status, "last_seq": 42, "appended": false, "stages": [],
        "series": { "train_loss": buckets, "power_w": buckets },
    });
    Watched {
        progress: serde_json::from_value(progress).unwrap(),
        series: serde_json::from_value(series).unwrap(),
        log: vec![String::from("a line of the log")],
        said: None,
        asks_to_cancel: false,
        over_time: false,
    }
}

fn drawn(watched: &Watched, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| screen::draw(frame, watched)).unwrap();
    terminal.backend().to_string()
}

#[test]
fn the_screen_says_where_the_run_stands() {
    let screen = drawn(&watched("running"), 120, 40);
    for words in [
        "running",
        "step 40 of 100",
        "left",
        "modelled",
        "9.50 W now",
        "loss (nats)",
        "power (W)",
        "does not fall",
        "c stop",
    ] {
        assert!(screen.contains(words), "{words}:\n{screen}");
    }
    assert!(!screen.contains('\u{1b}'), "what data say does not reach the terminal");
}

#[test]
fn it_fits_small_and_large_terminals() {
    for (width, height) in [(20, 8), (80, 24), (300, 90), (1, 1)] {
        drawn(&watched("running"), width, height);
    }
}

#[test]
fn a_run_is_cancelled_after_a_question_and_resumed_when_it_stands() {
    let key = Key::Char;
    let mut running = watched("running");
    assert_eq!((running.take(key('r')), running.take(key('c'))), (Asked::Nothing, Asked::Nothing));
    assert!(running.said.as_ref().unwrap().0.contains("y: yes"));
    assert_eq!(running.take(key('n')), Asked::Nothing);
    running.take(key('c'));
    assert_eq!(running.take(key('y')), Asked::Cancel);
    let mut cancelled = watched("cancelled");
    assert_eq!(cancelled.progress.status, RunStatus::Cancelled);
    assert_eq!((cancelled.take(key('c')), cancelled.take(key('r'))), (Asked::Nothing, Asked::Resume));
    assert_eq!(cancelled.take(Key::Ctrl('c')), Asked::Leave);
}
