//! A run on a server of Weights & Biases, over the interface of its own client (wandb 0.31, `core/internal`).
//!
//! The run is made or found by its id (GraphQL's `upsertBucket`); rows are lines of a file, written at their numbers
//! (`file_stream`), so that what is sent twice stands there once.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use greentune_core_config::event::EventKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{FolderSink, exit_code, row, step_key};
use crate::{
    Credentials, Tracker, TrackingError,
    events::{QueuedEvent, stage_of},
    http::{Said, Server, encoded},
    sink::{self, Sink},
    state,
};

/// The service for everybody.
const PUBLIC_SERVER: &str = "https://api.wandb.ai";
/// Where its runs are looked at.
const PUBLIC_PAGES: &str = "https://wandb.ai";
/// How often the server hears of a run that has nothing new, as from its own client: it takes a silent run for crashed.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Where questions of GraphQL go.
const GRAPHQL: &str = "graphql";
const UPSERT: &str = "mutation UpsertBucket($id: String, $name: String, $project: String, $entity: String, \
    $displayName: String, $commit: String, $config: JSONString) { upsertBucket(input: {id: $id, name: $name, \
    modelName: $project, entityName: $entity, displayName: $displayName, commit: $commit, config: $config}) { bucket \
    { id name project { name entity { name } } } inserted } }";
const CREATE_FILES: &str = "mutation CreateRunFiles($entity: String!, $project: String!, $run: String!, $files: \
    [String!]!) { createRunFiles(input: {entityName: $entity, projectName: $project, runName: $run, files: $files}) { \
    runID uploadHeaders files { name uploadUrl } } }";

/// What the server has of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    server: String,
    /// As the settings have them.
    asked: (Option<String>, String),
    /// As the server has them.
    entity: String,
    project: String,
    /// The server's own id of the run.
    id: String,
    next_seq: u64,
    /// Lines of the history.
    rows: u64,
    /// The last value of each figure.
    summary: BTreeMap<String, Value>,
}

/// A run on its way to a server of Weights & Biases.
///
/// While the server is away the folder for `wandb sync` is kept up to date instead; when it refuses the run for good,
/// that folder is where the run goes.
pub(crate) struct LiveSink {
    server: Server,
    folder: FolderSink,
    state_file: PathBuf,
    state: State,
    standing: Connection,
    last_call: Instant,
    notes: Vec<TrackingError>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Connection {
    /// The server takes the run.
    Live,
    /// It did not answer lately.
    Away,
    /// It said no.
    Refused,
}

impl LiveSink {
    /// `key` lets `folder`'s run into the server of `credentials`.
    pub(crate) fn new(
        folder: FolderSink,
        key: &str,
        credentials: &Credentials,
    ) -> Result<Self, TrackingError> {
        let address = credentials.wandb_base_url.as_deref().unwrap_or(PUBLIC_SERVER);
        let server = Server::wandb(address, key, credentials.proxy.clone())?;
        let state_file = sink::state_file(&folder.layout, "wandb-live");
        let mut state: State = state::read(&state_file)?;
        let asked = (folder.entity.clone(), folder.project.clone());
        if state.server != server.address() || state.asked != asked {
            state = State { server: server.address().to_owned(), asked, ..State::default() };
        }
        Ok(Self {
            server,
            folder,
            state_file,
            state,
            standing: Connection::Live,
            last_call: Instant::now(),
            notes: Vec::new(),
        })
    }

    /// Makes the run or finds it.
    fn open_live(&mut self) -> Result<(), TrackingError> {
        let answer = self.upsert(&self.state.summary)?;
        let text =
            |pointer: &str| answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let bucket = |field: &str| text(&format!("/upsertBucket/bucket/{field}"));
        let (id, project, entity) = (bucket("id"), bucket("project/name"), bucket("project/entity/name"));
        if id.is_empty() || project.is_empty() || entity.is_empty() {
            return Err(self.server.foreign(GRAPHQL, "an answer without a run"));
        }
        if answer.pointer("/upsertBucket/inserted") == Some(&Value::Bool(true)) {
            // It is new there: whatever was sent before is gone.
            (self.state.next_seq, self.state.rows) = (0, 0);
            self.state.summary.clear();
        }
        (self.state.id, self.state.project, self.state.entity) = (id, project, entity);
        self.save()
    }

    /// Tells the server what the run is, and over which steps its `figures` are plotted.
    fn upsert(&self, figures: &BTreeMap<String, Value>) -> Result<Value, TrackingError> {
        let manifest = &self.folder.manifest;
        let variables = json!({
            "id": (!self.state.id.is_empty()).then_some(&self.state.id),
            "name": self.folder.layout.run_id(),
            "project": self.folder.project,
            "entity": self.folder.entity,
            "displayName": manifest.run_name,
            "commit": manifest.git_revision,
            "config": self.config(figures)?.to_string(),
        });
        self.graphql(UPSERT, &variables)
    }

    /// Settings by dotted key, and under `_wandb` the definitions of figures: `1` is the name, `5` the place of the
    /// step's own definition, counted from 1, `6` that somebody defined it (fields of `wandb_internal.MetricRecord`).
    fn config(&self, figures: &BTreeMap<String, Value>) -> Result<Value, TrackingError> {
        let manifest = &self.folder.manifest;
        let flat = sink::parameters(&manifest.settings)
            .map_err(|error| TrackingError::damaged(&self.folder.layout.manifest(), error))?;
        let mut config: Map<String, Value> =
            flat.into_iter().map(|(key, value)| (key, json!({ "value": value }))).collect();
        let mut metrics = Vec::new();
        for stage in &manifest.stages {
            let (step, prefix) = (step_key(stage.stage), format!("stage{}_", stage.stage));
            metrics.push(json!({ "1": step }));
            let place = metrics.len();
            let names = figures.keys().filter(|name| name.starts_with(&prefix) && **name != step);
            metrics.extend(names.map(|name| json!({ "1": name, "5": place, "6": [3] })));
        }
        config.insert(String::from("_wandb"), json!({ "value": { "m": metrics, "t": {} } }));
        Ok(Value::Object(config))
    }

    fn send_live(&mut self, events: &[QueuedEvent]) -> Result<(), TrackingError> {
        let Some(last) = events.last() else { return Ok(()) };
        let mut summary = self.state.summary.clone();
        let mut lines = Vec::new();
        let mut uploaded = Vec::new();
        for noted in events {
            match row(noted, &self.folder.layout, &self.folder.manifest) {
                Ok(Some(row)) => {
                    let line: Map<String, Value> = row.into_iter().collect();
                    lines.push(Value::Object(line.clone()).to_string());
                    summary.extend(line);
                }
                Ok(None) => {}
                Err(error) => self.notes.push(error),
            }
            if let (EventKind::StageFinished { .. } | EventKind::Cancelled { .. }, Some(stage)) =
                (&noted.event.kind, stage_of(&noted.event.kind))
            {
                uploaded.extend(self.send_files(stage)?);
            }
        }
        if summary.keys().any(|name| !self.state.summary.contains_key(name)) {
            self.upsert(&summary)?;
        }
        let rows = self.state.rows + lines.len() as u64;
        let mut body = json!({});
        if !lines.is_empty() {
            let total = serde_json::to_string(&summary)
                .map_err(|error| TrackingError::damaged(&self.state_file, error))?;
            body["files"] = json!({
                "wandb-history.jsonl": { "offset": self.state.rows, "content": lines },
                "wandb-summary.json": { "offset": 0, "content": [total] },
            });
        }
        if !uploaded.is_empty() {
            body["uploaded"] = uploaded.into();
        }
        if let Some(code) = exit_code(&last.event.kind) {
            body["complete"] = true.into();
            body["exitcode"] = code.into();
        }
        if body != json!({}) {
            self.stream(&body)?;
        }
        self.state = State { next_seq: last.event.seq + 1, rows, summary, ..self.state.clone() };
        self.save()
    }

    fn stream(&mut self, body: &Value) -> Result<(), TrackingError> {
        let State { entity, project, .. } = &self.state;
        let place = format!("{entity}/{project}/{}", self.folder.layout.run_id());
        self.server.post(&format!("files/{}/file_stream", encoded(&place)), body)?;
        self.last_call = Instant::now();
        Ok(())
    }

    /// Sends the emissions of `stage` as files; the names of those that are there. What keeps one from being sent is a
    /// note.
    fn send_files(&mut self, stage: u8) -> Result<Vec<String>, TrackingError> {
        let files = sink::emission_files(&self.folder.layout, stage);
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let variables = json!({
            "entity": self.state.entity,
            "project": self.state.project,
            "run": self.folder.layout.run_id(),
            "files": files.iter().map(|(_, place)| place).collect::<Vec<_>>(),
        });
        let answer = match self.graphql(CREATE_FILES, &variables) {
            Err(error) if !error.is_passing() => {
                self.notes.push(error);
                return Ok(Vec::new());
            }
            answer => answer?,
        };
        let places = &answer["createRunFiles"];
        let headers: Vec<(String, String)> = texts(&places["uploadHeaders"])
            .filter_map(|header| header.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        let mut sent = Vec::new();
        for (file, name) in files {
            let all = places["files"].as_array().into_iter().flatten();
            let url =
                all.filter(|place| place["name"] == *name).find_map(|place| place["uploadUrl"].as_str());
            let Some(url) = url else {
                self.notes.push(self.server.foreign(GRAPHQL, &format!("no place for {name}")));
                continue;
            };
            let contents = fs::read(&file).map_err(TrackingError::file("read", &file))?;
            match self.server.upload(&name, url, &headers, contents) {
                Ok(()) => sent.push(name),
                Err(error) if error.is_passing() => return Err(error),
                Err(error) => self.notes.push(error),
            }
        }
        Ok(sent)
    }

    /// The `data` of the answer. Errors: the server says that the question is wrong, which GraphQL does with status 200.
    fn graphql(&self, query: &str, variables: &Value) -> Result<Value, TrackingError> {
        let answer = self.server.post(GRAPHQL, &json!({ "query": query, "variables": variables }))?;
        match Said::of(&answer, 200) {
            Some(Said { code, message }) => {
                let address = self.server.address().to_owned();
                let message = self.server.without_secrets(&message);
                Err(TrackingError::Rejected { address, call: GRAPHQL.to_owned(), code, message })
            }
            None => Ok(answer["data"].clone()),
        }
    }

    fn save(&self) -> Result<(), TrackingError> {
        state::write(&self.state_file, &self.state)
    }

    /// Called after a failed call: writes the run into the folder. Errors: `error`, if it may pass.
    fn fall_back(&mut self, error: TrackingError) -> Result<(), TrackingError> {
        self.folder.catch_up()?;
        if error.is_passing() {
            self.standing = Connection::Away;
            return Err(error);
        }
        self.standing = Connection::Refused;
        self.notes.push(error);
        Ok(())
    }

    /// Called after a successful call.
    fn answered(&mut self) -> Result<(), TrackingError> {
        if self.state.next_seq >= self.folder.acknowledged() {
            self.folder.mark_as_sent()?;
        }
        self.standing = Connection::Live;
        Ok(())
    }
}

impl Sink for LiveSink {
    fn tracker(&self) -> &'static str {
        Tracker::Wandb.name()
    }

    fn place(&self) -> Option<String> {
        let State { server, entity, project, id, .. } = &self.state;
        if self.standing == Connection::Refused {
            return self.folder.place();
        }
        let pages = if server == PUBLIC_SERVER { PUBLIC_PAGES } else { server.as_str() };
        let run = self.folder.layout.run_id();
        (!id.is_empty()).then(|| format!("{pages}/{}", encoded(&format!("{entity}/{project}/runs/{run}"))))
    }

    fn then(&self) -> Option<String> {
        self.folder.then().filter(|_| self.standing != Connection::Live)
    }

    fn open(&mut self) -> Result<u64, TrackingError> {
        if self.standing != Connection::Live {
            // Before the call, which may hang until this process ends.
            self.folder.catch_up()?;
        }
        match self.open_live() {
            Ok(()) => self.answered()?,
            Err(error) => self.fall_back(error)?,
        }
        Ok(self.acknowledged())
    }

    fn send(&mut self, events: &[QueuedEvent]) -> Result<(), TrackingError> {
        if self.standing == Connection::Refused {
            return self.folder.catch_up();
        }
        match self.send_live(events) {
            Ok(()) => self.answered(),
            Err(error) => self.fall_back(error),
        }
    }

    fn idle(&mut self) -> Result<(), TrackingError> {
        if self.standing == Connection::Live && self.last_call.elapsed() > HEARTBEAT {
            self.stream(&json!({}))?;
        }
        Ok(())
    }

    fn notes(&mut self) -> Vec<TrackingError> {
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(self.folder.notes());
        notes
    }

    fn acknowledged(&self) -> u64 {
        if self.standing == Connection::Refused { self.folder.acknowledged() } else { self.state.next_seq }
    }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}
