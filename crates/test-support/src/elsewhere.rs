//! A platform that is another folder under another home: the run is shipped there, a worker trains it, and what it writes is
//! copied back. It behaves as remote platforms do: contact can be lost, and a job can disappear.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use greentune_core_config::{
    Diagnostic as _, Problem, ProblemKind,
    layout::{ProjectLayout, RunLayout},
    manifest::RunManifest,
    platform::{Capabilities, Job, JobState, LastWords, Platform, PlatformKind, Quote, Submitted},
};
use greentune_run_folder::{append_mirrored, lock, request_cancel};

/// Files of a run that belong to the process that writes them; they are not copied back.
const THEIR_OWN: [&str; 5] = ["worker.lock", "heartbeat.json", "cancel", "events.jsonl", "run-manifest.json"];

/// Another folder, which takes the place of a Ray cluster.
#[derive(Debug)]
pub struct Elsewhere {
    home: PathBuf,
    worker_command: Vec<OsString>,
    is_away: AtomicBool,
    jobs: AtomicU64,
    workers: Mutex<HashMap<String, Child>>,
}

impl Elsewhere {
    /// A platform below `home`, which trains with `worker_command`.
    pub fn new(home: impl Into<PathBuf>, worker_command: Vec<OsString>) -> Self {
        Self {
            home: home.into(),
            worker_command,
            is_away: AtomicBool::new(false),
            jobs: AtomicU64::new(0),
            workers: Mutex::default(),
        }
    }

    /// From now on it does not answer, or does again.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// It has forgotten every job.
    pub fn forget_jobs(&self) {
        self.kill_workers();
        fs::remove_dir_all(self.home.join("jobs")).unwrap();
    }

    /// The machine there lost its power.
    pub fn kill_workers(&self) {
        for (_, mut worker) in self.workers.lock().unwrap().drain() {
            worker.kill().unwrap();
            worker.wait().unwrap();
        }
    }

    /// The run there.
    pub fn run_of(&self, job: &Job) -> Option<RunLayout> {
        let projects = fs::read_dir(self.home.join("jobs").join(job.job_id.as_deref()?)).ok()?;
        let project = projects.flatten().next()?.path();
        let run = fs::read_dir(ProjectLayout::new(project).runs()).ok()?.flatten().next()?.path();
        RunLayout::at(run)
    }

    fn reach(&self) -> Result<(), Problem> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Problem::new(ProblemKind::Unavailable, "elsewhere.away", "nobody answers there"));
        }
        Ok(())
    }

    /// The run there, of which something is wanted.
    fn there(&self, manifest: &RunManifest) -> Result<RunLayout, Problem> {
        self.reach()?;
        self.run_of(&manifest.platform)
            .ok_or_else(|| Problem::new(ProblemKind::NotFound, "elsewhere.no_job", "there is no such job"))
    }

    /// Copies the project to a folder of a new job, with the run alone of its runs.
    fn ship(&self, run: &RunLayout) -> io::Result<(String, RunLayout)> {
        let job = format!("job-{}", self.jobs.fetch_add(1, Ordering::SeqCst) + 1);
        let project = ProjectLayout::new(self.home.join("jobs").join(&job).join("project"));
        for part in ["config", "data"] {
            copy_all(&run.project().root().join(part), &project.root().join(part), &[])?;
        }
        let there = project.run(&run.run_id());
        copy_all(run.folder(), there.folder(), &["worker.lock", "heartbeat.json", "cancel"])?;
        fs::create_dir_all(project.emissions())?;
        Ok((job, there))
    }

    fn start(&self, job: &str, there: &RunLayout) -> io::Result<()> {
        let (program, arguments) = self.worker_command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let log = fs::File::create(there.folder().join("worker.log"))?;
        let mut command = Command::new(program);
        command.args(arguments).arg(there.folder()).current_dir(there.project().root());
        command.env("HOME", &self.home).env("GREENTUNE_HOME", self.home.join("greentune"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.workers.lock().unwrap().insert(job.to_owned(), command.spawn()?);
        Ok(())
    }

    fn is_at_work(&self, manifest: &RunManifest) -> bool {
        let job = manifest.platform.job_id.as_deref().unwrap_or_default();
        let mut workers = self.workers.lock().unwrap();
        workers.get_mut(job).is_some_and(|worker| worker.try_wait().is_ok_and(|exit| exit.is_none()))
    }
}

impl Platform for Elsewhere {
    fn kind(&self) -> PlatformKind {
        PlatformKind::Ray
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { cancel: true, resume: true, follow: true }
    }

    fn quote(&self, _: &RunLayout, _: &RunManifest) -> Result<Quote, Problem> {
        self.reach()?;
        Ok(Quote { seconds: None, price_usd: Some(0.0), basis: String::from("a folder charges nothing") })
    }

    fn submit(&self, run: &RunLayout, _: &RunManifest) -> Result<Submitted, Problem> {
        self.reach()?;
        let (job, there) = self.ship(run).map_err(failed)?;
        self.start(&job, &there).map_err(failed)?;
        let job = Job {
            url: Some(format!("file://{}", there.folder().display())),
            job_id: Some(job),
            ..Job::on(PlatformKind::Ray)
        };
        Ok(Submitted { job, pid: None })
    }

    fn status(&self, _: &RunLayout, manifest: &RunManifest) -> Result<JobState, Problem> {
        self.reach()?;
        let Some(there) = self.run_of(&manifest.platform) else { return Ok(JobState::Missing) };
        let is_locked = lock::is_taken(&there).map_err(|error| error.problem())?;
        Ok(if is_locked {
            JobState::Running
        } else if self.is_at_work(manifest) {
            JobState::Queued
        } else {
            JobState::Ended
        })
    }

    fn follow(&self, run: &RunLayout, manifest: &RunManifest) -> Result<(), Problem> {
        self.reach()?;
        let Some(there) = self.run_of(&manifest.platform) else { return Ok(()) };
        let written = fs::read(there.events()).unwrap_or_default();
        let here = fs::read(run.events()).unwrap_or_default();
        // A worker there may have cut off an end that was copied already.
        let offset = if written.starts_with(&here) { here.len() } else { 0 };
        if written.len() > offset {
            append_mirrored(run, offset as u64, &written[offset..]).map_err(|error| error.problem())?;
        }
        Ok(())
    }

    fn cancel(&self, _: &RunLayout, manifest: &RunManifest) -> Result<(), Problem> {
        request_cancel(&self.there(manifest)?).map_err(|error| error.problem())
    }

    fn fetch(&self, run: &RunLayout, manifest: &RunManifest) -> Result<Vec<PathBuf>, Problem> {
        let there = self.there(manifest)?;
        let mut brought = copy_all(there.folder(), run.folder(), &THEIR_OWN).map_err(failed)?;
        brought
            .extend(copy_all(&there.project().emissions(), &run.project().emissions(), &[]).map_err(failed)?);
        let relative = |path: PathBuf| path.strip_prefix(run.project().root()).map(Path::to_owned).ok();
        Ok(brought.into_iter().filter_map(relative).collect())
    }

    fn last_words(&self, _: &RunLayout, manifest: &RunManifest) -> LastWords {
        let there = self.run_of(&manifest.platform);
        let log = there.and_then(|there| fs::read_to_string(there.folder().join("worker.log")).ok());
        LastWords { exit: None, log_tail: log.unwrap_or_default() }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn failed(error: io::Error) -> Problem {
    Problem::new(ProblemKind::Unavailable, "elsewhere.failed", error.to_string())
}

/// Copies a folder but for files called one of `without`; the files that were written.
fn copy_all(from: &Path, to: &Path, without: &[&str]) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(to)?;
    let mut written = Vec::new();
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            written.extend(copy_all(&entry.path(), &target, without)?);
        } else if !without.iter().any(|name| entry.file_name() == *name) {
            fs::copy(entry.path(), &target)?;
            written.push(target);
        }
    }
    Ok(written)
}
