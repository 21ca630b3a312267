//! The commands, one file each.

mod cancel;
mod card;
mod compare;
mod completions;
mod config;
mod data;
mod demo;
mod doctor;
mod emissions;
mod evaluate;
mod export;
mod generate;
mod leaderboard;
mod mcp;
mod monitor;
mod new;
mod report;
mod resume;
mod runs;
mod serve;
mod sync;
mod tasks;
mod train;
mod worker;

pub use runs::new_run;

use clap::Subcommand;
use greentune_workbench::command_line::in_flags;

use crate::{failure::Failure, session::Session, signals::unless_asked_to_end};

/// A command with its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the whole workflow offline in about a minute
    Demo(demo::Demo),
    /// Make a project
    New(new::New),
    /// Prepare data and look at it
    #[command(subcommand)]
    Data(data::Data),
    /// Configure, plan, list and show runs
    #[command(subcommand)]
    Runs(runs::Runs),
    /// Train a run, or an image classifier in one line
    Train(train::Train),
    /// Show the status and progress of a run
    Monitor(monitor::Monitor),
    /// Stop a run at its next step, with a checkpoint
    Cancel(cancel::Cancel),
    /// Resume a run that was cancelled, interrupted or failed
    Resume(resume::Resume),
    /// Evaluate a trained stage, with the base model beside it
    Evaluate(evaluate::Evaluate),
    /// Ask a run's stages something, with the base model beside them
    Generate(generate::Generate),
    /// Write a trained stage as a model for other programs
    Export(export::Export),
    /// Upload a model to the Hugging Face Hub
    Sync(sync::Sync),
    /// Compare adaptive sparse training with full training
    Compare(compare::Compare),
    /// Rank completed runs by quality and energy
    Leaderboard(leaderboard::Leaderboard),
    /// Write the model card of a run
    Card(card::Card),
    /// Energy and emissions
    #[command(subcommand)]
    Emissions(emissions::Emissions),
    /// Work that goes on in the background
    #[command(subcommand)]
    Tasks(tasks::Tasks),
    /// Check what this installation can do here
    Doctor(doctor::Doctor),
    /// Settings and where they come from
    #[command(subcommand)]
    Config(config::Config),
    /// Print the completion script of a shell
    Completions(completions::Completions),
    /// Serve the dashboard, the HTTP API and the MCP server
    Serve(serve::Serve),
    /// Write a run's page into one file that needs no server
    Report(report::Report),
    /// Serve the tools to an assistant over MCP, or set its client up
    Mcp(mcp::Mcp),
    #[command(hide = true)]
    Worker(worker::Worker),
}

impl Command {
    /// The operation whose arguments the flags of the command are.
    fn operation(&self) -> Option<&'static str> {
        Some(match self {
            Self::New(_) => "generate_fine_tuning_project",
            Self::Data(data) => data.operation(),
            Self::Runs(runs) => runs.operation(),
            Self::Train(_) => "start_training",
            Self::Monitor(_) => "monitor_training_progress",
            Self::Cancel(_) => "cancel_training",
            Self::Resume(_) => "resume_training",
            Self::Evaluate(_) => "evaluate_model",
            Self::Generate(_) => "generate_text",
            Self::Export(_) => "export_model",
            Self::Sync(_) => "sync_model",
            Self::Compare(_) => "compare_runs",
            Self::Leaderboard(_) => "energy_leaderboard",
            Self::Card(_) => "create_model_card",
            Self::Emissions(emissions) => emissions.operation(),
            Self::Tasks(tasks) => tasks.operation(),
            Self::Config(_) => "show_config",
            Self::Demo(_)
            | Self::Doctor(_)
            | Self::Completions(_)
            | Self::Mcp(_)
            | Self::Serve(_)
            | Self::Report(_)
            | Self::Worker(_) => {
                return None;
            }
        })
    }

    /// Whether it waits for calls.
    pub fn is_server(&self) -> bool {
        matches!(self, Self::Mcp(_) | Self::Serve(_))
    }

    /// Runs the command; `command_line` is all of greentune's.
    pub async fn run(self, session: &Session, command_line: clap::Command) -> Result<(), Failure> {
        let operation = self.operation();
        let ended = match self {
            Self::Evaluate(_) | Self::Generate(_) | Self::Export(_) => {
                unless_asked_to_end(Box::pin(self.perform(session, command_line))).await
            }
            // They listen to signals themselves, or are done at once.
            _ => Box::pin(self.perform(session, command_line)).await,
        };
        ended.map_err(|Failure(problem)| {
            Failure(match operation {
                Some(operation) => in_flags(operation, problem),
                None => problem,
            })
        })
    }

    async fn perform(self, session: &Session, command_line: clap::Command) -> Result<(), Failure> {
        match self {
            Self::Demo(demo) => demo.run(session).await,
            Self::New(new) => new.run(session).await,
            Self::Data(data) => data.run(session).await,
            Self::Runs(runs) => runs.run(session).await,
            Self::Train(train) => Box::pin(train.run(session)).await,
            Self::Monitor(monitor) => monitor.run(session).await,
            Self::Cancel(cancel) => cancel.run(session).await,
            Self::Resume(resume) => resume.run(session).await,
            Self::Evaluate(evaluate) => evaluate.run(session).await,
            Self::Generate(generate) => generate.run(session).await,
            Self::Export(export) => export.run(session).await,
            Self::Sync(sync) => sync.run(session).await,
            Self::Compare(compare) => compare.run(session).await,
            Self::Leaderboard(leaderboard) => leaderboard.run(session).await,
            Self::Card(card) => card.run(session).await,
            Self::Emissions(emissions) => emissions.run(session).await,
            Self::Tasks(tasks) => tasks.run(session).await,
            Self::Doctor(doctor) => doctor.run(session).await,
            Self::Config(config) => config.run(session).await,
            Self::Completions(completions) => completions.run(session, command_line),
            Self::Serve(serve) => Box::pin(serve.run(session)).await,
            Self::Report(report) => report.run(session).await,
            Self::Mcp(mcp) => Box::pin(mcp.run(session)).await,
            Self::Worker(worker) => worker.run(session).await,
        }
    }
}
