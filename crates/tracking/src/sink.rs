use greentune_core_config::{layout::RunLayout, settings::Settings};

use crate::{Credentials, TrackingError, events::QueuedEvent, mlflow::MlflowSink, state, wandb};

/// A destination of a run: a server or a folder.
pub(crate) trait Sink: Send {
    /// What it is called in messages.
    fn tracker(&self) -> &'static str;

    /// The place where the run can be seen; `None` before [`Self::open`].
    fn place(&self) -> Option<String>;

    /// The command that the user has to run before the run can be seen there.
    fn then(&self) -> Option<String> {
        None
    }

    /// Finds or makes the run there; the number of the first event that it lacks.
    fn open(&mut self) -> Result<u64, TrackingError>;

    /// Sends `events` and notes that they are there. Sent again after a failure, they change nothing.
    fn send(&mut self, events: &[QueuedEvent]) -> Result<(), TrackingError>;

    /// Called while there is nothing to send.
    fn idle(&mut self) -> Result<(), TrackingError> {
        Ok(())
    }

    /// Problems since the last call that did not keep the rest from being sent.
    fn notes(&mut self) -> Vec<TrackingError>;

    /// How many events are there according to the run's folder.
    fn acknowledged(&self) -> u64;
}

/// The sinks that `settings` ask for.
pub(crate) fn all(
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

/// The run's settings by dotted key, those that are unset left out.
pub(crate) fn parameters(settings: &Settings) -> Result<Vec<(String, serde_json::Value)>, serde_json::Error> {
    let mut flat = Vec::new();
    flatten("", serde_json::to_value(settings)?, &mut flat);
    Ok(flat)
}

fn flatten(prefix: &str, value: serde_json::Value, flat: &mut Vec<(String, serde_json::Value)>) {
    match value {
        serde_json::Value::Object(section) => {
            for (name, value) in section {
                let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
                flatten(&key, value, flat);
            }
        }
        serde_json::Value::Null => {}
        value => flat.push((prefix.to_owned(), value)),
    }
}

/// The files of a stage's emissions that are there, as `(file, place among the run's artifacts)`.
pub(crate) fn emission_files(layout: &RunLayout, stage: u8) -> Vec<(std::path::PathBuf, String)> {
    let files = [layout.emissions_csv(stage), layout.provenance(stage)];
    let placed = files.into_iter().filter(|file| file.is_file()).map(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let place = format!("emissions/stage{stage}/{name}");
        (file, place)
    });
    placed.collect()
}

/// The state file of `tracker`.
pub(crate) fn state_file(layout: &RunLayout, tracker: &str) -> std::path::PathBuf {
    state::folder(layout).join(format!("{tracker}.json"))
}
