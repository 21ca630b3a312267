//! `greentune runs`: configures, plans, tunes, lists and shows runs.

mod list;
mod log;
mod new;
mod plan;
mod series;
mod show;
mod sync;
mod tune;

pub use list::new_run;

use clap::Subcommand;

use crate::{failure::Failure, session::Session};

/// Commands of `runs`.
#[derive(Debug, Subcommand)]
pub enum Runs {
    /// Configure a run: check data, settings and base model, and write its manifest
    New(new::NewRun),
    /// Say what a run will need: memory, time, energy, carbon, cost
    Plan(plan::Plan),
    /// Choose a run's learning rates by short trials, before it starts
    Tune(tune::Tune),
    /// List the runs of the project; outside of a project, all runs
    List(list::List),
    /// Show everything about a run
    Show(show::Show),
    /// Show the end of a run's log
    Log(log::Log),
    /// The course of a run's figures as CSV: loss, learning rate, speed, accuracy, power, energy
    Series(series::Series),
    /// Send what is missing in a run's trackers (MLflow, Weights & Biases)
    Sync(sync::Sync),
}

impl Runs {
    pub(super) fn operation(&self) -> &'static str {
        match self {
            Self::New(_) => "configure_training_run",
            Self::Plan(_) => "plan_training",
            Self::Tune(_) => "tune_training",
            Self::List(_) => "list_runs",
            Self::Show(_) => "show_run",
            Self::Log(_) => "show_log",
            Self::Series(_) => "get_series",
            Self::Sync(_) => "sync_tracking",
        }
    }

    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::New(new) => new.run(session).await,
            Self::Plan(plan) => plan.run(session).await,
            Self::Tune(tune) => tune.run(session).await,
            Self::List(list) => list.run(session).await,
            Self::Show(show) => show.run(session).await,
            Self::Log(log) => log.run(session).await,
            Self::Series(series) => series.run(session).await,
            Self::Sync(sync) => sync.run(session).await,
        }
    }
}
