//! `greentune runs sync`: sends what is missing in a run's trackers.

use clap::Args;
use greentune_workbench::operation::SyncTracking;

use crate::{failure::Failure, output::Paint, session::Session};

/// The answer of the workbench.
type SyncReport = greentune_workbench::SyncReport;

/// Arguments of `runs sync`.
#[derive(Args, Debug)]
pub struct Sync {
    /// The run: its id, its name or the beginning of one
    run: String,
}

impl Sync {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = SyncTracking { project_path: session.project(), run_id: self.run };
        let report = session.workbench()?.sync_tracking(request).await?;
        session.output.answer(&report, |paint| page(&report, paint))?;
        let mut problems = report.trackers.into_iter().flat_map(|tracker| tracker.problems);
        problems.next().map_or(Ok(()), |problem| Err(Failure(problem)))
    }
}

fn page(report: &SyncReport, paint: Paint) -> String {
    let mut lines = Vec::new();
    for tracker in &report.trackers {
        let place = tracker.place.as_ref().map(|place| format!(", {place}")).unwrap_or_default();
        lines.push(format!(
            "{}: {} of {} events sent now{place}",
            tracker.tracker, tracker.sent, tracker.total
        ));
        lines.extend(tracker.then.iter().map(|then| format!("  then: {}", paint.heading(then))));
    }
    lines.join("\n")
}
