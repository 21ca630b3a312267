//! `greentune emissions track`: meters any program while it runs.

use std::{ffi::OsString, path::PathBuf, process::Command};

use clap::Args;
use greentune_carbon::{
    MeterConfig,
    track::{TrackConfig, Tracked, provenance_file, track},
};
use greentune_core_config::{Diagnostic, ProblemKind};
use jiff::Zoned;
use serde_json::json;
use tokio::sync::oneshot;

use super::between;
use crate::{
    failure::Failure,
    figures::{duration, emissions, energy},
    session::Session,
};

/// Arguments of `emissions track`.
#[derive(Args, Debug)]
pub struct Track {
    /// CodeCarbon file to which the program's row is added
    #[arg(long, value_name = "CSV", default_value = "emissions.csv")]
    output_file: PathBuf,
    /// Name of the project in the row [default: the program's name]
    #[arg(long, value_name = "NAME")]
    project_name: Option<String>,
    /// Country whose grid is used, ISO 3166-1 alpha-3 [default: the setting carbon.country_iso_code]
    #[arg(long, value_name = "CODE")]
    country: Option<String>,
    /// State, province or zone in that country
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Whose energy is counted: machine, or process for the program and all that it starts
    #[arg(long, value_name = "MODE")]
    tracking_mode: Option<String>,
    /// A setting, such as carbon.pue=1.2; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// File that all ranks of a job on this machine name, so that the machine is counted once
    #[arg(long, value_name = "FILE")]
    host_lock: Option<PathBuf>,
    /// The program and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Track {
    /// Ends this process with the exit code of the program.
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let workbench = session.workbench_with(&self.assignments())?;
        let carbon = workbench.carbon_settings(session.project()).await?;
        let program = self.command.first().map(|program| program.to_string_lossy().into_owned());
        let program = program.unwrap_or_default();
        let name = self.project_name.clone().unwrap_or_else(|| program.clone());
        let run_id = format!("track-{}-{}", Zoned::now().strftime("%Y%m%d-%H%M%S"), std::process::id());
        let config = MeterConfig::of(&carbon, &session.environment().meter(), name, run_id.clone())
            .map_err(|error| Failure(error.problem()))?;
        let config = MeterConfig { host_lock: self.host_lock.map(|file| session.here(&file)), ..config };
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        let csv = session.here(&self.output_file);
        let (tell, started) = oneshot::channel();
        let file = csv.clone();
        let tracking = tokio::task::spawn_blocking(move || {
            track(&mut command, TrackConfig::new(config, file), |pid| {
                // Nobody waits for it when signals cannot be listened for.
                let _ = tell.send(pid);
            })
        });
        let passing_on = tokio::spawn(pass_on_signals(started));
        let tracked = tracking
            .await
            .map_err(|error| Failure::new(ProblemKind::Internal, "carbon.track", error.to_string()))?
            .map_err(|error| Failure(error.problem()))?;
        passing_on.abort();
        if let Some(trouble) = &tracked.trouble {
            session.output.note(&format!("the row could not be written: {trouble}"));
        }
        let answer = json!({
            "success": tracked.trouble.is_none(),
            "exit_code": tracked.status.code(),
            "run_id": run_id,
            "emissions_file": csv,
            "provenance_file": provenance_file(&csv, &run_id),
            "record": tracked.record,
            "provenance": tracked.provenance,
        });
        if session.output.shows_progress() {
            session.output.note(&line(&program, &tracked, &csv));
        } else {
            session.output.answer(&answer, |_| String::new())?;
        }
        std::process::exit(exit_code(&tracked));
    }

    fn assignments(&self) -> Vec<String> {
        let flags = [
            ("carbon.country_iso_code", &self.country),
            ("carbon.region", &self.region),
            ("carbon.tracking_mode", &self.tracking_mode),
        ];
        let given = flags.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)));
        self.settings.iter().cloned().chain(given).collect()
    }
}

fn line(program: &str, tracked: &Tracked, csv: &std::path::Path) -> String {
    let Tracked { record, provenance, .. } = tracked;
    format!(
        "{program}: {}{} in {}: {}{}; row added to {}",
        energy(record.energy_consumed),
        between(provenance.energy_range_kwh, energy),
        duration(record.duration),
        emissions(record.emissions),
        between(provenance.emissions_range_kg, emissions),
        csv.display(),
    )
}

/// As a shell has it: the program's own, or 128 and the signal that ended it.
fn exit_code(tracked: &Tracked) -> i32 {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&tracked.status).map(|signal| 128 + signal);
    #[cfg(not(unix))]
    let signal = None;
    tracked.status.code().or(signal).unwrap_or(1)
}

/// An interrupt of the terminal reaches the program by itself; a request to end is passed on. Either way the row is
/// written when the program has ended.
#[cfg(unix)]
async fn pass_on_signals(started: oneshot::Receiver<u32>) {
    use rustix::process::{Pid, Signal, kill_process};
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    let Ok(pid) = started.await else { return };
    let program = i32::try_from(pid).ok().and_then(Pid::from_raw);
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {
                // It may have ended a moment ago.
                let _ = program.map(|program| kill_process(program, Signal::TERM));
            }
        }
    }
}

#[cfg(not(unix))]
async fn pass_on_signals(_started: oneshot::Receiver<u32>) {
    while tokio::signal::ctrl_c().await.is_ok() {}
}
