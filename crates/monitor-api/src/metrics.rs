//! `/metrics`: runs and their figures for Prometheus (text format 0.0.4). `docs/grafana.json` is a dashboard for them.

use std::{collections::BTreeMap, fmt::Write as _};

use axum::{
    extract::{Request, State},
    response::Response,
};
use greentune_core_config::{Diagnostic as _, quantities::sum};
use greentune_http_server::Refusal;
use greentune_workbench::{
    RunSummary,
    operation::{ListRuns, MonitorTrainingProgress, MonitorTrainingProgressResponse},
};

use crate::{api::Api, respond};

/// Runs that have figures of their own: those at work, then the newest.
const MOST_RUNS: usize = 50;

/// All metrics.
pub(crate) async fn all(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    api.operation("list_runs")?;
    let failed = |error: greentune_workbench::WorkbenchError| Refusal::from(error.problem());
    let listed = api.workbench.list_runs(ListRuns::all(None)).await.map_err(failed)?;
    let mut page = Page::default();
    page.metric("greentune_build_info", "gauge", "The version that serves.");
    page.sample("greentune_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    page.metric("greentune_runs", "gauge", "Known runs by status.");
    let mut by_status = BTreeMap::<String, u64>::new();
    for run in &listed.runs {
        *by_status.entry(run.status.to_string()).or_default() += 1;
    }
    for (status, count) in &by_status {
        page.sample("greentune_runs", &[("status", status)], *count as f64);
    }
    page.metric("greentune_emissions_kg", "gauge", "Emissions of all known runs so far, in kg CO2e.");
    let kg = sum(listed.runs.iter().filter_map(|run| run.carbon_emissions_kg));
    page.sample("greentune_emissions_kg", &[], kg);
    let (active, rest): (Vec<_>, Vec<_>) = listed.runs.into_iter().partition(|run| run.status.is_active());
    let mut seen = Vec::new();
    for run in active.into_iter().chain(rest).take(MOST_RUNS) {
        let asked = MonitorTrainingProgress {
            project_path: Some(run.project_path.clone()),
            run_id: run.run_id.clone(),
            include_emissions: Some(true),
        };
        // A run that is being deleted has no figures any more.
        if let Ok(progress) = api.workbench.monitor_training_progress(asked).await {
            seen.push((run, progress));
        }
    }
    page.runs(&seen);
    Ok(respond::text(request.headers(), "text/plain; version=0.0.4; charset=utf-8", page.0.into_bytes()))
}

type Of = fn(&MonitorTrainingProgressResponse) -> Option<f64>;

/// Name, what it is, and where it stands in an answer.
const FIGURES: &[(&str, &str, Of)] = &[
    ("greentune_run_active", "1 while a worker is at the run, or it waits for one.", |run| {
        Some(f64::from(u8::from(run.status.is_active())))
    }),
    ("greentune_run_progress_ratio", "Share of all steps that is done.", |run| {
        Some(run.progress_percentage / 100.0)
    }),
    ("greentune_run_steps", "Steps done in the present stage.", |run| Some(run.current_iteration as f64)),
    ("greentune_run_train_loss", "Training loss of the last step, in nats.", |run| run.metrics.train_loss),
    ("greentune_run_validation_loss", "Loss of the last evaluation, in nats.", |run| {
        run.metrics.validation_loss
    }),
    ("greentune_run_accuracy_ratio", "Share that the last evaluation had right.", |run| {
        run.metrics.accuracy.or(run.metrics.token_accuracy)
    }),
    ("greentune_run_learning_rate", "Learning rate of the last step.", |run| run.metrics.learning_rate),
    ("greentune_run_tokens_per_second", "Tokens per second of the last step.", |run| {
        run.metrics.tokens_per_second
    }),
    ("greentune_run_samples_per_second", "Images per second of the last step.", |run| {
        run.metrics.samples_per_second
    }),
    ("greentune_run_remaining_seconds", "Seconds until the run is done, at the present pace.", |run| {
        run.remaining_seconds
    }),
    ("greentune_run_energy_kwh", "Energy so far, in kWh.", |run| {
        Some(sum(run.emissions.as_ref()?.iter().map(|stage| stage.energy_kwh)))
    }),
    ("greentune_run_emissions_kg", "Emissions so far, in kg CO2e.", |run| run.carbon_emissions_kg),
    ("greentune_run_power_watts", "Power at the last sample, while the run is at work.", |run| {
        run.emissions.as_ref()?.last().filter(|_| run.status.is_active()).map(|stage| stage.power_w)
    }),
];

/// Text for Prometheus.
#[derive(Default)]
struct Page(String);

impl Page {
    fn runs(&mut self, runs: &[(RunSummary, MonitorTrainingProgressResponse)]) {
        for (name, help, of) in FIGURES {
            self.metric(name, "gauge", help);
            for (run, progress) in runs {
                if let Some(value) = of(progress) {
                    let project = run.project_path.to_string_lossy();
                    let labels =
                        [("run_id", &*run.run_id), ("run_name", &*run.run_name), ("project", &*project)];
                    self.sample(name, &labels, value);
                }
            }
        }
    }

    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<_> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_quotes_and_lines_stay_labels() {
        let mut page = Page::default();
        page.sample("greentune_runs", &[("status", "a\"b\\c\nd")], 2.0);
        assert_eq!(page.0, "greentune_runs{status=\"a\\\"b\\\\c\\nd\"} 2\n");
    }
}
