//! `greentune worker`: the process that trains; started by the workbench, never by people.
//!
//! The one place of the command line that calls the trainer. Standard error is the run's log; standard output has what a
//! task says before its answer, one line of JSON each.

use std::{
    io::{self, Read as _, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

use clap::Args;
use greentune_core_config::{Diagnostic, Problem, ProblemKind, task::WorkerAnswer};
use greentune_trainer_burn as trainer;
use greentune_workbench::{
    background::perform_task,
    remove_own_staging,
    worker::{Outcome, WorkerSession, read_run, read_task, write_answer},
};

use serde::Serialize;

use crate::{exit_code::exit_code, failure::Failure, session::Session, signals::asked_to_end};

/// Time that trackers get for what they have not sent when a run ends; `greentune runs sync` sends the rest.
const TRACKING_GRACE: Duration = Duration::from_secs(10);

/// Arguments of `worker`: a run's folder, a task, or the folder of work in the background.
#[derive(Args, Debug)]
pub struct Worker {
    #[arg(required_unless_present_any = ["task", "perform"])]
    run_folder: Option<PathBuf>,
    #[arg(long, requires = "answer", conflicts_with = "run_folder")]
    task: Option<PathBuf>,
    #[arg(long, requires = "task")]
    answer: Option<PathBuf>,
    /// Whether it ends when its standard input does, which the process that asked holds open.
    #[arg(long, requires = "task")]
    attached: bool,
    /// The folder of work in the background
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["run_folder", "task"])]
    perform: Option<PathBuf>,
}

impl Worker {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self { perform: Some(folder), .. } => {
                leave_terminal();
                let config = session.environment().workbench_config()?;
                Ok(perform_task(&folder, config, asked_to_end()).await?)
            }
            Self { run_folder: Some(run_folder), .. } => {
                leave_terminal();
                train(&run_folder, session)
            }
            Self { task: Some(task), answer: Some(answer), attached, .. } => {
                if attached {
                    end_with_asker()?;
                }
                do_task(&task, &answer, session)
            }
            _ => Ok(()), // clap asks for one of the two
        }
    }
}

fn train(run_folder: &Path, surroundings: &Session) -> Result<(), Failure> {
    let mut session = WorkerSession::begin(run_folder)?;
    stop_with_signal(&mut session);
    session.track(&surroundings.environment().tracking())?;
    let (manifest, layout) = (session.manifest().clone(), session.layout().clone());
    let stages = session.stages();
    let meter = surroundings.environment().meter();
    let result = guarded(|| match trainer::train(&manifest, &layout, &stages, &meter, &mut session) {
        Ok(trainer::Outcome::Finished) => Ok(Outcome::Finished),
        Ok(trainer::Outcome::Cancelled { stage, step }) => Ok(Outcome::Cancelled { stage, step }),
        Err(error) => Err(error.problem()),
    });
    let failure = result.clone().err();
    let tracking = session.take_tracking();
    session.finish(result)?;
    // No event may follow the terminal one, so the log says what the trackers did not get.
    for problem in tracking.into_iter().flat_map(|tracking| tracking.finish(TRACKING_GRACE)) {
        surroundings.output.fail(&problem);
    }
    // The log ends with what went wrong.
    failure.map_or(Ok(()), |problem| Err(Failure(problem)))
}

fn do_task(task: &Path, answer: &Path, surroundings: &Session) -> Result<(), Failure> {
    let task = read_task(task)?;
    let meter = surroundings.environment().meter();
    let answered = guarded(|| Ok(trainer::answer(&task, &read_run, &meter, &mut |note| tell(note))));
    let answered = answered.unwrap_or_else(|problem| WorkerAnswer::Failed { problem });
    write_answer(answer, &answered).map_err(|error| {
        // A full disk takes no answer: the asker hears why.
        tell(&WorkerAnswer::Failed { problem: error.problem() });
        error.into()
    })
}

/// Tells the asker. Nobody may be listening.
fn tell(what: &impl Serialize) {
    if let Ok(line) = serde_json::to_string(what) {
        let mut stdout = io::stdout().lock();
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}

/// Ends this process once nobody waits for its answer any more: nothing is left at work, and nothing half written.
fn end_with_asker() -> Result<(), Failure> {
    let watch = || {
        while io::stdin().read(&mut [0; 64]).is_ok_and(|bytes| bytes > 0) {}
        remove_own_staging();
        std::process::exit(i32::from(exit_code(ProblemKind::Cancelled)));
    };
    let watching = thread::Builder::new().name(String::from("asker")).spawn(watch);
    watching.map(drop).map_err(|error| {
        Failure::new(ProblemKind::Internal, "worker.start", format!("no thread to watch who asks: {error}"))
    })
}

/// Runs `work`. A panic becomes a problem; the panic hook has written its text to the log.
fn guarded<T>(work: impl FnOnce() -> Result<T, Problem>) -> Result<T, Problem> {
    // After a panic, what `work` left half done is used only to record the failure.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
        let message = format!("the trainer panicked: {text}");
        Err(Problem::new(ProblemKind::Internal, "worker.panic", message)
            .with_hint("this is a defect of greentune; the run's log says where it happened"))
    })
}

/// A request to end (SIGTERM, as systems that shut down and batch queues send it) ends the run at its next step, with a
/// checkpoint and its energy written.
#[cfg(unix)]
fn stop_with_signal(session: &mut WorkerSession) {
    let stop = Arc::new(AtomicBool::new(false));
    // Without a handler the signal ends the process at once, and the run is resumed from its last checkpoint.
    if signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&stop)).is_ok() {
        session.stop_with(stop);
    }
}

#[cfg(not(unix))]
fn stop_with_signal(_session: &mut WorkerSession) {}

/// A session of its own, so that closing the terminal does not end training.
#[cfg(unix)]
fn leave_terminal() {
    // A process group leader may not call setsid. A shell starts it as one, so it is separate enough already.
    let _ = rustix::process::setsid();
}

#[cfg(not(unix))]
fn leave_terminal() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_problem_with_its_text() {
        let problem = guarded::<()>(|| panic!("shape {}", 3)).unwrap_err();
        assert_eq!((problem.kind, problem.code.as_str()), (ProblemKind::Internal, "worker.panic"));
        assert_eq!(problem.message, "the trainer panicked: shape 3");
        assert_eq!(guarded(|| Ok(1)), Ok(1));
    }
}
