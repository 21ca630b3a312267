//! `monitor --follow` on a terminal: a run as a screen that is kept open, with its curves, its power and its log.

mod charts;
mod screen;

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    time::{Duration, Instant},
};

use greentune_workbench::{
    Workbench,
    operation::{
        CancelTraining, GetSeries, GetSeriesResponse, MonitorTrainingProgress,
        MonitorTrainingProgressResponse, ResumeTraining, ShowLog,
    },
};
use ratatui::{
    Terminal,
    backend::TermionBackend,
    termion::{event::Key, input::TermRead as _, raw::IntoRawMode as _, screen::IntoAlternateScreen},
};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::{failure::Failure, session::Session, signals::asked_to_end};

/// Time between two looks at the run.
const LOOK: Duration = Duration::from_millis(500);
/// Buckets of each curve: two dots in each column of a wide terminal.
const POINTS: u64 = 400;
/// How long a message stays.
const SAID: Duration = Duration::from_secs(6);
/// Lines of the log that are read.
const LOG_LINES: u64 = 100;

/// What is on the screen.
#[derive(Debug)]
struct Watched {
    progress: MonitorTrainingProgressResponse,
    series: GetSeriesResponse,
    log: Vec<String>,
    /// What the user was told or asked last.
    said: Option<(String, Instant)>,
    /// Whether the next `y` cancels the run.
    asks_to_cancel: bool,
    /// Whether curves are drawn over time instead of steps.
    over_time: bool,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    Leave,
    Cancel,
    Resume,
}

/// Whether a screen can be kept open here.
pub fn is_possible(session: &Session) -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && session.environment().has_cursor()
}

/// Keeps the run on the screen until the user leaves it. The run goes on.
///
/// Errors: the run is unknown; the terminal cannot be used.
pub async fn watch(session: &Session, workbench: &Workbench, run_id: &str) -> Result<(), Failure> {
    let project_path = session.project();
    let mut watched = look(workbench, project_path.as_ref(), run_id).await?;
    let failed = |error: io::Error| {
        Failure::new(
            greentune_core_config::ProblemKind::Unavailable,
            "terminal.screen",
            format!("the terminal cannot be drawn on: {error}"),
        )
    };
    // Dropped, they leave the terminal as it was.
    let alternate =
        io::stdout().into_raw_mode().and_then(IntoAlternateScreen::into_alternate_screen).map_err(failed)?;
    let terminal = Terminal::new(TermionBackend::new(alternate)).map_err(failed)?;
    let ended = watch_on(terminal, keys(), workbench, project_path, &mut watched).await;
    ended.map_err(|error| match error {
        Stopped::Terminal(error) => failed(error),
        Stopped::Run(failure) => failure,
    })
}

/// Why watching ended before the user left.
enum Stopped {
    Terminal(io::Error),
    Run(Failure),
}

async fn watch_on<W: io::Write>(
    mut terminal: Terminal<TermionBackend<W>>,
    mut keys: UnboundedReceiver<Key>,
    workbench: &Workbench,
    project_path: Option<PathBuf>,
    watched: &mut Watched,
) -> Result<(), Stopped> {
    let run_id = watched.progress.run_id.clone();
    let mut asked_to_end = std::pin::pin!(asked_to_end());
    let mut looked = Instant::now();
    loop {
        terminal.draw(|frame| screen::draw(frame, watched)).map_err(Stopped::Terminal)?;
        let asked = tokio::select! {
            () = &mut asked_to_end => return Ok(()),
            key = keys.recv() => match key {
                Some(key) => watched.take(key),
                None => return Ok(()),
            },
            () = tokio::time::sleep(LOOK.saturating_sub(looked.elapsed())) => {
                looked = Instant::now();
                let new = look(workbench, project_path.as_ref(), &run_id).await.map_err(Stopped::Run)?;
                watched.refresh(new);
                Asked::Nothing
            }
        };
        match asked {
            Asked::Nothing => {}
            Asked::Leave => return Ok(()),
            Asked::Cancel => {
                let request = CancelTraining {
                    project_path: project_path.clone(),
                    run_id: run_id.clone(),
                    wait_seconds: Some(0.0),
                };
                watched.say(match workbench.cancel_training(request).await {
                    Ok(_) => String::from("stopping at the next step, with a checkpoint"),
                    Err(error) => error.to_string(),
                });
            }
            Asked::Resume => {
                let request = ResumeTraining {
                    project_path: project_path.clone(),
                    run_id: run_id.clone(),
                    async_mode: Some(true),
                    ..ResumeTraining::default()
                };
                watched.say(match workbench.resume_training(request).await {
                    Ok(_) => String::from("going on from the last checkpoint"),
                    Err(error) => error.to_string(),
                });
            }
        }
    }
}

async fn look(
    workbench: &Workbench,
    project_path: Option<&PathBuf>,
    run_id: &str,
) -> Result<Watched, Failure> {
    let (project_path, run_id) = (project_path.cloned(), run_id.to_owned());
    let progress = MonitorTrainingProgress {
        project_path: project_path.clone(),
        run_id: run_id.clone(),
        include_emissions: Some(true),
    };
    let series = GetSeries {
        project_path: project_path.clone(),
        run_id: run_id.clone(),
        points: Some(POINTS),
        ..GetSeries::default()
    };
    let log = ShowLog { project_path, run_id, lines: Some(LOG_LINES) };
    Ok(Watched {
        progress: workbench.monitor_training_progress(progress).await?,
        series: workbench.get_series(series).await?,
        log: workbench.show_log(log).await?.lines,
        said: None,
        asks_to_cancel: false,
        over_time: false,
    })
}

impl Watched {
    /// What was seen of the run now, with what the user has chosen.
    fn refresh(&mut self, new: Self) {
        let is_kept = |(_, at): &(String, Instant)| self.asks_to_cancel || at.elapsed() < SAID;
        let said = self.said.take().filter(is_kept);
        *self = Self { said, asks_to_cancel: self.asks_to_cancel, over_time: self.over_time, ..new };
    }

    fn say(&mut self, words: impl Into<String>) {
        self.said = Some((words.into(), Instant::now()));
    }

    /// What `key` asks for.
    fn take(&mut self, key: Key) -> Asked {
        if std::mem::take(&mut self.asks_to_cancel) {
            self.said = None;
            return if key == Key::Char('y') { Asked::Cancel } else { Asked::Nothing };
        }
        let is_active = self.progress.status.is_active();
        match key {
            Key::Ctrl('c') | Key::Char('q') | Key::Esc => return Asked::Leave,
            Key::Char('t') => self.over_time = !self.over_time,
            Key::Char('c') if is_active => {
                self.asks_to_cancel = true;
                self.say("stop the run at its next step? y: yes, any other key: no");
            }
            Key::Char('r') if !is_active && self.progress.progress_percentage < 100.0 => {
                return Asked::Resume;
            }
            _ => {}
        }
        Asked::Nothing
    }
}

/// Keys as they are pressed. The thread that reads them ends with the process: it may wait for a key until then.
fn keys() -> UnboundedReceiver<Key> {
    let (tell, pressed) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for key in io::stdin().keys().map_while(Result::ok) {
            if tell.send(key).is_err() {
                return;
            }
        }
    });
    pressed
}

#[cfg(test)]
mod tests;
