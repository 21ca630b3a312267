//! `greentune resume`: resumes a run.

use clap::Args;
use greentune_workbench::{Workbench, operation::ResumeTraining};

use super::train;
use crate::{failure::Failure, session::Session};

/// Arguments of `resume`.
#[derive(Args, Debug)]
pub struct Resume {
    /// The run: its id, its name or the beginning of one
    run: String,
    /// Return once training has begun; it continues without this terminal
    #[arg(long)]
    detach: bool,
    /// Train even if the run does not seem to fit into memory
    #[arg(long)]
    no_memory_check: bool,
    /// Train although data or base model have changed since the run was configured
    #[arg(long)]
    accept_changed_inputs: bool,
    /// A new budget of the run, in kg CO2e over all its stages and attempts
    #[arg(long, value_name = "KG")]
    budget_kg: Option<f64>,
    /// A new budget of the run, in kWh over all its stages and attempts
    #[arg(long, value_name = "KWH")]
    budget_kwh: Option<f64>,
}

impl Resume {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = ResumeTraining {
            project_path: session.project(),
            run_id: self.run.clone(),
            async_mode: Some(self.detach),
            memory_check: self.no_memory_check.then_some(false),
            accept_changed_inputs: self.accept_changed_inputs.then_some(true),
            budget_kg: self.budget_kg,
            budget_kwh: self.budget_kwh,
        };
        let workbench = session.workbench()?;
        let training = |workbench: Workbench| async move { workbench.resume_training(request).await };
        train::answer(session, &workbench, session.project(), self.run, self.detach, || Ok(()), training)
            .await
    }
}
