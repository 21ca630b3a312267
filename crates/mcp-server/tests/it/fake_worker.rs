//! A worker that reports steps without training anything: this test binary, executed again.

use std::{path::Path, process, thread, time::Duration};

use greentune_core_config::{
    Problem, ProblemKind,
    event::{EventKind, StepMetrics},
    port::RunReporter,
    preparation::{DatasetPreparation, Histogram, LeakReport, PrepareTask, PreparedSplit},
    settings::{DatasetFormat, DatasetSchema},
    task::{DatasetCounts, DatasetInspection, WorkerAnswer, WorkerTask},
};
use greentune_workbench::worker::{Outcome, WorkerSession, read_task, write_answer};

/// Not a test: what the worker process does.
#[test]
#[ignore = "executed by the tests as a worker"]
fn act() {
    let Ok(arguments) = std::env::var("FAKE_WORKER_ARGUMENTS") else { return };
    let arguments: Vec<_> = arguments.split(' ').collect();
    match arguments.as_slice() {
        ["--task", task, "--answer", answer] => do_task(Path::new(task), Path::new(answer)),
        [run] => {
            let mut session = WorkerSession::begin(Path::new(run)).unwrap();
            let result = stages(&mut session);
            session.finish(result).unwrap();
        }
        _ => panic!("unknown arguments {arguments:?}"),
    }
}

fn stages(session: &mut WorkerSession) -> Result<Outcome, Problem> {
    let resumed = session.manifest().stages.iter().any(|stage| stage.steps_done > 0);
    session.report(EventKind::Started { pid: process::id(), device: "fake".into(), resumed })?;
    for stage in session.stages() {
        let record = session.manifest().stages[usize::from(stage) - 1].clone();
        for step in record.steps_done + 1..=record.total_steps {
            thread::sleep(Duration::from_millis(100));
            session.report(step_event(stage, step, record.total_steps))?;
            if session.cancel_requested() {
                return Ok(Outcome::Cancelled { stage, step });
            }
        }
        session.report(EventKind::StageFinished {
            stage,
            duration_seconds: 1.5,
            final_train_loss: 0.5,
            emissions: None,
            peak_memory_bytes: None,
        })?;
    }
    Ok(Outcome::Finished)
}

fn step_event(stage: u8, step: u64, total_steps: u64) -> EventKind {
    EventKind::Step(StepMetrics {
        stage,
        step,
        total_steps,
        train_loss: 1.0 / step as f64,
        learning_rate: 1e-4,
        gradient_norm: 1.0,
        tokens: 10,
        tokens_per_second: 100.0,
        samples: None,
    })
}

fn do_task(task: &Path, answer: &Path) {
    let reply = match read_task(task).unwrap() {
        WorkerTask::Prepare(task) => WorkerAnswer::Prepared(Box::new(prepared(*task))),
        WorkerTask::Inspect(task) => WorkerAnswer::Inspected(DatasetInspection {
            dataset: task.dataset,
            format: DatasetFormat::Jsonl,
            schema: DatasetSchema::Alpaca,
            template_source: "instruction/response".into(),
            counts: DatasetCounts { read: 10, kept: 9, too_long: 1, ..DatasetCounts::default() },
            high_quality_records: 0,
            tokens_per_record: [1, 2, 3, 4],
            labelled_tokens: 11,
            total_tokens: 22,
            records: Vec::new(),
        }),
        other => WorkerAnswer::Failed {
            problem: Problem::new(
                ProblemKind::Internal,
                "worker.secret",
                format!("stack trace of {other:?}"),
            ),
        },
    };
    write_answer(answer, &reply).unwrap();
}

/// What would come of a preparation of ten records, one of them a duplicate.
fn prepared(task: PrepareTask) -> DatasetPreparation {
    DatasetPreparation {
        schema: DatasetSchema::Alpaca,
        seed: task.seed,
        counts: DatasetCounts { read: 10, kept: 10, ..DatasetCounts::default() },
        duplicates: 1,
        deduplicated: task.deduplicate,
        splits: vec![PreparedSplit {
            name: "train".into(),
            path: task.out.join("train.jsonl"),
            records: 9,
            high_quality_records: 3,
            high_quality_draws: task.settings.dataset.train_split,
            tokens: 90,
            labelled_tokens: 30,
        }],
        leaks: LeakReport::default(),
        tokens: Histogram::default(),
        label_share: Histogram::default(),
        quality: None,
        quality_words: Vec::new(),
        warnings: vec!["a warning".into()],
        report: task.reports.join("raw.md"),
        report_files: Vec::new(),
        datasets: task.datasets,
    }
}
