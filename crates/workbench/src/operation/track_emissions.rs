//! Meters any program while it runs.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{self, Command, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use greentune_carbon::{
    MeterConfig,
    aggregate::note_file,
    track::{TrackConfig, Tracked, provenance_file, track},
};
use greentune_core_config::{
    Diagnostic, Problem,
    emissions::{EmissionsProvenance, EmissionsRecord},
    resolve::Argument,
    settings::TrackingMode,
};
use jiff::Zoned;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::{Result, Workbench, WorkbenchError, project::without_links, reach::Access};

/// Meter a program.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
pub struct TrackEmissions {
    /// Path of the project, whose settings the meter takes.
    pub project_path: Option<PathBuf>,
    /// The program and its arguments; no shell reads them.
    #[serde(deserialize_with = "words")]
    #[schemars(with = "Vec<String>")]
    pub command: Vec<OsString>,
    /// CodeCarbon file to which the program's row is added.
    pub output_file: PathBuf,
    /// Name of the project in the row; the program's name when absent.
    pub project_name: Option<String>,
    /// Country whose grid is used, by its code of two or three letters; the setting carbon.country_iso_code when absent.
    pub country_iso_code: Option<String>,
    /// State, province or zone in that country.
    pub region: Option<String>,
    /// Whose energy is counted: the machine's, or that of the program and all that it starts.
    pub tracking_mode: Option<TrackingMode>,
    /// File that all ranks of a job on this machine name, so that the machine is counted once.
    pub host_lock: Option<PathBuf>,
    /// Settings on top, by dotted key or nested.
    pub override_params: Option<Map<String, Value>>,
}

/// What the program used, and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrackEmissionsResponse {
    /// Whether the row could be written.
    pub success: bool,
    /// The program's exit code; absent when a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signal: Option<i32>,
    /// Id of the row.
    pub run_id: String,
    /// The CodeCarbon file.
    pub emissions_file: PathBuf,
    /// The file that says how the figures are known.
    pub provenance_file: PathBuf,
    /// The row.
    pub record: EmissionsRecord,
    /// How the figures are known.
    pub provenance: EmissionsProvenance,
    /// Why the row could not be written.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trouble: Option<String>,
    /// The same as a problem, with its code and the way out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub problem: Option<Problem>,
    /// What a file with other columns that had the file's name is called now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub set_aside: Option<PathBuf>,
}

/// What is run, and how it is metered.
struct Job {
    command: Command,
    config: TrackConfig,
    run_id: String,
}

impl Workbench {
    /// Runs the program to its end, with this process's standard streams, and meters it meanwhile.
    ///
    /// The observer is told its process id. When the future is dropped, the program is asked to end (SIGTERM), and its
    /// row is still written.
    ///
    /// Errors: the program cannot be started; settings of the meter are out of range; the file cannot be opened.
    pub async fn track_emissions(&self, request: TrackEmissions) -> Result<TrackEmissionsResponse> {
        let program = EndOnDrop::default();
        let pid = Arc::clone(&program.0);
        let response = self
            .blocking(move |workbench| {
                let project = request.project_path.as_deref();
                let project = project.and_then(|project| workbench.open_project(project).ok());
                let Job { mut command, config, run_id } = workbench.tracking_job(request)?;
                let csv = config.csv.clone();
                let tracked = track(&mut command, config, |started| {
                    pid.store(started, Ordering::Relaxed);
                    workbench.observer().started_program(started);
                });
                // It has ended: nobody may be sent a signal in its place.
                pid.store(0, Ordering::Relaxed);
                let tracked = tracked.map_err(WorkbenchError::reported)?;
                if let (Some(project), None) = (project, &tracked.trouble) {
                    // The row is there; without the note it is found by its file's name alone.
                    let _ = without_links(&csv).map(|csv| note_file(&project, &csv));
                }
                Ok(response(tracked, run_id, csv))
            })
            .await;
        drop(program);
        response
    }

    fn tracking_job(&self, request: TrackEmissions) -> Result<Job> {
        let [program, arguments @ ..] = request.command.as_slice() else {
            return Err(WorkbenchError::InvalidValue {
                key: "command",
                found: String::from("nothing"),
                allowed: String::from("a program and its arguments"),
            });
        };
        let named = |path: &Path| self.reach(path, path, Access::Write);
        named(&request.output_file)?;
        request.host_lock.as_deref().map(named).transpose()?;
        let mut config = self.config().clone();
        config.arguments.extend(named_settings(&request));
        let carbon = Workbench::new(config)
            .carbon_settings(request.project_path.as_deref(), request.override_params.clone())?;
        let name = request.project_name.clone().unwrap_or_else(|| program.to_string_lossy().into_owned());
        let run_id = format!("track-{}-{}", Zoned::now().strftime("%Y%m%d-%H%M%S"), process::id());
        let meter = MeterConfig::of(&carbon, &self.config().meter, name, run_id.clone())
            .map_err(WorkbenchError::reported)?;
        let mut command = Command::new(program);
        command.args(arguments);
        let meter = MeterConfig { host_lock: request.host_lock, ..meter };
        Ok(Job { command, config: TrackConfig::new(meter, request.output_file), run_id })
    }
}

/// The settings that have a field of their own, which come before all others.
fn named_settings(request: &TrackEmissions) -> impl Iterator<Item = Argument> {
    let mode = request.tracking_mode.map(|mode| mode.as_str().to_owned());
    let named = [
        ("country_iso_code", request.country_iso_code.clone()),
        ("region", request.region.clone()),
        ("tracking_mode", mode),
    ];
    let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
    named.map(|(name, value)| Argument::new(name, format!("carbon.{name}"), value))
}

fn response(tracked: Tracked, run_id: String, csv: PathBuf) -> TrackEmissionsResponse {
    let Tracked { status, record, provenance, trouble, set_aside } = tracked;
    TrackEmissionsResponse {
        problem: trouble.as_ref().map(|error| {
            let mut problem = error.problem();
            problem.message = format!("the row could not be written: {}", problem.message);
            problem
        }),
        set_aside,
        success: trouble.is_none(),
        exit_code: status.code(),
        signal: signal(status),
        provenance_file: provenance_file(&csv, &run_id),
        emissions_file: csv,
        run_id,
        record,
        provenance,
        trouble: trouble.map(|error| error.to_string()),
    }
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_status: ExitStatus) -> Option<i32> {
    None
}

/// Asks the program with this process id to end when it is dropped; 0 is none.
#[derive(Debug, Default)]
struct EndOnDrop(Arc<AtomicU32>);

#[cfg(unix)]
impl Drop for EndOnDrop {
    fn drop(&mut self) {
        use rustix::process::{Pid, Signal, kill_process};
        let pid = i32::try_from(self.0.load(Ordering::Relaxed)).ok().and_then(Pid::from_raw);
        // It may have ended a moment ago.
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
    }
}

fn words<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<OsString>, D::Error> {
    Ok(Vec::<String>::deserialize(deserializer)?.into_iter().map(OsString::from).collect())
}
