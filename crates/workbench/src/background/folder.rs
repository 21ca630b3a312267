//! A task's folder: `call.json` says what is to be done, `task.lock` is held by the process that does it, `answer.json`
//! says what came of it once somebody knows, `stop` asks for its end, `log.txt` has what the process said.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use greentune_core_config::{Problem, ProblemKind, Suggestion};
use greentune_run_folder::json;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    Result, WorkbenchConfig, WorkbenchError, operation::StartTrainingResponse, platform::local::last_lines,
};

/// A process that has not begun after this time will not.
const BEGINS_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// Bytes of a log that are read.
const LOG_BYTES: u64 = 1 << 20;
/// Characters of an id at most, so that no path is made of a longer one.
const LONGEST_ID: usize = 100;

/// What is to be done, by whom it was asked, and when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct TaskCall {
    pub operation: String,
    pub arguments: Map<String, Value>,
    /// Folders that the caller may use; any when absent.
    pub allowed_roots: Option<Vec<PathBuf>>,
    pub created_at: Timestamp,
    /// The run that was started: its worker does the work.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<StartTrainingResponse>,
}

/// What came of a task.
#[derive(Debug)]
pub(super) struct Outcome {
    pub finished_at: Timestamp,
    /// The response and its words, or why there is none.
    pub answered: std::result::Result<(Value, String), Problem>,
}

/// Where a task stands.
#[derive(Debug)]
pub(super) enum State {
    Working,
    /// It ended, and its folder says so.
    Ended(Box<Outcome>),
    /// Its process is gone without an answer.
    Died(Box<Outcome>),
}

/// What the file of an answer holds.
#[derive(Serialize, Deserialize)]
struct AnswerFile {
    finished_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    content: Option<Value>,
    #[serde(default)]
    text: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    problem: Option<Problem>,
}

/// The folder of a task.
#[derive(Clone, Debug)]
pub(super) struct TaskFolder(PathBuf);

impl TaskFolder {
    /// The folder of a task that does `call`.
    ///
    /// Errors: it cannot be written.
    pub fn make(config: &WorkbenchConfig, call: &TaskCall) -> Result<Self> {
        let all = config.home.join("tasks");
        fs::create_dir_all(&all).map_err(WorkbenchError::file("create", &all))?;
        let prefix = format!("{}-{}-", call.operation, call.created_at.strftime("%Y%m%d-%H%M%S"));
        let folder = tempfile::Builder::new().prefix(&prefix).rand_bytes(8).tempdir_in(&all);
        let folder = folder.map_err(WorkbenchError::file("write to", &all))?;
        json::write(&folder.path().join("call.json"), call)?;
        Ok(Self(folder.keep()))
    }

    /// The task called `id` in the home of `config`, and what it does.
    ///
    /// Errors: none is called so, or its file is damaged.
    pub fn find(config: &WorkbenchConfig, id: &str) -> Result<(Self, TaskCall)> {
        let is_name = id.bytes().all(|letter| letter.is_ascii_alphanumeric() || b"_-".contains(&letter));
        let folder = Self(config.home.join("tasks").join(id));
        if id.is_empty() || id.len() > LONGEST_ID || !is_name || !folder.call_file().is_file() {
            let shown: String = id.chars().take(LONGEST_ID).collect();
            let problem = Problem::new(ProblemKind::NotFound, "task.unknown", format!("no task {shown:?}"));
            return Err(problem.suggesting(Suggestion::new("see the tasks", "get_task")).into());
        }
        let call = folder.call()?;
        Ok((folder, call))
    }

    /// The task at `path`, for the process that performs it.
    pub fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Every task in the home of `config` that can be read.
    pub fn all(config: &WorkbenchConfig) -> Vec<(Self, TaskCall)> {
        let entries = fs::read_dir(config.home.join("tasks")).into_iter().flatten().flatten();
        let folders = entries.map(|entry| Self(entry.path()));
        folders.filter_map(|folder| folder.call().ok().map(|call| (folder, call))).collect()
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The task's id: the folder's name.
    pub fn id(&self) -> &str {
        self.0.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    pub fn call(&self) -> Result<TaskCall> {
        Ok(json::read(&self.call_file())?)
    }

    /// Where what the process says goes.
    pub fn log(&self) -> Result<Stdio> {
        let path = self.log_file();
        Ok(File::create(&path).map_err(WorkbenchError::file("create", path))?.into())
    }

    /// Takes the lock for the process that does the work; it is free again when that ends.
    ///
    /// Errors: another process does it, or the task has ended: this process began too late.
    pub fn take(&self) -> Result<File> {
        let path = self.lock_file();
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(WorkbenchError::file("open", &path))?;
        match file.try_lock() {
            Ok(()) if self.answer_file().exists() => {
                let message = format!("the task {} has ended", self.id());
                Err(Problem::new(ProblemKind::Conflict, "task.ended", message).into())
            }
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                let message = format!("another process does the task {}", self.id());
                Err(Problem::new(ProblemKind::Conflict, "task.at_work", message).into())
            }
            Err(TryLockError::Error(error)) => Err(WorkbenchError::file("lock", path)(error)),
        }
    }

    /// Where the task stands. That of a run is at work until it is seen that the run has ended.
    pub fn state(&self, call: &TaskCall) -> State {
        for _ in 0..2 {
            if let Ok(file) = json::read::<AnswerFile>(&self.answer_file()) {
                return State::Ended(Box::new(file.into()));
            }
            if call.run.is_some() || self.is_at_work(call) {
                return State::Working;
            }
            // It may have made its lock's file and not locked it yet, or have ended between the two looks.
            thread::sleep(Duration::from_millis(50));
        }
        let log = greentune_durable::read_at_most(&self.log_file(), LOG_BYTES).unwrap_or_default();
        let said = last_lines(&String::from_utf8_lossy(&log));
        let message = format!("the process that did {} ended without an answer\n{said}", call.operation);
        let problem = Problem::new(ProblemKind::Unavailable, "task.died", message.trim_end())
            .with_hint(format!("what was finished is kept; call {} again", call.operation));
        State::Died(Box::new(Outcome::failed(problem)))
    }

    fn is_at_work(&self, call: &TaskCall) -> bool {
        match File::open(self.lock_file()) {
            Ok(file) => matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
            Err(_) => Timestamp::now().duration_since(call.created_at) < BEGINS_WITHIN,
        }
    }

    /// Writes what came of the task.
    ///
    /// Errors: it cannot be written.
    pub fn keep(&self, outcome: &Outcome) -> Result<()> {
        let Outcome { finished_at, answered } = outcome;
        let finished_at = *finished_at;
        let file = match answered.clone() {
            Ok((content, text)) => AnswerFile { finished_at, content: Some(content), text, problem: None },
            Err(problem) => {
                AnswerFile { finished_at, content: None, text: String::new(), problem: Some(problem) }
            }
        };
        Ok(json::write(&self.answer_file(), &file)?)
    }

    /// Asks the process that does the work to stop.
    pub fn ask_to_stop(&self) -> Result<()> {
        let path = self.0.join("stop");
        File::create(&path).map(drop).map_err(WorkbenchError::file("create", path))
    }

    /// Whether it is asked to.
    pub fn is_asked_to_stop(&self) -> bool {
        self.0.join("stop").exists()
    }

    /// Removes the task; what cannot be removed stays.
    pub fn remove(&self) {
        let _ = fs::remove_dir_all(&self.0);
    }

    fn call_file(&self) -> PathBuf {
        self.0.join("call.json")
    }

    fn lock_file(&self) -> PathBuf {
        self.0.join("task.lock")
    }

    fn answer_file(&self) -> PathBuf {
        self.0.join("answer.json")
    }

    fn log_file(&self) -> PathBuf {
        self.0.join("log.txt")
    }
}

impl Outcome {
    /// Of a task that did not do what it was begun for, which is known as of now.
    pub fn failed(problem: Problem) -> Self {
        Self { finished_at: Timestamp::now(), answered: Err(problem) }
    }
}

impl From<AnswerFile> for Outcome {
    fn from(file: AnswerFile) -> Self {
        let AnswerFile { finished_at, content, text, problem } = file;
        let answered = match problem {
            Some(problem) => Err(problem),
            None => Ok((content.unwrap_or_default(), text)),
        };
        Self { finished_at, answered }
    }
}
