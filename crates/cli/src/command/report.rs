//! `greentune report`: a run's page in one file.

use std::path::PathBuf;

use clap::Args;
use greentune_core_config::{Problem, ProblemKind};
use greentune_durable::write_atomically;
use greentune_monitor_api::html_report;
use serde_json::json;

use crate::{failure::Failure, session::Session};

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct Report {
    /// The run: its id, its name or the beginning of one
    run: String,
    /// Write one HTML file with the run's figures and charts, which needs no server and loads nothing
    #[arg(long, required = true)]
    html: bool,
    /// The file to write [default: RUN.html in the current folder]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replace the file when it is there
    #[arg(long)]
    force: bool,
}

impl Report {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let workbench = session.workbench()?;
        let page = html_report(&workbench, session.project(), &self.run).await.map_err(Failure)?;
        let path = self.to.unwrap_or_else(|| PathBuf::from(format!("{}.html", self.run)));
        let path = session.here(&path);
        if path.exists() && !self.force {
            let message = format!("{} is there already", path.display());
            return Err(Failure(
                Problem::new(ProblemKind::Conflict, "file.exists", message)
                    .with_hint("name another file with --to, or replace it with --force"),
            ));
        }
        write_atomically(&path, page.as_bytes()).map_err(|source| {
            Failure(Problem::of_file(&source, format!("cannot write {}: {source}", path.display())))
        })?;
        let answer = json!({ "report": path, "bytes": page.len() });
        session.output.answer(&answer, |_| format!("wrote {}", path.display()))
    }
}
