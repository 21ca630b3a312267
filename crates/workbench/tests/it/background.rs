//! Work in the background: what becomes of it, who can ask, how it is stopped.

use std::{fs, process::Command};

use greentune_core_config::{ProblemKind, event::EventKind, layout::RunLayout, manifest::RunStatus};
use greentune_workbench::{
    Workbench,
    background::{Task, TaskStatus},
    operation::{CancelTask, CancelTraining, GetTask, ResumeTraining, find},
};
use serde_json::{Map, Value, json};

use crate::sandbox::{Sandbox, problem};

/// Longer than anything here takes.
const WAIT: f64 = 30.0;

fn arguments(of: &Value) -> Map<String, Value> {
    of.as_object().cloned().unwrap_or_default()
}

fn evaluation(run: &RunLayout) -> Map<String, Value> {
    arguments(&json!({
        "run_id": run.run_id(), "test_dataset": "data/processed/validation.jsonl", "stage": 1,
    }))
}

async fn begin(workbench: &Workbench, operation: &str, with: Map<String, Value>) -> Task {
    workbench.begin(find(operation).unwrap(), with).await.unwrap()
}

async fn ended(workbench: &Workbench, task: &Task) -> Task {
    let request = GetTask { task_id: Some(task.task_id.clone()), wait_seconds: Some(WAIT) };
    workbench.get_task(request).await.unwrap().tasks.remove(0)
}

async fn cancelled(workbench: &Workbench, task: &Task) -> Task {
    let response = workbench.cancel_task(CancelTask { task_id: task.task_id.clone() }).await.unwrap();
    assert!(response.success);
    response.task
}

/// A run that is trained, and what is asked of its workers then.
async fn trained(mode: &str) -> (Sandbox, RunLayout, Workbench) {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    sandbox.start(&run, true).await.unwrap();
    let workbench = sandbox.with_mode(mode);
    (sandbox, run, workbench)
}

#[tokio::test]
async fn a_task_answers_as_its_operation_does_to_whoever_asks() {
    let (sandbox, run, workbench) = trained("trains").await;
    let task = begin(&workbench, "evaluate_model", evaluation(&run)).await;
    assert_eq!((task.status, task.operation.as_str()), (TaskStatus::Working, "evaluate_model"));
    assert!(task.poll_seconds.is_some());
    drop(workbench);
    let another = sandbox.with_mode("trains");
    let task = ended(&another, &task).await;
    assert_eq!((task.status, task.problem.as_ref(), task.poll_seconds), (TaskStatus::Completed, None, None));
    assert!(task.message.contains("accuracy") && task.finished_at.is_some(), "{}", task.message);
    let result = task.result.clone().unwrap();
    assert_eq!((&result["run_id"], &result["stage"]), (&json!(run.run_id()), &json!(1)));
    let file = result["results_file"].as_str().unwrap();
    assert!(fs::exists(file).unwrap());
    let all = another.get_task(GetTask::default()).await.unwrap();
    assert_eq!((all.tasks.len(), all.more, all.tasks[0].result.as_ref()), (1, 0, None));
    assert_eq!(all.tasks[0].task_id, task.task_id);
}

#[tokio::test]
async fn what_fails_is_told_with_its_problem_and_wrong_arguments_at_once() {
    let (_sandbox, run, workbench) = trained("fails").await;
    let task = begin(&workbench, "evaluate_model", evaluation(&run)).await;
    let task = ended(&workbench, &task).await;
    assert_eq!((task.status, task.result), (TaskStatus::Failed, None));
    assert_eq!(task.problem.unwrap().code, "data.empty");
    let wrong = workbench.begin(find("evaluate_model").unwrap(), arguments(&json!({ "run": 1 }))).await;
    assert_eq!(problem(wrong.unwrap_err()).code, "arguments.invalid");
    assert_eq!(workbench.get_task(GetTask::default()).await.unwrap().tasks.len(), 1);
}

#[tokio::test]
async fn a_task_that_is_cancelled_leaves_no_worker_and_nothing_half_done() {
    let (sandbox, run, workbench) = trained("never-evaluates").await;
    let task = begin(&workbench, "evaluate_model", evaluation(&run)).await;
    assert_eq!(workbench.awaited_task(&task.task_id, 1.0).await.unwrap().status, TaskStatus::Working);
    let task = cancelled(&workbench, &task).await;
    assert_eq!((task.status, task.problem), (TaskStatus::Cancelled, None));
    // It stays so, and cancelling it once more changes nothing.
    assert_eq!(
        cancelled(&workbench, &task_of(&workbench, &task.task_id).await).await.status,
        TaskStatus::Cancelled
    );
    let home = sandbox.root().join("home");
    let half_done = fs::read_dir(home)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("task-"));
    assert_eq!(half_done.count(), 0);
    assert!(processes_of(&task.task_id).is_empty());
}

async fn task_of(workbench: &Workbench, id: &str) -> Task {
    workbench.task(id).await.unwrap()
}

/// The processes that perform the task `id`.
fn processes_of(id: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let of_task = processes.filter(|process| {
        // A fake worker has its arguments in its environment.
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&format!("/{id}"))
    });
    of_task.map(|process| process.file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test]
async fn a_task_whose_process_was_killed_says_so() {
    let (_sandbox, run, workbench) = trained("never-evaluates").await;
    let task = begin(&workbench, "evaluate_model", evaluation(&run)).await;
    assert_eq!(workbench.awaited_task(&task.task_id, 1.0).await.unwrap().status, TaskStatus::Working);
    let processes = processes_of(&task.task_id);
    assert!(Command::new("kill").arg("-9").args(processes).status().unwrap().success());
    let task = ended(&workbench, &task).await;
    let problem = task.problem.unwrap();
    assert_eq!((task.status, problem.kind), (TaskStatus::Failed, ProblemKind::Unavailable));
    assert_eq!(problem.code, "task.died");
    assert!(problem.hint.unwrap().contains("call evaluate_model again"));
}

#[tokio::test]
async fn no_more_are_begun_than_the_machine_bears() {
    let (_sandbox, run, workbench) = trained("never-evaluates").await;
    let mut begun = Vec::new();
    for _ in 0..4 {
        begun.push(begin(&workbench, "evaluate_model", evaluation(&run)).await);
    }
    let fifth = workbench.begin(find("evaluate_model").unwrap(), evaluation(&run)).await;
    let problem = problem(fifth.unwrap_err());
    assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Conflict, "task.too_many"));
    for task in &begun {
        assert_eq!(cancelled(&workbench, task).await.status, TaskStatus::Cancelled);
    }
}

#[tokio::test]
async fn a_training_is_a_task_that_follows_its_run() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let task =
        begin(&sandbox.workbench, "start_training", arguments(&json!({ "run_id": run.run_id() }))).await;
    assert_eq!(task.run_id, Some(run.run_id()));
    let task = ended(&sandbox.workbench, &task).await;
    assert_eq!(task.status, TaskStatus::Completed, "{}", task.message);
    let result = task.result.unwrap();
    assert_eq!((&result["status"], &result["run_id"]), (&json!("completed"), &json!(run.run_id())));

    let slow = sandbox.with_mode("slow");
    let run = sandbox.configured_with(json!({ "training.stage1.iterations": 500 })).await;
    let task = begin(&slow, "start_training", arguments(&json!({ "run_id": run.run_id() }))).await;
    assert_eq!(task.status, TaskStatus::Working);
    assert_eq!(cancelled(&slow, &task).await.status, TaskStatus::Cancelled);
    assert_eq!(crate::sandbox::manifest(&run).status, RunStatus::Cancelled);
}

/// Trains `run` to its end, from where it stopped.
async fn resume(sandbox: &Sandbox, run: &RunLayout) {
    let request =
        ResumeTraining { run_id: run.run_id(), async_mode: Some(false), ..ResumeTraining::default() };
    let resumed = sandbox.with_mode("trains").resume_training(request).await.unwrap();
    assert_eq!(resumed.status, RunStatus::Completed);
}

#[tokio::test]
async fn a_task_that_has_ended_stays_so_when_its_run_goes_on() {
    let sandbox = Sandbox::new("slow").await;
    let slow = &sandbox.workbench;
    for is_looked_at in [true, false] {
        let run = sandbox.configured_with(json!({ "training.stage1.iterations": 500 })).await;
        let task = begin(slow, "start_training", arguments(&json!({ "run_id": run.run_id() }))).await;
        if is_looked_at {
            cancelled(slow, &task).await;
        } else {
            let request = CancelTraining { run_id: run.run_id(), ..CancelTraining::default() };
            assert!(slow.cancel_training(request).await.unwrap().success);
        }
        resume(&sandbox, &run).await;
        let (events, _) = sandbox.follow(&run).await;
        let stopped = events.iter().find(|event| matches!(event.kind, EventKind::Cancelled { .. })).unwrap();
        let task = task_of(slow, &task.task_id).await;
        assert_eq!((task.status, task.finished_at), (TaskStatus::Cancelled, Some(stopped.at)));
        assert_eq!(cancelled(slow, &task).await.finished_at, task.finished_at);
        assert_eq!(crate::sandbox::manifest(&run).status, RunStatus::Completed);
    }
}

#[tokio::test]
async fn the_task_of_a_run_that_broke_off_ended_with_the_last_sign_of_its_worker() {
    let sandbox = Sandbox::new("slow").await;
    let run = sandbox.configured_with(json!({ "training.stage1.iterations": 500 })).await;
    let task =
        begin(&sandbox.workbench, "start_training", arguments(&json!({ "run_id": run.run_id() }))).await;
    let worker = crate::sandbox::manifest(&run).pid.unwrap().to_string();
    assert!(Command::new("kill").args(["-9", &worker]).status().unwrap().success());
    let broken = ended(&sandbox.workbench, &task).await;
    assert_eq!(
        (broken.status, broken.problem.unwrap().code.as_str()),
        (TaskStatus::Failed, "run.interrupted")
    );
    resume(&sandbox, &run).await;
    let (events, _) = sandbox.follow(&run).await;
    let starts: Vec<_> = events
        .iter()
        .filter(|event| matches!(event.kind, EventKind::Started { .. }))
        .map(|event| event.at)
        .collect();
    let finished_at = broken.finished_at.unwrap();
    assert!(
        starts.len() == 2 && starts[0] <= finished_at && finished_at < starts[1],
        "{starts:?} {finished_at}"
    );
    assert_eq!(task_of(&sandbox.workbench, &task.task_id).await.finished_at, Some(finished_at));
}

#[tokio::test]
async fn a_training_that_fails_is_a_task_that_failed() {
    let sandbox = Sandbox::new("fails").await;
    let run = sandbox.configured().await;
    let begun = sandbox
        .workbench
        .begin(find("start_training").unwrap(), arguments(&json!({ "run_id": run.run_id() })))
        .await;
    // It may fail before it is begun.
    let found = match begun {
        Ok(task) => ended(&sandbox.workbench, &task).await.problem.unwrap(),
        Err(error) => problem(error),
    };
    assert_eq!(found.code, "data.empty");
}

#[tokio::test]
async fn an_id_is_a_name_and_no_path() {
    let sandbox = Sandbox::new("trains").await;
    for folder in ["home/outside", "home/tasks"] {
        fs::create_dir_all(sandbox.root().join(folder)).unwrap();
    }
    fs::write(sandbox.root().join("home/outside/call.json"), "{}").unwrap();
    let long = "x".repeat(5000);
    for id in ["../outside", "..", "", "a/b", "\0", "nothing", &long] {
        let unknown = problem(sandbox.workbench.task(id).await.unwrap_err());
        assert_eq!((unknown.kind, unknown.code.as_str()), (ProblemKind::NotFound, "task.unknown"), "{id}");
        assert!(unknown.message.len() < 300);
    }
}

#[tokio::test]
async fn a_task_whose_process_cannot_be_started_is_none() {
    let (sandbox, run, _) = trained("trains").await;
    let mut config = sandbox.config("trains");
    config.worker_command = vec!["/nonexistent/greentune".into()];
    let workbench = Workbench::new(config);
    let begun = workbench.begin(find("evaluate_model").unwrap(), evaluation(&run)).await;
    assert_eq!(problem(begun.unwrap_err()).code, "worker.start");
    assert!(workbench.get_task(GetTask::default()).await.unwrap().tasks.is_empty());
}
