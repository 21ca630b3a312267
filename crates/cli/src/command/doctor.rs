//! `greentune doctor`: checks what this installation can do here.

use clap::Args;
use greentune_core_config::{ProblemKind, quantities::counted};
use greentune_workbench::operation::{CheckStatus, Diagnose, DiagnoseResponse};

use crate::{advice::advice, failure::Failure, output::Paint, session::Session};

/// Arguments of `doctor`.
#[derive(Args, Debug)]
pub struct Doctor {}

impl Doctor {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = Diagnose { project_path: session.project() };
        let response = session.workbench()?.diagnose(request).await?;
        session.output.answer(&response, |paint| page(&response, paint))?;
        let failed =
            response.checks.iter().filter(|check| check.status == CheckStatus::Failed).count() as u64;
        if failed == 0 {
            return Ok(());
        }
        let message = format!("{} failed", counted(failed, "check"));
        Err(Failure::new(ProblemKind::Unavailable, "doctor.failed", message))
    }
}

fn page(response: &DiagnoseResponse, paint: Paint) -> String {
    let mut lines = vec![paint.heading(format!("greentune {}", response.version))];
    for check in &response.checks {
        let mark = match check.status {
            CheckStatus::Ok => paint.good("ok  "),
            CheckStatus::Warning => paint.doubtful("warn"),
            CheckStatus::Failed => paint.bad("fail"),
        };
        lines.push(format!("{mark}  {}: {}", check.name, check.detail));
        let hint = advice(&check.suggestions, check.hint.as_deref());
        lines.extend(hint.map(|hint| format!("      {}: {hint}", paint.good("hint"))));
    }
    lines.push(paint.heading("devices"));
    for device in &response.devices {
        let mark = if device.available { paint.good("yes ") } else { paint.faint("no  ") };
        lines.push(format!("{mark}  {}: {}", device.device, device.detail));
    }
    lines.join("\n")
}
