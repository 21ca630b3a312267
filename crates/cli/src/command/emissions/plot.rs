//! `greentune emissions plot`: charts as SVG and PNG.

use std::path::PathBuf;

use clap::Args;
use greentune_workbench::operation::PlotEmissions;

use super::run_or_path;
use crate::{failure::Failure, session::Session};

/// Arguments of `emissions plot`.
#[derive(Args, Debug)]
pub struct Plot {
    /// A run by its id, its name or the beginning of one, or a CodeCarbon file or a folder of them [default: all runs
    /// of the project]
    #[arg(value_name = "RUN|FILE")]
    run: Option<String>,
    /// Folder for the charts [default: emissions/plots in the project, plots beside a file]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

impl Plot {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let to = self.to.map(|folder| session.here(&folder));
        let run_id = self.run.map(|run| run_or_path(&run, session));
        let project_path = if run_id.is_none() { Some(session.project_or_here()) } else { session.project() };
        let request = PlotEmissions { project_path, run_id, to };
        let response = session.workbench()?.plot_emissions(request).await?;
        session.output.answer(&response, |_| {
            response.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join("\n")
        })
    }
}
