//! One stage of a run: epochs, steps, checkpoints, evaluation.

use std::time::{Duration, Instant};

use burn::tensor::backend::AutodiffBackend;
use greentune_ast_sparsity::{Accounting, Needs, Observation, Progress as SelectionProgress, Selector};
use greentune_carbon::codecarbon;
use greentune_core_config::{
    evaluation::ClassificationReport,
    event::{EmissionsSoFar, EpochMetrics, EventKind, SampleMetrics, StepMetrics},
    port::RunReporter,
    selection::SelectionSoFar,
};
use greentune_image_data::Loader;
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::{
    Run,
    checkpoint::{self, Progress, State},
    evaluate,
    feed::{Feed, Ready, order},
    optimizer::Optimizer,
    schedule::learning_rate,
    step::{self, Batch, Mixing, Score},
    weights,
};
use crate::{
    durable,
    error::TrainError,
    ops::image::ImageOps,
    training::{
        checkpoint::write_folder,
        metering::{Reading, StageMeter},
        selection,
    },
};

/// How often steps are reported: those of small networks take a few milliseconds.
const REPORT_EVERY: Duration = Duration::from_millis(200);

impl<A: ImageOps + AutodiffBackend<InnerBackend: ImageOps>> Run<'_, A> {
    /// Trains a stage to its end; the step at which it was cancelled, if it was.
    pub(super) fn train_stage(
        &self,
        stage: u8,
        reporter: &mut dyn RunReporter,
    ) -> Result<Option<u64>, TrainError> {
        let mut selector = selection::selector(&self.manifest.settings, self.images.dataset.train.len())?;
        let state = self.starting_point(stage, &mut selector, reporter)?;
        let (train, settings) = (&self.images.dataset.train, &self.manifest.settings.vision);
        let mut stage = StageRun {
            run: self,
            stage,
            validation: self.images.loader(&self.images.dataset.validation, settings)?,
            meter: self.meter(stage, reporter)?,
            began: Instant::now(),
            earlier_seconds: state.progress.duration_seconds,
            earlier_energy: self.energy_before(stage),
            reported: (Instant::now(), 0),
            last_report: None,
            state,
            selector,
            reporter,
        };
        stage.report(EventKind::StageStarted {
            stage: stage.stage,
            total_steps: stage.total_steps(),
            from_step: stage.state.progress.step,
            train_records: train.len() as u64,
            trainable_parameters: stage.state.network.weights.count(),
        })?;
        let cancelled = stage.epochs()?;
        if cancelled.is_none() {
            stage.finish()?;
        }
        Ok(cancelled)
    }

    fn meter(&self, stage: u8, reporter: &mut dyn RunReporter) -> Result<StageMeter, TrainError> {
        let (meter, problem) =
            StageMeter::start(&self.manifest.settings, self.layout, stage, self.surroundings);
        if let Some(problem) = problem {
            let warning = EventKind::Warning { code: problem.code, message: problem.message };
            reporter.report(warning).map_err(TrainError::Reporter)?;
        }
        Ok(meter)
    }

    /// Energy of the stages before, in kWh; absent when one of them was not metered.
    fn energy_before(&self, stage: u8) -> Option<f64> {
        (1..stage).filter(|stage| self.epochs(*stage) > 0).try_fold(0.0, |sum, stage| {
            let row = codecarbon::last(&self.layout.emissions_csv(stage)).ok()??;
            Some(sum + row.energy_consumed)
        })
    }

    /// The newest checkpoint of the stage, or its beginning: the end of the stage before, or a fresh network.
    fn starting_point(
        &self,
        stage: u8,
        selector: &mut Selector,
        reporter: &mut dyn RunReporter,
    ) -> Result<State<A::InnerBackend>, TrainError> {
        let settings = &self.manifest.settings;
        for earlier in (1..=stage).rev() {
            let folder = self.layout.checkpoints(earlier);
            let found = checkpoint::latest(&folder, self.shape, &settings.vision, selector, &self.device)?;
            if let Some(mut found) = found {
                if earlier < stage {
                    found.progress =
                        Progress { steps_of_run: found.progress.steps_of_run, ..Progress::default() };
                }
                return Ok(found);
            }
        }
        let seed = settings.training.seed;
        let path = &self.manifest.base_model_path;
        let network = if path.as_os_str().is_empty() {
            self.shape.draw(seed, &self.device)
        } else {
            let loaded = weights::load_pretrained(path, self.shape, seed, &self.device)?;
            let mut warn = |is_so: bool, code: &str, message: String| {
                let warning = EventKind::Warning { code: code.to_owned(), message };
                if is_so { reporter.report(warning).map_err(TrainError::Reporter) } else { Ok(()) }
            };
            let file = path.display();
            let new_head = format!(
                "the last layer of {file} is for other classes; a fresh one is trained for these {}",
                self.shape.classes
            );
            warn(loaded.has_new_head, "model.new_head", new_head)?;
            let timms = format!(
                "{file} has timm's names; weights that timm calls tf_* look the same and compute something else, which \
                 training has to make up for"
            );
            warn(loaded.has_timms_names, "model.timm_names", timms)?;
            loaded.network
        };
        let optimizer = Optimizer::new(&network.weights, &settings.vision);
        Ok(State { progress: Progress::default(), network, optimizer })
    }
}

/// A stage while it is trained.
struct StageRun<'a, 'r, A: AutodiffBackend> {
    run: &'a Run<'r, A>,
    stage: u8,
    state: State<A::InnerBackend>,
    selector: Selector,
    validation: Loader,
    meter: StageMeter,
    reporter: &'a mut dyn RunReporter,
    began: Instant,
    /// Seconds of earlier attempts.
    earlier_seconds: f64,
    /// Energy of the stages before, in kWh.
    earlier_energy: Option<f64>,
    /// When a step was reported last, or the epoch began, and how many of its images had been trained on.
    reported: (Instant, u64),
    /// The evaluation of the last epoch.
    last_report: Option<ClassificationReport>,
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

    /// Steps of the stage: those that are done, and those to come at the rate that is aimed at.
    fn total_steps(&self) -> u64 {
        let settings = &self.run.manifest.settings;
        let images = self.run.images.dataset.train.len() as f64;
        let rate = if self.selects() { settings.ast.target_activation_rate } else { 1.0 };
        let per_epoch = (images * rate / settings.vision.batch_size as f64).ceil() as u64;
        let progress = &self.state.progress;
        let epochs_left = self.run.epochs(self.stage).saturating_sub(progress.epoch);
        let left = epochs_left as f64 - progress.offered.map_or(0.0, |offered| offered as f64 / images);
        progress.step + (per_epoch as f64 * left.max(0.0)).round() as u64
    }

    /// All epochs that are left; the step at which somebody asked to stop.
    fn epochs(&mut self) -> Result<Option<u64>, TrainError> {
        while self.state.progress.epoch < self.run.epochs(self.stage) {
            if let Some(step) = self.epoch()? {
                return Ok(Some(step));
            }
        }
        Ok(None)
    }

    fn epoch(&mut self) -> Result<Option<u64>, TrainError> {
        let run = self.run;
        let settings = &run.manifest.settings;
        let train = &run.images.dataset.train;
        let epoch = self.first_epoch() + self.state.progress.epoch;
        let needs = self.begin_epoch()?;
        let mut feed = Feed::new(
            run.images.loader(train, &settings.vision)?,
            order(train.len(), settings.training.seed, epoch),
            settings.vision.batch_size as usize,
            epoch,
            needs,
            self.state.progress.offered.unwrap_or(0),
            self.state.progress.waiting(),
        );
        self.reported = (Instant::now(), self.state.progress.epoch_images);
        loop {
            if self.reporter.cancel_requested() {
                self.note(&feed);
                self.checkpoint()?;
                return Ok(Some(self.state.progress.step));
            }
            let network = &self.state.network;
            let score = |batch: Batch| -> Vec<Observation> {
                step::score(network, batch, &run.device).into_iter().map(observation).collect()
            };
            let selector = (self.stage > 1).then_some(&mut self.selector);
            let Some(ready) = feed.next(selector, score)? else { break };
            for (_, unreadable) in &ready.unreadable {
                let message = format!("{}: {}; it is left out", unreadable.name, unreadable.reason);
                self.report(EventKind::Warning { code: String::from("images.unreadable"), message })?;
            }
            // A norm has no variance over a single image of a single pixel.
            if ready.ids.len() < 2 {
                continue;
            }
            let done =
                (epoch as f64 + feed.offered() as f64 / train.len() as f64) / settings.vision.epochs as f64;
            self.step(ready, epoch, done, &feed)?;
            let progress = &self.state.progress;
            if progress.step.is_multiple_of(settings.training.save_steps.max(1)) && !self.is_small() {
                self.note(&feed);
                self.checkpoint()?;
            }
            let reading = self.meter.tick();
            if let Some(so_far) = self.told(reading)? {
                self.report(EventKind::Emissions(so_far))?;
            }
        }
        self.end_epoch()?;
        Ok(None)
    }

    /// Whether an epoch has so few steps that a checkpoint at its end is enough.
    fn is_small(&self) -> bool {
        let settings = &self.run.manifest.settings;
        let steps = self.run.images.dataset.train.len() as u64 / settings.vision.batch_size;
        steps <= settings.training.save_steps
    }

    /// Begins an epoch, unless a checkpoint lies within it.
    fn begin_epoch(&mut self) -> Result<Needs, TrainError> {
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

    /// Notes where the epoch stands, for a checkpoint.
    fn note(&mut self, feed: &Feed) {
        let progress = &mut self.state.progress;
        progress.offered = Some(feed.offered());
        progress.waiting =
            feed.waiting().into_iter().map(|sample| (sample.id, sample.weight, sample.forced)).collect();
    }

    /// One optimizer step.
    fn step(&mut self, ready: Ready, epoch: u64, done: f64, feed: &Feed) -> Result<(), TrainError> {
        let run = self.run;
        let settings = &run.manifest.settings;
        let images = ready.ids.len() as u64;
        let seed =
            settings.training.seed ^ self.state.progress.steps_of_run.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixing = mixing(settings.vision.mixup_alpha, images as usize, seed);
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
        let rate = learning_rate(&settings.vision, done);
        let state = &mut self.state;
        state.network.weights = state.optimizer.update(&state.network.weights, &out.gradients, rate);
        state.network.note_moments(&out.moments);
        progress_after(&mut state.progress, &out.scores);
        let is_due = feed.is_exhausted() || self.reported.0.elapsed() >= REPORT_EVERY;
        if is_due {
            self.report_step(out.loss, rate, images, norm(&out.gradients), epoch, feed)?;
        }
        Ok(())
    }

    fn report_step(
        &mut self,
        loss: f64,
        rate: f64,
        images: u64,
        gradient_norm: f64,
        epoch: u64,
        feed: &Feed,
    ) -> Result<(), TrainError> {
        let now = Instant::now();
        let trained = self.state.progress.epoch_images;
        let (at, before) = self.reported;
        let per_second = (trained - before) as f64 / now.duration_since(at).as_secs_f64().max(1e-9);
        self.reported = (now, trained);
        let share = feed.offered() as f64 / self.run.images.dataset.train.len() as f64;
        let metrics = StepMetrics {
            stage: self.stage,
            step: self.state.progress.step,
            total_steps: self.total_steps().max(self.state.progress.step),
            train_loss: loss,
            learning_rate: rate,
            gradient_norm,
            tokens: 0,
            tokens_per_second: 0.0,
            samples: Some(SampleMetrics {
                trained: images,
                per_second,
                epoch: epoch as f64 + share,
                selection: self.selection(Accounting::default()),
            }),
        };
        self.report(EventKind::Step(metrics))
    }

    /// What was selected since `before`; nothing where nothing is selected.
    fn selection(&self, before: Accounting) -> Option<SelectionSoFar> {
        self.selects().then(|| selection::since(before, self.selector.accounting()))
    }

    /// Evaluates, reports the epoch and saves.
    fn end_epoch(&mut self) -> Result<(), TrainError> {
        let report = self.evaluate()?;
        let reading = self.meter.write();
        let so_far = self.told(reading)?;
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
        self.report(EventKind::EpochFinished(metrics))?;
        if let Some(so_far) = so_far {
            self.report(EventKind::Emissions(so_far))?;
        }
        self.checkpoint()
    }

    fn evaluate(&mut self) -> Result<ClassificationReport, TrainError> {
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

    fn checkpoint(&mut self) -> Result<(), TrainError> {
        self.state.progress.duration_seconds = self.seconds();
        let folder = self.run.layout.checkpoints(self.stage);
        let (keep, step) = (self.run.manifest.settings.training.keep_checkpoints, self.state.progress.step);
        let (state, selector) = (&self.state, &self.selector);
        let path = write_folder(&folder, keep, step, |partial| checkpoint::write(partial, state, selector))?;
        let relative = path.strip_prefix(self.run.layout.folder()).unwrap_or(&path).display().to_string();
        self.report(EventKind::CheckpointSaved { stage: self.stage, step, path: relative })
    }

    /// Saves the classifier and closes the stage.
    fn finish(&mut self) -> Result<(), TrainError> {
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
            None => self.evaluate()?,
        };
        let folder = run.layout.evaluation(self.stage);
        std::fs::create_dir_all(&folder).map_err(TrainError::io(&folder))?;
        let json = serde_json::to_value(&report).unwrap_or_default();
        durable::write(&folder.join("validation.json"), format!("{json:#}\n").as_bytes())?;
        self.report(EventKind::Classified { stage: self.stage, report })?;
        let reading = self.meter.finish();
        let emissions = self.told(reading)?;
        self.report(EventKind::StageFinished {
            stage: self.stage,
            duration_seconds: self.seconds(),
            final_train_loss: self.state.progress.last_epoch_loss,
            emissions,
            peak_memory_bytes: greentune_carbon::memory::peak_resident(&greentune_carbon::Host::default()),
        })
    }

    /// The meter's figures; its trouble with files becomes a warning.
    fn told(&mut self, reading: Reading) -> Result<Option<EmissionsSoFar>, TrainError> {
        if let Some(problem) = reading.problem {
            self.report(EventKind::Warning { code: problem.code, message: problem.message })?;
        }
        Ok(reading.so_far)
    }

    fn report(&mut self, event: EventKind) -> Result<(), TrainError> {
        self.reporter.report(event).map_err(TrainError::Reporter)
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

/// How the images of a batch are mixed: a share from Beta(α, α) and a partner for each.
fn mixing(alpha: f64, images: usize, seed: u64) -> Option<Mixing> {
    if alpha <= 0.0 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut uniform = || (f64::from(rng.next_u32()) + 0.5) / (f64::from(u32::MAX) + 1.0);
    // Jöhnk 1964: accepted often for α of at most 1, which is what mixup takes.
    let share = loop {
        let (x, y) = (uniform().powf(1.0 / alpha), uniform().powf(1.0 / alpha));
        if x + y > 0.0 && x + y <= 1.0 {
            break x / (x + y);
        }
    };
    Some(Mixing {
        share: share as f32,
        with: order(images, seed, 0).into_iter().map(|id| id as usize).collect(),
    })
}
