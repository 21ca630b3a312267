//! `monitor --follow` on a terminal: a run as a screen that is kept open, with its curves, its power and its log.

mod charts;
mod screen;

use std::{
    io::{self, IsTerminal as _},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use greentune_workbench::{
    Workbench,
    operation::{
        CancelTraining, GetSeries, GetSeriesResponse, MonitorTrainingProgress,
        MonitorTrainingProgressResponse, ResumeTraining, ShowLog,
    },
};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
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
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let keys = Keys::begin();
    let ended = watch_on(&mut terminal, keys, workbench, project_path, &mut watched).await;
    ratatui::restore();
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

async fn watch_on(
    terminal: &mut ratatui::DefaultTerminal,
    mut keys: Keys,
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
            key = keys.pressed.recv() => match key {
                Some(Event::Key(key)) => watched.take(key),
                Some(_) => Asked::Nothing,
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
    fn take(&mut self, key: KeyEvent) -> Asked {
        if key.kind == KeyEventKind::Release {
            return Asked::Nothing;
        }
        if std::mem::take(&mut self.asks_to_cancel) {
            self.said = None;
            return if key.code == KeyCode::Char('y') { Asked::Cancel } else { Asked::Nothing };
        }
        let is_active = self.progress.status.is_active();
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Asked::Leave,
            KeyCode::Char('q') | KeyCode::Esc => return Asked::Leave,
            KeyCode::Char('t') => self.over_time = !self.over_time,
            KeyCode::Char('c') if is_active => {
                self.asks_to_cancel = true;
                self.say("stop the run at its next step? y: yes, any other key: no");
            }
            KeyCode::Char('r') if !is_active && self.progress.progress_percentage < 100.0 => {
                return Asked::Resume;
            }
            _ => {}
        }
        Asked::Nothing
    }
}

/// Keys as they are pressed, read by a thread of its own until it is dropped.
struct Keys {
    pressed: UnboundedReceiver<Event>,
    is_over: Arc<AtomicBool>,
}

impl Keys {
    fn begin() -> Self {
        let (tell, pressed) = mpsc::unbounded_channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                match event::poll(Duration::from_millis(100)) {
                    Ok(true) => {
                        let Ok(event) = event::read() else { return };
                        if tell.send(event).is_err() {
                            return;
                        }
                    }
                    Ok(false) => {}
                    Err(_) => return,
                }
            }
        });
        Self { pressed, is_over }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
