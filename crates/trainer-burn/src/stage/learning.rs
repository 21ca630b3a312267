//! Whether a stage learns: said while there is time to change something.
//!
//! Losses of single steps are too noisy to tell a slow fall from none, because each step sees other records. So a stage
//! of a language model scores the same few validation records before its first step and at a tenth, a fifth and two
//! fifths of its steps ([`Probe`]). An image classifier is judged by the mean training loss of its epochs against that
//! of guessing.

use std::collections::BTreeSet;

use greentune_core_config::{
    event::{EpochMetrics, EventKind, StepMetrics},
    quantities::{count, number, percent, plain},
    settings::{Settings, Task},
};

/// Shares of a stage's steps at which it is judged.
const JUDGED_AT: [f64; 3] = [0.1, 0.2, 0.4];
/// Steps below which a stage is not judged: a tenth of them teaches nothing yet.
const FEWEST_STEPS: u64 = 20;
/// A mean training loss of at least this share of that of guessing is at chance.
const AT_CHANCE: f64 = 0.97;
/// Reported steps from which the mean is taken, at least.
const FEWEST_LOSSES: u64 = 5;
/// A stage whose warm-up takes longer than this is judged within it.
const LONGEST_WARM_UP: f64 = 0.3;
/// Losses below this, in nats, have next to nothing left to fall.
const LEARNT: f64 = 0.05;
/// A loss that exceeds the first one by this share has risen. A rise is waited out at first ([`LearningWatch::judge`]).
const RISEN: f64 = 0.01;
/// A loss that will have fallen by less than this share at the stage's end does not fall.
const STANDING: f64 = 0.01;

/// Records that a probe scores, at most.
pub(crate) const PROBED_RECORDS: usize = 32;

/// Number of probes of a stage with so many steps.
pub(crate) fn probes(steps: u64) -> u64 {
    if steps < FEWEST_STEPS { 0 } else { 1 + JUDGED_AT.len() as u64 }
}

/// What a stage says of itself between two steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Probe {
    /// Mean loss of the same validation records each time, in nats.
    pub loss: f64,
    /// The sum of learning rates up to here over that of all steps, in `[0, 1]`. A warm-up is a small part of it.
    pub share: f64,
}

/// What a loss is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Chance {
    /// Mean loss of guessing by the frequencies of the classes, or among all tokens alike, in nats.
    pub loss: f64,
    /// Classes, or tokens of the vocabulary.
    pub choices: u64,
}

impl Chance {
    /// Guessing among `choices` that are equally frequent.
    pub fn among(choices: u64) -> Self {
        Self { loss: (choices.max(1) as f64).ln(), choices }
    }

    /// Guessing by how often each class occurs: the entropy of the frequencies.
    pub fn of_classes(counts: &[u64]) -> Self {
        let all: u64 = counts.iter().sum();
        let shares = counts.iter().filter(|count| **count > 0).map(|count| *count as f64 / all as f64);
        Self { loss: shares.map(|share| -share * share.ln()).sum(), choices: counts.len() as u64 }
    }
}

/// A warning: its code, and what it says.
pub(crate) type Warning = (&'static str, String);

/// Watches a stage from its first step on. A stage that goes on from a checkpoint is watched for chance alone.
#[derive(Clone, Debug)]
pub(crate) struct LearningWatch {
    task: Task,
    stage: u8,
    learning_rate: f64,
    /// The rate that suits the adapters.
    usual_rate: Option<f64>,
    chance: Option<Chance>,
    /// The loss that others are compared with.
    first: Option<f64>,
    /// Probes that are not due yet.
    left: &'static [f64],
    /// Steps done and in all, and the share of the run's epochs where there are epochs.
    step: u64,
    total_steps: u64,
    epochs: u64,
    /// Losses since half of the first judgement, and the learning rate of the last step.
    losses: (f64, u64),
    last_rate: f64,
    said: BTreeSet<&'static str>,
}

impl LearningWatch {
    pub fn new(stage: u8, settings: &Settings) -> Self {
        let task = settings.task();
        Self {
            task,
            stage,
            learning_rate: match task {
                Task::LanguageModel => settings.training.stage(stage).learning_rate,
                Task::ImageClassification => settings.vision.learning_rate,
            },
            usual_rate: None,
            chance: None,
            first: None,
            left: &JUDGED_AT,
            step: 0,
            total_steps: 0,
            epochs: settings.vision.epochs,
            losses: (0.0, 0),
            last_rate: 0.0,
            said: BTreeSet::new(),
        }
    }

    /// What guessing would reach. An image classifier starts from there.
    pub fn set_chance(&mut self, chance: Chance) {
        self.chance = Some(chance);
        if self.task == Task::ImageClassification {
            self.first = Some(chance.loss);
        }
    }

    /// The rate that suits what is trained, to name it where another is needed.
    pub fn set_usual_rate(&mut self, rate: f64) {
        self.usual_rate = Some(rate);
    }

    /// Whether the stage is long enough to be probed.
    pub fn probes(&self) -> bool {
        self.task == Task::LanguageModel && self.total_steps >= FEWEST_STEPS
    }

    /// Notes the loss before the first step.
    pub fn begin(&mut self, probe: Option<Probe>) {
        self.first = probe.map(|probe| probe.loss).or(self.first);
    }

    /// Whether the stage should be probed after the step that was noted last.
    pub fn is_due(&mut self) -> bool {
        if !self.probes() || self.first.is_none() {
            return false;
        }
        let share = self.step as f64 / self.total_steps as f64;
        let due = self.left.iter().take_while(|at| share >= **at).count();
        self.left = &self.left[due..];
        due > 0
    }

    /// What an event says of the course.
    pub fn note(&mut self, event: &EventKind) -> Option<Warning> {
        match event {
            EventKind::StageStarted { total_steps, .. } => {
                self.total_steps = *total_steps;
                None
            }
            EventKind::Step(step) => self.note_step(step),
            EventKind::EpochFinished(epoch) => self.note_epoch(epoch),
            _ => None,
        }
    }

    /// What a probe says of the course.
    pub fn judge(&mut self, Probe { loss, share }: Probe) -> Option<Warning> {
        let first = self.first.filter(|first| *first > LEARNT && share > 0.0)?;
        let fallen = (first - loss) / first;
        let from_to = format!(
            "the loss went from {} to {} in the first {} of {} steps",
            number(first),
            number(loss),
            count(self.step),
            count(self.total_steps)
        );
        // As if it went on falling as it did, which is more than a curve that flattens does.
        let at_the_end = fallen / share;
        if fallen < -RISEN && (self.step as f64) < self.rise_counts_from() * self.total_steps as f64 {
            return None;
        }
        if fallen < -RISEN {
            let lower = self.other_rate("lower");
            return self.say("training.loss_rises", format!("{from_to}: it rises; {lower}"));
        }
        if at_the_end < STANDING {
            let higher = self.other_rate("higher");
            return self.say("training.loss_stands", format!("{from_to}: it does not fall; {higher}"));
        }
        if at_the_end < self.too_little() {
            let higher = self.other_rate("higher");
            let end = percent(at_the_end);
            let message = format!("{from_to}: at this pace it falls by {end} in all of them; {higher}");
            return self.say("training.loss_falls_slowly", message);
        }
        None
    }

    /// The share of the steps from which a rise is said. A stage that goes on from learnt adapters begins with a new
    /// optimizer and a full rate: its loss rises for longer before it falls below where it began.
    fn rise_counts_from(&self) -> f64 {
        if self.stage == 1 { JUDGED_AT[1] } else { JUDGED_AT[2] }
    }

    /// The share by which the loss of a stage that learns will have fallen, at least.
    fn too_little(&self) -> f64 {
        match self.task {
            // A base writes fluently already: a task costs it a part of its loss.
            Task::LanguageModel if self.stage == 1 => 0.15,
            // It goes on from adapters that have learnt, perhaps on the same records.
            Task::LanguageModel => 0.05,
            // From guessing on, nearly everything is to be learnt.
            Task::ImageClassification => 0.3,
        }
    }

    fn note_step(&mut self, step: &StepMetrics) -> Option<Warning> {
        (self.step, self.total_steps) = (step.step, step.total_steps);
        let rises = step.learning_rate > self.last_rate;
        self.last_rate = step.learning_rate;
        let share = self.share_of(step);
        // Records that were selected for their losses say nothing of the mean.
        let selects = step.samples.as_ref().is_some_and(|samples| samples.selection.is_some());
        if self.total_steps < FEWEST_STEPS || selects || share < JUDGED_AT[0] / 2.0 {
            return None;
        }
        self.losses = (self.losses.0 + step.train_loss, self.losses.1 + 1);
        let (sum, losses) = self.losses;
        let is_warming_up = rises && share < LONGEST_WARM_UP;
        if share < JUDGED_AT[0] || losses < FEWEST_LOSSES || is_warming_up || share > JUDGED_AT[2] {
            return None;
        }
        // Judged once.
        let Chance { loss: at_chance, choices } = self.chance.take()?;
        let mean = sum / losses as f64;
        if mean < AT_CHANCE * at_chance {
            return None;
        }
        let message = format!(
            "after {} of {} steps the training loss is {}, and guessing among {} {} gives {}; {}",
            count(self.step),
            count(self.total_steps),
            number(mean),
            count(choices),
            if self.task == Task::LanguageModel { "tokens" } else { "classes" },
            number(at_chance),
            self.way_from_chance(),
        );
        self.say("training.at_chance", message)
    }

    fn note_epoch(&mut self, epoch: &EpochMetrics) -> Option<Warning> {
        self.step = epoch.step;
        let share = (epoch.epoch as f64 - 0.5) / epoch.total_epochs.max(1) as f64;
        let is_early = share < JUDGED_AT[0] || epoch.total_epochs < 3;
        if is_early || epoch.selection.is_some() || share > 0.75 {
            return None;
        }
        // The mean over an epoch is the loss in its middle.
        self.judge(Probe { loss: epoch.train_loss, share })
    }

    /// The share of the run that is done where there are epochs, else of the stage.
    fn share_of(&self, step: &StepMetrics) -> f64 {
        match (&step.samples, self.task) {
            (Some(samples), Task::ImageClassification) => samples.epoch / self.epochs.max(1) as f64,
            _ => step.step as f64 / step.total_steps.max(1) as f64,
        }
    }

    fn say(&mut self, code: &'static str, message: String) -> Option<Warning> {
        self.said.insert(code).then_some((code, message))
    }

    fn way_from_chance(&self) -> &'static str {
        match self.task {
            Task::LanguageModel => {
                "a base model that was trained starts far below: look whether its weights and its tokenizer belong together"
            }
            Task::ImageClassification => {
                "set vision.augmentation to none, vision.batch_size lower, or vision.learning_rate ten times higher or lower; look whether the labels are right"
            }
        }
    }

    /// What to do about a loss that asks for a higher or lower learning rate.
    fn other_rate(&self, direction: &str) -> String {
        let now = plain(self.learning_rate);
        if self.task == Task::ImageClassification {
            return format!(
                "set vision.learning_rate {direction} than {now}, vision.augmentation to none where classes are digits or letters, or vision.epochs higher"
            );
        }
        let fits = |rate: &f64| (*rate > self.learning_rate) == (direction == "higher");
        let usual =
            self.usual_rate.filter(fits).map(|rate| format!(" (about {} suits these adapters)", plain(rate)));
        let key = format!("training.stage{}.learning_rate", self.stage);
        match usual {
            Some(usual) => format!("set {key} {direction} than {now}{usual}, or have the run tuned"),
            None => format!(
                "{key} is {now}, which mostly suits these adapters: look at what the model sees of the data, and have the run tuned"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use greentune_core_config::event::SampleMetrics;

    use super::*;

    fn text() -> LearningWatch {
        let mut watch = LearningWatch::new(1, &Settings::default());
        watch.set_usual_rate(5e-4);
        watch.begin(Some(Probe { loss: 1.0, share: 0.0 }));
        watch
    }

    fn images(classes: &[u64]) -> LearningWatch {
        let mut settings = Settings::default();
        settings.vision.model = Some(String::from("simplecnn"));
        settings.vision.epochs = 20;
        let mut watch = LearningWatch::new(1, &settings);
        watch.set_chance(Chance::of_classes(classes));
        watch
    }

    fn step(step: u64, train_loss: f64, learning_rate: f64, epoch: Option<f64>) -> EventKind {
        EventKind::Step(StepMetrics {
            stage: 1,
            step,
            total_steps: 100,
            train_loss,
            learning_rate,
            gradient_norm: 1.0,
            tokens: 1,
            tokens_per_second: 1.0,
            samples: epoch.map(|epoch| SampleMetrics { trained: 1, per_second: 1.0, epoch, selection: None }),
        })
    }

    fn epoch(epoch: u64, train_loss: f64) -> EventKind {
        EventKind::EpochFinished(EpochMetrics {
            stage: 1,
            step: 5 * epoch,
            epoch,
            total_epochs: 20,
            train_loss,
            validation_loss: train_loss,
            accuracy: 0.1,
            top5_accuracy: None,
            seconds: 1.0,
            energy_kwh: None,
            selection: None,
        })
    }

    /// The codes and words of a stage of 100 steps whose probes have these losses.
    fn probed(losses: [f64; 3]) -> Vec<Warning> {
        let (mut watch, mut losses, mut warnings) = (text(), losses.into_iter(), Vec::new());
        for number in 1..=100 {
            assert_eq!(watch.note(&step(number, 1.0, 1e-5, None)), None);
            if watch.is_due() {
                let loss = losses.next().expect("three probes");
                warnings.extend(watch.judge(Probe { loss, share: number as f64 / 100.0 }));
            }
        }
        assert_eq!(losses.next(), None, "all probes are asked for");
        warnings
    }

    #[test]
    fn a_loss_that_falls_fast_is_no_warning_even_where_it_flattens() {
        for losses in [[0.6, 0.3, 0.1], [0.93, 0.91, 0.90]] {
            assert!(probed(losses).is_empty(), "{losses:?}");
        }
    }

    #[test]
    fn what_falls_slowly_or_stands_or_rises_is_said_once_with_what_to_change() {
        let slowly = probed([0.99, 0.98, 0.96]);
        assert_eq!(slowly.len(), 1);
        assert_eq!(
            slowly[0].1,
            "the loss went from 1.00 to 0.990 in the first 10 of 100 steps: at this pace it falls by 10.0 % in all of them; set training.stage1.learning_rate higher than 0.00002 (about 0.0005 suits these adapters), or have the run tuned"
        );
        let codes = |losses| probed(losses).into_iter().map(|(code, _)| code).collect::<Vec<_>>();
        assert_eq!(codes([1.0, 0.999, 0.998]), ["training.loss_stands"]);
        assert_eq!(codes([0.99, 1.2, 1.5]), ["training.loss_falls_slowly", "training.loss_rises"]);
        assert!(codes([1.2, 0.8, 0.5]).is_empty(), "a rise in the beginning that is over");
        let rises = probed([1.1, 1.2, 1.5]).remove(0).1;
        assert!(rises.contains("training.stage1.learning_rate is 0.00002, which mostly suits"), "{rises}");
    }

    #[test]
    fn a_second_stage_has_longer_to_make_up_for_a_rise() {
        // As measured on the bundled model: two stages of the same records at a rate that a search found.
        let codes = |losses: [f64; 3]| {
            let mut watch = LearningWatch::new(2, &Settings::default());
            watch.set_usual_rate(3.2e-3);
            watch.total_steps = 150;
            watch.begin(Some(Probe { loss: 0.177, share: 0.0 }));
            let probes = losses.into_iter().zip([15, 30, 60]);
            let judged = probes.filter_map(|(loss, step)| {
                watch.step = step;
                watch.judge(Probe { loss, share: step as f64 / 150.0 })
            });
            judged.map(|(code, _)| code).collect::<Vec<_>>()
        };
        assert!(codes([0.215, 0.191, 0.160]).is_empty());
        assert_eq!(codes([0.215, 0.191, 0.190]), ["training.loss_rises"]);
    }

    #[test]
    fn short_stages_resumed_stages_and_what_is_learnt_already_are_not_judged() {
        let mut watch = text();
        watch.total_steps = FEWEST_STEPS - 1;
        watch.step = FEWEST_STEPS - 2;
        assert!(!watch.is_due());
        let mut resumed = LearningWatch::new(1, &Settings::default());
        resumed.note(&step(50, 1.0, 1e-5, None));
        assert!(!resumed.is_due());
        let mut learnt = text();
        learnt.begin(Some(Probe { loss: LEARNT / 2.0, share: 0.0 }));
        assert_eq!(learnt.judge(Probe { loss: LEARNT, share: 0.1 }), None);
    }

    #[test]
    fn guessing_after_a_tenth_of_the_steps_is_said_once() {
        let mut watch = images(&[10, 10]);
        let warnings: Vec<_> =
            (1..=100).filter_map(|at| watch.note(&step(at, 0.69, 1e-3, Some(at as f64 / 5.0)))).collect();
        assert_eq!(warnings.len(), 1);
        assert_eq!(
            warnings[0].1,
            "after 10 of 100 steps the training loss is 0.690, and guessing among 2 classes gives 0.693; set vision.augmentation to none, vision.batch_size lower, or vision.learning_rate ten times higher or lower; look whether the labels are right"
        );
        let mut watch = images(&[10, 10]);
        let learns = (1..=100).find_map(|at| watch.note(&step(at, 0.6, 1e-3, Some(at as f64 / 5.0))));
        assert_eq!(learns, None);
    }

    #[test]
    fn a_warm_up_is_waited_for() {
        let mut watch = images(&[1, 1]);
        let rate = |at: u64| 1e-5 * at.min(20) as f64;
        let said =
            (1..=100).find(|at| watch.note(&step(*at, 0.7, rate(*at), Some(*at as f64 / 5.0))).is_some());
        assert_eq!(said, Some(21));
    }

    #[test]
    fn guessing_by_frequencies_is_less_than_guessing_alike() {
        assert!((Chance::of_classes(&[5, 5, 0]).loss - 2.0_f64.ln()).abs() < 1e-12);
        assert!(Chance::of_classes(&[9, 1]).loss < 0.33);
        assert!((Chance::among(1000).loss - 1000.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn epochs_that_learn_slowly_are_said() {
        let mut watch = images(&[10; 10]);
        let course = |watch: &mut LearningWatch, loss: &dyn Fn(u64) -> f64| {
            (1..=20)
                .filter_map(|at| watch.note(&epoch(at, loss(at))))
                .map(|(code, _)| code)
                .collect::<Vec<_>>()
        };
        assert_eq!(course(&mut watch, &|at| 2.3 - 0.03 * at as f64), ["training.loss_falls_slowly"]);
        assert_eq!(course(&mut images(&[10; 10]), &|at| 2.3 / at as f64), Vec::<&str>::new());
    }
}
