//! `greentune emissions plot`: charts as SVG and PNG.

use std::path::PathBuf;

use clap::Args;
use greentune_workbench::operation::PlotEmissions;

use crate::{failure::Failure, session::Session};

/// Arguments of `emissions plot`.
#[derive(Args, Debug)]
pub struct Plot {
    /// Id of the run [default: emissions by run, over all runs of the project]
    run: Option<String>,
    /// Folder for the charts [default: emissions/plots in the project]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

impl Plot {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let to = self.to.map(|folder| session.here(&folder));
        let request = PlotEmissions { project_path: session.project_or_here(), run_id: self.run, to };
        let response = session.workbench()?.plot_emissions(request).await?;
        session.output.answer(&response, |_| {
            response.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join("\n")
        })
    }
}
