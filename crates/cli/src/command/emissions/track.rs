//! `greentune emissions track`: meters any program while it runs.

use std::{ffi::OsString, path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum, builder::EnumValueParser};
use greentune_core_config::{
    port::{TransferProgress, TransferReporter},
    quantities::{duration, energy_unit, mass_unit},
    settings::TrackingMode,
};
use greentune_workbench::{
    Observer,
    operation::{TrackEmissions, TrackEmissionsResponse},
};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::between;
use crate::{any_case::AnyCase, failure::Failure, session::Session};

/// A mode, by its name in settings.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// The whole machine
    Machine,
    /// The program and all that it starts
    Process,
}

impl From<Mode> for TrackingMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Machine => Self::Machine,
            Mode::Process => Self::Process,
        }
    }
}

/// Arguments of `emissions track`.
#[derive(Args, Debug)]
pub struct Track {
    /// CodeCarbon file to which the program's row is added
    #[arg(long = "to", alias = "output-file", value_name = "CSV", default_value = "emissions.csv")]
    output_file: PathBuf,
    /// Name of the project in the row [default: the program's name]
    #[arg(long, value_name = "NAME")]
    project_name: Option<String>,
    /// Country whose grid is used, ISO 3166-1, such as FRA or FR [default: the setting carbon.country_iso_code]
    #[arg(long, value_name = "CODE")]
    country: Option<String>,
    /// State, province or zone in that country
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Whose energy is counted: machine, or process for the program and all that it starts
    #[arg(long, value_name = "MODE", value_parser = AnyCase(EnumValueParser::<Mode>::new()))]
    tracking_mode: Option<Mode>,
    /// A setting, such as carbon.pue=1.2; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Lock file shared by all ranks of a job on this machine, so that the machine is counted once
    #[arg(long, value_name = "FILE")]
    host_lock: Option<PathBuf>,
    /// The program and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Track {
    /// Ends this process with the exit code of the program.
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let program = self.command.first().map(|program| program.to_string_lossy().into_owned());
        let (tell, started) = mpsc::unbounded_channel();
        let workbench = session.workbench_with(&self.settings)?.reporting(Arc::new(Started(tell)));
        let passing_on = tokio::spawn(pass_on_signals(started));
        let response = workbench.track_emissions(self.request(session)).await?;
        passing_on.abort();
        if let Some(aside) = &response.set_aside {
            let (file, aside) = (response.emissions_file.display(), aside.display());
            session
                .output
                .note(&format!("{file} had other columns and is called {aside} now; a new file was begun"));
        }
        if session.output.shows_progress() {
            session.output.note(&line(&program.unwrap_or_default(), &response));
        } else {
            session.output.answer(&response, |_| String::new())?;
        }
        if let Some(problem) = &response.problem {
            session.output.fail(problem);
        }
        std::process::exit(exit_code(&response));
    }

    fn request(self, session: &Session) -> TrackEmissions {
        TrackEmissions {
            project_path: session.project(),
            command: self.command,
            output_file: session.here(&self.output_file),
            project_name: self.project_name,
            country_iso_code: self.country,
            region: self.region,
            tracking_mode: self.tracking_mode.map(TrackingMode::from),
            host_lock: self.host_lock.map(|file| session.here(&file)),
            override_params: None,
        }
    }
}

fn line(program: &str, response: &TrackEmissionsResponse) -> String {
    let TrackEmissionsResponse { record, provenance, emissions_file, success, .. } = response;
    let (kwh, kg) = (energy_unit(record.energy_consumed), mass_unit(record.emissions));
    let row = if *success { "row added to" } else { "no row in" };
    format!(
        "{program}: {}{} in {}: {}{}; {row} {}",
        kwh.text(record.energy_consumed),
        between(provenance.energy_range_kwh, |bound| kwh.text(bound)),
        duration(record.duration),
        kg.text_co2e(record.emissions),
        between(provenance.emissions_range_kg, |bound| kg.text_co2e(bound)),
        emissions_file.display(),
    )
}

/// As a shell has it: the program's own, or 128 and the signal that ended it. Where the program succeeded and its row could
/// not be written, the code of that problem.
fn exit_code(response: &TrackEmissionsResponse) -> i32 {
    let own = response.exit_code.or(response.signal.map(|signal| 128 + signal)).unwrap_or(1);
    match &response.problem {
        Some(problem) if own == 0 => crate::exit_code::exit_code(problem.kind).into(),
        _ => own,
    }
}

/// Passes on which program was started.
#[derive(Debug)]
struct Started(UnboundedSender<u32>);

impl TransferReporter for Started {
    fn report(&self, _: &TransferProgress) {}
}

impl Observer for Started {
    fn started_program(&self, pid: u32) {
        // Nobody waits for it when signals cannot be listened for.
        let _ = self.0.send(pid);
    }
}

/// An interrupt of the terminal reaches the program by itself; one that was sent to this process alone, a hang-up and a
/// request to end are passed on. Either way the row is written when the program has ended.
#[cfg(unix)]
async fn pass_on_signals(mut started: UnboundedReceiver<u32>) {
    use rustix::process::{Pid, Signal, kill_process};
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut quit), Ok(mut hangup), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::quit()),
        signal(SignalKind::hangup()),
        signal(SignalKind::terminate()),
    ) else {
        return;
    };
    let Some(pid) = started.recv().await else { return };
    let program = i32::try_from(pid).ok().and_then(Pid::from_raw);
    loop {
        let (signal, is_of_terminal) = tokio::select! {
            _ = interrupt.recv() => (Signal::INT, is_in_foreground()),
            _ = quit.recv() => (Signal::QUIT, is_in_foreground()),
            _ = hangup.recv() => (Signal::HUP, false),
            _ = terminate.recv() => (Signal::TERM, false),
        };
        if !is_of_terminal {
            // It may have ended a moment ago.
            let _ = program.map(|program| kill_process(program, signal));
        }
    }
}

/// Whether the keys of a terminal reach this process, and with it the program, which is in the same group.
#[cfg(unix)]
fn is_in_foreground() -> bool {
    use rustix::{process::getpgrp, termios::tcgetpgrp};
    let terminal = std::fs::File::open("/dev/tty");
    terminal.is_ok_and(|terminal| tcgetpgrp(&terminal).is_ok_and(|group| group == getpgrp()))
}

#[cfg(not(unix))]
async fn pass_on_signals(_started: UnboundedReceiver<u32>) {
    while tokio::signal::ctrl_c().await.is_ok() {}
}
