//! `greentune runs log`: the end of a run's log.

use clap::Args;
use greentune_workbench::operation::{ShowLog, ShowLogResponse};

use crate::{failure::Failure, session::Session};

/// Arguments of `runs log`.
#[derive(Args, Debug)]
pub struct Log {
    /// The run: its id, its name or the beginning of one
    run: String,
    /// Lines to show at most [default: 200]
    #[arg(long, value_name = "N")]
    lines: Option<u64>,
}

impl Log {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = ShowLog { project_path: session.project(), run_id: self.run, lines: self.lines };
        let response = session.workbench()?.show_log(request).await?;
        session.output.answer(&response, |_| page(&response))
    }
}

fn page(response: &ShowLogResponse) -> String {
    match response.lines.as_slice() {
        [] => String::from("the log is empty"),
        lines => lines.join("\n"),
    }
}
