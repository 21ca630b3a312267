//! The platforms that runs are trained on: this machine, and those that were added.

use std::{collections::BTreeMap, sync::Arc};

use greentune_core_config::{
    Problem, ProblemKind,
    layout::RunLayout,
    manifest::RunManifest,
    platform::{JobState, PlatformKind},
    port::Platform,
};
use greentune_run_folder::Liveness;

use crate::{Result, WorkbenchConfig, WorkbenchError};

pub(crate) mod local;

/// The platforms by their kind.
#[derive(Clone, Debug)]
pub(crate) struct Platforms(BTreeMap<PlatformKind, Arc<dyn Platform>>);

impl Platforms {
    /// This machine alone.
    pub(crate) fn local(config: Arc<WorkbenchConfig>) -> Self {
        let local: Arc<dyn Platform> = Arc::new(local::LocalPlatform::new(config));
        Self(BTreeMap::from([(PlatformKind::Local, local)]))
    }

    /// The same with `platform`, which takes the place of one of its kind.
    pub(crate) fn with(&self, platform: Arc<dyn Platform>) -> Self {
        let mut all = self.0.clone();
        all.insert(platform.kind(), platform);
        Self(all)
    }

    /// The platform `kind`.
    ///
    /// Errors: it is not available yet.
    pub(crate) fn get(&self, kind: PlatformKind) -> Result<&Arc<dyn Platform>> {
        self.0.get(&kind).ok_or_else(|| WorkbenchError::NotAvailableYet {
            what: format!("training on the platform {:?}", kind.as_str()),
            instead: String::from("leave `platform` out to train on this machine"),
        })
    }
}

impl Liveness for Platforms {
    fn job_state(
        &self,
        layout: &RunLayout,
        manifest: &RunManifest,
    ) -> std::result::Result<JobState, Problem> {
        let kind = manifest.platform.kind;
        let platform = self.0.get(&kind).ok_or_else(|| {
            let message = format!("the platform {kind} is not available here");
            Problem::new(ProblemKind::Unavailable, "platform.unavailable", message)
        })?;
        platform.follow(layout, manifest)?;
        let state = platform.status(layout, manifest)?;
        if matches!(state, JobState::Ended | JobState::Missing) {
            // What the worker wrote between the two questions. A job that is gone cannot be followed.
            platform.follow(layout, manifest).or_else(|problem| match state {
                JobState::Missing => Ok(()),
                _ => Err(problem),
            })?;
        }
        Ok(state)
    }
}
