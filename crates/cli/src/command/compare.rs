//! `greentune compare`: adaptive sparse training beside full training.

use std::path::PathBuf;

use clap::{Args, ValueEnum, builder::EnumValueParser};
use greentune_workbench::{
    RunIds,
    operation::{CompareRuns, ComparisonFormat, PlotRuns},
};

use crate::{any_case::AnyCase, failure::Failure, session::Session};

/// Arguments of `compare`.
#[derive(Args, Debug)]
pub struct Compare {
    /// Run of adaptive sparse training; several, separated by commas, are a group over seeds
    ast_run: String,
    /// Run or runs of full training [default: its completed twin in the project]
    baseline_run: Option<String>,
    /// Output format
    #[arg(long, value_parser = AnyCase(EnumValueParser::<Format>::new()), default_value = "table")]
    format: Format,
    /// Draw charts too
    #[arg(long)]
    plots: bool,
    /// Folder of the project for the charts [default: comparisons/RUN]
    #[arg(long, value_name = "FOLDER", requires = "plots")]
    plots_to: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Text for a terminal
    Table,
    /// GitHub's Markdown
    Markdown,
    /// A table environment with booktabs
    Latex,
    /// One JSON document
    Json,
    /// A line per metric
    Csv,
}

impl From<Format> for ComparisonFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Table => Self::Table,
            Format::Markdown => Self::Markdown,
            Format::Latex => Self::Latex,
            Format::Json => Self::Json,
            Format::Csv => Self::Csv,
        }
    }
}

impl Compare {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let workbench = session.workbench()?;
        let response = workbench
            .compare_runs(CompareRuns {
                project_path: session.project(),
                ast_run_id: self.ast_run.clone().into(),
                baseline_run_id: self.baseline_run.clone().map(RunIds::from),
                format: Some(self.format.into()),
            })
            .await?;
        session.output.answer(&response, |_| match &response.text {
            Some(text) => text.trim_end().to_owned(),
            None => serde_json::to_string_pretty(&response).unwrap_or_default(),
        })?;
        if !self.plots {
            return Ok(());
        }
        let drawn = workbench
            .plot_runs(PlotRuns {
                project_path: session.project(),
                ast_run_id: self.ast_run.into(),
                baseline_run_id: self.baseline_run.map(RunIds::from),
                to: self.plots_to.map(|folder| session.here(&folder)),
            })
            .await?;
        for file in drawn.files {
            session.output.note(&format!("drew {}", file.display()));
        }
        Ok(())
    }
}
