//! Where a run stands: its manifest, its events and the word of its platform together.

use greentune_core_config::{
    Diagnostic as _, Problem,
    event::EventKind,
    layout::RunLayout,
    manifest::{RunManifest, RunStatus},
    platform::{JobState, PlatformKind},
};
use jiff::{SignedDuration, Timestamp};

use crate::lock;

/// A queued run whose worker has not taken the lock after this time will not begin any more.
pub const QUEUED_AT_MOST: SignedDuration = SignedDuration::from_secs(60);

/// Whether the worker of a run is at work. The run's platform answers.
pub trait Liveness {
    /// What the platform says of the job of the run at `layout`, whose manifest says that it is queued or running. An
    /// implementation brings the run's new events before it answers.
    ///
    /// Errors: the platform cannot be asked; then what is known stands.
    fn job_state(&self, layout: &RunLayout, manifest: &RunManifest) -> Result<JobState, Problem>;
}

/// The answer for runs that train on this machine: the lock and the process id. It knows nothing of other platforms.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalLiveness;

impl Liveness for LocalLiveness {
    fn job_state(&self, layout: &RunLayout, manifest: &RunManifest) -> Result<JobState, Problem> {
        locally_active(layout, manifest)
    }
}

/// Whether a worker of this machine is at work on the run at `layout`: it holds the lock, or it was started a moment ago.
///
/// Errors: the lock cannot be probed.
pub fn locally_active(layout: &RunLayout, manifest: &RunManifest) -> Result<JobState, Problem> {
    if lock::is_taken(layout).map_err(|error| error.problem())? {
        return Ok(JobState::Running);
    }
    Ok(without_worker(manifest))
}

/// The state of a run of this machine whose lock nobody holds: its worker was started a moment ago, or is gone.
pub fn without_worker(manifest: &RunManifest) -> JobState {
    // A clock that was set makes the age meaningless; a worker that is there after all will take the lock.
    let age = Timestamp::now().duration_since(manifest.updated_at).abs();
    let may_begin = age < QUEUED_AT_MOST && manifest.pid.is_some_and(is_alive);
    if manifest.status == RunStatus::Queued && may_begin { JobState::Queued } else { JobState::Ended }
}

/// The status of a run from `recorded` in its manifest, what its `events` say that came after the manifest was written, and
/// the platform's word on the job; `None` of it when the platform could not be asked.
pub(crate) fn derive(
    platform: PlatformKind,
    recorded: RunStatus,
    events: Option<RunStatus>,
    job: Option<&JobState>,
) -> RunStatus {
    match job {
        _ if !recorded.is_active() => recorded,
        // The manifest here is the worker's own, which it writes after its last event.
        Some(JobState::Queued | JobState::Running) if platform == PlatformKind::Local => recorded,
        Some(JobState::Ended | JobState::Missing) => {
            events.filter(|status| !status.is_active()).unwrap_or(RunStatus::Interrupted)
        }
        Some(JobState::Queued | JobState::Running) | None => events.unwrap_or(recorded),
    }
}

/// The status that a terminal event leaves a run in.
pub fn terminal_status(kind: &EventKind) -> Option<RunStatus> {
    match kind {
        EventKind::Finished { .. } => Some(RunStatus::Completed),
        EventKind::Failed { .. } => Some(RunStatus::Failed),
        EventKind::Cancelled { .. } => Some(RunStatus::Cancelled),
        _ => None,
    }
}

#[cfg(unix)]
fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

#[cfg(not(unix))]
fn is_alive(_pid: u32) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_run_is_interrupted_only_when_its_platform_says_that_the_worker_is_gone() {
        use RunStatus::{Completed, Interrupted, Queued, Running};
        let remote = |events, job| derive(PlatformKind::Ray, Queued, events, job);
        assert_eq!(remote(None, None), Queued, "no contact");
        assert_eq!(remote(Some(Running), None), Running, "no contact");
        assert_eq!(remote(Some(Running), Some(&JobState::Running)), Running);
        assert_eq!(remote(Some(Completed), Some(&JobState::Running)), Completed, "the job is about to end");
        assert_eq!(remote(Some(Running), Some(&JobState::Ended)), Interrupted);
        assert_eq!(remote(None, Some(&JobState::Missing)), Interrupted);
        assert_eq!(remote(Some(Completed), Some(&JobState::Missing)), Completed);
    }

    #[test]
    fn a_local_run_is_what_its_worker_wrote_while_it_is_there() {
        use RunStatus::{Cancelled, Completed, Interrupted, Running};
        let local = |recorded, events, job| derive(PlatformKind::Local, recorded, events, Some(&job));
        assert_eq!(local(Running, Some(Cancelled), JobState::Running), Running);
        assert_eq!(local(Running, Some(Cancelled), JobState::Ended), Cancelled);
        assert_eq!(local(Running, Some(Running), JobState::Ended), Interrupted);
        assert_eq!(local(Completed, None, JobState::Ended), Completed);
    }
}
