//! `greentune monitor`: shows where a run stands.

use clap::Args;
use greentune_core_config::quantities::{count, duration, emissions, number, percent};
use greentune_workbench::{
    Workbench,
    operation::{MonitorTrainingProgress, MonitorTrainingProgressResponse},
};

#[cfg(unix)]
use crate::watch;
use crate::{advice::advice, failure::Failure, output::Paint, progress::Follower, session::Session};

/// Arguments of `monitor`.
#[derive(Args, Debug)]
pub struct Monitor {
    /// The run: its id, its name or the beginning of one
    run: String,
    /// Show progress live: on a terminal as a screen that stays open, elsewhere as lines until no worker trains the run
    #[arg(short, long)]
    follow: bool,
    /// Lines instead of the screen
    #[arg(long, requires = "follow")]
    lines: bool,
}

impl Monitor {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let workbench = session.workbench()?;
        #[cfg(unix)]
        if self.follow && !self.lines && session.output.shows_progress() && watch::is_possible(session) {
            watch::watch(session, &workbench, &self.run).await?;
            return self.show(session, &workbench).await;
        }
        if self.follow {
            let (project, run_id) = (session.project(), self.run.clone());
            Follower::new(workbench.clone(), project, run_id, session.output).await?.until_it_ends().await?;
        }
        self.show(session, &workbench).await
    }

    /// Shows where the run stands now.
    async fn show(self, session: &Session, workbench: &Workbench) -> Result<(), Failure> {
        let request = MonitorTrainingProgress {
            project_path: session.project(),
            run_id: self.run,
            include_emissions: None,
        };
        let response = workbench.monitor_training_progress(request).await?;
        session.output.answer(&response, |paint| page(&response, paint))
    }
}

fn page(response: &MonitorTrainingProgressResponse, paint: Paint) -> String {
    let metrics = &response.metrics;
    let stage = format!(
        "stage {}, step {} of {} ({:.0} % of the run)",
        response.current_stage,
        response.current_iteration,
        response.total_iterations,
        response.progress_percentage
    );
    let train_loss = metrics.train_loss.map(|loss| format!("training loss {loss:.3}"));
    let validation = metrics.validation_loss.map(|loss| format!("validation loss {loss:.3}"));
    let accuracy = metrics.token_accuracy.map(|share| format!("token accuracy {}", percent(share)));
    let accuracy = accuracy.or(metrics.accuracy.map(|share| format!("accuracy {}", percent(share))));
    let paces = [(metrics.tokens_per_second, "tokens/s"), (metrics.samples_per_second, "samples/s")];
    let pace =
        paces.into_iter().find_map(|(pace, unit)| Some(format!("{} {unit}", count(pace?.round() as u64))));
    let power = response.emissions.iter().flatten().next_back();
    let power = power.filter(|_| response.remaining_seconds.is_some());
    let rows = [
        ("progress", Some(stage)),
        ("figures", joined([train_loss, validation, accuracy])),
        ("pace", joined([pace, response.remaining_seconds.map(|left| format!("{} left", duration(left)))])),
        ("device", response.device.clone()),
        (
            "emissions",
            joined([
                response.carbon_emissions_kg.map(emissions),
                power.map(|now| format!("{} W", number(now.power_w))),
            ]),
        ),
    ];
    let mut lines = vec![format!("{}  {}", paint.heading(&response.run_id), response.status)];
    lines.extend(rows.into_iter().filter_map(|(name, text)| Some(format!("  {name:<9} {}", text?))));
    lines.extend(response.warnings.iter().map(|warning| paint.doubtful(format!("  warning: {warning}"))));
    lines.extend(response.problem.iter().map(|problem| paint.bad(format!("  problem: {problem}"))));
    let hint = advice(&response.suggestions, response.hint.as_deref());
    lines.extend(hint.map(|hint| format!("  {}: {hint}", paint.good("hint"))));
    lines.join("\n")
}

fn joined<const N: usize>(parts: [Option<String>; N]) -> Option<String> {
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
