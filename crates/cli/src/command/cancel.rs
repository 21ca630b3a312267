//! `greentune cancel`: ends a run at its next step.

use clap::Args;
use greentune_workbench::operation::CancelTraining;

use crate::{advice::advice, failure::Failure, session::Session};

/// Arguments of `cancel`.
#[derive(Args, Debug)]
pub struct Cancel {
    /// The run: its id, its name or the beginning of one
    run: String,
    /// Seconds to wait for the run to stop
    #[arg(long, value_name = "SECONDS")]
    wait: Option<f64>,
}

impl Cancel {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request =
            CancelTraining { project_path: session.project(), run_id: self.run, wait_seconds: self.wait };
        let response = session.workbench()?.cancel_training(request).await?;
        session.output.answer(&response, |_| match advice(&response.suggestions, None) {
            Some(advice) => format!("{}; {advice}", response.message),
            None => response.message.clone(),
        })
    }
}
