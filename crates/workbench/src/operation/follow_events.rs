//! The events of a run after a number, waiting for new ones.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use greentune_core_config::{event::Event, layout::RunLayout, manifest::RunStatus};
use greentune_run_folder::{RunView, read_after};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Result, Workbench, launch::POLL};

/// Events that are returned at most when the request does not say.
const LIMIT: usize = 1000;
/// Seconds that a caller may wait at most.
const LONGEST_WAIT_SECONDS: f64 = 600.0;

/// Ask for the events after a number. Call again with `last_seq` of the answer until `ended`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct FollowEvents {
    /// Path of the project; looked up by the run's id when absent.
    pub project_path: Option<PathBuf>,
    /// Id of the run.
    pub run_id: String,
    /// Number of the last event that the caller has; all events when absent.
    pub after_seq: Option<u64>,
    /// Seconds to wait when there is no new event yet; 0 (return at once) when absent.
    pub wait_seconds: Option<f64>,
    /// Events to return at most; 1000 when absent.
    pub limit: Option<usize>,
}

/// New events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FollowEventsResponse {
    /// Id of the run.
    pub run_id: String,
    /// The events, in order.
    pub events: Vec<Event>,
    /// Number of the last event that the caller has now; pass it as `after_seq`.
    pub last_seq: Option<u64>,
    /// Where the run stands.
    pub status: RunStatus,
    /// Whether no worker is at work and every event was returned: nothing more will come by itself.
    pub ended: bool,
    /// Seconds until training is done, at the present pace; absent when it is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remaining_seconds: Option<f64>,
}

impl Workbench {
    /// Returns the events after `after_seq`; waits up to `wait_seconds` when there is none and the run goes on.
    pub async fn follow_events(&self, request: FollowEvents) -> Result<FollowEventsResponse> {
        let wait = request.wait_seconds.unwrap_or(0.0).clamp(0.0, LONGEST_WAIT_SECONDS);
        let deadline = Instant::now() + Duration::from_secs_f64(wait);
        let limit = request.limit.unwrap_or(LIMIT).max(1);
        let after = request.after_seq;
        let find =
            move |workbench: &Self| workbench.find_run(request.project_path.as_deref(), &request.run_id);
        let layout = self.blocking(find).await?;
        loop {
            let run = layout.clone();
            let response = self.blocking(move |workbench| workbench.events_after(&run, after, limit)).await?;
            if response.ended || !response.events.is_empty() || Instant::now() >= deadline {
                return Ok(response);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn events_after(
        &self,
        run: &RunLayout,
        after: Option<u64>,
        limit: usize,
    ) -> Result<FollowEventsResponse> {
        // The status is looked at first: whatever an ended run wrote is in the file then.
        let look = |view: &RunView| (view.status(), view.remaining_seconds());
        let (status, remaining_seconds) = self.look(run, look)?;
        let events = read_after(&run.events(), after, limit)?;
        Ok(FollowEventsResponse {
            run_id: run.run_id(),
            last_seq: events.last().map(|event| event.seq).or(after),
            status,
            ended: !status.is_active() && events.len() < limit,
            remaining_seconds,
            events,
        })
    }
}
