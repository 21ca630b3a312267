//! From arguments to an exit code.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, error::ErrorKind};
use greentune_core_config::ProblemKind;
use greentune_workbench::remove_own_staging;
use tokio::runtime;

use crate::{
    announced::announced, arguments::CommandLine, environment::Environment, exit_code::exit_code,
    failure::Failure, global_flags::GlobalFlags, huge_pages, output::Output, session::Session,
};

/// Threads that read files for a server's callers; each has memory of its own, and more would wait for the same disk.
const MOST_THREADS: usize = 32;

/// Parses the arguments, runs the command and says how it went.
pub fn run() -> ExitCode {
    let CommandLine { global, command } = match CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => return not_a_command(&error),
    };
    if !command.is_server() {
        huge_pages::allow();
    }
    let output = Output::new(&global);
    let run = || {
        let session = Session::new(output, global.project, Environment::read()?).asking(!global.no_input);
        // Built after parsing, so that help and version answer at once.
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MOST_THREADS)
            .build()
            .map_err(|error| {
                Failure::new(
                    ProblemKind::Internal,
                    "runtime.start",
                    format!("cannot start the runtime: {error}"),
                )
            })?;
        let result = runtime.block_on(command.run(&session, CommandLine::command()));
        // A read of standard input that never ends must not keep the process.
        runtime.shutdown_background();
        // Nor may an operation whose caller is gone leave behind what it has not finished.
        remove_own_staging();
        result
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(problem)) => output.fail(&problem),
    }
}

/// Help, version, or arguments that clap does not understand (exit code 2).
fn not_a_command(error: &clap::Error) -> ExitCode {
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let arguments = || std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let wants_json = arguments().any(|argument| argument == "--json");
    if let Some(Failure(problem)) = announced(arguments()).filter(|_| !is_answer) {
        return Output::new(&GlobalFlags { json: wants_json, ..GlobalFlags::default() }).fail(&problem);
    }
    if !is_answer && wants_json {
        let text = error.render().to_string();
        let message = text.trim().trim_start_matches("error: ");
        let Failure(problem) = Failure::new(ProblemKind::InvalidInput, "arguments.invalid", message);
        return Output::new(&GlobalFlags { json: true, ..GlobalFlags::default() }).fail(&problem);
    }
    // If this fails, nobody reads the stream, and nothing is left to report.
    let _ = error.print();
    if is_answer { ExitCode::SUCCESS } else { ExitCode::from(exit_code(ProblemKind::InvalidInput)) }
}
