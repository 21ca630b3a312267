use std::{fs, path::Path};

use greentune_carbon::{Host, MeterEnvironment, memory};
use greentune_core_config::{
    evaluation::RecordOutputs,
    event::{EmissionsSoFar, EventKind},
    layout::RunLayout,
    port::RunReporter,
    settings::Settings,
};
use serde::Serialize;

use super::{
    checkpoint::write_folder,
    learning::{Chance, LearningWatch, Probe},
    metering::{Reading, StageMeter},
    pace::Pace,
};
use crate::{durable, error::TrainError};

/// A stage of one kind of model: what it does itself.
pub(crate) trait Stage {
    /// Optimizer steps done.
    fn steps_done(&self) -> u64;

    /// Whether something is left to train on; readies it.
    fn is_left(&mut self, host: &mut StageHost) -> Result<bool, TrainError>;

    /// Goes on, by a step at most: what was drawn may not do for one, or an epoch may end.
    fn advance(&mut self, host: &mut StageHost) -> Result<(), TrainError>;

    /// Evaluates between two steps ([`Cadence::evaluation_steps`]).
    fn evaluate(&mut self, host: &mut StageHost) -> Result<(), TrainError>;

    /// Where the loss stands, for a stage that scores the same validation records again and again; none where the ends
    /// of epochs say it.
    fn probe(&mut self) -> Result<Option<Probe>, TrainError> {
        Ok(None)
    }

    /// Writes all that training goes on from into the folder of a checkpoint.
    fn save(&mut self, folder: &Path) -> Result<(), TrainError>;

    /// Saves the trained model and evaluates it.
    fn finish(&mut self, host: &mut StageHost) -> Result<StageEnd, TrainError>;
}

/// What a stage says of itself when all of its steps are done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StageEnd {
    /// Seconds of training, over all attempts.
    pub duration_seconds: f64,
    /// Mean training loss at the end, in nats.
    pub final_train_loss: f64,
}

/// How often things happen that are no step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cadence {
    /// Steps between evaluations; none where they belong to the ends of epochs.
    pub evaluation_steps: Option<u64>,
    /// Steps between checkpoints; none where those at the ends of epochs are enough.
    pub checkpoint_steps: Option<u64>,
    /// Whether each checkpoint brings a row of emissions with it; where it does not, the stage has rows written.
    pub meters_with_checkpoints: bool,
}

/// Runs a [`Stage`] from where it stands to its end.
pub(crate) struct StageHost<'a> {
    stage: u8,
    settings: &'a Settings,
    layout: &'a RunLayout,
    cadence: Cadence,
    reporter: &'a mut dyn RunReporter,
    meter: StageMeter,
    /// What the pace of the next report counts from; the stage starts it.
    pub pace: Pace,
    watch: LearningWatch,
    /// Step of the newest checkpoint, or from which the stage goes on.
    saved_step: u64,
}

impl<'a> StageHost<'a> {
    /// The host of `stage`, which meters nothing yet.
    pub fn new(
        stage: u8,
        settings: &'a Settings,
        layout: &'a RunLayout,
        cadence: Cadence,
        reporter: &'a mut dyn RunReporter,
    ) -> Self {
        let meter = StageMeter::off(layout, stage);
        let watch = LearningWatch::new(stage, settings);
        Self { stage, settings, layout, cadence, reporter, meter, pace: Pace::start(0), watch, saved_step: 0 }
    }

    /// Names `rate` where a stage of adapters learns too little or breaks what it learnt.
    pub fn suggest_rate(&mut self, rate: f64) {
        self.watch.set_usual_rate(rate);
    }

    /// Compares the course of the loss with guessing.
    pub fn expect_more_than(&mut self, chance: Chance) {
        self.watch.set_chance(chance);
    }

    /// Begins to meter, adding to what earlier attempts recorded. Without a meter training goes on, with a warning.
    pub fn start_meter(&mut self, surroundings: &MeterEnvironment) -> Result<(), TrainError> {
        let (meter, problem) = StageMeter::start(self.settings, self.layout, self.stage, surroundings);
        self.meter = meter;
        match problem {
            Some(problem) => self.warn(problem.code, problem.message),
            None => Ok(()),
        }
    }

    /// Takes all steps that are left and closes the stage; the step at which it was cancelled, if it was.
    ///
    /// However the stage ends, its last figures are in its emissions file and in an event alike.
    pub fn run(mut self, stage: impl Stage) -> Result<Option<u64>, TrainError> {
        let ended = self.train(stage);
        if !matches!(ended, Ok(None)) {
            let reading = self.meter.finish();
            let reported = match self.figures(reading) {
                Ok(Some(so_far)) => self.report(EventKind::Emissions(so_far)),
                other => other.map(|_| ()),
            };
            // Why the stage failed matters more than that this cannot be reported.
            return ended.and_then(|ended| reported.map(|()| ended));
        }
        ended
    }

    fn train(&mut self, mut stage: impl Stage) -> Result<Option<u64>, TrainError> {
        self.saved_step = stage.steps_done();
        if self.saved_step == 0 && self.watch.probes() {
            self.watch.begin(stage.probe()?);
        }
        while stage.is_left(self)? {
            if self.reporter.cancel_requested() {
                self.checkpoint(&mut stage)?;
                return Ok(Some(stage.steps_done()));
            }
            let before = stage.steps_done();
            stage.advance(self)?;
            if stage.steps_done() > before {
                self.after_step(&mut stage)?;
            }
        }
        if stage.steps_done() > self.saved_step {
            self.checkpoint(&mut stage)?;
        }
        let end = stage.finish(self)?;
        self.close(end)?;
        Ok(None)
    }

    /// Reports an event.
    pub fn report(&mut self, event: EventKind) -> Result<(), TrainError> {
        let warning = self.watch.note(&event);
        self.reporter.report(event).map_err(TrainError::Reporter)?;
        self.warn_of(warning)
    }

    /// Reports something that the user should know.
    pub fn warn(&mut self, code: impl Into<String>, message: String) -> Result<(), TrainError> {
        self.report(EventKind::Warning { code: code.into(), message })
    }

    fn warn_of(&mut self, warning: Option<(&'static str, String)>) -> Result<(), TrainError> {
        warning.map_or(Ok(()), |(code, message)| self.warn(code, message))
    }

    /// Saves a checkpoint now, and removes those beyond the number that is kept.
    pub fn checkpoint(&mut self, stage: &mut impl Stage) -> Result<(), TrainError> {
        let (folder, step) = (self.layout.checkpoints(self.stage), stage.steps_done());
        let keep = self.settings.training.keep_checkpoints;
        let path = write_folder(&folder, keep, step, |partial| stage.save(partial))?;
        self.saved_step = step;
        if self.cadence.meters_with_checkpoints
            && let Some(so_far) = self.write_emissions()?
        {
            self.report(EventKind::Emissions(so_far))?;
        }
        let path = path.strip_prefix(self.layout.folder()).unwrap_or(&path).display().to_string();
        self.report(EventKind::CheckpointSaved { stage: self.stage, step, path })
    }

    /// Writes a row of emissions now; the figures, which are not reported.
    pub fn write_emissions(&mut self) -> Result<Option<EmissionsSoFar>, TrainError> {
        let reading = self.meter.write();
        self.figures(reading)
    }

    /// Writes what the evaluation on the validation data said.
    pub fn write_evaluation(&self, evaluation: &impl Serialize) -> Result<(), TrainError> {
        let folder = self.layout.evaluation(self.stage);
        fs::create_dir_all(&folder).map_err(TrainError::io(&folder))?;
        let json = serde_json::to_value(evaluation).unwrap_or_default();
        durable::write(&folder.join("validation.json"), format!("{json:#}\n").as_bytes())
    }

    /// Writes what models wrote for the validation records, a record a line.
    pub fn write_outputs(&self, outputs: &[RecordOutputs]) -> Result<(), TrainError> {
        let line = |record: &RecordOutputs| serde_json::to_string(record).unwrap_or_default() + "\n";
        let path = self.layout.evaluation(self.stage).join("validation-outputs.jsonl");
        durable::write(&path, outputs.iter().map(line).collect::<String>().as_bytes())
    }

    fn after_step(&mut self, stage: &mut impl Stage) -> Result<(), TrainError> {
        let step = stage.steps_done();
        if self.watch.is_due()
            && let Some(probe) = stage.probe()?
        {
            let warning = self.watch.judge(probe);
            self.warn_of(warning)?;
        }
        let is_due = |every: Option<u64>| every.is_some_and(|every| step.is_multiple_of(every));
        if is_due(self.cadence.evaluation_steps) {
            stage.evaluate(self)?;
        }
        if is_due(self.cadence.checkpoint_steps) {
            self.checkpoint(stage)?;
        }
        let reading = self.meter.tick();
        match self.figures(reading)? {
            Some(so_far) => self.report(EventKind::Emissions(so_far)),
            None => Ok(()),
        }
    }

    fn close(&mut self, end: StageEnd) -> Result<(), TrainError> {
        let reading = self.meter.finish();
        let emissions = self.figures(reading)?;
        self.report(EventKind::StageFinished {
            stage: self.stage,
            duration_seconds: end.duration_seconds,
            final_train_loss: end.final_train_loss,
            emissions,
            peak_memory_bytes: memory::peak_resident(&Host::default()),
        })
    }

    /// The figures of `reading`. A problem with the meter's files is reported as a warning.
    fn figures(&mut self, reading: Reading) -> Result<Option<EmissionsSoFar>, TrainError> {
        if let Some(problem) = reading.problem {
            self.warn(problem.code, problem.message)?;
        }
        Ok(reading.so_far)
    }
}

#[cfg(test)]
mod tests {
    use greentune_core_config::{Problem, ProblemKind, layout::ProjectLayout};

    use super::*;

    /// A stage that counts.
    struct Counter {
        step: u64,
        steps: u64,
        /// Steps, the last one first, after which it goes on once without one.
        skips_after: Vec<u64>,
    }

    impl Stage for Counter {
        fn steps_done(&self) -> u64 {
            self.step
        }
        fn is_left(&mut self, _: &mut StageHost) -> Result<bool, TrainError> {
            Ok(self.step < self.steps)
        }
        fn advance(&mut self, _: &mut StageHost) -> Result<(), TrainError> {
            if self.skips_after.pop_if(|step| *step == self.step).is_none() {
                self.step += 1;
            }
            Ok(())
        }
        fn evaluate(&mut self, host: &mut StageHost) -> Result<(), TrainError> {
            host.warn("evaluated", self.step.to_string())
        }
        fn save(&mut self, folder: &Path) -> Result<(), TrainError> {
            fs::write(folder.join("count"), self.step.to_string()).map_err(TrainError::io(folder))
        }
        fn finish(&mut self, host: &mut StageHost) -> Result<StageEnd, TrainError> {
            host.write_evaluation(&[self.step])?;
            Ok(StageEnd { duration_seconds: 1.5, final_train_loss: 0.25 })
        }
    }

    /// Notes events in words; asks to stop once a number of them is noted, and fails after another.
    #[derive(Default)]
    struct Notes {
        events: Vec<String>,
        cancel_after: Option<usize>,
        fail_after: Option<usize>,
    }

    impl RunReporter for Notes {
        fn report(&mut self, event: EventKind) -> Result<(), Problem> {
            if self.fail_after == Some(self.events.len()) {
                return Err(Problem::new(ProblemKind::Unavailable, "disk.full", "no space"));
            }
            self.events.push(match event {
                EventKind::Warning { code, message } => format!("{code} {message}"),
                EventKind::CheckpointSaved { stage, step, path } => format!("{stage} saved {step} {path}"),
                EventKind::StageFinished { stage, duration_seconds, final_train_loss, emissions, .. } => {
                    format!("{stage} finished {duration_seconds} {final_train_loss} {}", emissions.is_some())
                }
                other => format!("{other:?}"),
            });
            Ok(())
        }
        fn cancel_requested(&self) -> bool {
            self.cancel_after.is_some_and(|limit| self.events.len() >= limit)
        }
    }

    const CADENCE: Cadence =
        Cadence { evaluation_steps: Some(2), checkpoint_steps: Some(3), meters_with_checkpoints: true };

    /// What a run of `counter` returns and leaves in its folder.
    fn run(
        counter: Counter,
        cadence: Cadence,
        notes: &mut Notes,
    ) -> (tempfile::TempDir, RunLayout, Result<Option<u64>, TrainError>) {
        let folder = tempfile::tempdir().unwrap();
        let layout = ProjectLayout::new(folder.path()).run("test-20261122-000000");
        let mut settings = Settings::default();
        settings.training.keep_checkpoints = 2;
        let ended = StageHost::new(2, &settings, &layout, cadence, notes).run(counter);
        (folder, layout, ended)
    }

    #[test]
    fn evaluations_and_checkpoints_come_when_they_are_due_and_a_last_one_at_the_end() {
        let mut notes = Notes::default();
        let counter = Counter { step: 0, steps: 7, skips_after: vec![4, 3, 0] };
        let (_folder, layout, ended) = run(counter, CADENCE, &mut notes);
        assert_eq!(ended.unwrap(), None);
        let expected = [
            "evaluated 2",
            "2 saved 3 stage2/checkpoints/step-000003",
            "evaluated 4",
            "evaluated 6",
            "2 saved 6 stage2/checkpoints/step-000006",
            "2 saved 7 stage2/checkpoints/step-000007",
            "2 finished 1.5 0.25 false",
        ];
        assert_eq!(notes.events, expected);
        let checkpoint = layout.checkpoints(2).join("step-000007/count");
        assert_eq!(fs::read_to_string(checkpoint).unwrap(), "7");
        assert!(!layout.checkpoints(2).join("step-000003").exists(), "two are kept");
        assert_eq!(fs::read_to_string(layout.evaluation(2).join("validation.json")).unwrap(), "[\n  7\n]\n");
    }

    #[test]
    fn nothing_is_saved_twice_or_without_a_step() {
        let mut notes = Notes::default();
        run(Counter { step: 0, steps: 6, skips_after: vec![] }, CADENCE, &mut notes).2.unwrap();
        assert_eq!(notes.events.iter().filter(|event| event.contains("saved")).count(), 2);
        let mut notes = Notes::default();
        run(Counter { step: 6, steps: 6, skips_after: vec![] }, CADENCE, &mut notes).2.unwrap();
        assert_eq!(notes.events, ["2 finished 1.5 0.25 false"]);
        let mut notes = Notes::default();
        run(Counter { step: 0, steps: 6, skips_after: vec![] }, Cadence::default(), &mut notes).2.unwrap();
        assert_eq!(notes.events.len(), 2, "{:?}", notes.events);
    }

    #[test]
    fn a_cancelled_stage_leaves_a_checkpoint_and_is_not_finished() {
        let mut notes = Notes { cancel_after: Some(3), ..Notes::default() };
        let (_folder, layout, ended) =
            run(Counter { step: 0, steps: 7, skips_after: vec![] }, CADENCE, &mut notes);
        assert_eq!(ended.unwrap(), Some(4));
        assert_eq!(notes.events.last().unwrap(), "2 saved 4 stage2/checkpoints/step-000004");
        assert!(!layout.evaluation(2).exists());
    }

    #[test]
    fn a_reporter_that_cannot_go_on_ends_the_stage() {
        let mut notes = Notes { fail_after: Some(1), ..Notes::default() };
        let (_folder, layout, ended) =
            run(Counter { step: 0, steps: 7, skips_after: vec![] }, CADENCE, &mut notes);
        assert!(matches!(ended, Err(TrainError::Reporter(problem)) if problem.code == "disk.full"));
        assert!(layout.checkpoints(2).join("step-000003").exists() && !layout.evaluation(2).exists());
    }
}
