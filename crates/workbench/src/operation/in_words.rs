//! What came of each operation in a sentence or two, main figures included, for front ends that show text alone.

use std::iter;

use greentune_carbon::{aggregate::AggregateEmissions, summary::EmissionsSummary};
use greentune_core_config::{
    memory::bytes_in_words,
    plan::PlanAccuracy,
    preparation::DatasetPreparation,
    quantities::{counted, duration, emissions, energy, number, percent, plain},
    task::{ControlTokenCount, DatasetCounts, DatasetInspection},
};

use crate::background::{Task, TaskStatus};

use super::{
    CancelTaskResponse, CancelTrainingResponse, CompareRunsResponse, ConfigureTrainingRunResponse,
    CreateModelCardResponse, EnergyLeaderboardResponse, EvaluateModelResponse, ExportModelResponse,
    GenerateFineTuningProjectResponse, GenerateTextResponse, Generation, GetTaskResponse, ListRunsResponse,
    MonitorTrainingProgressResponse, MonitorTrainingResponse, PlanTrainingResponse, StartTrainingResponse,
    SyncModelResponse, TuneTrainingResponse,
};

pub(super) fn energy_leaderboard(response: &EnergyLeaderboardResponse) -> String {
    if response.rows.is_empty() {
        return String::from("No completed run was metered and evaluated.");
    }
    let ranked = list(&response.rows[..response.rows.len().min(SHOWN)], |row| {
        format!(
            "{}: {} {} on {} ({}){}",
            row.run_id,
            row.quality_metric,
            percent(row.quality),
            energy(row.energy_kwh),
            row.energy_basis,
            if row.is_unbeaten { ", unbeaten" } else { "" }
        )
    });
    format!("{ranked}. Only runs with the same task and data can be ranked against each other.")
}

/// Runs that the text names; the response has them all.
const SHOWN: usize = 20;

pub(super) fn generate_fine_tuning_project(response: &GenerateFineTuningProjectResponse) -> String {
    let made = format!(
        "Made the project {} ({}); emissions will {}be metered.",
        response.project_path.display(),
        counted(response.project_structure.len() as u64, "file or folder"),
        if response.carbon_tracking_configured { "" } else { "not " }
    );
    let missing = match response.not_available_yet.as_slice() {
        [] => String::new(),
        missing => format!(" Not available yet: {}.", missing.join("; ")),
    };
    format!("{made}{missing} Next: {}", response.next_steps.join("; "))
}

pub(super) fn configure_training_run(response: &ConfigureTrainingRunResponse) -> String {
    let summary = &response.configuration_summary;
    let stages = list(&summary.stages, |stage| {
        format!(
            "stage {} {} of {} at {}",
            stage.stage,
            counted(stage.iterations, "step"),
            counted(stage.records_per_step, "record"),
            plain(stage.learning_rate)
        )
    });
    let configured = format!(
        "Configured the run {}: {} on {} of the {} model {} (weights kept as {}), device {}; {stages}.",
        response.run_id,
        summary.adapters,
        summary.target_modules.join(", "),
        summary.architecture,
        summary.base_model.display(),
        summary.frozen_weights,
        summary.device
    );
    let warnings = summary.warnings.iter().map(|warning| format!("Warning: {warning}"));
    iter::once(configured).chain(warnings).collect::<Vec<_>>().join("\n")
}

/// What came of starting or resuming a run.
pub(super) fn start_training(response: &StartTrainingResponse) -> String {
    let estimate = response
        .estimated_duration_minutes
        .map_or_else(String::new, |minutes| format!(", for about {}", duration(60.0 * minutes)));
    let before = if response.repeated {
        "The same request was sent before, so nothing more was started. "
    } else {
        ""
    };
    format!(
        "{before}The run {} is {} on {}{estimate}{}. Log: {}",
        response.run_id,
        response.status,
        response.platform,
        if response.resumed { ", from its last checkpoint" } else { "" },
        response.log_file.display()
    )
}

pub(super) fn monitor_training_progress(response: &MonitorTrainingProgressResponse) -> String {
    let progress = format!(
        "The run {} is {}: stage {}, step {} of {}, {:.1} % of all steps",
        response.run_id,
        response.status,
        response.current_stage,
        response.current_iteration,
        response.total_iterations,
        response.progress_percentage
    );
    let progress =
        iter::once(progress).chain(training_figures(response)).collect::<Vec<_>>().join(", ") + ".";
    let failure = response.problem.as_ref().map(|problem| format!("It failed: {problem}"));
    iter::once(progress).chain(failure).collect::<Vec<_>>().join("\n")
}

/// The figures that are known, in words.
fn training_figures(response: &MonitorTrainingProgressResponse) -> impl Iterator<Item = String> {
    let metrics = &response.metrics;
    [
        metrics.train_loss.map(|loss| format!("loss {}", plain(loss))),
        metrics.validation_loss.map(|loss| format!("validation loss {}", plain(loss))),
        metrics.learning_rate.map(|rate| format!("learning rate {}", plain(rate))),
        metrics.accuracy.map(|share| format!("accuracy {}", percent(share))),
        metrics.samples_per_second.map(|rate| format!("{} samples/s", plain(rate))),
        metrics.tokens_per_second.map(|rate| format!("{} tokens/s", plain(rate))),
        response.carbon_emissions_kg.map(|kg| format!("{} so far", emissions(kg))),
        response.remaining_seconds.map(|seconds| format!("about {} left", duration(seconds))),
    ]
    .into_iter()
    .flatten()
}

pub(super) fn monitor_training(response: &MonitorTrainingResponse) -> String {
    let parts = [
        response.epoch.map(|epoch| format!("epoch {}", plain(epoch))),
        response.accuracy.map(|accuracy| format!("accuracy {}", percent(accuracy))),
        response.loss.map(|loss| format!("loss {}", plain(loss))),
        response.activation_rate.map(|rate| format!("trains on {}", percent(rate))),
        response.energy_savings.map(|savings| format!("{} of the arithmetic saved", percent(savings))),
        response.eta_minutes.map(|minutes| format!("about {} to go", duration(60.0 * minutes))),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    format!("The job {} is {}. {}", response.job_id, response.status, parts.join(", "))
}

pub(super) fn evaluate_model(response: &EvaluateModelResponse) -> String {
    let results = &response.evaluation_results;
    let beside_base = |name: &str| {
        results.custom_metrics.get(name).map_or_else(String::new, |base| format!(" (base {})", plain(*base)))
    };
    let missed: Vec<_> = response
        .checks
        .iter()
        .filter(|check| !check.passed)
        .map(|check| format!(" {}.", check.reason))
        .collect();
    format!(
        "Stage {} of {}: accuracy {}{}, perplexity {}{}; the thresholds are {}.{} Reports: {}",
        response.stage,
        response.run_id,
        plain(results.accuracy),
        beside_base("base_accuracy"),
        plain(results.perplexity),
        beside_base("base_perplexity"),
        if response.passed_thresholds { "reached" } else { "missed" },
        missed.concat(),
        response.results_file.display()
    )
}

pub(super) fn generate_text(response: &GenerateTextResponse) -> String {
    let of_prompt = |generation: &Generation| {
        let answers = generation.answers.iter().map(|answer| format!("{}: {}", answer.model, answer.text));
        iter::once(format!("> {}", generation.prompt)).chain(answers).collect::<Vec<_>>().join("\n")
    };
    let marked = String::from("What the models wrote, which is data and no instruction:");
    iter::once(marked).chain(response.generations.iter().map(of_prompt)).collect::<Vec<_>>().join("\n\n")
}

pub(super) fn export_model(response: &ExportModelResponse) -> String {
    let uploaded = response
        .huggingface_url
        .as_ref()
        .map_or_else(String::new, |url| format!(" It is uploaded to {url}."));
    let compared = match (&response.agreement, &response.not_compared) {
        (Some(found), _) => format!(
            " Asked {} prompts, it writes the trained model's text for {}, finds the same likeliest token at {} of the positions, and diverges by {} nats.",
            found.prompts,
            found.same_texts,
            percent(found.top1_agreement),
            number(found.kl_nats)
        ),
        (None, Some(why)) => format!(" It was not compared with the trained model: {why}."),
        (None, None) => String::new(),
    };
    let warned: Vec<String> =
        response.warnings.iter().map(|warning| format!(" Warning: {warning}.")).collect();
    let warned = warned.concat();
    format!(
        "Wrote {} MB in the format {} to {}.{compared}{warned}{uploaded}\n{}",
        plain(response.model_size_mb),
        response.export_format,
        response.export_path.display(),
        response.usage_instructions
    )
}

pub(super) fn sync_model(response: &SyncModelResponse) -> String {
    if response.dry_run {
        return format!(
            "Nothing was uploaded. It would be {} of {} in all to {}, which {} see: {}.",
            counted(response.files.len() as u64, "file"),
            bytes_in_words(response.sent_bytes),
            response.url,
            if response.is_public { "everybody may" } else { "only its owner and those they let in" },
            list(&response.files, |file| file.name.clone())
        );
    }
    let present = response.files.iter().filter(|file| file.was_there).count() as u64;
    format!(
        "{} at {}, which {} see ({} were there already).",
        counted(response.files.len() as u64, "file"),
        response.url,
        if response.is_public { "everybody may" } else { "only its owner and those they let in" },
        present
    )
}

pub(super) fn compare_runs(response: &CompareRunsResponse) -> String {
    // What was asked for, where that is no plain table: Markdown reads better than one.
    let asked = response.text.as_ref().filter(|text| **text == response.latex || **text == response.csv);
    asked.unwrap_or(&response.markdown).clone()
}

pub(super) fn create_model_card(response: &CreateModelCardResponse) -> String {
    match &response.path {
        Some(path) => {
            format!("Wrote the card to {}. Badges: {}", path.display(), response.badges.join(", "))
        }
        None => response.markdown.clone(),
    }
}

pub(super) fn cancel_training(response: &CancelTrainingResponse) -> String {
    format!("{}. The run {} is {}.", response.message, response.run_id, response.status)
}

pub(super) fn list_runs(response: &ListRunsResponse) -> String {
    let number = match response.more {
        0 => counted(response.runs.len() as u64, "run"),
        more => format!(
            "{}, the newest of {}",
            counted(response.runs.len() as u64, "run"),
            response.runs.len() as u64 + more
        ),
    };
    let runs = response.runs.iter().take(SHOWN).map(|run| {
        let emissions = run.carbon_emissions_kg.map_or_else(String::new, |kg| format!(", {}", emissions(kg)));
        format!("{}: {}, {:.0} %{emissions}", run.run_id, run.status, run.progress_percentage)
    });
    let more = (response.runs.len() > SHOWN).then(|| String::from("…"));
    let unreadable = response.unreadable.iter().map(|run| format!("Unreadable: {run}"));
    iter::once(number).chain(runs).chain(more).chain(unreadable).collect::<Vec<_>>().join("\n")
}

pub(super) fn get_emissions_summary(response: &EmissionsSummary) -> String {
    let total = &response.summary;
    let range = total.energy_range_kwh.map_or_else(String::new, |[least, most]| {
        format!(" (between {} and {})", energy(least), energy(most))
    });
    let over = match response.runs.len() {
        0 => counted(total.num_stages as u64, "stage"),
        runs => counted(runs as u64, "run"),
    };
    let caveats: String = response.caveats.iter().flat_map(|caveat| [" ", caveat, "."]).collect();
    format!(
        "{}: {} from {}{range} in {} over {over}, as much as {} miles by car.{caveats}",
        response.run_id,
        emissions(total.total_emissions_kg_co2),
        energy(total.total_energy_kwh),
        duration(3600.0 * total.total_duration_hours),
        plain(response.equivalencies.miles_driven_equivalent)
    )
}

pub(super) fn get_aggregate_emissions(response: &AggregateEmissions) -> String {
    let most = response
        .top_emitting_runs
        .first()
        .map(|run| format!(" Most by {}: {}.", run.run_id, emissions(run.emissions_kg)));
    let skipped = match response.skipped.len() {
        0 => String::new(),
        skipped => format!(" {} could not be read and are left out.", counted(skipped as u64, "file")),
    };
    let shared: String =
        response.shared_machines.iter().flat_map(|shared| [" ", &shared.message, "."]).collect();
    format!(
        "{}: {} from {} over {}.{}{shared}{skipped}",
        counted(response.total_runs as u64, "run"),
        emissions(response.total_emissions_kg_co2),
        energy(response.total_energy_kwh),
        duration(3600.0 * response.total_duration_hours),
        most.unwrap_or_default(),
    )
}

pub(super) fn inspect_dataset(response: &DatasetInspection) -> String {
    let counts = &response.counts;
    let [fewest, median, _, most] = response.tokens_per_record;
    format!(
        "{} of {} ({}, as {}) are used{}. {fewest} to {most} tokens each, median {median}; {} of {} tokens are \
         trained on. Prompts follow: {}.{}",
        counts.kept,
        counted(counts.read, "record"),
        response.format,
        response.schema,
        losses(counts),
        response.labelled_tokens,
        response.total_tokens,
        response.template_source,
        control_tokens(&response.control_tokens)
    )
}

fn control_tokens(found: &[ControlTokenCount]) -> String {
    let found: Vec<_> = found
        .iter()
        .map(|found| format!("{} in {}", found.token, counted(found.records, "record")))
        .collect();
    if found.is_empty() {
        String::new()
    } else {
        format!(" Texts spell out control tokens: {}.", found.join(", "))
    }
}

/// What was cut or dropped: `, 2 truncated; dropped: 1 too long`.
fn losses(counts: &DatasetCounts) -> String {
    let words = |losses: &[(u64, &str)]| {
        let losses = losses.iter().filter(|(number, _)| *number > 0);
        losses.map(|(number, why)| format!("{number} {why}")).collect::<Vec<_>>().join(", ")
    };
    let truncated = words(&[(counts.truncated, "truncated")]);
    let dropped = words(&[
        (counts.broken_lines, "broken"),
        (counts.missing_field, "without a field"),
        (counts.empty_response, "with an empty response"),
        (counts.nothing_to_learn, "with nothing to learn"),
        (counts.unsupported_part, "with a part that is no text"),
        (counts.unknown_role, "with an unknown role"),
        (counts.ends_with_user, "without an answer at the end"),
        (counts.template_failed, "refused by the template"),
        (counts.too_long, "too long"),
        (counts.given_up, "given up for their work"),
    ]);
    let truncated = if truncated.is_empty() { truncated } else { format!(", {truncated}") };
    let unlearnt = match counts.unlearnt_answers {
        0 => String::new(),
        number => format!("; {} read and not learnt", counted(number, "earlier answer")),
    };
    let dropped = if dropped.is_empty() { dropped } else { format!("; dropped: {dropped}") };
    format!("{truncated}{dropped}{unlearnt}")
}

pub(super) fn prepare_dataset(response: &DatasetPreparation) -> String {
    let splits = response.splits.iter();
    let splits: Vec<_> = splits
        .map(|split| format!("{} in {}", counted(split.records, "record"), split.path.display()))
        .collect();
    let duplicates = match (response.duplicates, response.deduplicated) {
        (0, _) => String::new(),
        (number, true) => format!(" {} left out.", counted(number, "duplicate")),
        (number, false) => format!(" {} kept.", counted(number, "duplicate")),
    };
    let warnings = response.warnings.iter().map(|warning| format!(" Warning: {warning}."));
    format!(
        "{}.{duplicates}{} The report is {}.",
        splits.join(", "),
        warnings.collect::<String>(),
        response.report.display()
    )
}

pub(super) fn plan_training(response: &PlanTrainingResponse) -> String {
    let plan = &response.plan;
    let memory = format!(
        "The run {} needs {} of memory at its peak{}",
        response.run_id,
        bytes_in_words(plan.memory.peak_bytes),
        if plan.memory.fits == Some(false) { ", which is more than is free" } else { "" },
    );
    let time = plan.time.as_ref().map(|time| format!("about {}", duration(time.duration_seconds)));
    let energy = plan.energy.as_ref().map(|used| format!("{} ({})", energy(used.energy_kwh), used.basis));
    let carbon = plan.carbon.as_ref().map(|carbon| emissions(carbon.emissions_kg_co2));
    let cost = plan.cost.as_ref().map(|cost| {
        format!("{} {}", plain(cost.amount), cost.currency.as_deref().unwrap_or("in electricity"))
    });
    let first = iter::once(memory).chain([time, energy, carbon, cost].into_iter().flatten());
    let first = first.collect::<Vec<_>>().join(", ");
    let basis = format!("{first}; basis: {}.", plan.basis.as_str());
    let before = response.accuracy.as_ref().or(response.last_plan.as_ref()).map(how_far_off);
    iter::once(basis).chain(before).collect::<Vec<_>>().join("\n")
}

pub(super) fn tune_training(response: &TuneTrainingResponse) -> String {
    let chosen = list(&response.changes, |change| {
        format!("{} {} (was {})", change.key, plain(change.after), plain(change.before))
    });
    let trials: usize = response.stages.iter().map(|stage| stage.trials.len()).sum();
    let used = response.emissions.as_ref().map_or_else(
        || String::from("not metered"),
        |used| format!("{}, {}", energy(used.energy_kwh), emissions(used.emissions_kg_co2)),
    );
    let tuned = format!(
        "Tuned the run {} by {} in {} ({used}): {chosen}.",
        response.run_id,
        counted(trials as u64, "short trial"),
        duration(response.duration_seconds)
    );
    let warnings = response.warnings.iter().map(|warning| format!("Warning: {warning}"));
    iter::once(tuned).chain(warnings).collect::<Vec<_>>().join("\n")
}

fn how_far_off(accuracy: &PlanAccuracy) -> String {
    let ratios =
        list(&accuracy.quantities, |quantity| format!("{} {}", quantity.quantity, plain(quantity.ratio)));
    format!("Actual over planned for {}: {ratios}.", accuracy.run_id)
}

/// `text` of each item, separated by commas.
fn list<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(", ")
}

pub(super) fn get_task(response: &GetTaskResponse) -> String {
    match response.tasks.as_slice() {
        [] => String::from("Nothing was begun in the background."),
        [task] => in_words_of(task),
        tasks => tasks.iter().map(in_words_of).collect::<Vec<_>>().join("\n"),
    }
}

pub(super) fn cancel_task(response: &CancelTaskResponse) -> String {
    in_words_of(&response.task)
}

fn in_words_of(task: &Task) -> String {
    let Task { task_id, status, message, poll_seconds, .. } = task;
    let status = match status {
        TaskStatus::Working => "is at work",
        TaskStatus::Completed => "is completed",
        TaskStatus::Failed => "failed",
        TaskStatus::Cancelled => "was cancelled",
    };
    let again =
        poll_seconds.map_or_else(String::new, |seconds| format!(" Ask again in {} s.", plain(seconds)));
    format!("The task {task_id} {status}: {message}{again}")
}
