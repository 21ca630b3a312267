//! A run on an MLflow server, over its REST interface (2.0).

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use greentune_core_config::{
    event::{Event, EventKind},
    layout::RunLayout,
    manifest::RunManifest,
    settings::MlflowSettings,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Credentials, Tracker, TrackingError,
    events::{QueuedEvent, stage_of},
    http::Server,
    metrics::{self, Metric},
    sink::{self, Sink},
    state,
};

/// Figures in one call; the server takes no more.
const METRICS_PER_BATCH: usize = 1000;
/// Parameters in one call; the server takes no more.
const PARAMETERS_PER_BATCH: usize = 100;
/// Characters of a parameter that every server takes (6000 since MLflow 2.8).
const LONGEST_PARAMETER: usize = 500;
/// The tag by which a run is found again.
const RUN_TAG: &str = "greentune.run_id";

/// What the server has of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    server: String,
    experiment_id: String,
    run_id: String,
    artifact_uri: String,
    parameters_sent: bool,
    next_seq: u64,
}

/// A run on its way to an MLflow server.
pub(crate) struct MlflowSink {
    server: Server,
    layout: RunLayout,
    manifest: RunManifest,
    experiment: String,
    log_emissions: bool,
    user: Option<String>,
    artifact_folders: Vec<PathBuf>,
    state_file: PathBuf,
    state: State,
    notes: Vec<TrackingError>,
}

impl MlflowSink {
    pub(crate) fn new(
        layout: &RunLayout,
        manifest: &RunManifest,
        settings: &MlflowSettings,
        credentials: &Credentials,
    ) -> Result<Self, TrackingError> {
        let server = Server::mlflow(&settings.tracking_uri, credentials)?;
        let state_file = sink::state_file(layout, "mlflow");
        let mut state: State = state::read(&state_file)?;
        if state.server != server.address() {
            state = State { server: server.address().to_owned(), ..State::default() };
        }
        let default = || format!("{}-training", manifest.settings.project.name);
        Ok(Self {
            server,
            layout: layout.clone(),
            manifest: manifest.clone(),
            experiment: settings.experiment_name.clone().unwrap_or_else(default),
            log_emissions: settings.log_emissions,
            user: credentials.user.clone(),
            state_file,
            artifact_folders: credentials.artifact_folders.clone(),
            state,
            notes: Vec::new(),
        })
    }

    fn save(&self) -> Result<(), TrackingError> {
        state::write(&self.state_file, &self.state)
    }

    /// Whether the run of the state is still there. Errors: it is in the trash.
    fn is_known(&self) -> Result<bool, TrackingError> {
        if self.state.run_id.is_empty() {
            return Ok(false);
        }
        let answer = match self.server.get("runs/get", "run_id", &self.state.run_id) {
            // The server was set up anew: the run is sent again.
            Err(TrackingError::Rejected { code, .. }) if code == "RESOURCE_DOES_NOT_EXIST" => {
                return Ok(false);
            }
            answer => answer?,
        };
        if answer["run"]["info"]["lifecycle_stage"] != "deleted" {
            return Ok(true);
        }
        let run = &self.state.run_id;
        Err(self.deleted(format!("MLflow run {run}"), format!("mlflow runs restore --run-id {run}")))
    }

    fn deleted(&self, what: String, restore: String) -> TrackingError {
        TrackingError::Deleted { address: self.server.address().to_owned(), what, restore }
    }

    /// The experiment's id; it is made where it is missing.
    fn experiment_id(&self) -> Result<String, TrackingError> {
        if let Some(id) = self.find_experiment()? {
            return Ok(id);
        }
        match self.server.post("experiments/create", &json!({ "name": self.experiment })) {
            // Somebody else made it in between.
            Err(TrackingError::Rejected { code, .. }) if code == "RESOURCE_ALREADY_EXISTS" => {}
            answer => return self.text(&answer?, "/experiment_id", "experiments/create"),
        }
        self.find_experiment()?.ok_or_else(|| {
            self.server.foreign("experiments/create", "an experiment that is there and is not")
        })
    }

    fn find_experiment(&self) -> Result<Option<String>, TrackingError> {
        let call = "experiments/get-by-name";
        let answer = match self.server.get(call, "experiment_name", &self.experiment) {
            Err(TrackingError::Rejected { code, .. }) if code == "RESOURCE_DOES_NOT_EXIST" => {
                return Ok(None);
            }
            answer => answer?,
        };
        let id = self.text(&answer, "/experiment/experiment_id", call)?;
        if answer["experiment"]["lifecycle_stage"] != "deleted" {
            return Ok(Some(id));
        }
        let restore =
            format!("mlflow experiments restore --experiment-id {id}, or set mlflow.experiment_name");
        Err(self.deleted(format!("experiment {:?}", self.experiment), restore))
    }

    /// The run that an earlier attempt made without learning of it, else a new one.
    fn find_or_create(&self, experiment_id: &str) -> Result<Value, TrackingError> {
        let filter = format!("tags.\"{RUN_TAG}\" = '{}'", self.layout.run_id().replace('\'', ""));
        let search = json!({ "experiment_ids": [experiment_id], "filter": filter, "max_results": 1 });
        let found = self.server.post("runs/search", &search)?;
        if let Some(info) = found.pointer("/runs/0/info") {
            return Ok(info.clone());
        }
        let tags: Vec<Value> =
            self.tags().iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        let created = self.server.post(
            "runs/create",
            &json!({
                "experiment_id": experiment_id,
                "run_name": self.layout.run_id(),
                "start_time": self.manifest.created_at.as_millisecond(),
                "tags": tags,
            }),
        )?;
        Ok(created["run"]["info"].clone())
    }

    fn tags(&self) -> Vec<(&'static str, String)> {
        let manifest = &self.manifest;
        let mut tags = vec![
            ("mlflow.runName", self.layout.run_id()),
            ("mlflow.source.name", String::from("greentune")),
            ("mlflow.source.type", String::from("LOCAL")),
            (RUN_TAG, self.layout.run_id()),
            ("greentune.run_name", manifest.run_name.clone()),
            ("greentune.version", manifest.greentune_version.clone()),
            ("greentune.base_model", manifest.base_model_path.display().to_string()),
        ];
        tags.extend(self.user.clone().map(|user| ("mlflow.user", user)));
        tags.extend(manifest.git_revision.clone().map(|revision| ("mlflow.source.git.commit", revision)));
        tags
    }

    /// Parameters are sent once: the server refuses to change them.
    fn send_parameters(&mut self) -> Result<(), TrackingError> {
        let flat = sink::parameters(&self.manifest.settings)
            .map_err(|error| TrackingError::damaged(&self.layout.manifest(), error))?;
        let parameters: Vec<Value> = flat.into_iter().map(|(key, value)| parameter(&key, &value)).collect();
        for batch in parameters.chunks(PARAMETERS_PER_BATCH) {
            match self.server.post("runs/log-batch", &json!({ "run_id": self.state.run_id, "params": batch }))
            {
                Err(error @ TrackingError::Rejected { .. }) => self.notes.push(error),
                answer => drop(answer?),
            }
        }
        self.state.parameters_sent = true;
        self.save()
    }

    fn send_metrics(&mut self, events: &[QueuedEvent]) -> Result<(), TrackingError> {
        let mut figures = Vec::new();
        for noted in events {
            match metrics::of(noted, &self.layout, self.log_emissions) {
                Ok(metrics) => figures.extend(metrics),
                Err(error) => self.notes.push(error),
            }
        }
        for batch in figures.chunks(METRICS_PER_BATCH) {
            let metrics: Vec<Value> = batch.iter().map(metric).collect();
            self.server
                .post("runs/log-batch", &json!({ "run_id": self.state.run_id, "metrics": metrics }))?;
        }
        Ok(())
    }

    /// The emissions of `stage` as files; that the server keeps files elsewhere is a note.
    fn send_files(&mut self, stage: u8) -> Result<(), TrackingError> {
        for (file, place) in sink::emission_files(&self.layout, stage) {
            match self.send_file(&file, &place) {
                Err(error) if !error.is_passing() => self.notes.push(error),
                sent => sent?,
            }
        }
        Ok(())
    }

    fn send_file(&self, file: &Path, place: &str) -> Result<(), TrackingError> {
        let contents = fs::read(file).map_err(TrackingError::file("read", file))?;
        match Store::of(&self.state.artifact_uri, self.server.authority()) {
            Some(Store::Server(root)) => self.server.put_artifact(&format!("{root}/{place}"), contents),
            Some(Store::Folder(root)) if self.may_write(&root.join(place)) => {
                let target = root.join(place);
                let folder = target.parent().unwrap_or(&root);
                fs::create_dir_all(folder).map_err(TrackingError::file("create", folder))?;
                fs::write(&target, contents).map_err(TrackingError::file("write", &target))
            }
            _ => Err(TrackingError::ArtifactStore { uri: self.state.artifact_uri.clone() }),
        }
    }

    /// Whether `file`, in a folder that the server names, lies in the run's project or where the user allows it, links
    /// followed.
    fn may_write(&self, file: &Path) -> bool {
        let is_plain =
            file.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        let existing = file.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok());
        let Some(resolved) = existing.and_then(|existing| fs::canonicalize(existing).ok()) else {
            return false;
        };
        let mut allowed =
            self.artifact_folders.iter().map(PathBuf::as_path).chain([self.layout.project().root()]);
        is_plain && allowed.any(|root| fs::canonicalize(root).is_ok_and(|root| resolved.starts_with(root)))
    }

    fn update(&self, status: &str, end: Option<&Event>) -> Result<(), TrackingError> {
        let mut body = json!({ "run_id": self.state.run_id, "status": status });
        if let Some(event) = end {
            body["end_time"] = event.at.as_millisecond().into();
        }
        self.server.post("runs/update", &body).map(drop)
    }

    fn text(&self, answer: &Value, pointer: &str, call: &str) -> Result<String, TrackingError> {
        let text = answer.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.map(String::from)
            .ok_or_else(|| self.server.foreign(call, &format!("an answer without {pointer}")))
    }
}

impl Sink for MlflowSink {
    fn tracker(&self) -> &'static str {
        Tracker::Mlflow.name()
    }

    fn place(&self) -> Option<String> {
        let State { server, experiment_id, run_id, .. } = &self.state;
        (!run_id.is_empty()).then(|| format!("{server}/#/experiments/{experiment_id}/runs/{run_id}"))
    }

    fn open(&mut self) -> Result<u64, TrackingError> {
        if !self.is_known()? {
            let experiment_id = self.experiment_id()?;
            let info = self.find_or_create(&experiment_id)?;
            self.state = State {
                server: self.server.address().to_owned(),
                experiment_id,
                run_id: self.text(&info, "/run_id", "runs/create")?,
                artifact_uri: info["artifact_uri"].as_str().unwrap_or_default().to_owned(),
                parameters_sent: false,
                next_seq: 0,
            };
            self.save()?;
        }
        if !self.state.parameters_sent {
            self.send_parameters()?;
        }
        Ok(self.state.next_seq)
    }

    fn send(&mut self, events: &[QueuedEvent]) -> Result<(), TrackingError> {
        let Some(last) = events.last() else { return Ok(()) };
        self.send_metrics(events)?;
        let ends_stage =
            |kind: &EventKind| matches!(kind, EventKind::StageFinished { .. } | EventKind::Cancelled { .. });
        let log_emissions = self.log_emissions;
        let kinds = events.iter().map(|noted| &noted.event.kind);
        for stage in kinds.filter(|kind| log_emissions && ends_stage(kind)).filter_map(stage_of) {
            self.send_files(stage)?;
        }
        // Only the last of several counts.
        let status = |noted: &QueuedEvent| Some((status_after(&noted.event.kind)?, noted.event.clone()));
        if let Some((status, event)) = events.iter().rev().find_map(status) {
            self.update(status, event.kind.is_terminal().then_some(&event))?;
        }
        self.state.next_seq = last.event.seq + 1;
        self.save()
    }

    fn notes(&mut self) -> Vec<TrackingError> {
        std::mem::take(&mut self.notes)
    }

    fn acknowledged(&self) -> u64 {
        self.state.next_seq
    }
}

/// MLflow's word for where a run stands after `kind`, where it changes that.
fn status_after(kind: &EventKind) -> Option<&'static str> {
    match kind {
        EventKind::Started { .. } => Some("RUNNING"),
        EventKind::Finished { .. } => Some("FINISHED"),
        EventKind::Failed { .. } => Some("FAILED"),
        EventKind::Cancelled { .. } => Some("KILLED"),
        _ => None,
    }
}

/// Where a server keeps the files of a run.
#[derive(Debug, PartialEq)]
enum Store {
    /// It takes them itself, under this path.
    Server(String),
    /// A folder of this machine.
    Folder(PathBuf),
}

impl Store {
    /// The store behind `uri`; `None` where it cannot be reached.
    fn of(uri: &str, authority: &str) -> Option<Self> {
        if let Some(rest) = uri.strip_prefix("mlflow-artifacts:") {
            let path = match rest.strip_prefix("//") {
                // Files, and the credentials beside them, go to the tracking server alone.
                Some(rest) => rest.strip_prefix(authority).filter(|path| path.starts_with('/'))?,
                None => rest,
            };
            return Some(Self::Server(path.trim_matches('/').to_owned()));
        }
        let path = uri.strip_prefix("file://").or_else(|| uri.strip_prefix("file:")).unwrap_or(uri);
        let folder = Path::new(path);
        // `{root}/{experiment}/{run}/artifacts`: all but the root is made when it is first needed.
        let root = folder.ancestors().nth(3)?;
        (folder.is_absolute() && root.is_dir()).then(|| Self::Folder(folder.to_path_buf()))
    }
}

fn parameter(key: &str, value: &Value) -> Value {
    let text = value.as_str().map_or_else(|| value.to_string(), String::from);
    json!({ "key": key, "value": text.chars().take(LONGEST_PARAMETER).collect::<String>() })
}

fn metric(metric: &Metric) -> Value {
    json!({ "key": metric.key, "value": metrics::json(metric.value), "timestamp": metric.at.as_millisecond(), "step": metric.step })
}
