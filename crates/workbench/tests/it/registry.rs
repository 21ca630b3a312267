//! The registry as a front end uses it: by name, with arguments as JSON.

use std::collections::BTreeSet;

use greentune_core_config::ProblemKind;
use greentune_workbench::operation::{Effect, OPERATIONS, Reach, find};
use serde_json::{Map, Value, json};

use crate::sandbox::{Sandbox, problem};

#[allow(clippy::needless_pass_by_value)] // reads best with `json!` in the call
fn arguments(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

#[test]
fn every_operation_is_described_once() {
    let names: BTreeSet<_> = OPERATIONS.iter().map(|operation| operation.name).collect();
    assert_eq!(names.len(), OPERATIONS.len());
    for operation in OPERATIONS {
        assert!(operation.description.len() <= 160, "{}: {}", operation.name, operation.description);
        assert_eq!(operation.request_schema()["additionalProperties"], false, "{}", operation.name);
        assert_eq!(operation.response_schema()["type"], "object", "{}", operation.name);
    }
}

#[test]
fn what_may_ask_a_service_says_so() {
    let reaching = OPERATIONS.iter().filter(|operation| operation.reach == Reach::Network);
    let names: Vec<_> = reaching.map(|operation| operation.name).collect();
    assert_eq!(
        names,
        [
            "configure_training_run", // a base model of the Hub
            "start_training",         // live carbon intensity and trackers, in its worker
            "export_model",           // uploads, when asked to
            "sync_model",
            "resume_training",
            "get_emissions_summary", // the forecast
            "inspect_dataset",       // a tokenizer of the Hub
            "prepare_dataset",
            "track_emissions",
            "forecast_carbon_intensity",
            "sync_tracking",
        ]
    );
    assert_eq!(find("evaluate_model").unwrap().effect, Effect::Adds, "each evaluation is kept in a file");
}

#[tokio::test]
async fn an_operation_is_performed_by_name() {
    let sandbox = Sandbox::new("trains").await;
    let run = sandbox.configured().await;
    let list = find("list_runs").unwrap();
    let answer = list.perform(&sandbox.workbench, arguments(json!({ "project_path": null }))).await.unwrap();
    assert_eq!(answer.content["runs"][0]["run_id"], run.run_id());
    assert!(answer.text.starts_with("1 run\n"), "{}", answer.text);

    let monitor = find("monitor_training_progress").unwrap();
    let of_run = arguments(json!({ "run_id": run.run_id() }));
    let answer = monitor.perform(&sandbox.workbench, of_run.clone()).await.unwrap();
    assert_eq!(answer.advice.suggestions[0].operation, "start_training");
    // Without words of its own the answer is the response.
    let shown = find("show_run").unwrap().perform(&sandbox.workbench, of_run).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&shown.text).unwrap(), shown.content);
}

#[tokio::test]
async fn stray_arguments_of_any_operation_are_refused_before_it_begins() {
    let sandbox = Sandbox::new("trains").await;
    for operation in OPERATIONS {
        let stray = arguments(json!({ "stray_field": 1 }));
        let error = problem(operation.perform(&sandbox.workbench, stray).await.unwrap_err());
        assert_eq!((error.kind, error.code.as_str()), (ProblemKind::InvalidInput, "arguments.invalid"));
        assert!(error.to_string().contains("stray_field: no such argument; allowed: "), "{error}");
    }
    let near = arguments(json!({ "run_idd": "x", "waitseconds": "long" }));
    let error =
        problem(find("cancel_training").unwrap().perform(&sandbox.workbench, near).await.unwrap_err());
    assert!(error.to_string().contains("did you mean run_id?"), "{error}");
    assert!(error.to_string().contains("did you mean wait_seconds?"), "{error}");
}

#[tokio::test]
async fn choices_are_words_of_the_schema() {
    let schema = |name: &str| Value::Object(find(name).unwrap().request_schema().clone());
    let words = |name: &str, field: &str| schema(name)["properties"][field]["enum"].clone();
    assert_eq!(words("start_training", "platform"), json!(["local", "kaggle", "huggingface", "ray"]));
    assert_eq!(words("export_model", "export_format"), json!(["safetensors", "huggingface", "mlx", "gguf"]));
    assert_eq!(words("create_model_card", "template"), json!(["standard", "competition", "research"]));
    assert_eq!(words("compare_runs", "format"), json!(["table", "markdown", "latex", "json", "csv"]));
    let policy = schema("start_training").pointer("/properties/ast_config/properties/policy/enum").cloned();
    assert_eq!(policy, Some(json!(["ast", "infobatch", "quantile", "sundew", "random", "full"])));
}
