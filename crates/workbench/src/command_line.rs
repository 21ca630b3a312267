//! How an operation is called on the command line: the one place that words commands.
//!
//! Hints carry a [`Suggestion`], which each front end words in its own way. Where a contract asks for a command as such
//! (`monitor_command`, `command_examples`, `next_steps`, the card's recipe), and on the command line itself, it is
//! worded here. That each command is one is tested against the command line's own parser.

use greentune_core_config::{Problem, Suggestion};
use serde_json::Value;

/// How an argument is written.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// By itself, or each of a list.
    Word,
    /// A list as one word, with commas between its values.
    Joined,
    /// A list after `--`.
    Rest,
    /// `--flag VALUE` for each of a list.
    Each(&'static str),
    /// `--flag VALUE`, the values of a list separated by commas.
    Flag(&'static str),
    /// `--flag`, when the argument is this.
    Switch(bool, &'static str),
    /// `--flag`, when the argument is there.
    Presence(&'static str),
    /// `--set KEY=VALUE` for each setting that has no flag of its own.
    Settings,
}

/// A command: the operation that it performs, its words, its arguments by the request's field, and words at its end.
struct Command {
    operation: &'static str,
    words: &'static str,
    arguments: &'static [(&'static str, Form)],
    /// Arguments that it shares with another command.
    more: &'static [(&'static str, Form)],
    end: &'static str,
}

impl Command {
    fn all_arguments(&self) -> impl Iterator<Item = &(&'static str, Form)> {
        self.arguments.iter().chain(self.more)
    }
}

const fn command_of(
    operation: &'static str,
    words: &'static str,
    arguments: &'static [(&'static str, Form)],
) -> Command {
    Command { operation, words, arguments, more: &[], end: "" }
}

const RUN: (&str, Form) = ("run_id", Form::Word);

/// Arguments of a run of an image classifier, which is made alone or made and started.
const IMAGE_RUN: &[(&str, Form)] = {
    use Form::{Flag, Presence, Settings, Switch};
    &[
        ("platform", Flag("--platform")),
        ("model", Flag("--model")),
        ("dataset", Flag("--dataset")),
        ("ast_config", Presence("--ast")),
        ("ast_config/target_activation_rate", Flag("--target-activation-rate")),
        ("ast_config/entropy_weight", Flag("--entropy-weight")),
        ("ast_config/policy", Flag("--policy")),
        ("ast_config/warmup_epochs", Flag("--warmup-epochs")),
        ("baseline", Switch(true, "--baseline")),
        ("epochs", Flag("--epochs")),
        ("seed", Flag("--seed")),
        ("batch_size", Flag("--batch-size")),
        ("learning_rate", Flag("--learning-rate")),
        ("override_params/ast.warmup_epochs", Flag("--warmup-epochs")),
        ("override_params", Settings),
        ("idempotency_key", Flag("--idempotency-key")),
    ]
};

const COMMANDS: &[Command] = {
    use Form::{Each, Flag, Joined, Rest, Settings, Switch, Word};
    &[
        command_of(
            "generate_fine_tuning_project",
            "new",
            &[
                ("project_name", Word),
                ("base_model_config/local_path", Flag("--base-model")),
                ("description", Flag("--description")),
                ("output_dir", Flag("--to")),
            ],
        ),
        command_of(
            "prepare_dataset",
            "data prepare",
            &[
                ("datasets", Word),
                ("output_dir", Flag("--to")),
                ("seed", Flag("--seed")),
                ("train_split", Flag("--train")),
                ("validation_split", Flag("--validation")),
                ("test_split", Flag("--test")),
                ("deduplicate", Switch(false, "--no-dedup")),
                ("force", Switch(true, "--force")),
                ("columns", Flag("--columns")),
            ],
        ),
        command_of(
            "inspect_dataset",
            "data inspect",
            &[("dataset", Word), ("show", Flag("--show")), ("override_params", Settings)],
        ),
        command_of(
            "configure_training_run",
            "runs new",
            &[
                ("run_name", Flag("--name")),
                ("training_data/train_dataset", Flag("--train")),
                ("training_data/validation_dataset", Flag("--validation")),
                ("training_data/test_dataset", Flag("--test")),
                ("training_data/stage2_train_dataset", Flag("--stage2-train")),
                ("training_data/stage2_validation_dataset", Flag("--stage2-validation")),
                ("override_params", Settings),
            ],
        ),
        command_of("plan_training", "runs plan", &[RUN, ("measure", Switch(true, "--measure"))]),
        command_of(
            "tune_training",
            "runs tune",
            &[
                RUN,
                ("steps", Flag("--steps")),
                ("learning_rates", Flag("--learning-rate")),
                ("batch_sizes", Flag("--batch-size")),
            ],
        ),
        command_of("list_runs", "runs list", &[]),
        command_of("show_run", "runs show", &[RUN]),
        command_of("show_log", "runs log", &[RUN, ("lines", Flag("--lines"))]),
        command_of(
            "get_series",
            "runs series",
            &[
                RUN,
                ("names", Flag("--names")),
                ("points", Flag("--points")),
                ("from", Flag("--from")),
                ("to", Flag("--to")),
                ("after", Flag("--after")),
            ],
        ),
        command_of("energy_leaderboard", "leaderboard", &[]),
        command_of("list_emissions", "emissions list", &[("files", Word)]),
        command_of("sync_tracking", "runs sync", &[RUN]),
        command_of("configure_image_run", "train", IMAGE_RUN),
        Command {
            operation: "start_training",
            words: "train",
            arguments: &[
                RUN,
                ("stage", Flag("--stage")),
                ("async_mode", Switch(true, "--detach")),
                ("memory_check", Switch(false, "--no-memory-check")),
                ("accept_changed_inputs", Switch(true, "--accept-changed-inputs")),
            ],
            more: IMAGE_RUN,
            end: "",
        },
        command_of(
            "resume_training",
            "resume",
            &[
                RUN,
                ("async_mode", Switch(true, "--detach")),
                ("memory_check", Switch(false, "--no-memory-check")),
                ("accept_changed_inputs", Switch(true, "--accept-changed-inputs")),
                ("budget_kg", Flag("--budget-kg")),
                ("budget_kwh", Flag("--budget-kwh")),
            ],
        ),
        command_of("cancel_training", "cancel", &[RUN, ("wait_seconds", Flag("--wait"))]),
        command_of("monitor_training_progress", "monitor", &[RUN]),
        Command {
            operation: "follow_events",
            words: "monitor",
            arguments: &[RUN],
            more: &[],
            end: "--follow",
        },
        command_of(
            "evaluate_model",
            "evaluate",
            &[
                RUN,
                ("test_dataset", Flag("--test")),
                ("stage", Flag("--stage")),
                ("generate_records", Flag("--generate")),
                ("chat_template", Flag("--chat-template")),
            ],
        ),
        command_of(
            "generate_text",
            "generate",
            &[
                RUN,
                ("model_path", Flag("--model")),
                ("prompts", Each("--prompt")),
                ("system", Flag("--system")),
                ("stage", Flag("--stage")),
                ("with_base", Switch(false, "--no-base")),
                ("max_tokens", Flag("--max-tokens")),
                ("raw", Switch(true, "--raw")),
            ],
        ),
        command_of(
            "export_model",
            "export",
            &[
                RUN,
                ("stage", Flag("--stage")),
                ("export_format", Flag("--format")),
                ("export_path", Flag("--to")),
                ("force", Switch(true, "--force")),
                ("merge_adapters", Switch(true, "--merge")),
                ("quantization", Flag("--quantization")),
                ("max_shard_size", Flag("--max-shard-size")),
                ("compare", Switch(false, "--no-compare")),
                ("upload_to_huggingface", Switch(true, "--upload")),
                ("hf_repo_id", Flag("--repo")),
                ("hf_public", Switch(true, "--public")),
            ],
        ),
        command_of(
            "sync_model",
            "sync",
            &[
                ("model_path", Word),
                ("from", Flag("--from")),
                ("to", Flag("--to")),
                ("hf_repo", Flag("--repo")),
                ("hf_public", Switch(true, "--public")),
                ("dry_run", Switch(true, "--dry-run")),
            ],
        ),
        command_of("get_task", "tasks show", &[("task_id", Word), ("wait_seconds", Flag("--wait"))]),
        command_of("cancel_task", "tasks cancel", &[("task_id", Word)]),
        command_of(
            "compare_runs",
            "compare",
            &[("ast_run_id", Joined), ("baseline_run_id", Joined), ("format", Flag("--format"))],
        ),
        Command {
            operation: "plot_runs",
            words: "compare",
            arguments: &[("ast_run_id", Joined), ("baseline_run_id", Joined)],
            more: &[],
            end: "--plots",
        },
        command_of(
            "create_model_card",
            "card",
            &[
                RUN,
                ("template", Flag("--template")),
                ("baseline_run_id", Flag("--baseline")),
                ("output_path", Flag("--to")),
                ("overwrite", Switch(true, "--force")),
            ],
        ),
        command_of("get_emissions_summary", "emissions summary", &[RUN]),
        command_of("get_current_emissions", "emissions current", &[RUN]),
        command_of("get_aggregate_emissions", "emissions aggregate", &[]),
        command_of("compare_emissions", "emissions compare", &[("run_ids", Word)]),
        command_of("plot_emissions", "emissions plot", &[RUN, ("to", Flag("--to"))]),
        command_of(
            "track_emissions",
            "emissions track",
            &[
                ("output_file", Flag("--to")),
                ("project_name", Flag("--project-name")),
                ("country_iso_code", Flag("--country")),
                ("region", Flag("--region")),
                ("tracking_mode", Flag("--tracking-mode")),
                ("host_lock", Flag("--host-lock")),
                ("override_params", Settings),
                ("command", Rest),
            ],
        ),
        command_of(
            "calibrate_meter",
            "emissions calibrate",
            &[
                ("wall_wh", Flag("--wall-wh")),
                ("wall_meter", Flag("--wall-meter")),
                ("emissions_file", Flag("--from")),
                ("calibration_file", Flag("--to")),
            ],
        ),
        command_of(
            "forecast_carbon_intensity",
            "emissions forecast",
            &[("hours", Flag("--hours")), ("override_params", Settings)],
        ),
        command_of("show_config", "config show", &[("override_params", Settings)]),
        command_of("diagnose", "doctor", &[]),
    ]
};

/// The words of the command that performs `operation`, such as `runs list`; none when the command line has none.
pub fn command_words(operation: &str) -> Option<&'static str> {
    Some(find(operation)?.words)
}

/// The command that performs what `suggestion` says, as it is typed into a POSIX shell.
///
/// Arguments that have no flag are left out; an operation without a command is named as it is.
pub fn command(suggestion: &Suggestion) -> String {
    let Some(found) = find(&suggestion.operation) else {
        return suggestion.operation.clone();
    };
    let Command { words, end, .. } = found;
    let mut parts = vec![format!("greentune {words}")];
    let given = Value::Object(suggestion.arguments.clone());
    for (name, form) in found.all_arguments() {
        if let Some(value) = given.pointer(&format!("/{name}")).filter(|value| !value.is_null()) {
            let has_flag =
                |key: &str| found.all_arguments().any(|(other, _)| *other == format!("{name}/{key}"));
            parts.extend(written(*form, value, &has_flag));
        }
    }
    parts.extend((!end.is_empty()).then(|| (*end).to_owned()));
    parts.join(" ")
}

/// How the command that performs `operation` calls `argument`, a field of the request such as `output_path` or
/// `training_data.train_dataset`: `--to`, or `RUN` for a word without a flag.
pub fn flag_of(operation: &str, argument: &str) -> Option<String> {
    let path = argument.replace('.', "/");
    let (_, form) = find(operation)?.all_arguments().find(|(name, _)| *name == path)?;
    Some(match form {
        Form::Flag(flag) | Form::Each(flag) | Form::Switch(_, flag) | Form::Presence(flag) => {
            (*flag).to_owned()
        }
        Form::Settings => String::from("--set"),
        Form::Word if argument.starts_with("dataset") => String::from("FILE"),
        Form::Word | Form::Joined | Form::Rest => argument.trim_end_matches("_id").to_uppercase(),
    })
}

/// `problem` of `operation` as the command line says it: flags instead of the request's fields.
#[must_use]
pub fn in_flags(operation: &str, mut problem: Problem) -> Problem {
    problem.message = text_in_flags(operation, &problem.message);
    problem.hint = problem.hint.map(|hint| text_in_flags(operation, &hint));
    for suggestion in &mut problem.suggestions {
        suggestion.purpose = text_in_flags(&suggestion.operation, &suggestion.purpose);
    }
    let key = problem.location.as_mut().and_then(|location| location.key.as_mut());
    if let Some(key) = key
        && let Some(flag) = flag_of(operation, key)
    {
        *key = flag;
    }
    problem.problems = problem.problems.into_iter().map(|single| in_flags(operation, single)).collect();
    problem
}

/// Fields in `text` as flags, where they cannot be words of English: those with `_`, and those that are set to true.
fn text_in_flags(operation: &str, text: &str) -> String {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let mut written = String::new();
    let mut rest = text;
    while let Some(begin) = rest.find(is_of_name) {
        let end = rest[begin..].find(|c| !is_of_name(c)).map_or(rest.len(), |length| begin + length);
        let (name, after) = (rest[begin..end].trim_end_matches('.'), &rest[end..]);
        let is_set = after.strip_prefix(" = true");
        let flag = flag_of(operation, name).filter(|_| name.contains('_') || is_set.is_some());
        written.push_str(&rest[..begin]);
        match flag {
            Some(flag) => written.push_str(&(flag + &rest[begin + name.len()..end])),
            None => written.push_str(&rest[begin..end]),
        }
        rest = is_set.filter(|_| flag_of(operation, name).is_some()).unwrap_or(after);
    }
    written + rest
}

fn find(operation: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.operation == operation)
}

fn written(form: Form, value: &Value, has_flag: &dyn Fn(&str) -> bool) -> Vec<String> {
    match form {
        Form::Word => texts(value).iter().map(|text| word(text)).collect(),
        Form::Joined => vec![word(&texts(value).join(","))],
        Form::Rest => {
            [String::from("--")].into_iter().chain(texts(value).iter().map(|text| word(text))).collect()
        }
        Form::Flag(flag) => vec![flag.to_owned(), word(&texts(value).join(","))],
        Form::Switch(when, flag) if *value == Value::Bool(when) => vec![flag.to_owned()],
        Form::Each(flag) => texts(value).iter().flat_map(|text| [flag.to_owned(), word(text)]).collect(),
        Form::Presence(flag) => vec![flag.to_owned()],
        Form::Switch(..) => Vec::new(),
        Form::Settings => value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(key, _)| !has_flag(key))
            .flat_map(|(key, value)| [String::from("--set"), word(&format!("{key}={}", text(value)))])
            .collect(),
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().map_or_else(|| vec![text(value)], |list| list.iter().map(text).collect())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// `text` as one word of a POSIX shell.
pub fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(word("data/a.jsonl"), "data/a.jsonl");
        assert_eq!(word("it's $HOME"), r"'it'\''s $HOME'");
        assert_eq!(word(""), "''");
    }

    #[test]
    fn problems_name_flags_instead_of_fields() {
        let of = |operation: &str, text: &str| text_in_flags(operation, text);
        assert_eq!(
            of("create_model_card", "a path where nothing is, or any file with overwrite = true"),
            "a path where nothing is, or any file with --force"
        );
        assert_eq!(of("create_model_card", "baseline_run_id: found x"), "--baseline: found x");
        assert_eq!(of("create_model_card", "the template of run_id."), "the template of RUN.");
        assert_eq!(of("prepare_dataset", "replace it with --force"), "replace it with --force");
        assert_eq!(of("export_model", "/data/export_path/x stays"), "/data/export_path/x stays");
        let flag = flag_of("configure_training_run", "training_data.stage2_train_dataset");
        assert_eq!(flag.as_deref(), Some("--stage2-train"));
        let problem = Problem::new(greentune_core_config::ProblemKind::InvalidInput, "x", "no file")
            .at_key("test_dataset");
        let key = in_flags("evaluate_model", problem).location.and_then(|location| location.key);
        assert_eq!(key.as_deref(), Some("--test"));
    }

    #[test]
    fn arguments_become_words_flags_and_settings() {
        let of = |operation: &str| Suggestion::new("try", operation);
        let resume =
            of("resume_training").with("run_id", "a b").with("memory_check", false).with("budget_kg", 0.5);
        assert_eq!(command(&resume), "greentune resume 'a b' --no-memory-check --budget-kg 0.5");
        assert_eq!(command(&of("follow_events").with("run_id", "r")), "greentune monitor r --follow");
        let new = of("configure_training_run")
            .with("override_params", json!({ "lora.rank": 4, "dataset.prompt_template": "a b" }))
            .with("training_data", json!({ "train_dataset": "t.jsonl", "test_dataset": null }));
        assert_eq!(
            command(&new),
            "greentune runs new --train t.jsonl --set lora.rank=4 --set 'dataset.prompt_template=a b'"
        );
        let track = of("track_emissions").with("command", json!(["python", "my script.py"]));
        assert_eq!(command(&track), "greentune emissions track -- python 'my script.py'");
        let image = of("configure_image_run")
            .with("baseline", true)
            .with("override_params", json!({ "ast.warmup_epochs": 1, "vision.momentum": 0.8 }));
        assert_eq!(command(&image), "greentune train --baseline --warmup-epochs 1 --set vision.momentum=0.8");
        assert_eq!(command(&of("monitor_training")), "monitor_training");
    }
}
