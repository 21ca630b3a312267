//! `greentune runs tune`: short trials choose the learning rates of a run.

use clap::Args;
use greentune_core_config::{
    quantities::{count, duration, emissions, energy, number, plain},
    tuning::{SettingChange, StageTuning, Trial},
};
use greentune_workbench::operation::{TuneTraining, TuneTrainingResponse};

use crate::{failure::Failure, output::Paint, session::Session, table::table};

/// Arguments of `runs tune`.
#[derive(Args, Debug)]
pub struct Tune {
    /// The run, which has not been started: its id, its name or the beginning of one
    run: String,
    /// Optimizer steps of a trial [default: a fifth of the stage's, 10 to 40]
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// Learning rates of stage 1 to try, separated by commas [default: five around the usual one]
    #[arg(long, value_name = "X,…", value_delimiter = ',')]
    learning_rate: Vec<f64>,
    /// Batch sizes to try as well, separated by commas
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    batch_size: Vec<u64>,
}

impl Tune {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        session.output.note("trying learning rates for a few steps each …");
        let request = TuneTraining {
            project_path: session.project(),
            run_id: self.run,
            steps: self.steps,
            learning_rates: Some(self.learning_rate).filter(|rates| !rates.is_empty()),
            batch_sizes: Some(self.batch_size).filter(|sizes| !sizes.is_empty()),
        };
        let response = session.workbench()?.tune_training(request).await?;
        session.output.answer(&response, |paint| page(&response, paint))
    }
}

fn page(response: &TuneTrainingResponse, paint: Paint) -> String {
    let mut lines = vec![format!("{}  tuned on {}", paint.heading(&response.run_id), response.device)];
    for tuning in &response.stages {
        let title =
            format!("stage {}, validation loss {} before any step", tuning.stage, number(tuning.first_loss));
        lines.push(paint.heading(title));
        lines.push(trials(tuning));
    }
    lines.push(paint.heading("settings of the run"));
    lines.extend(response.changes.iter().map(change));
    lines.push(format!("  {}", cost(response)));
    lines.extend(response.warnings.iter().map(|warning| paint.doubtful(format!("warning: {warning}"))));
    lines.push(format!("next: greentune train {}", response.run_id));
    lines.join("\n")
}

fn trials(tuning: &StageTuning) -> String {
    let heading = ["  learning rate", "batch", "steps", "validation loss", ""].map(str::to_owned).into();
    let row = |trial: &Trial| {
        let is_chosen = (trial.learning_rate, trial.batch_size) == (tuning.learning_rate, tuning.batch_size);
        let given_up = trial.steps < trial.of_steps;
        vec![
            format!("  {}", plain(trial.learning_rate)),
            count(trial.batch_size),
            format!("{} of {}", trial.steps, trial.of_steps),
            trial.validation_loss.map_or_else(|| String::from("diverged"), number),
            match (is_chosen, given_up) {
                (true, _) => String::from("chosen"),
                (false, true) => String::from("given up"),
                (false, false) => String::new(),
            },
        ]
    };
    table(&std::iter::once(heading).chain(tuning.trials.iter().map(row)).collect::<Vec<_>>())
}

fn change(change: &SettingChange) -> String {
    let SettingChange { key, before, source_before, after } = change;
    format!("  {key} = {} (was {}, {source_before})", plain(*after), plain(*before))
}

fn cost(response: &TuneTrainingResponse) -> String {
    let took = duration(response.duration_seconds);
    match &response.emissions {
        Some(used) => format!(
            "the trials took {took} and {} ({}, {}), which are not part of the run's stages",
            energy(used.energy_kwh),
            emissions(used.emissions_kg_co2),
            used.basis
        ),
        None => format!("the trials took {took}; their energy was not metered"),
    }
}
