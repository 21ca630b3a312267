//! Where a run is sent, by its settings.

use greentune_core_config::{layout::RunLayout, settings::Settings};

use crate::{Credentials, TrackingError, mlflow::MlflowSink, sink::Sink, wandb};

/// The sinks that `settings` ask for.
pub(crate) fn asked_for(
    layout: &RunLayout,
    settings: &Settings,
    credentials: &Credentials,
) -> Result<Vec<Box<dyn Sink>>, TrackingError> {
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    if !settings.mlflow.enabled && settings.wandb.project.is_none() {
        return Ok(sinks);
    }
    let manifest = greentune_run_folder::manifest::read(layout)?;
    if settings.mlflow.enabled {
        sinks.push(Box::new(MlflowSink::new(layout, &manifest, &settings.mlflow, credentials)?));
    }
    if let Some(project) = &settings.wandb.project {
        let folder = wandb::FolderSink::new(layout, &manifest, project, settings)?;
        sinks.push(match &credentials.wandb_api_key {
            Some(key) => Box::new(wandb::LiveSink::new(folder, key, credentials)?),
            None => Box::new(folder),
        });
    }
    Ok(sinks)
}
