//! One stage of a run: its epochs, its steps and what it evaluates.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use burn::tensor::backend::AutodiffBackend;
use greentune_ast_sparsity::{Accounting, Needs, Observation, Progress as SelectionProgress, Selector};
use greentune_core_config::{
    evaluation::ClassificationReport,
    event::{EpochMetrics, EventKind, SampleMetrics, StepMetrics},
    port::RunReporter,
    selection::SelectionSoFar,
};
use greentune_image_data::Loader;

use super::{
    Run,
    checkpoint::{self, Progress, State},
    evaluate,
    feed::{Feed, Ready},
    mixing::Mixing,
    order::order,
    schedule::learning_rate,
    step::{self, Batch, Score},
    weights,
};
use crate::{
    durable,
    error::TrainError,
    ops::image::ImageOps,
    stage::{Cadence, Pace, Stage, StageEnd, StageHost, learning::Chance, selection},
};

/// How often steps are reported: those of small networks take a few milliseconds.
const REPORT_EVERY: Duration = Duration::from_millis(200);

impl<A: ImageOps + AutodiffBackend<InnerBackend: ImageOps>> Run<'_, A> {
    /// Trains a stage to its end. Returns the step at which it was cancelled, if it was.
    pub(super) fn train_stage(
        &self,
        stage: u8,
        reporter: &mut dyn RunReporter,
    ) -> Result<Option<u64>, TrainError> {
        let settings = &self.manifest.settings;
        let mut host = StageHost::new(stage, settings, self.layout, self.cadence(), reporter);
        let dataset = &self.images.dataset;
        let mut selector = selection::selector(settings, dataset.train.len())?;
        let state = self.starting_point(stage, &mut selector, &mut host)?;
        let validation = self.images.loader(&dataset.validation, &settings.vision)?;
        host.start_meter(self.surroundings)?;
        host.expect_more_than(Chance::of_classes(&dataset.train.counts(dataset.classes.len())));
        let run = StageRun {
            run: self,
            stage,
            validation,
            began: Instant::now(),
            earlier_seconds: state.progress.duration_seconds,
            earlier_energy: self.energy_before(stage),
            last_report: None,
            state,
            selector,
            feed: None,
        };
        host.report(EventKind::StageStarted {
            stage,
            total_steps: run.total_steps(),
            from_step: run.steps_done(),
            train_records: dataset.train.len() as u64,
            trainable_parameters: run.state.network.weights.count(),
        })?;
        host.run(run)
    }

    /// An epoch ends with an evaluation, a row of emissions and a checkpoint. Others are saved within epochs that have
    /// more steps than lie between two of them.
    fn cadence(&self) -> Cadence {
        let settings = &self.manifest.settings;
        let every = settings.training.save_steps;
        let steps = self.images.dataset.train.len() as u64 / settings.vision.batch_size;
        let checkpoint_steps = (steps > every).then_some(every.max(1));
        Cadence { evaluation_steps: None, checkpoint_steps, meters_with_checkpoints: false }
    }
}

/// A stage while it is trained.
struct StageRun<'a, 'r, A: AutodiffBackend> {
    run: &'a Run<'r, A>,
    stage: u8,
    state: State<A::InnerBackend>,
    selector: Selector,
    /// The epoch under way.
    feed: Option<Feed>,
    validation: Loader,
    began: Instant,
    /// Seconds of earlier attempts.
    earlier_seconds: f64,
    /// Energy of the stages before, in kWh.
    earlier_energy: Option<f64>,
    /// The evaluation of the last epoch.
    last_report: Option<ClassificationReport>,
}

impl<A: ImageOps + AutodiffBackend<InnerBackend: ImageOps>> Stage for StageRun<'_, '_, A> {
    fn steps_done(&self) -> u64 {
        self.state.progress.step
    }

    fn is_left(&mut self, host: &mut StageHost) -> Result<bool, TrainError> {
        if self.state.progress.epoch >= self.run.epochs(self.stage) {
            return Ok(false);
        }
        if self.feed.is_none() {
            self.feed = Some(self.begin_epoch()?);
            host.pace = Pace::start(self.state.progress.epoch_images);
        }
        Ok(true)
    }

    /// The next batch and its step, or the end of the epoch.
    fn advance(&mut self, host: &mut StageHost) -> Result<(), TrainError> {
        let run = self.run;
        let Some(mut feed) = self.feed.take() else { return Ok(()) };
        let network = &self.state.network;
        let score = |batch: Batch| -> Vec<Observation> {
            step::score(network, batch, &run.device).into_iter().map(observation).collect()
        };
        let selector = (self.stage > 1).then_some(&mut self.selector);
        let Some(ready) = feed.next(selector, score)? else { return self.end_epoch(host) };
        for (_, unreadable) in &ready.unreadable {
            let message = format!("{}: {}; it is left out", unreadable.name, unreadable.reason);
            host.warn("images.unreadable", message)?;
        }
        // A norm has no variance over a single image of a single pixel.
        if ready.ids.len() >= 2 {
            self.step(ready, &feed, host)?;
        }
        self.feed = Some(feed);
        Ok(())
    }

    /// Epochs end with an evaluation.
    fn evaluate(&mut self, _: &mut StageHost) -> Result<(), TrainError> {
        Ok(())
    }

    fn save(&mut self, folder: &Path) -> Result<(), TrainError> {
        let seconds = self.seconds();
        let progress = &mut self.state.progress;
        progress.duration_seconds = seconds;
        if let Some(feed) = &self.feed {
            progress.offered = Some(feed.offered());
            progress.waiting =
                feed.waiting().into_iter().map(|sample| (sample.id, sample.weight, sample.forced)).collect();
        }
        checkpoint::write(folder, &self.state, &self.selector)
    }

    /// Saves the classifier.
    fn finish(&mut self, host: &mut StageHost) -> Result<StageEnd, TrainError> {
        let run = self.run;
        let folder = run.layout.final_model();
        std::fs::create_dir_all(&folder).map_err(TrainError::io(&folder))?;
        weights::save(&self.state.network, &folder.join("model.safetensors"))?;
        let config =
            serde_json::to_value(run.images.config(&run.manifest.settings.vision)).unwrap_or_default();
        durable::write(&folder.join("config.json"), format!("{config:#}\n").as_bytes())?;
        let report = match self.last_report.take() {
            Some(report) => report,
            // Taken up again after its last epoch.
            None => self.classify()?,
        };
        host.write_evaluation(&report)?;
        host.report(EventKind::Classified { stage: self.stage, report })?;
        Ok(StageEnd {
            duration_seconds: self.seconds(),
            final_train_loss: self.state.progress.last_epoch_loss,
        })
    }
}

impl<A: ImageOps + AutodiffBackend<InnerBackend: ImageOps>> StageRun<'_, '_, A> {
    /// Epochs of the stage before.
    fn first_epoch(&self) -> u64 {
        if self.stage > 1 { self.run.epochs(1) } else { 0 }
    }

    /// Whether the stage selects: the warm-up trains on everything, and so does a run without adaptive sparse training.
    fn selects(&self) -> bool {
        self.stage > 1 && self.run.manifest.settings.ast.enabled
    }

    /// Steps of the stage: those of the epochs that are done, and those of the others at the target rate.
    fn total_steps(&self) -> u64 {
        let settings = &self.run.manifest.settings;
        let images = self.run.images.dataset.train.len() as u64;
        let per_epoch = settings.image_steps_per_epoch(self.stage, images);
        let progress = &self.state.progress;
        let within_epoch = progress.epoch_images.div_ceil(settings.vision.batch_size);
        let epochs_left = self.run.epochs(self.stage).saturating_sub(progress.epoch);
        progress.step.saturating_sub(within_epoch) + per_epoch * epochs_left
    }

    /// The epoch that is next, from where a checkpoint within it stands.
    fn begin_epoch(&mut self) -> Result<Feed, TrainError> {
        let needs = self.needs()?;
        let (images, settings) = (&self.run.images, &self.run.manifest.settings);
        let train = &images.dataset.train;
        let progress = &self.state.progress;
        let epoch = self.first_epoch() + progress.epoch;
        Ok(Feed::new(
            images.loader(train, &settings.vision)?,
            order(train.len(), settings.training.seed, epoch),
            settings.vision.batch_size as usize,
            epoch,
            needs,
            progress.offered.unwrap_or(0),
            progress.waiting(),
        ))
    }

    /// What selection needs in the epoch, which it begins unless a checkpoint lies within it.
    fn needs(&mut self) -> Result<Needs, TrainError> {
        if self.stage == 1 {
            return Ok(Needs::Nothing);
        }
        if self.state.progress.offered.is_some() {
            return Ok(self.selector.needs());
        }
        self.state.progress.before_epoch = self.selector.accounting();
        let (epoch, epochs) = (self.state.progress.epoch as usize, self.run.epochs(self.stage) as usize);
        Ok(self.selector.start_epoch(SelectionProgress { epoch, epochs })?)
    }

    /// One optimizer step.
    fn step(&mut self, ready: Ready, feed: &Feed, host: &mut StageHost) -> Result<(), TrainError> {
        let run = self.run;
        let settings = &run.manifest.settings;
        let images = ready.ids.len() as u64;
        let seed =
            settings.training.seed ^ self.state.progress.steps_of_run.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixing = Mixing::draw(settings.vision.mixup_alpha, images as usize, seed);
        let out = step::gradients::<A>(
            &self.state.network,
            ready.batch,
            mixing.as_ref(),
            settings.vision.label_smoothing as f32,
            Some(seed),
            &run.device,
        );
        let progress = &mut self.state.progress;
        if !out.loss.is_finite() {
            return Err(TrainError::Diverged { stage: self.stage, step: progress.step + 1, loss: out.loss });
        }
        let observations: Vec<Observation> = out.scores.iter().copied().map(observation).collect();
        self.selector.observe(&ready.ids, &observations)?;
        let epochs_done = self.epochs_done(feed);
        let rate = learning_rate(&settings.vision, epochs_done / settings.vision.epochs as f64);
        let state = &mut self.state;
        state.network.weights = state.optimizer.update(&state.network.weights, &out.gradients, rate);
        state.network.note_moments(&out.moments);
        progress_after(&mut state.progress, &out.scores);
        if feed.is_exhausted() || host.pace.elapsed() >= REPORT_EVERY {
            let gradient_norm = norm(&out.gradients);
            let samples = SampleMetrics {
                trained: images,
                per_second: host.pace.restart(self.state.progress.epoch_images),
                epoch: epochs_done,
                selection: self.selection(Accounting::default()),
            };
            host.report(self.step_event(out.loss, rate, gradient_norm, samples))?;
        }
        Ok(())
    }

    fn step_event(&self, loss: f64, rate: f64, gradient_norm: f64, samples: SampleMetrics) -> EventKind {
        EventKind::Step(StepMetrics {
            stage: self.stage,
            step: self.steps_done(),
            total_steps: self.total_steps().max(self.steps_done()),
            train_loss: loss,
            learning_rate: rate,
            gradient_norm,
            tokens: 0,
            tokens_per_second: 0.0,
            samples: Some(samples),
        })
    }

    /// Epochs of both stages, with what of the one under way is decided on.
    fn epochs_done(&self, feed: &Feed) -> f64 {
        let within = feed.offered() as f64 / self.run.images.dataset.train.len() as f64;
        (self.first_epoch() + self.state.progress.epoch) as f64 + within
    }

    /// What was selected since `before`; nothing where nothing is selected.
    fn selection(&self, before: Accounting) -> Option<SelectionSoFar> {
        self.selects().then(|| selection::since(before, self.selector.accounting()))
    }

    /// Evaluates, reports the epoch and saves.
    fn end_epoch(&mut self, host: &mut StageHost) -> Result<(), TrainError> {
        let report = self.classify()?;
        let so_far = host.write_emissions()?;
        let epoch = self.first_epoch() + self.state.progress.epoch + 1;
        let selection = self.selection(self.state.progress.before_epoch);
        let seconds = self.seconds();
        let progress = &mut self.state.progress;
        progress.epoch += 1;
        progress.offered = None;
        progress.waiting.clear();
        progress.last_epoch_loss = progress.epoch_loss / progress.epoch_images.max(1) as f64;
        (progress.epoch_loss, progress.epoch_images) = (0.0, 0);
        let metrics = EpochMetrics {
            stage: self.stage,
            step: self.state.progress.step,
            epoch,
            total_epochs: self.run.manifest.settings.vision.epochs,
            train_loss: self.state.progress.last_epoch_loss,
            validation_loss: report.loss,
            accuracy: report.accuracy,
            top5_accuracy: report.top5_accuracy,
            seconds,
            energy_kwh: so_far.as_ref().and_then(|so_far| {
                Some(so_far.energy_kwh + self.earlier_energy.or((self.stage == 1).then_some(0.0))?)
            }),
            selection,
        };
        self.last_report = Some(report);
        host.report(EventKind::EpochFinished(metrics))?;
        if let Some(so_far) = so_far {
            host.report(EventKind::Emissions(so_far))?;
        }
        host.checkpoint(self)
    }

    /// What the network gets right and wrong of the validation images.
    fn classify(&mut self) -> Result<ClassificationReport, TrainError> {
        let run = self.run;
        evaluate::report(
            &self.state.network,
            &run.images.dataset.classes,
            &run.images.dataset.validation,
            &mut self.validation,
            "validation",
            run.manifest.data.validation.clone(),
            &run.device,
        )
    }

    fn seconds(&self) -> f64 {
        self.earlier_seconds + self.began.elapsed().as_secs_f64()
    }
}

fn observation(score: Score) -> Observation {
    Observation { loss: score.loss, entropy: score.entropy }
}

fn progress_after(progress: &mut Progress, scores: &[Score]) {
    progress.step += 1;
    progress.steps_of_run += 1;
    progress.epoch_images += scores.len() as u64;
    progress.epoch_loss += scores.iter().map(|score| f64::from(score.loss)).sum::<f64>();
}

/// Norm over all gradients.
fn norm<B: ImageOps>(gradients: &crate::model::Parameters<B>) -> f64 {
    let squares = gradients.iter().map(|(_, gradient)| {
        let sum = (gradient.clone() * gradient.clone()).sum();
        sum.into_data().iter::<f32>().map(f64::from).sum::<f64>()
    });
    squares.sum::<f64>().sqrt()
}
