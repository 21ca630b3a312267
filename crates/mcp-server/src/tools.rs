//! The tools: the operations of the workbench, but for those that are left out with a reason.

use std::sync::{Arc, LazyLock};

use greentune_core_config::Suggestion;
use greentune_workbench::{
    command_line::command,
    operation::{Effect, Entry, OPERATIONS, Reach},
};
use rmcp::model::{Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

/// Operations that are no tools, and why.
pub const NOT_OFFERED: &[(&str, &str)] = &[
    ("configure_image_run", "start_training makes such a run in one step"),
    (
        "show_run",
        "a manifest is long; monitor_training_progress and list_runs have what a conversation needs",
    ),
    ("follow_events", "events are many; progress notifications tell of the steps"),
    ("plot_runs", "compare_runs has the figures that the charts show"),
    ("get_current_emissions", "monitor_training_progress has the emissions so far"),
    ("compare_emissions", "compare_runs compares energy and emissions, and accuracy beside them"),
    ("plot_emissions", "get_emissions_summary and get_aggregate_emissions have the figures"),
    ("track_emissions", "runs any program, whose output would mix with the protocol's"),
    ("calibrate_meter", "needs somebody who reads a wall meter"),
    ("forecast_carbon_intensity", "get_emissions_summary recommends cleaner hours where there is a forecast"),
    ("sync_tracking", "trackers are followed while a run is trained; what is left is for its user to send"),
    ("show_config", "every setting is long; configure_training_run answers what is in force for a run"),
    ("diagnose", "for the person who installs greentune"),
];

/// The tools, in the order of the registry.
pub(crate) static ALL: LazyLock<Vec<Tool>> = LazyLock::new(|| offered().map(tool).collect());

/// The operations that are tools.
pub(crate) fn offered() -> impl Iterator<Item = &'static Entry> {
    OPERATIONS.iter().filter(|operation| is_offered(operation.name))
}

/// How `suggestion` is called: as a tool, or in a terminal where it is none.
pub(crate) fn call_in_words(suggestion: &Suggestion) -> String {
    let Suggestion { operation, arguments, .. } = suggestion;
    if !is_offered(operation) {
        return format!("`{}` in a terminal", command(suggestion));
    }
    if arguments.is_empty() {
        operation.clone()
    } else {
        format!("{operation} {}", Value::from(arguments.clone()))
    }
}

fn is_offered(name: &str) -> bool {
    NOT_OFFERED.iter().all(|(left_out, _)| *left_out != name)
}

fn tool(operation: &Entry) -> Tool {
    Tool::new(operation.name, operation.description, operation.brief_request_schema())
        .with_title(operation.title)
        .with_raw_output_schema(Arc::new(or_problem(operation.response_schema())))
        .with_annotations(annotations(operation.effect, operation.reach))
}

fn annotations(effect: Effect, reach: Reach) -> ToolAnnotations {
    ToolAnnotations::new()
        .read_only(effect == Effect::Reads)
        .destructive(effect == Effect::Replaces)
        .idempotent(effect != Effect::Adds)
        .open_world(reach == Reach::Network)
}

/// The schema of structured content: the response's, or a problem's when the call failed.
///
/// A failed call's content is a problem. Version 1 of the TypeScript client validates that against the output schema
/// too, so the schema must admit both.
fn or_problem(mut response: Map<String, Value>) -> Map<String, Value> {
    let required = response.remove("required").unwrap_or_else(|| json!([]));
    let choices = json!([
        { "title": "Response", "required": required },
        { "title": "Problem", "required": ["kind", "code", "message", "retryable"] },
    ]);
    response.insert(String::from("anyOf"), choices);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_tool_is_called_in_a_terminal() {
        let resume = Suggestion::new("go on", "resume_training").with("run_id", "r");
        assert_eq!(call_in_words(&resume), r#"resume_training {"run_id":"r"}"#);
        assert_eq!(call_in_words(&Suggestion::new("see", "list_runs")), "list_runs");
        assert_eq!(call_in_words(&Suggestion::new("see", "diagnose")), "`greentune doctor` in a terminal");
    }

    #[test]
    fn annotations_say_what_changes_and_what_is_reached() {
        let of = |effect, reach| {
            let hints = annotations(effect, reach);
            [hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint]
                .map(Option::unwrap_or_default)
        };
        assert_eq!(of(Effect::Reads, Reach::Local), [true, false, true, false]);
        assert_eq!(of(Effect::Adds, Reach::Network), [false, false, false, true]);
        assert_eq!(of(Effect::Settles, Reach::Local), [false, false, true, false]);
        assert_eq!(of(Effect::Replaces, Reach::Network), [false, true, true, true]);
    }
}
