//! Calls that take long: as tasks of the protocol, or with a handle for clients that have no tasks.

use rmcp::{
    ServiceError,
    model::{CallToolResponse, CancelTaskParams, GetTaskParams},
};
use serde_json::{Value, json};

use greentune_mcp_server::Preset;
use greentune_test_support::fake_worker;

use crate::session::{Listener, Session, fixture, text};

async fn with_tasks(is_stateless: bool, mode: &str) -> Session {
    let listener = Listener { has_tasks: true, ..Listener::default() };
    let command = fake_worker::command(mode).unwrap();
    Session::of(listener, is_stateless, |config| config.worker_command = command, Preset::All).await
}

fn evaluation(project: &Value, run: &Value) -> Value {
    json!({
        "project_path": project, "run_id": run, "stage": 1,
        "test_dataset": fixture("demo/narratives_validation.jsonl"),
    })
}

/// The task that a call was answered with.
fn task_of(answer: CallToolResponse) -> Value {
    match answer {
        CallToolResponse::Task(created) => serde_json::to_value(created).unwrap(),
        other => panic!("no task: {other:?}"),
    }
}

async fn ended(session: &Session, id: &str) -> Value {
    for _ in 0..600 {
        let task = session.task(id).await;
        if task["status"] != "working" {
            return task;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the task {id} does not end");
}

#[tokio::test]
async fn a_training_is_a_task_where_the_client_has_tasks() {
    for is_stateless in [false, true] {
        let session = with_tasks(is_stateless, "slow").await;
        let (project, run) = session.run().await;
        let answer =
            session.call_once("start_training", json!({ "project_path": project, "run_id": run })).await;
        let task = task_of(answer);
        assert_eq!((&task["resultType"], &task["status"]), (&json!("task"), &json!("working")));
        assert!(
            task["pollIntervalMs"].as_u64().unwrap() >= 1000 && task["ttlMs"].as_u64().unwrap() > 0,
            "{task}"
        );
        let id = task["taskId"].as_str().unwrap();
        let task = ended(&session, id).await;
        assert_eq!(task["status"], "completed", "{task}");
        assert_eq!(session.task(id).await["lastUpdatedAt"], task["lastUpdatedAt"]);
        let result = &task["result"];
        assert_eq!(
            (&result["isError"], &result["structuredContent"]["status"]),
            (&json!(false), &json!("completed"))
        );
        assert_eq!(result["structuredContent"]["run_id"], run);
        let words = result["content"][0]["text"].as_str().unwrap();
        assert!(words.contains("is completed"), "{words}");
    }
}

#[tokio::test]
async fn what_ends_at_once_is_answered_at_once() {
    let session = with_tasks(true, "trains").await;
    let (project, run) = session.trained().await;
    let evaluated = session.call_once("evaluate_model", evaluation(&project, &run)).await;
    let refused = session.call_once("evaluate_model", evaluation(&project, &json!("nothing"))).await;
    match (evaluated, refused) {
        (CallToolResponse::Complete(evaluated), CallToolResponse::Complete(refused)) => {
            assert_eq!((evaluated.is_error, refused.is_error), (Some(false), Some(true)));
            assert!(text(&refused).contains("no run \"nothing\""), "{}", text(&refused));
        }
        others => panic!("{others:?}"),
    }
}

#[tokio::test]
async fn a_task_is_cancelled_and_other_tasks_are_unknown() {
    let session = with_tasks(true, "slow").await;
    let (project, run) = session.run().await;
    let answer = session.call_once("start_training", json!({ "project_path": project, "run_id": run })).await;
    let id = task_of(answer)["taskId"].as_str().unwrap().to_owned();
    session.client.cancel_task(CancelTaskParams::new(&id)).await.unwrap();
    assert_eq!(ended(&session, &id).await["status"], "cancelled");
    let (monitored, _) = session.succeed("monitor_training_progress", json!({ "run_id": run })).await;
    assert_eq!(monitored["status"], "cancelled");
    for unknown in ["nothing", "../../etc", &"x".repeat(10_000)] {
        let Err(ServiceError::McpError(error)) = session.client.get_task(GetTaskParams::new(unknown)).await
        else {
            panic!("{unknown} is no task");
        };
        assert_eq!(error.code.0, -32602);
        assert!(error.message.len() < 300, "{}", error.message);
    }
}

#[tokio::test]
async fn without_tasks_a_handle_is_had_with_async_mode_and_another_client_finds_it() {
    let session = Session::new().await;
    let (project, run) = session.trained().await;
    let mut arguments = evaluation(&project, &run);
    arguments["asyncMode"] = "true".into();
    let (begun, words) = session.succeed("evaluate_model", arguments).await;
    // It may have ended before anybody asked.
    let Some(id) = begun["task_id"].as_str() else {
        assert_eq!(begun["success"], true);
        return;
    };
    assert!(words.contains("get_task"), "{words}");
    let (task, _) = session.succeed("get_task", json!({ "task_id": id, "wait_seconds": 30 })).await;
    assert_eq!(task["tasks"][0]["status"], "completed", "{task}");
}

#[tokio::test]
async fn a_handle_is_asked_about_and_cancelled_by_tools() {
    let session = Session::with_workers("never-evaluates").await;
    let (project, run) = session.trained().await;
    let mut arguments = evaluation(&project, &run);
    arguments["async_mode"] = true.into();
    let (begun, words) = session.succeed("evaluate_model", arguments).await;
    let id = begun["task_id"].as_str().unwrap();
    assert_eq!(begun["status"], "working");
    assert!(words.contains(&format!("get_task {{\"task_id\":\"{id}\"}}")), "{words}");
    let (_, words) = session.succeed("get_task", json!({})).await;
    assert!(words.contains("is at work") && words.contains("Ask again in 2 s"), "{words}");
    let (stopped, _) = session.succeed("cancel_task", json!({ "task_id": id })).await;
    assert_eq!((&stopped["success"], &stopped["task"]["status"]), (&json!(true), &json!("cancelled")));
    let (refused, _) = session.refuse("get_task", json!({ "task_id": "nothing" })).await;
    assert_eq!(refused["code"], "task.unknown");
    let mut wrong = evaluation(&project, &run);
    wrong["async_mode"] = "perhaps".into();
    let (refused, _) = session.refuse("evaluate_model", wrong).await;
    assert_eq!(
        (&refused["code"], &refused["location"]["key"]),
        (&json!("arguments.invalid"), &json!("async_mode"))
    );
}
