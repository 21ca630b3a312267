//! One stage of a run: data, steps, checkpoints, evaluation.

use std::{path::Path, time::Instant};

use burn::tensor::backend::AutodiffBackend;
use greentune_core_config::{
    evaluation::{EvaluatedModel, EvaluationReport, FOLLOWED_RECORDS},
    event::{EmissionsSoFar, EventKind, StepMetrics},
    port::RunReporter,
    settings::Stage2Settings,
};
use serde_json::json;

use super::{
    Run,
    checkpoint::{self, Checkpoint, Progress},
    draws::micro_batch,
    metering::{Reading, StageMeter},
    optimizer::{Optimizer, OptimizerSettings, clip},
    schedule::learning_rate,
    step::{self, Activations, Trained},
};
use crate::{
    data::{DataError, Dataset, Draw, Example, Replay, Sampler, overlap},
    durable,
    error::TrainError,
    evaluate::{self, Plan},
    model::Adapters,
    ops::Ops,
};

/// The data of a stage.
struct StageData {
    train: Dataset,
    /// Stage 1's records, when they are replayed.
    replay: Option<Dataset>,
    validation: Dataset,
    /// Stage 1's validation records, when they are others: what could be forgotten.
    earlier_validation: Option<Dataset>,
}

impl StageData {
    fn example(&self, replay: bool, index: usize) -> Result<Example, DataError> {
        match &self.replay {
            Some(replayed) if replay => replayed.examples.get(index),
            _ => self.train.examples.get(index),
        }
    }
}

impl<A: Ops + AutodiffBackend<InnerBackend: Ops>> Run<'_, A> {
    /// Trains a stage to its end; the step at which it was cancelled, if it was.
    pub(super) fn train_stage(
        &self,
        stage: u8,
        reporter: &mut dyn RunReporter,
    ) -> Result<Option<u64>, TrainError> {
        let settings = self.manifest.settings.training.stage(stage);
        let data = self.load_data(stage, &settings, reporter)?;
        let state = self.starting_point(stage)?;
        report(
            reporter,
            EventKind::StageStarted {
                stage,
                total_steps: settings.iterations,
                from_step: state.progress.step,
                train_records: data.train.examples.len() as u64,
                trainable_parameters: state.adapters.parameters.count(),
            },
        )?;
        let (meter, problem) =
            StageMeter::start(&self.manifest.settings, self.layout, stage, self.surroundings);
        if let Some(problem) = problem {
            report(reporter, warning(problem.code, problem.message))?;
        }
        let mut stage = StageRun { run: self, stage, settings, data, state, meter, reporter };
        let cancelled = stage.steps()?;
        if cancelled.is_none() {
            stage.finish()?;
        }
        Ok(cancelled)
    }

    fn load_data(
        &self,
        stage: u8,
        settings: &Stage2Settings,
        reporter: &mut dyn RunReporter,
    ) -> Result<StageData, TrainError> {
        let folder = self.layout.training_data(stage);
        let mut load = |path: &Path, role: &str| -> Result<Dataset, TrainError> {
            let spill = folder.join(format!("{role}.examples"));
            let dataset = Dataset::load(path, &self.manifest.settings, &self.encoder, &spill)?;
            if let Some(message) = dataset.warning() {
                report(reporter, warning("data.dropped", message))?;
            }
            Ok(dataset)
        };
        let paths = &self.manifest.data;
        let train = load(paths.train_of(stage), "train")?;
        let validation = load(paths.validation_of(stage), "validation")?;
        let other = |path: &Path, of_stage: &Path| stage > 1 && path != of_stage;
        let replays = settings.replay_ratio > 0.0 && other(&paths.train, paths.train_of(stage));
        let replay = if replays { Some(load(&paths.train, "replay")?) } else { None };
        let forgets = other(&paths.validation, paths.validation_of(stage));
        let earlier_validation =
            if forgets { Some(load(&paths.validation, "earlier-validation")?) } else { None };
        let shared = overlap(&train.examples, &validation.examples)?;
        if shared > 0 {
            let message = format!(
                "{shared} of {} validation records are also in the training data of stage {stage}; figures on them say nothing about new records",
                validation.examples.len()
            );
            report(reporter, warning("data.overlap", message))?;
        }
        self.write_summary(stage, &train, &validation)?;
        Ok(StageData { train, replay, validation, earlier_validation })
    }

    /// `training-data/summary.json`: what was read, kept and dropped.
    fn write_summary(&self, stage: u8, train: &Dataset, validation: &Dataset) -> Result<(), TrainError> {
        let folder = self.layout.training_data(stage);
        std::fs::create_dir_all(&folder).map_err(TrainError::io(&folder))?;
        let of = |dataset: &Dataset| {
            json!({
                "dataset": dataset.path,
                "format": dataset.format,
                "schema": dataset.schema,
                "counts": dataset.counts,
            })
        };
        let summary = json!({
            "template_source": self.encoder.template_source(train.schema),
            "train": of(train),
            "validation": of(validation),
        });
        durable::write(&folder.join("summary.json"), format!("{summary:#}\n").as_bytes())
    }

    /// The newest checkpoint of the stage, or its beginning: fresh adapters, or those of the stage before.
    fn starting_point(&self, stage: u8) -> Result<Checkpoint<A::InnerBackend>, TrainError> {
        let settings = &self.manifest.settings;
        let optimizer = OptimizerSettings::from(settings);
        let folder = self.layout.checkpoints(stage);
        if let Some(found) = checkpoint::latest(&folder, &self.decoder, &self.lora, &optimizer, &self.device)?
        {
            return Ok(found);
        }
        let adapters = if stage > 1 {
            self.adapters_of(stage - 1)?
        } else {
            Adapters::fresh(&self.decoder, self.lora.clone(), settings.training.seed, &self.device)
        };
        let progress = Progress { step: 0, draws: 0, duration_seconds: 0.0, recent_losses: Vec::new() };
        let optimizer = Optimizer::new(&adapters.parameters, optimizer);
        Ok(Checkpoint { progress, adapters, optimizer })
    }
}

/// A stage while it is trained.
struct StageRun<'a, 'r, A: AutodiffBackend<InnerBackend: Ops>> {
    run: &'a Run<'r, A>,
    stage: u8,
    settings: Stage2Settings,
    data: StageData,
    state: Checkpoint<A::InnerBackend>,
    meter: StageMeter,
    reporter: &'a mut dyn RunReporter,
}

impl<A: Ops + AutodiffBackend<InnerBackend: Ops>> StageRun<'_, '_, A> {
    /// All steps that are left; the step at which somebody asked to stop.
    fn steps(&mut self) -> Result<Option<u64>, TrainError> {
        let mut sampler = self.sampler()?;
        let training = &self.run.manifest.settings.training;
        while self.state.progress.step < self.settings.iterations {
            if self.reporter.cancel_requested() {
                self.checkpoint()?;
                return Ok(Some(self.state.progress.step));
            }
            self.step(&mut sampler)?;
            let step = self.state.progress.step;
            if step.is_multiple_of(training.eval_steps) && step < self.settings.iterations {
                self.evaluate()?;
            }
            if step.is_multiple_of(training.save_steps) || step == self.settings.iterations {
                self.checkpoint()?;
            }
            let reading = self.meter.tick();
            if let Some(so_far) = self.told(reading)? {
                report(self.reporter, EventKind::Emissions(so_far))?;
            }
        }
        Ok(None)
    }

    /// The meter's figures; its trouble with files becomes a warning.
    fn told(&mut self, reading: Reading) -> Result<Option<EmissionsSoFar>, TrainError> {
        if let Some(problem) = reading.problem {
            report(self.reporter, warning(problem.code, problem.message))?;
        }
        Ok(reading.so_far)
    }

    fn sampler(&self) -> Result<Sampler, TrainError> {
        let seed = self.run.manifest.settings.training.seed ^ u64::from(self.stage);
        let ratio = self.settings.replay_ratio;
        let replay = self
            .data
            .replay
            .as_ref()
            .map(|dataset| Replay { weights: dataset.examples.weights().to_vec(), ratio });
        let mut sampler = Sampler::new(seed, self.data.train.examples.weights(), replay)?;
        sampler.seek(self.state.progress.draws);
        Ok(sampler)
    }

    /// One optimizer step.
    fn step(&mut self, sampler: &mut Sampler) -> Result<(), TrainError> {
        let begin = Instant::now();
        let training = &self.run.manifest.settings.training;
        let example = |draw: Draw| self.data.example(draw.replay, draw.index);
        let drawn: Vec<Vec<Example>> = (0..self.settings.gradient_accumulation)
            .map(|_| micro_batch(sampler, training, self.settings.batch_size, example))
            .collect::<Result<_, _>>()?;
        let micro_batches: Vec<Vec<&Example>> = drawn.iter().map(|batch| batch.iter().collect()).collect();
        let done = self.state.progress.step;
        let dropout_seed = mix(training.seed, u64::from(self.stage), done);
        let trained = Trained::Adapters(self.state.adapters.clone());
        let activations = Activations::of(training);
        let out =
            step::gradients::<A>(&self.run.decoder, &trained, &micro_batches, activations, dropout_seed);
        let (gradients, norm) = clip(out.gradients, training.max_grad_norm);
        if !out.loss.is_finite() || !norm.is_finite() {
            return Err(TrainError::Diverged { stage: self.stage, step: done + 1, loss: out.loss });
        }
        let rate = learning_rate(&self.settings, done);
        self.state.adapters.parameters =
            self.state.optimizer.update(&self.state.adapters.parameters, &gradients, rate);
        let seconds = begin.elapsed().as_secs_f64();
        let progress = &mut self.state.progress;
        progress.step += 1;
        progress.draws = sampler.drawn();
        progress.duration_seconds += seconds;
        if progress.step > self.settings.iterations - self.settings.iterations.div_ceil(10) {
            progress.recent_losses.push(out.loss);
        }
        let metrics = StepMetrics {
            stage: self.stage,
            step: progress.step,
            total_steps: self.settings.iterations,
            train_loss: out.loss,
            learning_rate: rate,
            gradient_norm: norm,
            tokens: out.tokens,
            tokens_per_second: out.tokens as f64 / seconds,
            samples: None,
        };
        report(self.reporter, EventKind::Step(metrics))
    }

    /// Loss and accuracy on the first validation records.
    fn evaluate(&mut self) -> Result<(), TrainError> {
        let examples = self.data.validation.examples.first(FOLLOWED_RECORDS)?;
        let scores = evaluate::score(&self.run.decoder, Some(&self.state.adapters), &examples);
        report(
            self.reporter,
            EventKind::Evaluated {
                stage: self.stage,
                step: self.state.progress.step,
                validation_loss: scores.loss,
                perplexity: scores.loss.exp(),
                token_accuracy: scores.token_accuracy,
            },
        )
    }

    fn checkpoint(&mut self) -> Result<(), TrainError> {
        let folder = self.run.layout.checkpoints(self.stage);
        let step = self.state.progress.step;
        let path = checkpoint::save(
            &folder,
            self.run.manifest.settings.training.keep_checkpoints,
            &self.state.progress,
            &self.state.adapters,
            &self.state.optimizer,
            &self.run.base_model_name(),
        )?;
        let reading = self.meter.write();
        self.told(reading)?;
        let relative = path.strip_prefix(self.run.layout.folder()).unwrap_or(&path);
        let path = relative.display().to_string();
        report(self.reporter, EventKind::CheckpointSaved { stage: self.stage, step, path })
    }

    /// Saves the adapters, compares the models and closes the stage.
    fn finish(&mut self) -> Result<(), TrainError> {
        let (layout, base) = (self.run.layout, self.run.base_model_name());
        self.state.adapters.save(&layout.adapters(self.stage), &base)?;
        self.state.adapters.save(&layout.final_model(), &base)?;
        let reports = self.reports()?;
        let folder = layout.evaluation(self.stage);
        std::fs::create_dir_all(&folder).map_err(TrainError::io(&folder))?;
        let json = serde_json::to_value(&reports).unwrap_or_default();
        durable::write(&folder.join("validation.json"), format!("{json:#}\n").as_bytes())?;
        report(self.reporter, EventKind::ModelsEvaluated { stage: self.stage, reports })?;
        let reading = self.meter.finish();
        let emissions = self.told(reading)?;
        let progress = &self.state.progress;
        let losses = &progress.recent_losses;
        let kind = EventKind::StageFinished {
            stage: self.stage,
            duration_seconds: progress.duration_seconds,
            final_train_loss: losses.iter().sum::<f64>() / losses.len().max(1) as f64,
            emissions,
            peak_memory_bytes: greentune_carbon::memory::peak_resident(&greentune_carbon::Host::default()),
        };
        report(self.reporter, kind)
    }

    /// Base and stages on this stage's validation records, and this stage on the earlier ones (forgetting).
    fn reports(&self) -> Result<Vec<EvaluationReport>, TrainError> {
        let run = self.run;
        let plan = Plan {
            encoder: &run.encoder,
            generate_records: run.manifest.settings.evaluation.generate_records as usize,
        };
        let mut earlier = Vec::new();
        for stage in 1..self.stage {
            earlier.push((EvaluatedModel::Stage(stage), run.adapters_of(stage)?));
        }
        let this = (EvaluatedModel::Stage(self.stage), &self.state.adapters);
        let trained = earlier.iter().map(|(model, adapters)| (*model, adapters)).chain([this]);
        let models = [(EvaluatedModel::Base, None)]
            .into_iter()
            .chain(trained.map(|(model, adapters)| (model, Some(adapters))));
        let role = format!("stage{} validation", self.stage);
        let mut reports = Vec::new();
        for (model, adapters) in models {
            reports.push(plan.report(&run.decoder, adapters, &self.data.validation, model, &role)?);
        }
        if let Some(dataset) = &self.data.earlier_validation {
            let (model, adapters) = this;
            reports.push(plan.report(&run.decoder, Some(adapters), dataset, model, "stage1 validation")?);
        }
        Ok(reports)
    }
}

fn report(reporter: &mut dyn RunReporter, event: EventKind) -> Result<(), TrainError> {
    reporter.report(event).map_err(TrainError::Reporter)
}

fn warning(code: impl Into<String>, message: String) -> EventKind {
    EventKind::Warning { code: code.into(), message }
}

/// A seed for one step of one stage (SplitMix64's finaliser over the three numbers).
fn mix(seed: u64, stage: u64, step: u64) -> u64 {
    let mut z = seed ^ stage.rotate_left(48) ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
