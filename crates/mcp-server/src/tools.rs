//! The tools: the operations of the workbench, but for those that are left out with a reason.

use std::sync::{Arc, LazyLock};

use greentune_core_config::Suggestion;
use greentune_workbench::{
    command_line::command,
    operation::{Effect, Entry, OPERATIONS, Reach},
};
use rmcp::model::{Tool, ToolAnnotations};
use serde_json::{Map, Value};

use crate::flags;

/// Operations that are no tools, and why.
pub const NOT_OFFERED: &[(&str, &str)] = &[
    ("configure_image_run", "start_training makes such a run in one step"),
    (
        "show_run",
        "a manifest is long; monitor_training_progress and list_runs have what a conversation needs",
    ),
    ("show_log", "monitor_training_progress says why a run failed"),
    (
        "get_series",
        "many numbers; the run's charts are resources, and its figures are in monitor_training_progress",
    ),
    ("list_emissions", "many rows; get_emissions_summary and get_aggregate_emissions add them up"),
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

/// Tools for a language model, from its data to its export.
const CORE: &[&str] = &[
    "generate_fine_tuning_project",
    "configure_training_run",
    "start_training",
    "monitor_training_progress",
    "evaluate_model",
    "export_model",
    "cancel_training",
    "list_runs",
    "inspect_dataset",
    "prepare_dataset",
    "plan_training",
    "get_task",
];

/// Arguments that [`CORE`] does not list: those of image classifiers, uploads, trackers and long lists. They are accepted all the same.
const NOT_IN_CORE: &[(&str, &[&str])] = &[
    ("generate_fine_tuning_project", &["carbon_config", "integrations"]),
    (
        "start_training",
        &[
            "platform",
            "dataset",
            "model",
            "ast_config",
            "baseline",
            "epochs",
            "batch_size",
            "learning_rate",
            "seed",
            "auto_upload_hf",
            "idempotency_key",
        ],
    ),
    ("list_runs", &["status", "search", "after", "losses"]),
    ("export_model", &["max_shard_size", "upload_to_huggingface", "hf_repo_id", "hf_public", "confirm"]),
];

/// Tools for image classifiers, their comparison, and for what is published.
const HUB: &[&str] = &[
    "start_training",
    "monitor_training_progress",
    "monitor_training",
    "evaluate_model",
    "generate_text",
    "export_model",
    "sync_model",
    "compare_runs",
    "energy_leaderboard",
    "create_model_card",
    "cancel_training",
    "resume_training",
    "list_runs",
    "get_emissions_summary",
    "get_aggregate_emissions",
    "get_task",
];

/// Which tools a server has: what is listed takes room in every conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// Those of a fine-tuning, from the data to the export.
    Core,
    /// Those of adaptive sparse training, comparisons and uploads.
    Hub,
    /// All.
    #[default]
    All,
}

impl Preset {
    /// Whether the tool `name` is one of them.
    fn has(self, name: &str) -> bool {
        match self {
            Self::Core => CORE.contains(&name),
            Self::Hub => HUB.contains(&name),
            Self::All => true,
        }
    }

    /// Its tools, in the order of the registry.
    pub(crate) fn tools(self) -> Vec<Tool> {
        let mut tools: Vec<_> = ALL.iter().filter(|tool| self.has(&tool.name)).cloned().collect();
        for tool in tools.iter_mut().filter(|_| self == Self::Core) {
            let left_out =
                NOT_IN_CORE.iter().filter(|(name, _)| *name == tool.name).flat_map(|(_, names)| *names);
            if let Some(Value::Object(listed)) = Arc::make_mut(&mut tool.input_schema).get_mut("properties") {
                left_out.for_each(|name| drop(listed.remove(*name)));
            }
        }
        tools
    }

    /// The operation that the tool `name` performs.
    pub(crate) fn operation(self, name: &str) -> Option<&'static Entry> {
        offered().find(|operation| operation.name == name && self.has(name))
    }
}

/// The tools, in the order of the registry.
static ALL: LazyLock<Vec<Tool>> = LazyLock::new(|| offered().map(tool).collect());

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
    let mut arguments = operation.brief_request_schema();
    flags::add(operation.name, &mut arguments);
    Tool::new(operation.name, operation.description, arguments)
        .with_title(operation.title)
        .with_raw_output_schema(Arc::new(fields_of_response(operation)))
        .with_annotations(annotations(operation.effect, operation.reach))
}

fn annotations(effect: Effect, reach: Reach) -> ToolAnnotations {
    ToolAnnotations::new()
        .read_only(effect == Effect::Reads)
        .destructive(effect == Effect::Replaces)
        .idempotent(effect != Effect::Adds)
        .open_world(reach == Reach::Network)
}

/// The schema of structured content: the response's fields, of which none is required.
///
/// A failed call's content is a problem, and that of a call in the background a task. Version 1 of the TypeScript client
/// validates them against the output schema too, so the schema must admit all of them.
fn fields_of_response(operation: &Entry) -> Map<String, Value> {
    let mut response = operation.response_schema();
    response.remove("required");
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_core_leaves_out_are_arguments_that_all_lists() {
        for (name, left_out) in NOT_IN_CORE {
            assert!(CORE.contains(name), "{name}");
            let tool = ALL.iter().find(|tool| tool.name == *name).unwrap();
            let listed = tool.input_schema["properties"].as_object().unwrap();
            for argument in *left_out {
                assert!(listed.contains_key(*argument), "{name} has no {argument}");
            }
        }
    }

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
