//! `greentune emissions list`: every row that was metered.

use std::path::PathBuf;

use clap::Args;
use greentune_workbench::operation::ListEmissions;

use crate::{failure::Failure, session::Session};

/// Arguments of `emissions list`.
#[derive(Args, Debug)]
pub struct List {
    /// CodeCarbon files, or folders of them [default: those of the project]
    files: Vec<PathBuf>,
}

impl List {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let project_path =
            if self.files.is_empty() { Some(session.project_or_here()) } else { session.project() };
        let files = self.files.iter().map(|file| session.here(file)).collect();
        let rows = session.workbench()?.list_emissions(ListEmissions { project_path, files }).await?;
        session.output.answer(&rows, |_| rows.csv().trim_end().replace("\r\n", "\n"))
    }
}
