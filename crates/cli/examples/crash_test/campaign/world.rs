//! A folder with a home, projects and data, `greentune` in it, and what happens to it.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    files::{self, Snapshot},
    random::Random,
};

/// A run of a second can take a minute on a machine that is busy with other work.
const PATIENCE: Duration = Duration::from_mins(10);
/// How much later than a command usually ends it is struck at the latest: some come after its end.
const LATEST: f64 = 1.15;

/// Commands that a fault is told with.
const REMEMBERED: usize = 4;

/// How processes are struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The process that was started is killed (SIGKILL); its workers are not.
    Starter,
    /// A worker is killed, where there is one; otherwise the process that was started.
    Worker,
    /// All are killed at once.
    All,
    /// The process that was started is asked to end, with this signal.
    Asked(Signal),
}

/// What a command left that was struck, or was not.
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A folder of its own for a campaign.
pub struct World {
    /// Files that are none of the world's: the binary, inputs, outputs of commands.
    scratch: TempDir,
    folder: TempDir,
    /// Decides what happens.
    pub random: Random,
    /// Times that a process was killed or asked to end while it was at work.
    pub struck: u64,
    /// How long commands usually take, by operation.
    usual: BTreeMap<&'static str, Duration>,
    /// Numbers for names.
    next: u64,
    history: VecDeque<String>,
    /// What operations keep of work that was left alone.
    pub undisturbed: BTreeMap<String, Snapshot>,
}

impl World {
    /// A new world with a project, data, and a run that was left alone.
    ///
    /// Errors: greentune does not even work when it is left alone.
    pub fn new(binary: &Path, seed: u64) -> Result<Self, String> {
        Self::made_in(&std::env::temp_dir(), binary, seed)
    }

    /// The same on the file system of `place`.
    pub fn made_in(place: &Path, binary: &Path, seed: u64) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot make a world: {error}");
        let folder = || tempfile::Builder::new().prefix("crash-test").tempdir();
        let scratch = folder().map_err(failed)?;
        // A copy: the binary may be built anew meanwhile.
        let copy = scratch.path().join("greentune");
        fs::hard_link(binary, &copy)
            .or_else(|_| fs::copy(binary, &copy).map(drop))
            .map_err(|error| format!("cannot copy {}: {error}", binary.display()))?;
        let world = tempfile::Builder::new().prefix("crash-test").tempdir_in(place).map_err(failed)?;
        let mut world = Self {
            scratch,
            folder: world,
            random: Random::new(seed),
            struck: 0,
            usual: BTreeMap::new(),
            next: 0,
            history: VecDeque::new(),
            undisturbed: BTreeMap::new(),
        };
        super::training::furnish(&mut world)?;
        Ok(world)
    }

    /// `name` in the world's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `name` outside of the world's folder, for what is only read.
    pub fn input(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The binary.
    pub fn binary(&self) -> PathBuf {
        self.input("greentune")
    }

    /// A number that was not given before.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// What was done last, the latest last.
    pub fn history(&self) -> String {
        self.history.iter().cloned().collect::<Vec<_>>().join("; ")
    }

    fn remember(&mut self, what: String) {
        if self.history.len() == REMEMBERED {
            self.history.pop_front();
        }
        self.history.push_back(what);
    }

    fn start(&self, arguments: &[&str]) -> Result<Child, String> {
        let output = |name: &str| File::create(self.input(name)).map_err(|error| error.to_string());
        let mut command = Command::new(self.binary());
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("GREENTUNE_HOME", self.path("home")).env("HOME", self.input("user"));
        command.env("GREENTUNE_STATE_URL", format!("sqlite:{}", self.path("home/state.db").display()));
        command.env("XDG_CONFIG_HOME", self.input("user")).env("HF_HOME", self.input("huggingface"));
        // Files, not pipes: who reads a pipe would wait for workers that go on.
        command.stdin(Stdio::null()).stdout(output("stdout")?).stderr(output("stderr")?).process_group(0);
        command.spawn().map_err(|error| format!("cannot start greentune: {error}"))
    }

    fn ended(&self, mut child: Child) -> Result<Ended, String> {
        let status = child.wait().map_err(|error| error.to_string())?;
        let text = |name: &str| {
            let bytes = fs::read(self.input(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ok(Ended { code: status.code(), stdout: text("stdout"), stderr: text("stderr") })
    }

    /// Runs a command that is left alone, to its end, whatever that is.
    pub fn run(&mut self, arguments: &[&str]) -> Result<Ended, String> {
        let child = self.start(arguments)?;
        let ended = self.ended(child)?;
        self.remember(format!("{} (exit {:?})", in_short(arguments), ended.code));
        Ok(ended)
    }

    /// Runs a command that is left alone and must succeed; the JSON on its standard output.
    pub fn json(&mut self, arguments: &[&str]) -> Result<Value, String> {
        let ended = self.run(&[&["--json"], arguments].concat())?;
        if ended.code != Some(0) {
            return Err(format!("`{}` failed: {}", arguments.join(" "), ended.stderr.trim()));
        }
        files::parsed(&ended.stdout).map_err(|error| format!("`{}`: {error}", arguments.join(" ")))
    }

    /// As [`World::json`], and notes how long it takes.
    pub fn timed(&mut self, operation: &'static str, arguments: &[&str]) -> Result<Value, String> {
        let began = Instant::now();
        let answer = self.json(arguments)?;
        self.usual.insert(operation, began.elapsed());
        Ok(answer)
    }

    /// Runs a command and strikes it at a random moment. Afterwards every visible file is whole, and nothing but what
    /// `may_change` says has changed (paths are below the world's folder).
    pub fn struck(
        &mut self,
        operation: &'static str,
        arguments: &[&str],
        may_change: &dyn Fn(&Path) -> bool,
    ) -> Result<Ended, String> {
        let before = files::snapshot(self.folder.path());
        let usual = self.usual.get(operation).copied().unwrap_or(Duration::from_millis(100));
        let (moment, blow) = (self.random.time_below(usual.mul_f64(LATEST)), self.blow());
        let mut child = self.start(&[&["--json"], arguments].concat())?;
        thread::sleep(moment);
        if child.try_wait().map_err(|error| error.to_string())?.is_none() {
            self.strike(blow, &child);
            self.struck += 1;
        }
        let ended = self.ended(child)?;
        self.remember(format!(
            "{} ({blow:?} after {moment:.0?}, exit {:?})",
            in_short(arguments),
            ended.code
        ));
        self.wait_for_workers()?;
        self.check(&before, may_change)?;
        Ok(ended)
    }

    /// What lies in the world now: whole, and but for what `may_change` says as `before`.
    fn check(&self, before: &Snapshot, may_change: &dyn Fn(&Path) -> bool) -> Result<(), String> {
        let mut wrong = files::half_files(self.folder.path());
        wrong.extend(files::damaged(before, &files::snapshot(self.folder.path()), &|path| {
            // The index and its lists have a check of their own: every run is found.
            path.starts_with("home") || may_change(path)
        }));
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join(", ")) }
    }

    /// Nothing is left of what was struck: no unfinished folders, no temporary files, no processes.
    pub fn check_nothing_left(&self) -> Result<(), String> {
        let left = files::left_behind(self.folder.path());
        if !left.is_empty() {
            return Err(format!("left behind: {left:?}"));
        }
        let processes = self.processes();
        if processes.is_empty() { Ok(()) } else { Err(format!("still at work: {processes:?}")) }
    }

    /// `doctor` names every folder that a killed process left.
    pub fn check_doctor(&mut self) -> Result<(), String> {
        let left = files::left_behind(self.folder.path());
        let folders: Vec<_> =
            left.into_iter().map(|path| self.folder.path().join(path)).filter(|path| path.is_dir()).collect();
        let report = self.json(&["doctor"])?.to_string();
        let unnamed: Vec<_> =
            folders.iter().filter(|folder| !report.contains(&*folder.to_string_lossy())).collect();
        // A set of splits whose new files are decided on is completed by its reader; it is nothing that was left.
        let unnamed: Vec<_> = unnamed
            .into_iter()
            .filter(|folder| !folder.ends_with(".replacing") && !folder.ends_with(".replaced"))
            .collect();
        if unnamed.is_empty() { Ok(()) } else { Err(format!("doctor does not name {unnamed:?}")) }
    }

    fn blow(&mut self) -> Blow {
        match self.random.below(10) {
            0..4 => Blow::Starter,
            4..6 => Blow::Worker,
            6..8 => Blow::All,
            8 => Blow::Asked(Signal::TERM),
            _ => Blow::Asked(Signal::INT),
        }
    }

    fn strike(&self, blow: Blow, child: &Child) {
        let starter = Pid::from_child(child);
        let others = || self.processes().into_iter().filter(move |pid| *pid != starter);
        match blow {
            Blow::Asked(signal) => send(starter, signal),
            Blow::Starter => send(starter, Signal::KILL),
            Blow::Worker => match others().next() {
                Some(worker) => send(worker, Signal::KILL),
                None => send(starter, Signal::KILL),
            },
            Blow::All => {
                let others: Vec<_> = others().collect();
                send(starter, Signal::KILL);
                for pid in others {
                    send(pid, Signal::KILL);
                }
            }
        }
    }

    /// Waits until no process of this world is at work.
    pub fn wait_for_workers(&self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !self.processes().is_empty() {
            if Instant::now() > deadline {
                return Err(format!("still at work after {PATIENCE:?}: {:?}", self.processes()));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Processes that run this world's binary.
    fn processes(&self) -> Vec<Pid> {
        let binary = self.binary();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let runs_it = entries.filter(|entry| {
            // A process that has ended and was not waited for runs nothing.
            fs::read_link(entry.path().join("exe")).is_ok_and(|program| program == binary)
        });
        let pids =
            runs_it.filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
        pids.collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.processes().into_iter().for_each(|pid| send(pid, Signal::KILL));
    }
}

/// A command without settings.
fn in_short(arguments: &[&str]) -> String {
    arguments.iter().take_while(|word| **word != "--set").copied().collect::<Vec<_>>().join(" ")
}

/// It may have ended a moment ago.
fn send(pid: Pid, signal: Signal) {
    let _ = kill_process(pid, signal);
}
