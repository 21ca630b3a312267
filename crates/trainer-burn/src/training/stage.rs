//! One stage of a run: data, steps, checkpoints, evaluation.

use std::{path::Path, time::Instant};

use burn::tensor::backend::AutodiffBackend;
use greentune_ast_sparsity::Observation;
use greentune_core_config::{
    evaluation::{EvaluatedModel, EvaluationReport, FOLLOWED_RECORDS},
    event::{EmissionsSoFar, EventKind, SampleMetrics, StepMetrics},
    port::RunReporter,
    settings::{AstPolicy, AstUnit, Stage2Settings},
};
use greentune_text_data::{DataError, Dataset, Draw, Example, Replay, Sampler, overlap};
use serde_json::json;

use super::{
    Run,
    checkpoint::{self, Checkpoint, Progress},
    feed::{Chosen, Feed, Offered, Selection, Units},
    metering::{Reading, StageMeter},
    optimizer::{Optimizer, OptimizerSettings, clip},
    schedule::learning_rate,
    selection,
    step::{self, Activations, Trained, Weighted},
};
use crate::{
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
    fn read(&self, draw: Draw) -> Result<Example, DataError> {
        match &self.replay {
            Some(replayed) if draw.replay => replayed.examples.get(draw.index),
            _ => self.train.examples.get(draw.index),
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
        let mut state = self.starting_point(stage)?;
        let feed = self.feed(stage, &settings, &data, &mut state)?;
        if let Some(message) = self.too_few_passes(&feed) {
            report(reporter, warning("selection.one_pass", message))?;
        }
        report(
            reporter,
            EventKind::StageStarted {
                stage,
                total_steps: self.total_steps(&settings, &feed, state.progress.step),
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
        let cancelled = stage.steps(feed)?;
        if cancelled.is_none() {
            stage.finish()?;
        }
        Ok(cancelled)
    }

    /// What the stage trains on, from where `state` stands.
    fn feed(
        &self,
        stage: u8,
        settings: &Stage2Settings,
        data: &StageData,
        state: &mut Checkpoint<A::InnerBackend>,
    ) -> Result<Feed, TrainError> {
        let all = &self.manifest.settings;
        let seed = all.training.seed ^ u64::from(stage);
        let ratio = settings.replay_ratio;
        let replay = data
            .replay
            .as_ref()
            .map(|dataset| Replay { weights: dataset.examples.weights().to_vec(), ratio });
        let mut sampler = Sampler::new(seed, data.train.examples.weights(), replay)?;
        sampler.seek(state.progress.draws);
        if !all.ast.enabled {
            return Ok(Feed::dense(sampler));
        }
        let labelled = match all.ast.unit {
            AstUnit::Sample => Vec::new(),
            AstUnit::Token => {
                let examples = data.train.examples.iter();
                examples.map(|example| Ok(example?.labelled_tokens())).collect::<Result<_, DataError>>()?
            }
        };
        let units = Units::new(all.ast.unit, &sampler, &labelled);
        let mut selector = selection::selector(all, units.count(&sampler))?;
        let offered = match state.selection.take() {
            Some(found) => {
                selector.restore(&found.selector)?;
                found.offered
            }
            None => Offered::default(),
        };
        let warm_up = if stage == 1 { all.warmup_epochs() } else { 0 };
        Ok(Feed::sparse(sampler, units, selector, offered, settings, warm_up))
    }

    /// What to say where a policy that remembers scores has no pass to use them in.
    fn too_few_passes(&self, feed: &Feed) -> Option<String> {
        let policy = self.manifest.settings.ast.policy;
        feed.selection().filter(|selection| policy.remembers() && selection.passes() < 2)?;
        Some(format!(
            "ast.policy {policy} goes by the losses of the pass before, and there is one pass over these records: {}; \
             quantile asks for fresh scores, at the price of a forward pass for every record",
            if policy == AstPolicy::Ast { "it selects at random" } else { "it selects everything" }
        ))
    }

    /// Steps of the stage: those that are done, and those to come at the rate that is aimed at.
    fn total_steps(&self, settings: &Stage2Settings, feed: &Feed, done: u64) -> u64 {
        let rate = self.manifest.settings.ast.target_activation_rate;
        feed.selection().map_or(settings.iterations, |selection| done + selection.steps_left(rate))
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
        Ok(Checkpoint { progress, selection: None, adapters, optimizer })
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
    fn steps(&mut self, mut feed: Feed) -> Result<Option<u64>, TrainError> {
        let training = &self.run.manifest.settings.training;
        let mut saved = self.state.progress.step;
        loop {
            // Selection may score records to find the next one, which is part of a step's time.
            let begin = Instant::now();
            if !self.is_left(&mut feed)? {
                break;
            }
            if self.reporter.cancel_requested() {
                self.checkpoint(&feed)?;
                return Ok(Some(self.state.progress.step));
            }
            self.step(&mut feed, begin)?;
            let step = self.state.progress.step;
            if step.is_multiple_of(training.eval_steps) && self.dense_steps(&feed) < self.settings.iterations
            {
                self.evaluate()?;
            }
            if step.is_multiple_of(training.save_steps) {
                self.checkpoint(&feed)?;
                saved = step;
            }
            let reading = self.meter.tick();
            if let Some(so_far) = self.told(reading)? {
                report(self.reporter, EventKind::Emissions(so_far))?;
            }
        }
        if self.state.progress.step > saved {
            self.checkpoint(&feed)?;
        }
        Ok(None)
    }

    /// Whether a step is left to do.
    fn is_left(&self, feed: &mut Feed) -> Result<bool, TrainError> {
        if feed.selection().is_none() {
            return Ok(self.state.progress.step < self.settings.iterations);
        }
        feed.fill(&|draw| self.data.read(draw), &|examples| self.score(examples))
    }

    /// Where the stage stands, in steps of training without selection: the learning rate follows them.
    fn dense_steps(&self, feed: &Feed) -> u64 {
        feed.selection().map_or(self.state.progress.step, Selection::dense_steps)
    }

    /// What the model says of records that selection asks about.
    fn score(&self, examples: &[Example]) -> Vec<Observation> {
        evaluate::observe(&self.run.decoder, Some(&self.state.adapters), examples)
    }

    /// The meter's figures; its trouble with files becomes a warning.
    fn told(&mut self, reading: Reading) -> Result<Option<EmissionsSoFar>, TrainError> {
        if let Some(problem) = reading.problem {
            report(self.reporter, warning(problem.code, problem.message))?;
        }
        Ok(reading.so_far)
    }

    /// One optimizer step, which began at `begin`.
    fn step(&mut self, feed: &mut Feed, begin: Instant) -> Result<(), TrainError> {
        let training = &self.run.manifest.settings.training;
        let rate = learning_rate(&self.settings, self.dense_steps(feed));
        let (read, score) = (|draw| self.data.read(draw), |examples: &[Example]| self.score(examples));
        let mut drawn: Vec<Vec<Chosen>> = (0..self.settings.gradient_accumulation)
            .map(|_| feed.micro_batch(training, self.settings.batch_size, &read, &score))
            .collect::<Result<_, _>>()?;
        drawn.retain(|batch| !batch.is_empty());
        if drawn.is_empty() {
            // No token of the last records was selected.
            self.state.progress.draws = feed.drawn();
            return Ok(());
        }
        let micro_batches: Vec<Vec<Weighted>> =
            drawn.iter().map(|batch| batch.iter().map(Chosen::weighted).collect()).collect();
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
        let trained: Vec<&Chosen> = drawn.iter().flatten().collect();
        feed.observe(&trained, &out.scores)?;
        self.state.adapters.parameters =
            self.state.optimizer.update(&self.state.adapters.parameters, &gradients, rate);
        let seconds = begin.elapsed().as_secs_f64();
        let progress = &mut self.state.progress;
        progress.step += 1;
        progress.draws = feed.drawn();
        progress.duration_seconds += seconds;
        let step = progress.step;
        if self.dense_steps(feed) > self.settings.iterations - self.settings.iterations.div_ceil(10) {
            self.state.progress.recent_losses.push(out.loss);
        }
        let samples = feed.selection().map(|selection| SampleMetrics {
            trained: trained.len() as u64,
            per_second: trained.len() as f64 / seconds,
            epoch: selection.passes_done(),
            selection: Some(selection.so_far()),
        });
        let metrics = StepMetrics {
            stage: self.stage,
            step,
            total_steps: self.run.total_steps(&self.settings, feed, step),
            train_loss: out.loss,
            learning_rate: rate,
            gradient_norm: norm,
            tokens: out.tokens,
            tokens_per_second: out.tokens as f64 / seconds,
            samples,
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

    fn checkpoint(&mut self, feed: &Feed) -> Result<(), TrainError> {
        let folder = self.run.layout.checkpoints(self.stage);
        let step = self.state.progress.step;
        let path = checkpoint::save(
            &folder,
            self.run.manifest.settings.training.keep_checkpoints,
            &self.state,
            feed,
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
